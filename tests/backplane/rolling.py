"""HAProxy in front of three servers, without sticky sessions; all of them are restarted one after the
other under load, as a deploy does it (docs/several-machines.md)."""

import collections
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time

from harness import NUMBERS, PATIENCE, Case, Page, broadcast, eventually, feedback, free_port

TABS = int(os.environ.get('TABS', 3000))

CONFIGURATION = """
global
    maxconn 8000
    stats socket {folder}/admin level admin
defaults
    mode http
    timeout connect 5s
    timeout client 100s
    timeout server 100s
    timeout tunnel 100s
    option redispatch
    retries 3
frontend pages
    bind 127.0.0.1:{port}
    default_backend websock
backend websock
    balance roundrobin
    option httpchk GET /ready?drain=404
    http-check disable-on-404
    default-server check inter 100ms fastinter 100ms rise 1 fall 1
{servers}
"""


class HAProxy:
    def __init__(self, nodes):
        self.folder = tempfile.mkdtemp(prefix='websock-haproxy-')
        self.port = free_port()
        self.address = ('127.0.0.1', self.port)
        servers = '\n'.join(f'    server s{at} 127.0.0.1:{node.port}' for at, node in enumerate(nodes))
        with open(f'{self.folder}/cfg', 'w') as file:
            file.write(CONFIGURATION.format(folder=self.folder, port=self.port, servers=servers))
        self.process = subprocess.Popen(['haproxy', '-f', f'{self.folder}/cfg', '-db'], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually('all are up', lambda: self.up_count() == len(nodes))

    def up_count(self):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as admin:
            admin.connect(f'{self.folder}/admin')
            admin.sendall(b'show stat\n')
            text = b''
            while more := admin.recv(65536):
                text += more
            lines = [line.split(b',') for line in text.splitlines()]
            return sum(1 for line in lines if line[:2] and line[0] == b'websock'
                       and line[1] != b'BACKEND' and line[17].startswith(b'UP'))
        return 0

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Tab:
    """A page that comes back, with what it had, whenever its connection ends."""

    def __init__(self, address, user):
        self.address, self.user = address, user
        self.pages = []
        self.page = None
        self.open()

    def open(self):
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.page = Page(self.address, user=self.user, query='?resume=1', ready=False)
                self.pages.append(self.page)
                return
            except (ConnectionError, OSError):
                if time.monotonic() > deadline:
                    raise

    def is_there(self):
        return self.page.texts and not self.page.is_over()

    def numbers(self):
        return [number for page in self.pages for number in page.messages()]


class Rolling(Case):
    # protocol.md 11.2, 11.5
    def test_all_servers_are_restarted_under_load(self):
        store = self.redis()
        ini = ('trustedProxies=127.0.0.1\nmaxPerIP=10000\nmaxClients=10000\nshutdownTimeout=2s\nlogConnections=off\n'
               'backplaneTimeout=10s')
        nodes = self.nodes([store.unix] * 3, ini)
        proxy = HAProxy(nodes)
        self.addCleanup(proxy.stop)
        tabs = [Tab(proxy.address, f'u{at}') for at in range(TABS)]
        for tab in tabs:
            tab.page.wait(lambda: tab.page.find('ready'), 'ready')
        shares = collections.Counter(tab.page.find('ready')['uuid'][-4:] for tab in tabs)
        self.assertEqual(len(shares), 3, shares)
        store.wait_for_subscribers('b', 3)
        everybody = (200, {'delivered': TABS})
        self.assertEqual(nodes[0].push(broadcast(next(NUMBERS))), everybody)

        ends = threading.Event()
        comer = threading.Thread(target=self.bring_back, args=[tabs, ends], daemon=True)
        comer.start()
        # A user of each node gets messages all the time; nobody is asked who may be away just now.
        answers = []
        pusher = threading.Thread(target=self.push_on, args=[nodes, ends, answers], daemon=True)
        pusher.start()
        for node in nodes:
            port = node.port
            node.settings = node.settings.replace('ws://127.0.0.1:0', f'ws://127.0.0.1:{port}')
            node.leave()
            node.start()
            node.wait_until_in()
            eventually('HAProxy has it again', lambda: proxy.up_count() == 3)
            eventually('all are there', lambda: all(tab.is_there() for tab in tabs), 60)
            self.assertEqual(nodes[0].push(broadcast(-1))[0], 200)
        ends.set()
        comer.join(60)
        pusher.join(60)
        # Peace: every user is reached, from every node.
        for node in nodes:
            last = []
            def reaches_everybody():
                last[:] = [node.push(broadcast(-2))]
                return last == [everybody]
            try:
                eventually('everybody', reaches_everybody, 60)
            except AssertionError as error:
                raise AssertionError(f'{error}: {last}') from None
        batch = [feedback(7_000_000 + at, user=tab.user) for at, tab in enumerate(tabs)]
        status, answer = nodes[1].push(batch)
        self.assertEqual((status, answer['delivered']), (200, TABS))
        for at, tab in enumerate(tabs):
            tab.page.wait_for(7_000_000 + at)
        # Nothing twice, nothing out of order, nothing said to be delivered that was not.
        heard = collections.Counter()
        for tab in tabs:
            numbers = [number for number in tab.numbers() if 1_000_000 <= number < 2_000_000]
            self.assertEqual(numbers, sorted(set(numbers)), tab.user)
            heard.update(numbers)
        self.assertTrue(answers)
        missed = 0
        for number, status, delivered in answers:
            if status == 200:
                self.assertLessEqual(delivered, heard[number], (number, status))
            missed += heard[number] == 0
        came = sum(len(tab.pages) - 1 for tab in tabs)
        self.assertGreaterEqual(came, TABS, 'each tab was at a server that was restarted')
        print(f'[{TABS} tabs came back {came} times; {len(answers)} pushed meanwhile, {missed} while nobody was there]',
              end=' ', flush=True)

    def bring_back(self, tabs, ends):
        while not ends.is_set():
            for tab in tabs:
                if tab.page.is_over():
                    tab.open()
            ends.wait(0.02)

    def push_on(self, nodes, ends, answers):
        number = 1_000_000
        while not ends.is_set():
            for node in nodes:
                with contextlib.suppress(OSError):
                    status, answer = node.push(feedback(number, user=f'u{number % TABS}'))
                    answers.append((number, status, answer['delivered']))
                number += 1
