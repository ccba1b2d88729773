"""Faults under load. Every receiver checks what it gets: nothing twice, nothing out of order, and at
least as often as was said. What did not arrive was said not to have: by `partial`, by `nodes`, by a
status, or to the receiver by a gap.
"""

import collections
import contextlib
import http.client
import json
import os
import random
import signal
import threading
import time

from harness import NUMBERS, PREFIX, Case, broadcast, encode, eventually, feedback

DELIVERED = (200, {'delivered': 1})
FAKETIME = '/usr/lib/{}/faketime/libfaketime.so.1'.format(os.uname().machine + '-linux-gnu')


class Pusher(threading.Thread):
    """Pushes to a node, one packet after the other, until it is told to stop."""

    def __init__(self, node, pages, users, first):
        super().__init__(daemon=True)
        self.node, self.pages, self.users, self.first = node, pages, users, first
        self.ends = threading.Event()
        self.answers = []
        self.failure = None
        self.start()

    def run(self):
        try:
            self.push()
        except Exception as error:
            self.failure = error

    def push(self):
        choose = random.Random(self.first)
        connection = http.client.HTTPConnection(*self.node.address, timeout=30)
        number = self.first
        while not self.ends.is_set():
            kind = choose.choice(['uuid', 'uuid', 'user', 'broadcast'])
            if kind == 'uuid':
                page = choose.choice(self.pages)
                packet, receivers = feedback(number, uuid=page.uuid), [page]
            elif kind == 'user':
                user = choose.choice(sorted(self.users))
                packet, receivers = feedback(number, user=user), self.users[user]
            else:
                packet, receivers = broadcast(number), self.pages
            try:
                connection.request('POST', '/push', json.dumps(packet), {'Content-Type': 'application/json'})
                response = connection.getresponse()
                self.answers.append((number, receivers, response.status, json.loads(response.read())))
            except (OSError, http.client.HTTPException):
                # The node has gone: it is not known what became of this one.
                connection.close()
                self.answers.append((number, receivers, 0, {'delivered': 0}))
                time.sleep(0.02)
            number += 1


class Loaded(Case):
    """Three nodes behind proxies of their own to one Redis, with pages at each, and pushers."""

    ini = 'backplaneTimeout=250ms'

    def setUp(self):
        self.store = self.redis()
        self.proxies = [self.proxy(self.store) for _ in range(3)]
        self.begin([proxy.url for proxy in self.proxies])

    def begin(self, backplanes):
        self.all = self.nodes(backplanes, self.ini)
        self.pages, self.users = [], collections.defaultdict(list)
        for node in self.all:
            for index in range(4):
                page = node.page(user=f'u{index}', query='?resume=1')
                page.node = node
                self.pages.append(page)
                self.users[f'u{index}'].append(page)
        self.wait_until_whole()
        self.pushers = []

    def wait_until_whole(self):
        for channel in ('b', 'u:u0', 'u:u1', 'u:u2', 'u:u3'):
            self.store.wait_for_subscribers(channel, 3)

    def load(self, nodes=None):
        for index, node in enumerate(nodes or self.all):
            self.pushers.append(Pusher(node, self.pages, self.users, 1_000_000 * (len(self.pushers) + 1)))

    def pushed(self, count):
        """Waits until so many more have been pushed by each."""
        before = [len(pusher.answers) for pusher in self.pushers]
        for pusher, start in zip(self.pushers, before):
            eventually('pushes go on', lambda: pusher.failure or len(pusher.answers) >= start + count, 60)

    def settle(self):
        """Ends the load; every route works again; then each page has all that is still to come."""
        for pusher in self.pushers:
            pusher.ends.set()
            pusher.join(60)
            self.assertIsNone(pusher.failure)
        self.wait_until_whole()
        alive = [node for node in self.all if node.process.poll() is None]
        pages = [page for page in self.pages if not page.has_ended]
        for node in alive:
            everybody = (200, {'delivered': len(pages)})
            eventually('a broadcast reaches everybody', lambda: node.push(broadcast(-1)) == everybody)
            for page in pages:
                eventually('a feedback arrives', lambda: node.push(feedback(-2, uuid=page.uuid)) == DELIVERED)
            for user, tabs in self.users.items():
                count = sum(not tab.has_ended for tab in tabs)
                answer = (200, {'delivered': count})
                eventually('a user is reached', lambda: node.push(feedback(-3, user=user)) == answer)
            self.wait_for_last(node, pages)

    def wait_for_last(self, node, pages):
        """These pages, which are all that are there, have whatever this node has sent them."""
        def reaches_everybody():
            number = next(NUMBERS)
            return node.push(broadcast(number)) == (200, {'delivered': len(pages)}) and number
        number = eventually('a broadcast reaches everybody', reaches_everybody)
        for page in pages:
            page.wait_for(number)

    def check(self, some_lost=None, killed=((), {})):
        """Checks every answer against what has arrived. killed: pages of a server that was killed, and how
        many answers each pusher had when they knew: what stood in its queues until then went with it."""
        lost_pages, known_at = killed
        heard = {page: collections.Counter(page.messages()) for page in self.pages}
        lost = said = 0
        for page, numbers in heard.items():
            twice = [number for number, count in numbers.items() if count > 1 and number >= 1_000_000]
            self.assertEqual(twice, [], 'twice')
            for pusher in self.pushers:
                own = [n for n in page.messages() if pusher.first <= n < pusher.first + 1_000_000]
                self.assertEqual(own, sorted(own), 'out of order')
        for pusher in self.pushers:
            for index, (number, receivers, status, answer) in enumerate(pusher.answers):
                arrived = sum(heard[page][number] for page in receivers)
                # One may have been under way.
                if index <= known_at.get(pusher, -1):
                    arrived += sum(page in lost_pages and not heard[page][number] for page in receivers)
                self.assertLessEqual(answer['delivered'], arrived, (number, status, answer))
                self.assertIn(status, (0, 200, 202, 404, 503, 504), answer)
                missed = [page for page in receivers if not heard[page][number] and not page.has_ended]
                if missed:
                    lost += 1
                    nodes = answer.get('nodes')
                    is_said = status != 200 or answer.get('partial') or nodes
                    is_counted = answer['delivered'] < len(receivers)
                    self.assertTrue(is_said or is_counted, (number, status, answer))
                    said += bool(is_said)
                    if not is_said:
                        for page in missed:
                            # At the latest by the next sign of life of who has sent it.
                            page.wait(lambda: page.find('gap'), f'a gap: {number} is missed')
        if some_lost is not None:
            self.assertEqual(lost > 0, some_lost, f'{lost} lost')
        total = sum(len(pusher.answers) for pusher in self.pushers)
        print(f'[{total} pushed, {lost} not at all receivers, {said} said in the answer]', end=' ', flush=True)


class OfRedis(Loaded):
    # protocol.md 11.4
    def test_nothing_goes_wrong_and_nothing_is_lost(self):
        self.load()
        self.pushed(300)
        self.settle()
        self.check(some_lost=False)

    # protocol.md 11.5
    def test_its_connections_are_killed_every_100_ms(self):
        self.load()
        self.pushed(20)
        ends = time.monotonic() + 5
        with contextlib.closing(self.store.client()) as client:
            while time.monotonic() < ends:
                client('CLIENT', 'KILL', 'TYPE', 'pubsub')
                client('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
                time.sleep(0.1)
        self.pushed(20)
        self.settle()
        self.check()

    # protocol.md 11.5
    def test_it_is_killed_and_started_again(self):
        self.load()
        for _ in range(3):
            self.pushed(20)
            self.store.kill()
            self.pushed(20)
            self.store.start()
            self.wait_until_whole()
        self.settle()
        self.check()

    # protocol.md 11.5
    def test_it_stands_still_for_a_while(self):
        self.load()
        self.pushed(20)
        for _ in range(3):
            self.store.signal(signal.SIGSTOP)
            self.pushed(5)
            self.store.signal(signal.SIGCONT)
            self.pushed(50)
        self.settle()
        self.check()


class OfRedisLongOnes(Loaded):
    # protocol.md 11.4
    def test_it_is_slow(self):
        self.load()
        self.proxies[0].delay = 0.05
        self.proxies[1].delay = 0.4
        self.pushed(30)
        for proxy in self.proxies:
            proxy.delay = 0
        self.settle()
        self.check()

    # protocol.md 11.5
    def test_it_cuts_a_subscriber_that_does_not_read(self):
        self.store('CONFIG', 'SET', 'client-output-buffer-limit', 'pubsub 262144 0 0')
        stopped = self.all[2]
        stopped.signal(signal.SIGSTOP)
        heard = lambda: self.store.subscriber_count('b')
        filling = {**broadcast(-9), 'x': 'x' * 100_000}
        eventually('it is cut', lambda: self.all[0].push(filling) and heard() == 2, 60)
        stopped.signal(signal.SIGCONT)
        self.wait_until_whole()
        self.load()
        self.pushed(50)
        self.settle()
        self.check()
        for page in self.pages:
            if page.node is stopped:
                page.wait(lambda: page.find('gap'), 'a gap: what was cut off is said')

    # protocol.md 11.5
    def test_it_answers_by_errors(self):
        errors = [b'-LOADING Redis is loading the dataset in memory', b"-READONLY You can't write against a replica.",
                  b"-OOM command not allowed when used memory > 'maxmemory'.", b'-NOAUTH Authentication required.',
                  b'-MOVED 3999 127.0.0.1:6381', b'-CLUSTERDOWN The cluster is down', b'-MASTERDOWN Link with MASTER is down',
                  b'-ERR unknown', b'+QUEUED', b':-5', b':999999', b'$3\r\nabc', b'*0', b'$-1', b'-', b'?what']
        self.load()
        self.pushed(10)
        for error in errors:
            for proxy in self.proxies[:2]:
                proxy.rule = lambda words: error + b'\r\n' if words[0].upper() == b'PUBLISH' else None
            self.pushed(5)
            for proxy in self.proxies[:2]:
                proxy.rule = None
            self.pushed(5)
        for error in errors:
            # Now each command, for those who come anew.
            for proxy in self.proxies[:2]:
                proxy.rule = lambda words: error + b'\r\n'
                proxy.end_connections()
            self.pushed(2)
        for proxy in self.proxies[:2]:
            proxy.rule = None
            proxy.end_connections()
        self.settle()
        self.check(some_lost=True)

    # protocol.md 11.5
    def test_real_refusals(self):
        self.load()
        self.pushed(10)
        for begin, end in (
                (('CONFIG', 'SET', 'requirepass', 'secret'), ('CONFIG', 'SET', 'requirepass', '')),
                (('REPLICAOF', '127.0.0.1', '1'), ('REPLICAOF', 'NO', 'ONE')),
                (('CONFIG', 'SET', 'maxmemory', '1'), ('CONFIG', 'SET', 'maxmemory', '0')),
                (('CONFIG', 'SET', 'maxclients', '1'), ('CONFIG', 'SET', 'maxclients', '10000'))):
            with contextlib.closing(self.store.client()) as client:
                self.assertEqual(client(*begin), b'+OK')
                client('CLIENT', 'KILL', 'TYPE', 'pubsub')
                client('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
                self.pushed(10)
                # Without password for the one who has set it.
                self.assertEqual(client(*end), b'+OK')
            self.wait_until_whole()
            self.pushed(10)
        self.settle()
        self.check()


class OfNodes(Loaded):
    # protocol.md 11.4
    def test_one_stands_still_and_goes_on(self):
        self.load(self.all[:2])
        for _ in range(3):
            self.pushed(20)
            self.all[2].signal(signal.SIGSTOP)
            self.pushed(10)
            self.all[2].signal(signal.SIGCONT)
        self.settle()
        self.check()

    # protocol.md 11.4, 11.6
    def test_one_is_killed_and_comes_back(self):
        self.load(self.all[:2])
        gone = self.all[2]
        self.pushed(50)
        gone.kill()
        lost = [page for page in self.pages if page.node is gone]
        eventually('its pages notice', lambda: all(page.has_ended for page in lost))
        known_at = {pusher: len(pusher.answers) for pusher in self.pushers}
        self.pushed(50)
        for pusher in self.pushers:
            pusher.ends.set()
            pusher.join(60)
        eventually('Redis knows', lambda: self.store.subscriber_count('b') == 2)
        for node in self.all[:2]:
            self.wait_for_last(node, [page for page in self.pages if page.node is not gone])
        self.check(killed=(lost, known_at))
        for page in lost:
            # 504 where Redis itself has not answered in time.
            eventually('nobody is there', lambda: self.all[0].push(feedback(0, uuid=page.uuid))[0] == 404)
        gone.start()
        gone.wait_until_in()
        for index in range(4):
            page = gone.page(user=f'u{index}', query='?resume=1')
            page.node = gone
            self.pages.append(page)
            self.users[f'u{index}'].append(page)
        self.settle()

    # protocol.md 11.5
    def test_the_cable_between_one_and_redis_is_pulled(self):
        self.load()
        self.pushed(20)
        for _ in range(2):
            self.proxies[2].freeze()
            self.pushed(20)
            self.proxies[2].heal()
            self.pushed(20)
        self.settle()
        self.check()

    # protocol.md 11.5
    def test_redis_refuses_one_of_them_for_a_while(self):
        self.load()
        self.pushed(20)
        for _ in range(3):
            self.proxies[1].cut()
            self.pushed(20)
            self.proxies[1].heal()
            self.wait_until_whole()
        self.settle()
        self.check()


class OfClocks(Loaded):
    # Those who are fine answer in time on a busy machine, too.
    ini = 'backplaneTimeout=3s'

    # protocol.md 11.1
    def test_one_whose_clock_is_off_by_hours_does_no_harm(self):
        assert os.path.exists(FAKETIME), 'libfaketime is needed'
        for offset, is_fine in (('+1h', True), ('-1h', True), ('+3h', False), ('-3h', False)):
            odd = self.node(self.store.unix, self.ini, environment={
                'LD_PRELOAD': FAKETIME, 'FAKETIME': offset, 'FAKETIME_DONT_FAKE_MONOTONIC': '1'})
            odd.wait_until_in()
            page = odd.page()
            there = self.all[0], self.pages[0]
            for number, ((sender, _), (_, receiver)) in enumerate((((odd, page), there), (there, (odd, page)))):
                status, answer = sender.push(feedback(number, uuid=receiver.uuid))
                if is_fine:
                    self.assertEqual((status, answer), DELIVERED)
                    receiver.wait(lambda: receiver.messages()[-1:] == [number], 'the message')
                else:
                    self.assertEqual((status, answer['nodes']), (504, {'asked': 1, 'answered': 0}))
            if not is_fine:
                self.all[0].wait_for_log('clock')
            odd.leave()
        self.load()
        self.pushed(50)
        self.settle()
        self.check(some_lost=False)


class Foreigners(Loaded):
    """Somebody else publishes in the same Redis."""

    # Long enough for an answer behind all that is forged.
    ini = 'backplaneTimeout=3s'

    def capture(self):
        """(channel, payload) of a broadcast, a feedback to a user and one to a uuid, as they went by."""
        with contextlib.closing(self.store.client()) as client:
            client('PSUBSCRIBE', PREFIX + '*')
            for number, receiver in enumerate(({'uuid': self.pages[0].uuid}, {'user': 'u1'})):
                self.all[2].push(feedback(5000 + number, **receiver))
            self.all[2].push(broadcast(5002))
            captured = []
            while True:
                _, _, channel, payload = client.read()
                captured.append((channel, payload))
                if b'5002' in payload:
                    return [(c, p) for c, p in captured if b'"n"' in p]

    # protocol.md 11.1
    def test_what_is_forged_or_replayed_reaches_nobody(self):
        captured = self.capture()
        self.assertEqual(len(captured), 3)
        channels = [channel for channel, _ in captured]
        for page in self.pages:
            page.wait_for(5002)
        before = [len(page.texts) for page in self.pages]
        choose = random.Random(7)
        with contextlib.closing(self.store.client()) as client:
            for channel, payload in captured:
                client('PUBLISH', channel, payload)
                for other in channels:
                    client('PUBLISH', other, payload)
                for cut in range(0, len(payload), 3):
                    client('PUBLISH', channel, payload[:cut])
                for at in range(len(payload)):
                    flipped = bytearray(payload)
                    flipped[at] ^= 1 << choose.randrange(8)
                    client('PUBLISH', channel, bytes(flipped))
                client('PUBLISH', channel, payload + b'x')
                client('PUBLISH', channel, payload.replace(b'5002', b'6002'))
            for _ in range(500):
                client('PUBLISH', choose.choice(channels), choose.randbytes(choose.randrange(300)))
        number = next(NUMBERS)
        self.assertEqual(self.all[1].push(broadcast(number)), (200, {'delivered': 12}))
        for page, count in zip(self.pages, before):
            page.wait_for(number)
            self.assertEqual(len(page.texts), count + 1, page.texts[count:])
        self.all[0].wait_for_log('envelopes refused')

    # protocol.md 11.1
    def test_a_replay_reaches_nobody_who_has_started_since(self):
        captured = self.capture()
        fresh = self.node(self.store.unix, self.ini).wait_until_in()
        page = fresh.page(user='u1')
        self.store.wait_for_subscribers('u:u1', 4)
        with contextlib.closing(self.store.client()) as client:
            for channel, payload in captured:
                client('PUBLISH', channel, payload)
        number = next(NUMBERS)
        self.assertEqual(fresh.push(broadcast(number))[1]['delivered'], 13)
        page.wait_for(number)
        # What was sent before it came, seconds ago, it may take for late; never twice.
        for message in page.messages():
            self.assertEqual(page.messages().count(message), 1)

    def play(self, captured, page):
        """Publishes again what was captured, and shows that this page gets nothing of it."""
        with contextlib.closing(self.store.client()) as client:
            for _ in range(3):
                for channel, payload in captured:
                    client('PUBLISH', channel, payload)
        number = next(NUMBERS)
        eventually('a broadcast arrives', lambda: self.all[0].push(broadcast(number))[1]['delivered'])
        page.wait_for(number)
        self.assertEqual([n for n in page.messages() if n in (5000, 5001, 5002)], [], 'played')

    # protocol.md 11.1
    def test_a_record_of_one_that_has_gone_reaches_nobody_who_has_started_since(self):
        captured = self.capture()
        self.all[2].kill()
        self.store.wait_for_subscribers('b', 2)
        fresh = self.node(self.store.unix).wait_until_in()
        page = fresh.page(user='u1')
        self.store.wait_for_subscribers('u:u1', 3)
        self.play(captured, page)
        eventually('it is counted', lambda: 'reason="unproven"} 0' not in fresh.request('GET', '/metrics')[1])

    # protocol.md 11.1
    def test_a_record_of_what_was_missed_while_redis_was_away_reaches_nobody(self):
        self.proxies[1].cut()
        self.all[1].wait_for_log('Redis is away')
        captured = self.capture()
        self.all[2].kill()
        self.proxies[1].heal()
        self.store.wait_for_subscribers('u:u1', 2)
        self.play(captured, self.users['u1'][1])

    # protocol.md 11.1
    def test_a_flood_delays_and_costs_no_more_than_reading_it(self):
        self.load()
        ends = time.monotonic() + 3
        garbage = encode('PUBLISH', PREFIX + 'b', os.urandom(1000)) * 500
        count = 0
        with contextlib.closing(self.store.client()) as client:
            while time.monotonic() < ends:
                client.socket.sendall(garbage)
                for _ in range(500):
                    client.read()
                count += 500
        self.pushed(20)
        self.settle()
        self.check()
        print(f'[{count} forged]', end=' ')
        for node in self.all:
            with open(f'/proc/{node.process.pid}/status') as status:
                peak = next(int(line.split()[1]) for line in status if line.startswith('VmHWM:'))
            self.assertLess(peak, 200_000, 'KiB')
