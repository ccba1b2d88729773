#!/usr/bin/env python3
"""What a page sees of the server behind a proxy: one line `ok ...` or `FAILED ...` per check.

usage: checks.py NAME PORT LOG PINGS   the proxy's name and port on 127.0.0.1, the server's log, and
                                       how many pings an idle connection has to see

Exit: 0 if none failed, else 1. The client is written out here, so that nothing of the server's own
code is trusted; it connects from 127.0.0.9, which must be the address that the server knows.
"""

import base64
import hashlib
import http.client
import json
import os
import socket
import struct
import subprocess
import sys
import time

PATIENCE = 20
ORIGIN = "https://good.example"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Refused(Exception):
    """The answer was no 101: its status and body."""


class Client:
    def __init__(self, port, path="/websock/web", headers=(), patience=PATIENCE, own="127.0.0.9"):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE, (own, 0))
        self.socket.settimeout(patience)
        self.unread = b""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = {
            "Host": "site.example",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": "13",
            "Origin": ORIGIN,
            **dict(headers),
        }
        head = f"GET {path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines.items())
        self.socket.sendall(head.encode() + b"\r\n")
        self.head = self.read_until(b"\r\n\r\n").decode()
        status = int(self.head.split()[1])
        if status != 101:
            raise Refused(status, self.read_body())
        guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1((key + guid).encode()).digest()).decode()
        assert accept in self.head, self.head
        self.uuid = self.read_packet()["uuid"]

    def fill(self):
        some = self.socket.recv(65536)
        assert some, "the connection has ended"
        self.unread += some

    def read_until(self, end):
        while end not in self.unread:
            self.fill()
        found, self.unread = self.unread.split(end, 1)
        return found

    def read_exactly(self, length):
        while len(self.unread) < length:
            self.fill()
        found, self.unread = self.unread[:length], self.unread[length:]
        return found

    def read_body(self):
        lines = [line.split(": ") for line in self.head.lower().split("\r\n")[1:]]
        length = next(int(line[1]) for line in lines if line[0] == "content-length")
        return self.read_exactly(length).decode()

    def send(self, opcode, payload):
        length = len(payload)
        if length < 126:
            size = bytes([128 | length])
        elif length < 65536:
            size = bytes([128 | 126]) + struct.pack(">H", length)
        else:
            size = bytes([128 | 127]) + struct.pack(">Q", length)
        # A mask of zeros is a mask.
        self.socket.sendall(bytes([128 | opcode]) + size + bytes(4) + payload)

    def read_frame(self):
        first, second = self.read_exactly(2)
        length = second & 127
        if length == 126:
            (length,) = struct.unpack(">H", self.read_exactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self.read_exactly(8))
        return first & 15, self.read_exactly(length)

    def read_packet(self):
        while True:
            opcode, payload = self.read_frame()
            if opcode == PING:
                self.send(PONG, payload)
            else:
                assert opcode == TEXT, (opcode, payload)
                return json.loads(payload)

    def ask(self, packet):
        """Sends a packet, which is answered by `next` first."""
        self.send(TEXT, json.dumps(packet).encode())
        answer = self.read_packet()
        assert answer["opcode"] == "next", answer

    def echo(self, message):
        packet = {"opcode": "echo", "message": message}
        self.ask(packet)
        assert self.read_packet() == packet

    def await_pings(self, count):
        while count:
            opcode, payload = self.read_frame()
            assert opcode == PING, (opcode, payload)
            self.send(PONG, payload)
            count -= 1


class Events:
    """A stream of events, and what its page sends."""

    def __init__(self, port, headers=(), patience=PATIENCE, words="user=1"):
        self.port = port
        self.connection = self.connect(patience)
        # A browser sends no Origin to its own site.
        lines = {"Host": "site.example", "Accept": "text/event-stream", **dict(headers)}
        self.connection.request("GET", f"/websock/sse?{words}", headers=lines)
        self.response = self.connection.getresponse()
        if self.response.status != 200:
            raise Refused(self.response.status, self.response.read().decode())
        content_type = self.response.headers["Content-Type"]
        assert content_type == "text/event-stream", content_type
        assert self.response.headers["Content-Encoding"] is None
        ready = self.read_packet()
        assert ready["opcode"] == "ready", ready
        self.uuid, self.secret = ready["uuid"], ready["send"]

    def connect(self, patience=PATIENCE):
        address = ("127.0.0.9", 0)
        return http.client.HTTPConnection("127.0.0.1", self.port, patience, address)

    def read_lines(self):
        """The lines of an event or a comment."""
        lines = []
        while True:
            line = self.response.readline()
            assert line, "the stream has ended"
            line = line.rstrip(b"\n").decode()
            if line:
                lines.append(line)
            elif lines:
                return lines

    def read_packet(self):
        while True:
            data = [line[6:] for line in self.read_lines() if line.startswith("data: ")]
            if data:
                return json.loads("\n".join(data))

    def send(self, packet):
        """Sends a packet, which is answered by `next` over the stream."""
        body = {"uuid": self.uuid, "secret": self.secret, "message": json.dumps(packet)}
        headers = {"Host": "site.example", "Content-Type": "application/json", "Origin": ORIGIN}
        connection = self.connect()
        connection.request("POST", "/websock/send", json.dumps(body), headers)
        status = connection.getresponse().status
        assert status == 204, status
        answer = self.read_packet()
        assert answer["opcode"] == "next", answer

    def await_comments(self, count):
        while count:
            lines = self.read_lines()
            assert lines == [":"], lines
            count -= 1


def echo(port, _log, _pings):
    client = Client(port)
    for number in range(10):
        client.echo(number)


def feedback(port, _log, _pings):
    sender, receiver = Client(port), Client(port, headers={"Ident": "till"}.items())
    for key, value in [("ident", "till"), ("uuid", receiver.uuid)]:
        packet = {"opcode": "feedback", key: value, "message": "done"}
        sender.ask(packet)
        assert receiver.read_packet() == packet


def a_message_of_1_mib(port, _log, _pings):
    Client(port).echo("x" * (1 << 20))


def idle_with_pings(port, _log, pings):
    # At the same time a stream of events, whose pings are comments.
    client, stream = Client(port, patience=90), Events(port, patience=90)
    client.await_pings(pings)
    stream.await_comments(pings)
    client.echo("still here")
    stream.send({"opcode": "echo"})
    assert stream.read_packet() == {"opcode": "echo"}


def events_come_at_once(port, _log, _pings):
    stream, page = Events(port), Client(port)
    for number in range(5):
        packet = {"opcode": "feedback", "uuid": stream.uuid, "message": number}
        page.ask(packet)
        assert stream.read_packet() == packet
    packet = {"opcode": "broadcast", "message": "x" * (1 << 20)}
    page.ask(packet)
    assert stream.read_packet() == packet


def curl_reads_events(port, _log, _pings):
    command = ["curl", "--silent", "--no-buffer", "--max-time", str(PATIENCE)]
    url = f"http://127.0.0.1:{port}/websock/sse?resume=1"
    with subprocess.Popen([*command, url], stdout=subprocess.PIPE, text=True) as curl:
        lines = iter(curl.stdout.readline, "")
        ready = json.loads(next(line for line in lines if line.startswith("data: "))[6:])
        page = Client(port)
        page.ask({"opcode": "feedback", "uuid": ready["uuid"], "message": "hello"})
        cursor = next(line for line in lines if line.startswith("id: ")).strip()[4:]
        packet = json.loads(next(line for line in lines if line.startswith("data: "))[6:])
        assert (packet["message"], packet["cursor"]) == ("hello", cursor), packet
        curl.kill()
    # What has come since follows that event.
    page.ask({"opcode": "broadcast", "message": "missed"})
    events = Events(port, headers={"Last-Event-ID": cursor}.items(), words="resume=1")
    assert events.read_packet()["message"] == "missed"


def what_a_reader_of_events_sends(port, _log, _pings):
    stream, page = Events(port), Client(port)
    for packet in [{"opcode": "echo", "message": "ä\n"}, {"opcode": "echo", "message": "x" * 100_000}]:
        stream.send(packet)
        assert stream.read_packet() == packet
    packet = {"opcode": "broadcast", "message": "all"}
    stream.send(packet)
    assert page.read_packet() == packet


def a_reader_of_events_of_a_refused_origin(port, _log, _pings):
    try:
        Events(port, headers={"Origin": "https://evil.example"}.items())
    except Refused as refused:
        assert refused.args[0] == 403, refused.args
    else:
        raise AssertionError("it was let in")
    response = Events(port, headers={"Origin": ORIGIN}.items()).response
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN, response.headers


def a_reader_of_events_that_leaves_is_gone(port, log, _pings):
    stream, page = Events(port), Client(port)
    text = open(log, encoding="utf-8").read()
    ended = text.count("Connection closed to socket")
    stream.response.close()
    stream.connection.close()
    deadline = time.monotonic() + PATIENCE
    while open(log, encoding="utf-8").read().count("Connection closed to socket") <= ended:
        # A proxy may notice when it has something to pass on.
        page.ask({"opcode": "broadcast"})
        assert time.monotonic() < deadline, "the server does not notice"


def a_refused_origin(port, _log, _pings):
    try:
        Client(port, headers={"Origin": "https://evil.example"}.items())
    except Refused as refused:
        status, body = refused.args
        assert status == 403 and "allowedOrigins" in body, refused.args
    else:
        raise AssertionError("it was let in")


def no_script_from_outside(port, _log, _pings):
    claims = {"Client-Type": "php", "X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"}
    client = Client(port, "/websock/php", claims.items())
    assert "X-Websock-Padding" not in client.head, "it counts as a script"


def no_push_from_outside(port, _log, _pings):
    for path in ["/websock/push", "/websock/push?a", "/websock//push", "/websock/%70ush"]:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as conn:
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            body = b'{"opcode":"broadcast"}'
            conn.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            status = conn.makefile("rb").readline().split()[1]
        assert status[:1] == b"4", (path, status)


def no_figures_for_outside(port, _log, _pings):
    paths = ["metrics", "status", "status.json", "ready", "health", "/metrics", "%6detrics", "status.json?a"]
    for path in [*paths, "status/close", "nodes"]:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as conn:
            head = f"GET /websock/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            conn.sendall(head.encode())
            answer = conn.makefile("rb").read()
        assert answer.split()[1][:1] == b"4", (path, answer)
        assert b"websock_" not in answer, (path, answer)


def log_until_now(port, log, address):
    """What the log has when a client from this address, which no other one has, stands there: lines
    are written some milliseconds later, but in order."""
    client = Client(port, own=address)
    deadline = time.monotonic() + PATIENCE
    while f" is {address}" not in (text := open(log, encoding="utf-8").read()):
        client.echo("still here")
        assert time.monotonic() < deadline, f"{address} is not in the log"
    return text


def nobody_outside_is_told_who_is_here(port, log, _pings):
    before = log_until_now(port, log, "127.0.0.201")
    for path in ["position", "users/42", "%75sers/42", "users/%34%32", "users", "nodes"]:
        method = "POST" if path == "users" else "GET"
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as conn:
            head = f"{method} /websock/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            conn.sendall(f"{head}Content-Length: 0\r\n\r\n".encode())
            answer = conn.makefile("rb").read()
        assert answer.split()[1][:1] == b"4", (path, answer)
    text = log_until_now(port, log, "127.0.0.202")[len(before) :]
    assert "refused" not in text, f"the server itself was asked: {text}"


def the_log_has_the_clients_address(port, log, _pings):
    client = Client(port, headers={"X-Forwarded-For": "192.0.2.66"}.items())
    client.echo("logged")
    text = open(log, encoding="utf-8").read()
    assert " is 127.0.0.9" in text, "the client's own address is not in the log"
    assert " is 192.0.2.66" not in text, "what the client claims is in the log"


def wait_until_listening(port):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


CHECKS = [
    echo,
    feedback,
    a_message_of_1_mib,
    a_refused_origin,
    no_script_from_outside,
    no_push_from_outside,
    no_figures_for_outside,
    nobody_outside_is_told_who_is_here,
    the_log_has_the_clients_address,
    events_come_at_once,
    curl_reads_events,
    what_a_reader_of_events_sends,
    a_reader_of_events_of_a_refused_origin,
    a_reader_of_events_that_leaves_is_gone,
    idle_with_pings,
]


def main():
    name, port, log, pings = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    wait_until_listening(port)
    failed = 0
    for check in CHECKS:
        title = f"{name}: {check.__name__.replace('_', ' ')}"
        try:
            check(port, log, pings)
            print(f"ok {title}", flush=True)
        except Exception as error:  # every failure is a line of the report
            failed += 1
            print(f"FAILED {title}: {error!r}", flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
