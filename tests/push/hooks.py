"""What schemathesis' requests find at the server: a page that is there, one that has signed in, and a
script that does not read, so that 200 with somebody reached and 503 are compared with the
description, too.

Every push that schemathesis makes from the description may be turned into one to the page, or to the
script whose queue has been filled, and every question about a user into one about who is there. The
environment names the server, WEBSOCK_ADDRESS, as HOST:PORT, the key that it lets pages in by,
WEBSOCK_AUTH_KEY, and a file, WEBSOCK_SEEN, which has a line for each answer to those.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import random
import socket
import threading
import time

import schemathesis

ADDRESS = os.environ["WEBSOCK_ADDRESS"]
HOST, PORT = ADDRESS.rsplit(":", 1)
DEADLINE_SECONDS = 20
# More than the kernel keeps for a connection, so that the rest stands in the server's queue.
FILLING_BYTES = 15_000_000
EVERY = 6

seen = open(os.environ["WEBSOCK_SEEN"], "a", buffering=1)
turn = 0
asked = 0
full = None


class Peer:
    """A client of the server's WebSocket."""

    def __init__(self, path, *headers, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(DEADLINE_SECONDS)
        self.socket.connect((HOST, int(PORT)))
        key = base64.b64encode(random.randbytes(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {ADDRESS}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            *headers,
        ]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        # The 101, and the packet `ready`, which has no brace but its own.
        answer = b""
        while b"}" not in answer:
            piece = self.socket.recv(4096)
            assert piece, f"the server has ended it: {answer}"
            answer += piece
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        self.uuid = json.loads(answer[answer.index(b"{") : answer.index(b"}") + 1])["uuid"]

    def read_to_the_end(self):
        """Reads and forgets, for as long as the server runs."""
        self.socket.settimeout(None)
        try:
            while self.socket.recv(65536):
                pass
        except OSError:
            pass


def token(user):
    """What lets a page in as this user (RFC 7519)."""

    def encoded(part):
        return base64.urlsafe_b64encode(part).rstrip(b"=")

    claims = {"sub": user, "exp": int(time.time()) + 3600, "aud": "websock"}
    parts = [{"alg": "HS256", "typ": "JWT"}, claims]
    signed = b".".join(encoded(json.dumps(part).encode()) for part in parts)
    key = os.environ["WEBSOCK_AUTH_KEY"].encode()
    return b".".join([signed, encoded(hmac.digest(key, signed, hashlib.sha256))]).decode()


# An id that is in no example, so that nobody logs it out.
USER = "member of the suite"
page = Peer("/web")
member = Peer("/web", "Cookie: websock_token=" + token(USER))
for peer in (page, member):
    threading.Thread(target=peer.read_to_the_end, daemon=True).start()


def fill():
    """A script that does not read, with as much in its queue as it takes."""
    full = Peer("/php", "Client-Type: php", "Ident: full", receive_buffer=4096)
    pusher = http.client.HTTPConnection(HOST, int(PORT), timeout=DEADLINE_SECONDS)
    packet = {"opcode": "feedback", "ident": "full", "message": "x" * FILLING_BYTES}
    pusher.request("POST", "/push", json.dumps(packet), {"Content-Type": "application/json"})
    answer = pusher.getresponse()
    body = answer.read()
    assert answer.status == 200, (answer.status, body)
    pusher.close()
    return full


@schemathesis.hook
def before_call(context, case, kwargs):
    """Turns a push now and then into one whose answer is known."""
    global turn, full, asked
    if case.operation.path == "/users/{id}" and case.method.upper() == "GET" and is_valid(case):
        asked += 1
        if asked % EVERY == 0:
            kwargs["url"] = f"http://{ADDRESS}/users/member%20of%20the%20suite"
            case.path_parameters["id"] = USER
    is_push = case.method.upper() == "POST" and case.operation.path == "/push"
    is_packet = is_push and isinstance(case.body, dict)
    if not is_packet or case.media_type != "application/json" or not is_valid(case):
        return
    turn += 1
    if turn % EVERY == 0:
        case.body = {"opcode": "feedback", "uuid": page.uuid, "message": case.body.get("message")}
    elif turn % EVERY == EVERY // 2:
        case.body = {"opcode": "feedback", "ident": "full", "message": case.body.get("message")}
        full = fill()


def is_valid(case):
    """Whether the request is one that the description allows."""
    return case.meta is None or case.meta.generation.mode.is_positive


@schemathesis.check
def known_answers(ctx, response, case):
    """What is known to be there, or not, decides the answer."""
    if case.operation.path == "/users/{id}" and (case.path_parameters or {}).get("id") == USER:
        if case.method.upper() != "GET":
            return
        answer = response.json()
        seen.write(f"user {response.status_code} {json.dumps(answer, sort_keys=True)}\n")
        assert (response.status_code, answer) == (200, {"user": USER, "tabs": 1}), answer
        return
    body = case.body
    if case.operation.path != "/push" or not isinstance(body, dict) or not is_valid(case):
        return
    kind = {page.uuid: "page"}.get(body.get("uuid"), body.get("ident"))
    if kind not in ("page", "full"):
        return
    answer = response.json()
    seen.write(f"{kind} {response.status_code} {json.dumps(answer, sort_keys=True)}\n")
    if kind == "page":
        assert (response.status_code, answer) == (200, {"delivered": 1}), answer
    else:
        expected = {"delivered": 0, "error": "the receiver's queue is full"}
        assert (response.status_code, answer) == (503, expected), answer
