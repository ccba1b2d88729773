"""What speaks to the server: pages with a WebSocket, readers of events, scripts that push."""

import base64
import hashlib
import hmac
import json
import socket
import struct

PATIENCE = 30
KEY = "a secret of thirty-two bytes or more"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


def cookie(user):
    """Header lines by which somebody is signed in; none for nobody."""
    if user is None:
        return ""

    def encoded(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    claims = json.dumps({"sub": user, "exp": 4102444800, "aud": "websock"})
    signed = f'{encoded(b"""{"alg":"HS256","typ":"JWT"}""")}.{encoded(claims.encode())}'
    signature = hmac.new(KEY.encode(), signed.encode(), hashlib.sha256).digest()
    return f"Cookie: websock_token={signed}.{encoded(signature)}\r\n"


class Line:
    """A connection, and what has been read from it."""

    def __init__(self, port, head):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.unread = b""
        self.socket.sendall(head.encode())
        self.status = int(self.until(b"\r\n\r\n").split()[1])

    def fetch(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError("the connection has ended")
        self.unread += data

    def until(self, end):
        while end not in self.unread:
            self.fetch()
        before, self.unread = self.unread.split(end, 1)
        return before

    def exactly(self, count):
        while len(self.unread) < count:
            self.fetch()
        data, self.unread = self.unread[:count], self.unread[count:]
        return data

    def close(self):
        self.socket.close()


class WebSocket(Line):
    def __init__(self, port, words, headers=""):
        super().__init__(
            port,
            f"GET /web?resume=1{words} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Version: 13\r\n{headers}\r\n",
        )
        assert self.status == 101, self.status

    def read(self):
        """The next packet."""
        while True:
            first, length = self.exactly(2)
            if length == 126:
                (length,) = struct.unpack(">H", self.exactly(2))
            payload = self.exactly(length)
            if first & 15 == TEXT:
                return json.loads(payload)
            assert first & 15 == PING, (first, payload)
            self.send(payload, PONG)

    def send(self, payload, opcode=TEXT):
        mask = b"\0\0\0\0"
        size = bytes([0x80 | len(payload)])
        if len(payload) > 125:
            size = bytes([0x80 | 126]) + struct.pack(">H", len(payload))
        self.socket.sendall(bytes([0x80 | opcode]) + size + mask + payload)

    def say(self, packet):
        self.send(json.dumps(packet).encode())
        answer = self.read()
        assert answer["opcode"] == "next", answer


class Events(Line):
    def __init__(self, port, words, headers=""):
        super().__init__(
            port,
            f"GET /sse?resume=1{words} HTTP/1.1\r\nHost: localhost\r\n"
            f"Accept: text/event-stream\r\n{headers}\r\n",
        )
        assert self.status == 200, self.status

    def read(self):
        """The next packet; its id is its cursor."""
        while True:
            lines = self.until(b"\n\n").decode().split("\n")
            event = dict(line.partition(": ")[::2] for line in lines)
            if "data" in event:
                assert "event" not in event, event
                packet = json.loads(event["data"])
                assert packet["cursor"] == event["id"], event
                return packet


def ask(port, method, path, body=b""):
    """Status and answer of a request by a script."""
    line = Line(
        port,
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body.decode()}",
    )
    try:
        while True:
            line.fetch()
    except EOFError:
        return line.status, json.loads(line.unread)
    finally:
        line.close()


def push(port, packet):
    return ask(port, "POST", "/push", json.dumps(packet).encode())
