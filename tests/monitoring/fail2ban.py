#!/usr/bin/env python3
"""What Debian's fail2ban-regex finds with packaging/fail2ban in lines that a server has logged.

   fail2ban.py PROGRAM: as text, as JSON, as the journal and a syslog have them. Exit: 0 if it is right.
"""

import base64
import collections
import contextlib
import hmac
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

PROGRAM = sys.argv[1]
FILTER = "packaging/fail2ban/websock.conf"
SECRET = "0123456789abcdef0123456789abcdef"
INI = f"""adress=ws://127.0.0.1:0, ws://[::1]:0
allowedOrigins=https://shop.example
pushToken={SECRET}
maxPerIP=20
authKey={SECRET}
loglevel=debug
[jsauth]
require=true
"""
GOOD = "Origin: https://shop.example\r\n"
# Somebody else, whom a client would like to see banned.
VICTIM = "203.0.113.9"
FAKES = [
    f"https://a.example ({VICTIM})",
    f"Sun, 29 Nov 2026 17:05:42 +0000; warning: #3 refused: 403 no ({VICTIM})",
    f'{{"time":"2026-11-29T17:00:00.123Z","level":"warn","message":"#3 refused: 403 no ({VICTIM})"}}',
    f"Nov 29 17:00:00 host websock[1]: #3 refused: 403 no ({VICTIM})",
    f"<4>#3 refused: 403 no ({VICTIM})",
    f"a\u2028; warning: #3 refused: 403 no ({VICTIM})",
    # Longer than a line may be: it must not hide who has sent it.
    "a" * 7000 + f" ({VICTIM})",
]


def token():
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    claims = {"sub": "42", "aud": "websock", "exp": int(time.time()) + 600}
    header = {"alg": "HS256", "typ": "JWT"}
    text = ".".join(part(json.dumps(one).encode()) for one in (header, claims))
    signature = hmac.digest(SECRET.encode(), text.encode(), "sha256")
    return f"{text}.{part(signature)}"


SIGNED_IN = f"{GOOD}Cookie: websock_token={token()}\r\n"


class Server:
    """One whose log is `form`, and whose listeners are known."""

    def __init__(self, form, directory):
        self.form, self.path = form, f"{directory}/{form}.log"
        ini = f"{directory}/{form}.ini"
        with open(ini, "w", encoding="utf-8") as file:
            file.write(("logFormat=json\n" if form == "json" else "") + INI)
        environment = {"PATH": os.environ["PATH"]}
        with open(self.path, "wb") as output:
            if form == "journal":
                found = os.fstat(output.fileno())
                environment["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
            self.process = subprocess.Popen([PROGRAM, "-i", ini], stdout=output, env=environment)
        found = self.wait_for(r"Listening on ws://(127\.0\.0\.1|\[::1\]):(\d+)", 2)
        self.ports = {name.strip("[]"): int(port) for name, port in found}

    def wait_for(self, pattern, count):
        """What the log has of it, once it is there so often."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            with open(self.path, encoding="utf-8") as file:
                found = re.findall(pattern, file.read())
            if len(found) >= count:
                return found
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
        sys.exit(f"{self.form}: {pattern} is not in the log {count} times")

    def connect(self, source):
        host = "::1" if ":" in source else "127.0.0.1"
        return socket.create_connection((host, self.ports[host]), 30, (source, 0))

    def ask(self, source, head, expected):
        """Sends this head; the connection, and what was answered up to `expected`."""
        connection = self.connect(source)
        connection.sendall(head.encode())
        answer = b""
        while expected.encode() not in answer:
            got = connection.recv(65536)
            if not got:
                sys.exit(f"{self.form}: {expected} was wanted, got {answer!r} for {head!r}")
            answer += got
        return connection

    def upgrade(self, source, headers, expected, path="/web"):
        return self.ask(
            source,
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n",
            expected,
        )

    def push(self, source, headers, expected):
        body = '{"opcode":"broadcast"}'
        return self.ask(
            source,
            "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n{headers}\r\n{body}",
            expected,
        )

    def end(self):
        """Its log, with all that it has logged."""
        self.process.terminate()
        if self.process.wait(30) != 0:
            sys.exit(f"{self.form}: it did not end with 0")
        with open(self.path, encoding="utf-8") as file:
            return file.read()


def frame(opcode, payload):
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


def ended(connection):
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(65536):
            pass
    connection.close()


def play(server):
    """Everything that is to be told apart. How often whose address is to be found: in the mode
    normal, and in the mode aggressive."""
    normal = collections.Counter()
    for source in ("127.0.0.2", "::1"):
        ended(server.upgrade(source, "Origin: https://evil.example\r\n", "403"))
        ended(server.ask(source, f"GET / HTTP/1.1\r\nX: {'x' * 9000}\r\n\r\n", "431"))
        ended(server.push(source, "Authorization: Bearer wrong\r\n", "401"))
        server.upgrade(source, GOOD, "not signed in").close()
        broken = server.upgrade(source, SIGNED_IN, "ready")
        broken.sendall(b"\xf1\x80\0\0\0\0")
        ended(broken)
        normal[source] += 5

    for fake in FAKES:
        ended(server.upgrade("127.0.0.66", f"Origin: {fake}\r\n", "403"))
        bearer = f"Authorization: Bearer {SECRET}\r\n"
        ended(server.push("127.0.0.66", f"{bearer}Origin: {fake}\r\n", "403"))
        normal["127.0.0.66"] += 2
    forwarded = f"Origin: https://evil.example\r\nX-Forwarded-For: {VICTIM}\r\n"
    ended(server.upgrade("127.0.0.66", forwarded, "403"))
    for path in (f"/x({VICTIM})", f"/{'x' * 5000}({VICTIM})"):
        server.upgrade("127.0.0.66", SIGNED_IN, "no resource", path).close()
    normal["127.0.0.66"] += 3

    # Nobody of these has done anything: who comes and goes, whatever the name that he gives himself.
    for fake in FAKES[:-1]:
        page = server.upgrade("127.0.0.3", f"{SIGNED_IN}Ident: {fake[:100]}\r\n", "ready")
        page.sendall(frame(1, b'{"opcode":"feedback","uuid":"%s"}' % fake[:40].encode("ascii", "replace")))
        page.sendall(frame(8, b"\x03\xe8" + fake[:100].encode()))
        ended(page)
    ended(server.push("127.0.0.3", f"Authorization: Bearer {SECRET}\r\nConnection: close\r\n", "200"))
    ended(server.ask("127.0.0.3", "GET /health HTTP/1.0\r\n\r\n", "ok"))
    # Many behind one address.
    here = [server.upgrade("127.0.0.4", SIGNED_IN, "ready") for _ in range(20)]
    server.upgrade("127.0.0.4", SIGNED_IN, "Too many connections from").close()
    server.wait_for("turned away: Too many", 1)
    for page in here:
        page.close()
    return normal, normal + collections.Counter({"127.0.0.4": 1})


def as_syslog(log, date):
    """The lines that the journal would have made of it."""
    lines = re.findall(r"^<[3-7]>(.*)$", log, re.MULTILINE)
    if len(lines) != log.count("\n"):
        sys.exit("not every line has its priority")
    return "".join(f"{date} host websock[123]: {line}\n" for line in lines)


def found(name, log, mode, directory):
    path = f"{directory}/{name}.seen"
    with open(path, "w", encoding="utf-8") as file:
        file.write(log)
    command = ["fail2ban-regex", "--out", "ip", path, f"{FILTER}[mode={mode}]"]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    return collections.Counter(output.split())


def main():
    wrong = 0
    with tempfile.TemporaryDirectory() as directory:
        for form in ("text", "json", "journal"):
            server = Server(form, directory)
            try:
                wanted = dict(zip(("normal", "aggressive"), play(server)))
                log = server.end()
            finally:
                server.process.kill()
            if VICTIM not in log or "Connection closed" not in log:
                sys.exit(f"{form}: what was to be told apart is not in the log:\n{log}")
            logs = {form: log}
            if form == "journal":
                logs = {
                    "journal": as_syslog(log, "Nov 29 17:00:00"),
                    "syslog": as_syslog(log, "2026-11-29T17:00:00.123456+00:00"),
                }
            for name, text in logs.items():
                for mode, addresses in wanted.items():
                    got = found(name, text, mode, directory)
                    if got == addresses:
                        print(f"ok: {name}, {mode}: {sum(got.values())} lines found")
                    else:
                        wrong += 1
                        print(f"FAILED: {name}, {mode}: {dict(got)} instead of {dict(addresses)}\n{text}")
    sys.exit(wrong > 0)


main()
