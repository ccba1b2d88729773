#!/usr/bin/env python3
"""What a page sees of the server behind a proxy: one line `ok ...` or `FAILED ...` per check.

usage: checks.py NAME PORT LOG PINGS   the proxy's name and port on 127.0.0.1, the server's log, and
                                       how many pings an idle connection has to see

Exit: 0 if none failed, else 1. The client is written out here, so that nothing of the server's own
code is trusted; it connects from 127.0.0.9, which must be the address that the server knows.
"""

import base64
import hashlib
import json
import os
import socket
import struct
import sys
import time

PATIENCE = 20
ORIGIN = "https://good.example"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Refused(Exception):
    """The answer was no 101: its status and body."""


class Client:
    def __init__(self, port, path="/websock/web", headers=(), patience=PATIENCE):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE, ("127.0.0.9", 0))
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
    client = Client(port, patience=90)
    client.await_pings(pings)
    client.echo("still here")


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
    for path in [*paths, "status/close"]:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as conn:
            head = f"GET /websock/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            conn.sendall(head.encode())
            answer = conn.makefile("rb").read()
        assert answer.split()[1][:1] == b"4", (path, answer)
        assert b"websock_" not in answer, (path, answer)


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
    the_log_has_the_clients_address,
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
