"""Real parts for the tests: Redis from Debian, servers, pages, pushes, and a proxy that spoils what
goes between a server and Redis. Nothing of it shares code with the servers.

Each wait is for an event and has a deadline of PATIENCE seconds; that something does not arrive is
shown by what arrives behind it.
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import itertools
import json
import os
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from free_port import free_port

PATIENCE = float(os.environ.get('PATIENCE', 20))
SECRET = 'a secret of the backplane, of 32 bytes or more'
KEY = 'a secret of thirty-two bytes or more'
PREFIX = 'websock:'
WEBSOCK = os.environ.get('WEBSOCK', 'target/debug/websock')
NUMBERS = itertools.count(1)


def eventually(what, condition, patience=PATIENCE):
    """Waits until condition() is true, for what has no event; its value."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f'not within {patience} s: {what}')
        time.sleep(0.005)


# ---- Redis


def encode(*words):
    """A command of Redis."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b''.join([b'*%d\r\n' % len(words), *(b'$%d\r\n%s\r\n' % (len(w), w) for w in words)])


def take_reply(data):
    """(reply, length) of the first whole reply of RESP2 in data, or None."""
    end = data.find(b'\r\n')
    if end < 0:
        return None
    kind, line, at = data[:1], bytes(data[1:end]), end + 2
    if kind in b'+-':
        return (kind + line, at)
    if kind == b':':
        return (int(line), at)
    count = int(line)
    if count < 0:
        return (None, at)
    if kind == b'$':
        return (bytes(data[at:at + count]), at + count + 2) if len(data) >= at + count + 2 else None
    parts = []
    for _ in range(count):
        part = take_reply(data[at:])
        if part is None:
            return None
        parts.append(part[0])
        at += part[1]
    return (parts, at)


class Client:
    """A connection to Redis."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX if isinstance(path, str) else socket.AF_INET)
        self.socket.settimeout(PATIENCE)
        self.data = bytearray()
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise

    def read(self):
        while (reply := take_reply(self.data)) is None:
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError('Redis has closed')
            self.data += more
        del self.data[:reply[1]]
        return reply[0]

    def __call__(self, *words):
        self.socket.sendall(encode(*words))
        return self.read()

    def close(self):
        self.socket.close()


class Redis:
    """Debian's redis-server in a folder of its own, on a Unix socket, a TCP port and TLS."""

    def __init__(self, *options):
        self.folder = tempfile.mkdtemp(prefix='websock-redis-')
        self.port, self.tls_port = free_port(), free_port()
        self.path = f'{self.folder}/redis.sock'
        self.unix = f'unix:{self.path}'
        self.tcp = f'redis://127.0.0.1:{self.port}'
        self.tls = f'rediss://localhost:{self.tls_port}'
        self.roots = f'{self.folder}/ca.pem'
        self.options = list(options)
        self._make_certificates()
        self.start()

    def _make_certificates(self):
        def openssl(*arguments):
            subprocess.run(['openssl', *arguments], cwd=self.folder, check=True, capture_output=True)
        curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
        openssl('req', '-x509', *curve, '-days', '2', '-subj', '/CN=tests', '-keyout', 'ca.key', '-out', 'ca.pem')
        openssl('req', *curve, '-subj', '/CN=localhost', '-keyout', 'key.pem', '-out', 'request.pem')
        with open(f'{self.folder}/names', 'w') as names:
            names.write('subjectAltName=DNS:localhost\n')
        openssl('x509', '-req', '-in', 'request.pem', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial',
                '-days', '2', '-extfile', 'names', '-out', 'cert.pem')

    def start(self):
        self.process = subprocess.Popen(
            ['redis-server', '--port', str(self.port), '--bind', '127.0.0.1', '--save', '',
             '--dir', self.folder, '--unixsocket', self.path, '--tls-port', str(self.tls_port),
             '--tls-cert-file', f'{self.folder}/cert.pem', '--tls-key-file', f'{self.folder}/key.pem',
             '--tls-ca-cert-file', self.roots, '--tls-auth-clients', 'no', *self.options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def answers():
            with contextlib.suppress(OSError), contextlib.closing(self.client()) as client:
                return client('PING')
        eventually('Redis answers', answers)

    def client(self):
        return Client(self.path)

    def __call__(self, *words):
        with contextlib.closing(self.client()) as client:
            return client(*words)

    def subscriber_count(self, channel):
        """How many servers hear this channel (without prefix)."""
        return self('PUBSUB', 'NUMSUB', PREFIX + channel)[1]

    def wait_for_subscribers(self, channel, count):
        eventually(f'{count} hear {channel}', lambda: self.subscriber_count(channel) == count)

    def kill(self):
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        self.signal(signal.SIGCONT)
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sentinel:
    """One of several Sentinels that watch a master called shop; two of them have to agree."""

    def __init__(self, master):
        self.folder = tempfile.mkdtemp(prefix='websock-sentinel-')
        self.port = free_port()
        with open(f'{self.folder}/sentinel.conf', 'w') as file:
            file.write(f'port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n'
                       f'sentinel monitor shop 127.0.0.1 {master.port} 2\n'
                       'sentinel down-after-milliseconds shop 2000\nsentinel failover-timeout shop 4000\n')
        self.process = subprocess.Popen(['redis-server', f'{self.folder}/sentinel.conf', '--sentinel'],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def says(self, text):
        """Whether it says this of itself."""
        with contextlib.suppress(OSError):
            with contextlib.closing(Client(('127.0.0.1', self.port))) as client:
                return text in client('INFO', 'sentinel').decode()

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Proxy:
    """Between a server and Redis, at redis://127.0.0.1:PORT.

    rule(command) → bytes to be said instead of having Redis asked, or None. freeze(): nothing is
    carried on in either direction, as if a cable were pulled. cut(): all connections end, and new
    ones are refused until heal(). delay: seconds by which each answer and message of Redis is late.
    """

    def __init__(self, redis):
        self.target = redis.path
        self.rule = None
        self.delay = 0
        self._flows = threading.Event()
        self._flows.set()
        self._sockets = set()
        self._lock = threading.Lock()
        self._listener = None
        self.port = free_port()
        self.url = f'redis://127.0.0.1:{self.port}'
        self.heal()

    def heal(self):
        self._flows.set()
        if self._listener is None:
            self._listener = socket.create_server(('127.0.0.1', self.port), backlog=128)
            threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def freeze(self):
        self._flows.clear()

    def cut(self):
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.end_connections()

    stop = cut

    def end_connections(self):
        with self._lock:
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._sockets.clear()

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                try:
                    far.connect(self.target)
                except OSError:
                    near.close()
                    continue
                with self._lock:
                    self._sockets |= {near, far}
                # What is owed to the server, in order: bytes to be said, or None for what Redis says.
                owed = []
                for carry in (self._up, self._down):
                    threading.Thread(target=self._run, args=[carry, near, far, owed], daemon=True).start()

    def _run(self, carry, near, far, owed):
        with contextlib.suppress(OSError):
            carry(near, far, owed)
        for one in (near, far):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._sockets -= {near, far}

    def _up(self, near, far, owed):
        data = bytearray()
        is_subscriber = False
        while more := near.recv(65536):
            self._flows.wait()
            data += more
            while (command := take_reply(data)) is not None:
                words, length = command
                raw = bytes(data[:length])
                del data[:length]
                is_subscriber |= words[0].upper() in (b'SUBSCRIBE', b'UNSUBSCRIBE')
                answer = self.rule and self.rule(words)
                if is_subscriber:
                    owed[:] = ['subscriber']
                    near.sendall(answer) if answer else far.sendall(raw)
                elif answer is None:
                    owed.append(None)
                    far.sendall(raw)
                else:
                    owed.append(answer)
                    self._say(near, owed)

    def _down(self, near, far, owed):
        data = bytearray()
        while more := far.recv(65536):
            if self.delay:
                time.sleep(self.delay)
            self._flows.wait()
            if owed[:1] == ['subscriber']:
                near.sendall(data + more)
                data.clear()
                continue
            data += more
            while (reply := take_reply(data)) is not None:
                near.sendall(data[:reply[1]])
                del data[:reply[1]]
                with self._lock:
                    if owed and owed[0] is None:
                        owed.pop(0)
                self._say(near, owed)

    def _say(self, near, owed):
        with self._lock:
            while owed and isinstance(owed[0], bytes):
                near.sendall(owed.pop(0))


# ---- servers


class Node:
    """A websock process on a free port, with a log of its own. command: what starts it, if that is not
    the program itself; host: the address that it has there."""

    def __init__(self, backplane, ini='', environment=None, port=0, host='127.0.0.1', command=()):
        self.host, self.command = host, [*command, WEBSOCK]
        self.folder = tempfile.mkdtemp(prefix='websock-node-')
        self.ini = f'{self.folder}/websock.ini'
        self.environment = {**os.environ, **(environment or {})}
        self.settings = (f'adress=ws://{host}:{port}\nconsole=true\nauthKey={KEY}\n' + (
            f'backplane={backplane}\nbackplaneSecret={SECRET}\n' if backplane else '') + (
            # No case is slower than that, unless somebody is to be late.
            '' if 'backplaneTimeout' in ini or not backplane else 'backplaneTimeout=10s\n') + ini + '\n')
        self.start()

    def start(self):
        with open(self.ini, 'w') as file:
            file.write(self.settings)
        with open(f'{self.folder}/log', 'ab') as log:
            self.log_start = log.tell()
            self.process = subprocess.Popen([*self.command, '-i', self.ini], stdin=subprocess.DEVNULL, cwd=self.folder,
                                            stdout=log, stderr=subprocess.STDOUT, env=self.environment)
        line = self.wait_for_log('Listening on ws://')
        self.port = int(line.split(f'ws://{self.host}:')[1].split()[0].rstrip(',;'))
        self.address = (self.host, self.port)

    def log(self):
        with open(f'{self.folder}/log', 'rb') as file:
            file.seek(self.log_start)
            return file.read().decode()

    def wait_for_log(self, text, count=1):
        """The count-th line that has the text in it."""
        def found():
            lines = [line for line in self.log().splitlines() if text in line]
            if len(lines) < count and self.process.poll() is not None:
                raise AssertionError(f'the server has ended without saying "{text}":\n{self.log()}')
            return lines[count - 1] if len(lines) >= count else None
        try:
            return eventually(f'"{text}" in the log', found)
        except AssertionError as error:
            raise AssertionError(f'{error}\n{self.log()[-4000:]}') from None

    def wait_until_in(self, times=1):
        """It has a number and hears what it wants, itself included."""
        self.wait_for_log('backplane: connected', times)
        return self

    def request(self, method, path, body=None, headers=None, timeout=PATIENCE):
        """(status, body) of a request; the body as JSON if it is."""
        connection = http.client.HTTPConnection(*self.address, timeout=timeout)
        with contextlib.closing(connection):
            data = None if body is None else body if isinstance(body, (str, bytes)) else json.dumps(body)
            connection.request(method, path, data, {'Content-Type': 'application/json', **(headers or {})})
            response = connection.getresponse()
            text = response.read().decode()
        with contextlib.suppress(ValueError):
            return response.status, json.loads(text)
        return response.status, text

    def push(self, packet, **others):
        return self.request('POST', '/push', packet, **others)

    def page(self, user=None, ident=None, query='', ready=True):
        return Page(self.address, user, ident, query, ready)

    def script(self, ident=None):
        return Script(self.address, ident)

    def metric(self, name):
        """Sum of a metric's samples."""
        _, text = self.request('GET', '/metrics')
        values = [float(line.rsplit(' ', 1)[1]) for line in text.splitlines()
                  if line.startswith((name + ' ', name + '{'))]
        assert values, f'no metric {name}'
        return sum(values)

    def cpu_seconds(self):
        return cpu_seconds(self.process.pid)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def leave(self):
        """Ends as a deploy ends it."""
        self.signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, self.log()

    def stop(self):
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.kill()
        panicked = 'panicked at' in self.log()
        log = self.log()
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not panicked, log


def cpu_seconds(pid):
    with open(f'/proc/{pid}/stat') as file:
        fields = file.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


# ---- clients


def token(user):
    """A sign-in that says this user."""
    part = lambda value: base64.urlsafe_b64encode(value).rstrip(b'=')
    claims = {'sub': user, 'exp': 4102444800, 'aud': 'websock'}
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b'.' + part(json.dumps(claims).encode())
    return (signed + b'.' + part(hmac.digest(KEY.encode(), signed, hashlib.sha256))).decode()


def frame(opcode, payload):
    """A frame of a client, with a mask of zeros."""
    length = len(payload)
    head = bytes([0x80 | opcode])
    if length < 126:
        head += bytes([0x80 | length])
    elif length < 65536:
        head += struct.pack('!BH', 0x80 | 126, length)
    else:
        head += struct.pack('!BQ', 0x80 | 127, length)
    return head + bytes(4) + payload


class Reader(threading.Thread):
    """Reads all pages of the process, answers pings and close frames."""

    def __init__(self):
        super().__init__(daemon=True)
        self.selector = selectors.DefaultSelector()
        self.changed = threading.Condition()
        self.start()

    def add(self, page):
        with self.changed:
            self.selector.register(page.socket, selectors.EVENT_READ, page)

    def run(self):
        while True:
            events = self.selector.select(0.05)
            if events:
                with self.changed:
                    for key, _ in events:
                        key.data.take_in()
                    self.changed.notify_all()


READER = None


def reader():
    global READER
    READER = READER or Reader()
    return READER


class Page:
    """A web client that keeps all that it is sent."""

    def __init__(self, address, user=None, ident=None, query='', ready=True, headers='', path='/web'):
        self.texts = []
        self.next_count = 0
        self.close_code = None
        self.has_ended = False
        self.data = bytearray()
        self.socket = socket.create_connection(address, PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        cookie = f'Cookie: websock_token={token(user)}\r\n' if user is not None else ''
        named = f'Ident: {ident}\r\n' if ident is not None else ''
        self.socket.sendall(
            f'GET {path}{query} HTTP/1.1\r\nHost: localhost:{address[1]}\r\n'
            f'Origin: http://localhost:{address[1]}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
            f'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
            f'{cookie}{named}{headers}\r\n'.encode())
        while b'\r\n\r\n' not in self.data:
            more = self.socket.recv(4096)
            if not more:
                raise ConnectionError(f'no handshake: {bytes(self.data)!r}')
            self.data += more
        head, _, rest = bytes(self.data).partition(b'\r\n\r\n')
        if not head.startswith(b'HTTP/1.1 101'):
            self.socket.close()
            raise ConnectionError(head.decode())
        self.data = bytearray(rest)
        self.socket.setblocking(False)
        with reader().changed:
            self._parse()
        reader().add(self)
        self.uuid = None
        if ready:
            self.ready = self.wait(lambda: self.find('ready'), 'ready')
            self.uuid = self.ready['uuid']

    def take_in(self):
        try:
            more = self.socket.recv(262144)
        except BlockingIOError:
            return
        except OSError:
            more = b''
        if not more:
            self.has_ended = True
            reader().selector.unregister(self.socket)
            self.socket.close()
            return
        self.data += more
        self._parse()

    def _parse(self):
        data, at = self.data, 0
        while len(data) - at >= 2:
            length, start = data[at + 1], at + 2
            if length == 126:
                if len(data) - at < 4:
                    break
                length, start = struct.unpack_from('!H', data, at + 2)[0], at + 4
            elif length == 127:
                if len(data) - at < 10:
                    break
                length, start = struct.unpack_from('!Q', data, at + 2)[0], at + 10
            if len(data) < start + length:
                break
            self._take(data[at] & 15, bytes(data[start:start + length]))
            at = start + length
        del data[:at]

    def _take(self, opcode, payload):
        if opcode == 9:
            self._send(frame(10, payload))
        elif opcode == 8:
            self.close_code = struct.unpack('!H', payload[:2])[0] if payload else 1005
            self._send(frame(8, payload[:2]))
        elif opcode == 1:
            text = payload.decode()
            if text.startswith('{"opcode":"next"'):
                self.next_count += 1
            else:
                self.texts.append(text)

    def _send(self, data):
        with contextlib.suppress(OSError):
            self.socket.send(data)

    # ---- the tests' side; all is seen under the reader's lock

    def packets(self, opcode=None):
        with reader().changed:
            packets = [json.loads(text) for text in self.texts]
        return [packet for packet in packets if opcode in (None, packet.get('opcode'))]

    def find(self, opcode):
        return next(iter(self.packets(opcode)), None)

    def messages(self):
        """The field n of all feedbacks and broadcasts, in order."""
        return [packet['n'] for packet in self.packets() if packet.get('opcode') in ('feedback', 'broadcast')]

    def is_over(self):
        return self.has_ended or self.close_code is not None

    def wait(self, condition, what, patience=PATIENCE):
        deadline = time.monotonic() + patience
        with reader().changed:
            while not (value := condition()):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f'not within {patience} s: {what}; has {[t.rstrip()[:200] for t in self.texts[-5:]]}, '
                                         f'closed {self.close_code}, ended {self.has_ended}')
                reader().changed.wait(left)
            return value

    def wait_for(self, number, times=1):
        """The message with this n has come, so often; and what came before it stands before it."""
        self.wait(lambda: self.messages().count(number) >= times, f'message {number}')

    def send(self, packet):
        self.socket.setblocking(True)
        self.socket.sendall(frame(1, (packet if isinstance(packet, str) else json.dumps(packet)).encode()))
        self.socket.setblocking(False)

    def say(self, packet):
        """Sends, and waits for next."""
        count = self.next_count
        self.send(packet)
        self.wait(lambda: self.next_count > count, 'next')

    def round_trip(self):
        """All that the server had for it before is there."""
        number = next(NUMBERS)
        self.send({'opcode': 'echo', 'probe': number})
        self.wait(lambda: any(p.get('probe') == number for p in self.packets('echo')), 'an echo')

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class Script(Page):
    """A PHP script that stays, as the deployed ones do: it reads padded frames, waits for next."""

    def __init__(self, address, ident=None):
        super().__init__(address, None, ident, headers='Client-Type: php\r\n', path='/php')


# ---- cases


class Case(unittest.TestCase):
    """Ends what it has started."""

    def redis(self, *options):
        redis = Redis(*options)
        self.addCleanup(redis.stop)
        return redis

    def proxy(self, redis):
        proxy = Proxy(redis)
        self.addCleanup(proxy.stop)
        return proxy

    def node(self, backplane, ini='', **others):
        node = Node(backplane, ini, **others)
        self.addCleanup(node.stop)
        return node

    def nodes(self, backplanes, ini=''):
        """Several that know of each other."""
        nodes = [self.node(backplane, ini) for backplane in backplanes]
        for node in nodes:
            node.wait_until_in()
        for node in nodes:
            eventually('all are heard', lambda: len(node.request('GET', '/nodes')[1]['nodes']) >= len(nodes))
        return nodes


def feedback(number, **receiver):
    return {'opcode': 'feedback', **receiver, 'n': number}


def broadcast(number):
    return {'opcode': 'broadcast', 'n': number}
