"""Tabs that come back to other servers than those they were at, under load (docs/protocol.md 11.6)."""

import contextlib
import random
import threading
import time

from harness import PATIENCE, Case, Page, broadcast, eventually, feedback
from rolling import HAProxy

TABS = 24
MOVES = 6
SENDS = 'webSends=echo,feedback,broadcast\nlogConnections=off'


class Tab:
    """A page that resumes at whichever node it is sent to."""

    def __init__(self, node, user):
        self.user, self.heard, self.gaps = user, [], []
        self.page = node.page(user=user, query='?resume=1')
        self.uuid, self.secret = self.page.uuid, self.page.ready['resume']
        self.cursor, self.begin = self.page.ready['cursor'], 0

    def move(self, node):
        self.take_in()
        self.page.close()
        # What has come until the end counts, as it does in a browser.
        self.page.wait(lambda: self.page.has_ended, 'the end')
        self.come_back(node)

    def come_back(self, node):
        self.take_in()
        resumed = None
        # A server that is about to end may close it before it says so: then the same is said to the next.
        while resumed is None:
            self.page = node.page(user=self.user, query='?resume=1')
            with contextlib.suppress(OSError):
                self.page.send({'opcode': 'resume', 'uuid': self.uuid, 'secret': self.secret, 'cursor': self.cursor})
            self.page.wait(lambda: self.page.find('resumed') or self.page.is_over(), 'resumed')
            resumed = self.page.find('resumed')
        self.gaps.append(resumed['gap'])
        self.uuid, self.secret, self.cursor = resumed['uuid'], resumed['resume'], resumed['cursor']
        # What came before is among what follows, unless there is a gap.
        opcodes = [packet['opcode'] for packet in self.page.packets()]
        self.begin = opcodes.index('resumed') + 1 if resumed['gap'] is None else 0

    def take_in(self):
        packets = self.page.packets()
        for packet in packets[self.begin:]:
            if packet['opcode'] in ('feedback', 'broadcast'):
                self.heard.append(packet['n'])
                self.cursor = packet['cursor']
            elif packet['opcode'] == 'gap':
                self.gaps.append(packet['gap'])
        self.begin = len(packets)


class Moves(Case):
    # protocol.md 11.6
    def test_tabs_that_change_their_server_under_load_get_everything_once_and_in_order(self):
        store = self.redis()
        nodes = self.nodes([store.unix] * 3, SENDS + '\nbackplaneTimeout=10s')
        tabs = [Tab(nodes[at % 3], f'u{at}') for at in range(TABS)]
        for tab in tabs:
            store.wait_for_subscribers(f'u:{tab.user}', 1)
        # Until each has heard of each how far it is.
        for one, other in ((one, other) for one in nodes for other in nodes if one is not other):
            eventually('all is settled', lambda: self.moves_whole(one, other))
        sent, ends = [[] for _ in nodes], threading.Event()

        def push_on(index):
            number = index * 1_000_000
            while not ends.is_set():
                tab = random.choice(tabs)
                packets = [feedback(number, user=tab.user), feedback(number + 1, uuid=tab.uuid), broadcast(number + 2)]
                for packet, receivers in zip(packets, ([tab], [tab], tabs)):
                    status, answer = nodes[index].push(packet)
                    sent[index].append((packet['n'], receivers, status, answer))
                number += 3
                time.sleep(0.005)

        pushers = [threading.Thread(target=push_on, args=[index], daemon=True) for index in range(3)]
        for pusher in pushers:
            pusher.start()

        def move_on(some):
            for _ in range(MOVES):
                for tab in some:
                    tab.move(random.choice(nodes))

        movers = [threading.Thread(target=move_on, args=[tabs[at::6]], daemon=True) for at in range(6)]
        for mover in movers:
            mover.start()
        for thread in movers:
            thread.join(PATIENCE * 4)
            self.assertFalse(thread.is_alive(), 'a tab has not come back')
        ends.set()
        for thread in pushers:
            thread.join(PATIENCE)
        for index, node in enumerate(nodes):
            last = broadcast(9_000_000 + index)
            self.assertEqual(node.push(last), (200, {'delivered': TABS}))
            for tab in tabs:
                tab.page.wait_for(last['n'])
        for tab in tabs:
            tab.take_in()
            self.assertEqual(tab.gaps, [None] * MOVES)
            self.assertEqual(len(tab.heard), len(set(tab.heard)), 'nothing twice')
            for index in range(3):
                # By uuid takes two trips, so that what follows may be faster.
                direct = [n for n in tab.heard if n // 1_000_000 == index and n % 3 != (index * 1_000_000 + 1) % 3]
                self.assertEqual(direct, sorted(direct))
        accepted = 0
        for number, receivers, status, answer in (one for some in sent for one in some):
            self.assertNotIn('partial', answer)
            if status == 404 and number % 1_000_000 % 3 == 1:
                # It went from where it was asked for to where it had been.
                self.assertNotIn(number, receivers[0].heard)
                continue
            self.assertIn(status, (200, 202), (number, answer))
            for tab in receivers:
                self.assertIn(number, tab.heard, (status, answer))
                accepted += 1
        self.assertGreater(accepted, TABS * MOVES)
        print(f'[{TABS * MOVES} moves, {accepted} messages]', end=' ', flush=True)

    def moves_whole(self, one, other):
        tab = Tab(one, 'probe')
        tab.move(other)
        tab.page.close()
        return tab.gaps == [None]

    # protocol.md 11.6
    def test_a_tab_whose_server_is_killed_is_told_a_gap(self):
        store = self.redis()
        a, b = self.nodes([store.unix] * 2, SENDS)
        tab = Tab(a, 'jane')
        a.kill()
        eventually('Redis has noticed', lambda: store.subscriber_count('b') == 1)
        tab.move(b)
        self.assertEqual(tab.gaps, ['backplane'])


class Anywhere:
    """Whichever server the load balancer takes."""

    def __init__(self, address):
        self.address = address

    def page(self, user, query):
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return Page(self.address, user=user, query=query)
            except (ConnectionError, OSError):
                if time.monotonic() > deadline:
                    raise


class Deploy(Case):
    # protocol.md 11.6
    def test_while_all_servers_are_restarted_without_sticky_sessions_nothing_is_lost_unsaid(self):
        store = self.redis()
        ini = ('trustedProxies=127.0.0.1\nmaxPerIP=10000\nlogConnections=off\nbackplaneTimeout=10s\n'
               'shutdownTimeout=10s')
        nodes = self.nodes([store.unix] * 3, ini)
        proxy = HAProxy(nodes)
        self.addCleanup(proxy.stop)
        anywhere = Anywhere(proxy.address)
        tabs = [Tab(anywhere, f'u{at}') for at in range(60)]
        for tab in tabs:
            store.wait_for_subscribers(f'u:{tab.user}', 1)
        sent, ends = [], threading.Event()

        def push_on():
            number = 0
            while not ends.is_set():
                for node in nodes:
                    try:
                        status, answer = node.push(feedback(number, user=tabs[number % len(tabs)].user))
                        sent.append((number, status))
                    except OSError:
                        pass
                    number += 1
                time.sleep(0.01)

        def bring_back():
            while not ends.is_set():
                for tab in tabs:
                    if tab.page.is_over():
                        tab.come_back(anywhere)
                ends.wait(0.02)

        threads = [threading.Thread(target=target, daemon=True) for target in (push_on, bring_back)]
        for thread in threads:
            thread.start()
        for node in nodes:
            node.settings = node.settings.replace('ws://127.0.0.1:0', f'ws://127.0.0.1:{node.port}')
            node.leave()
            node.start()
            node.wait_until_in()
            eventually('HAProxy has it again', lambda: proxy.up_count() == 3)
        is_there = lambda tab: not tab.page.is_over()
        eventually('all are there', lambda: all(map(is_there, tabs)), 60)
        ends.set()
        for thread in threads:
            thread.join(60)
        eventually('everybody', lambda: nodes[0].push(broadcast(9_000_000)) == (200, {'delivered': len(tabs)}))
        came, whole = 0, 0
        for tab in tabs:
            tab.page.wait_for(9_000_000)
            tab.take_in()
            self.assertEqual(tab.heard.count(9_000_000), 1)
            came += len(tab.gaps)
            whole += tab.gaps.count(None)
            # One may have come in the moment before a new server heard the others.
            self.assertLessEqual(set(tab.gaps), {None, 'backplane'})
            if set(tab.gaps) <= {None}:
                self.assertEqual(len(tab.heard), len(set(tab.heard)), 'nothing twice')
        self.assertGreaterEqual(came, len(tabs))
        print(f'[{came} came back, {whole} of them without a gap]', end=' ', flush=True)
        self.assertGreater(whole, came * 3 // 4)
        for number, status in sent:
            tab = tabs[number % len(tabs)]
            if status in (200, 202) and set(tab.gaps) <= {None}:
                self.assertIn(number, tab.heard, status)
