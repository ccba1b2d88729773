"""Pages of all kinds that come and go at random, against what they ought to be told.

python3 model.py PROGRAM FIRST-LAST
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from free_port import free_port
from wire import KEY, Events, WebSocket, ask, cookie, push

STEPS = 150


class Server:
    """One process after the other, on the same port."""

    def __init__(self, program, directory, size):
        self.port = free_port()
        self.socket_file = f"{directory}/control.sock"
        self.ini = f"{directory}/websock.ini"
        self.program = program
        with open(self.ini, "w", encoding="utf-8") as ini:
            ini.write(
                f"adress=ws://127.0.0.1:{self.port}\nauthKey={KEY}\nstateDir={directory}/state\n"
                f"replaySize={size}\ncloseTimeout=200ms\ndrainSpread=0\nconsole=true\n"
                f"replayTime=600\ntakeoverSocket={self.socket_file}\n"
            )
        self.process = self.started("Listening on")

    def started(self, told, *options):
        process = subprocess.Popen(
            [self.program, "-i", self.ini, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        lines = []
        for line in process.stdout:
            lines.append(line)
            if told in line:
                threading.Thread(target=process.stdout.read, daemon=True).start()
                return process
        raise AssertionError("".join(lines))

    def restart(self):
        self.process.terminate()
        assert self.process.wait(30) == 0
        self.process = self.started("Listening on")

    def replace(self):
        successor = self.started("taken over from", "--takeover")
        assert self.process.wait(30) == 0
        self.process = successor

    def crash(self):
        self.process.kill()
        self.process.wait()
        if os.path.exists(self.socket_file):
            os.remove(self.socket_file)
        self.process = self.started("Listening on")

    def end(self):
        self.process.kill()
        self.process.wait()


class Page:
    """`line`: its connection. `is_deaf`: it reads nothing any more, which nobody knows."""

    def __init__(self, kind, user, line):
        self.kind, self.user, self.line, self.is_deaf = kind, user, line, False
        self.missed = []
        ready = line.read()
        assert ready["opcode"] == "ready", ready
        self.uuid, self.cursor = ready["uuid"], ready["cursor"]
        self.told, self.secret = self.uuid, ready.get("resume")

    def is_here(self):
        return self.line is not None and not self.is_deaf

    def lose(self):
        if self.line:
            self.line.close()
        self.line, self.is_deaf = None, False

    def read(self, count):
        """The numbers of so many messages."""
        numbers = []
        for _ in range(count):
            packet = self.line.read()
            numbers.append(packet["n"])
            self.cursor = packet["cursor"]
        return numbers


class World:
    def __init__(self, program, directory, seed):
        self.random = random.Random(seed)
        self.is_roomy = seed % 2 == 0
        size = 1000 if self.is_roomy else self.random.choice([1, 2, 5])
        self.server = Server(program, directory, size)
        self.pages, self.positions = [], []
        self.count = self.gaps = 0
        self.log = []

    # ---- what comes to pages

    def tell(self, packet, is_for, scope=None):
        """Pushes the next message; whoever is here gets it, the others miss it."""
        self.count += 1
        status, answer = push(self.server.port, {**packet, "n": self.count})
        if status == 404 and packet.get("uuid"):
            assert not self.is_roomy, answer
            return
        self.spread(is_for, scope)

    def spread(self, is_for, scope):
        for page in filter(is_for, self.pages):
            if page.is_here():
                numbers = page.read(1)
                assert numbers == [self.count], (numbers, self.count)
            else:
                page.missed.append(self.count)
        for _, told in self.positions if scope else []:
            told.append((self.count, scope))

    def note_gap(self, gap):
        assert not self.is_roomy, f"a gap for no reason: {gap}"
        self.gaps += 1

    def settle(self, page, expected):
        """What follows `ready` is all that is expected, or a gap and nothing of it."""
        status, _ = push(self.server.port, {"opcode": "feedback", "uuid": page.uuid, "n": -1})
        assert status == 200, status
        numbers, gap = [], None
        while (packet := page.line.read()).get("n") != -1:
            page.cursor = packet["cursor"]
            if packet["opcode"] == "gap":
                assert not numbers, "a gap is told first"
                gap = packet["gap"]
            else:
                numbers.append(packet["n"])
        page.cursor = packet["cursor"]
        if gap:
            self.note_gap(gap)
        assert numbers == ([] if gap else expected), (numbers, expected, gap)

    def line(self, kind, user, words="", headers=""):
        make = WebSocket if kind == "socket" else Events
        return make(self.server.port, words, cookie(user) + headers)

    def come_back(self, page):
        before = page.line
        if page.kind == "events":
            in_query = self.random.random() < 0.5
            words = f"&lastEventId={page.cursor}" if in_query else ""
            headers = "" if in_query else f"Last-Event-ID: {page.cursor}\r\n"
            line = self.line(page.kind, page.user, words, headers)
            missed = page.missed
            page.__init__(page.kind, page.user, line)
            self.settle(page, missed)
        else:
            page.line, page.is_deaf = self.line(page.kind, page.user), False
            assert page.line.read()["opcode"] == "ready"
            claim = {"uuid": page.told, "secret": page.secret, "cursor": page.cursor}
            page.line.say({"opcode": "resume", **claim})
            resumed = page.line.read()
            page.uuid = resumed["uuid"]
            if resumed["gap"] is None and self.random.random() < 0.15:
                page.lose()  # it has not heard the answer
                return
            page.told, page.secret = resumed["uuid"], resumed["resume"]
            page.cursor = resumed["cursor"]
            if resumed["gap"]:
                self.note_gap(resumed["gap"])
            else:
                numbers = page.read(resumed["replayed"])
                assert numbers == page.missed, (numbers, page.missed)
            page.missed = []
        if before:
            before.close()

    # ---- steps

    def open(self):
        kind = self.random.choice(["socket", "socket", "events"])
        user = self.random.choice([None, "a", "b"])
        if len(self.pages) < 8:
            self.pages.append(Page(kind, user, self.line(kind, user)))

    def position(self):
        status, answer = ask(self.server.port, "GET", "/position")
        assert status == 200, answer
        self.positions.append((answer["cursor"], []))

    def open_since(self):
        """A page that was made at a position."""
        if not self.positions or len(self.pages) >= 12:
            return
        cursor, told = self.positions.pop(self.random.randrange(len(self.positions)))
        kind = self.random.choice(["socket", "events"])
        user = self.random.choice([None, "a", "b"])
        page = Page(kind, user, self.line(kind, user, f"&since={cursor}"))
        self.settle(page, [number for number, scope in told if scope in ("*", user)])
        self.pages.append(page)

    def end(self):
        if self.pages:
            self.random.choice(self.pages).lose()

    def go_deaf(self):
        if self.pages:
            page = self.random.choice(self.pages)
            page.is_deaf = page.line is not None and page.kind == "socket"

    def return_(self):
        away = [page for page in self.pages if not page.is_here()]
        if away:
            self.come_back(self.random.choice(away))

    def to_all(self):
        self.tell({"opcode": "broadcast"}, lambda page: True, "*")

    def to_user(self):
        user = self.random.choice("ab")
        self.tell({"opcode": "feedback", "user": user}, lambda page: page.user == user, user)

    def to_one(self):
        sockets = [page for page in self.pages if page.kind == "socket"]
        if sockets:
            to = self.random.choice(sockets)
            self.tell({"opcode": "feedback", "uuid": to.uuid}, lambda page: page is to)

    def say_to_all(self):
        here = [page for page in self.pages if page.kind == "socket" and page.is_here()]
        if here:
            sender = self.random.choice(here)
            for _ in range(self.random.choice([1, 1, 4])):
                self.count += 1
                sender.line.say({"opcode": "broadcast", "n": self.count})
                self.spread(lambda page: page is not sender, "*")

    def restart(self):
        for page in self.pages:
            page.lose()
        self.server.restart()

    def replace(self):
        self.server.replace()

    def crash(self):
        if not self.is_roomy:
            for page in self.pages:
                page.lose()
            self.server.crash()

    def run(self):
        steps = {
            self.open: 8,
            self.position: 4,
            self.open_since: 4,
            self.end: 9,
            self.go_deaf: 5,
            self.return_: 16,
            self.to_all: 15,
            self.to_user: 12,
            self.to_one: 12,
            self.say_to_all: 8,
            self.restart: 2,
            self.replace: 2,
            self.crash: 1,
        }
        for step in self.random.choices(list(steps), list(steps.values()), k=STEPS):
            self.log.append(step.__name__)
            step()
        while away := [page for page in self.pages if not page.is_here()]:
            self.come_back(away[0])
        self.to_all()
        return self.gaps


def main(program, seeds):
    first, last = map(int, seeds.split("-"))
    passed = failed = gaps = 0
    for seed in range(first, last + 1):
        directory = tempfile.mkdtemp()
        world = World(program, directory, seed)
        try:
            gaps += world.run()
            passed += 1
        except (AssertionError, OSError, EOFError) as error:
            failed += 1
            print(f"FAILED seed {seed}: {error!r}, behind {world.log[-20:]}", flush=True)
            print(f"  repeat with: WEBSOCK_SEEDS={seed}-{seed} tests/replay/run.sh", flush=True)
        finally:
            world.server.end()
            shutil.rmtree(directory)
    if passed + failed >= 10 and not gaps:
        failed += 1
        print("FAILED nobody was told of a gap")
    print(f"replay: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
