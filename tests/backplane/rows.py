"""What docs/protocol.md §11 promises, row by row, with three servers and a real Redis."""

import contextlib
import os
import signal

from harness import NUMBERS, PREFIX, SECRET, Case, Page, broadcast, eventually, feedback, free_port

DOCS = os.path.join(os.path.dirname(__file__), '../../docs/several-machines.md')
SENDS = 'webSends=echo,feedback,broadcast'
DELIVERED = (200, {'delivered': 1})


class Routes(Case):
    """Everything is well: who gets what, and what is said about it."""

    def setUp(self):
        self.store = self.redis()
        self.a, self.b, self.c = self.all = self.nodes([self.store.unix] * 3, SENDS)

    # protocol.md 11.2, 11.3
    def test_a_uuid_is_reached_from_every_node_and_says_where_it_is(self):
        pages = [node.page() for node in self.all]
        for page in pages:
            for node in self.all:
                number = next(NUMBERS)
                self.assertEqual(node.push(feedback(number, uuid=page.uuid)), DELIVERED)
                page.wait_for(number)
        for page in pages:
            page.round_trip()
            self.assertEqual(len(page.messages()), 3)
        self.assertEqual(len({page.uuid[-4:] for page in pages}), 3, 'three numbers')
        claims = {int(key.rsplit(b':')[-1]) for key in self.store('KEYS', PREFIX + 'node:*')}
        self.assertEqual(claims, {int(page.uuid[-4:], 16) for page in pages})

    # protocol.md 11.3
    def test_a_uuid_of_nobody_is_404_from_every_node(self):
        page = self.a.page()
        unknown = '8367a0a4-7b9c-4a3e-9f53-6b1c2d3e' + page.uuid[-4:]
        free = '8367a0a4-7b9c-4a3e-9f53-6b1c2d3e0000'
        page.close()
        for node in self.all:
            for uuid in (unknown, free, 'nobody'):
                status, answer = node.push(feedback(1, uuid=uuid))
                self.assertEqual((status, answer['delivered']), (404, 0), answer)
        eventually('the page has gone', lambda: self.a.push(feedback(1, uuid=page.uuid))[0] == 404)
        self.assertEqual(self.b.push(feedback(1, uuid=page.uuid))[0], 404)

    # protocol.md 11.2
    def test_a_user_is_reached_in_all_tabs_at_all_nodes_and_nobody_else_is(self):
        tabs = [node.page(user='42') for node in (self.a, self.a, self.b)]
        others = [self.b.page(user='43'), self.c.page(user='042'), self.c.page()]
        self.store.wait_for_subscribers('u:42', 2)
        for node in self.all:
            number = next(NUMBERS)
            self.assertEqual(node.push(feedback(number, user='42')), (200, {'delivered': 3}))
            for tab in tabs:
                tab.wait_for(number)
            self.assertEqual(node.request('GET', '/users/42'), (200, {'user': '42', 'tabs': 3}))
            status, answer = node.request('POST', '/users', ['42', '7', '43'])
            self.assertEqual((status, answer['users']),
                             (200, [{'user': '42', 'tabs': 3}, {'user': '43', 'tabs': 1}]))
            self.assertEqual(node.request('GET', '/users/7')[0], 404)
            self.assertEqual(node.push(feedback(number, user='7'))[0], 404)
        for page in tabs + others:
            page.round_trip()
        self.assertEqual([len(page.messages()) for page in tabs + others], [3, 3, 3, 0, 0, 0])

    # protocol.md 11.2, 3.1, 3.4
    def test_of_an_ident_the_one_that_opened_first_anywhere_is_the_receiver(self):
        for node in self.all:
            node.page(ident='asked')
        self.store.wait_for_subscribers('i:asked', 3)

        # How far their clocks are apart is known as well as the fastest answers tell: as each of them
        # has asked all others meanwhile, that is by less than the next one opens later.
        def ask_all(times):
            for node in self.all * times:
                self.assertEqual(node.push(feedback(0, ident='asked')), DELIVERED)
        ask_all(20)
        # Numbers of equal value have one channel, which is called by what they have in common.
        heard = lambda: [self.store('PUBSUB', 'NUMSUB', channel)[1]
                         for channel in self.store('PUBSUB', 'CHANNELS', PREFIX + 'd:*')]
        first = self.b.page(ident='42')
        eventually('one hears it', lambda: heard() == [1])
        ask_all(2)
        second = self.a.page(ident='42')
        eventually('two hear it', lambda: heard() == [2])
        ask_all(2)
        third = self.c.page(ident='042')
        eventually('three hear it', lambda: heard() == [3])
        for node in self.all:
            for ident, receiver in (('42', first), (42, first), ('042', third)):
                number = next(NUMBERS)
                self.assertEqual(node.push(feedback(number, ident=ident)), DELIVERED)
                receiver.wait_for(number)
        first.close()
        eventually('it has gone', lambda: self.b.push(feedback(0, ident='42')) == DELIVERED
                   and second.messages())
        self.assertEqual(self.b.push(feedback(77, ident=42)), DELIVERED)
        second.wait_for(77)
        third.round_trip()
        self.assertEqual(len(third.messages()), 3)
        self.assertEqual(self.c.push(feedback(1, ident='43'))[0], 404)

    # protocol.md 11.2, 2.9
    def test_a_chosen_name_is_reached_from_every_node(self):
        named = Page(self.b.address, path='/')
        old = named.uuid
        named.say({'opcode': 'uuid', 'message': 'Jane'})
        self.store.wait_for_subscribers('c:Jane', 1)
        for node in self.all:
            number = next(NUMBERS)
            self.assertEqual(node.push(feedback(number, uuid='Jane')), DELIVERED)
            named.wait_for(number)
            self.assertEqual(node.push(feedback(number, uuid=old))[0], 404)

    # protocol.md 11.2
    def test_a_broadcast_reaches_each_page_once_and_not_its_sender(self):
        pages = [node.page() for node in self.all for _ in range(3)]
        script = self.a.script('script')
        for node in self.all:
            number = next(NUMBERS)
            self.assertEqual(node.push(broadcast(number)), (200, {'delivered': 9}))
        pages[0].say(broadcast(next(NUMBERS)))
        script.say(broadcast(number := next(NUMBERS)))
        for page in pages:
            page.wait_for(number)
            page.round_trip()
        self.assertEqual([len(page.messages()) for page in pages], [4] + [5] * 8)
        script.round_trip()
        self.assertEqual(script.messages(), [])

    # protocol.md 11.2, 3.2
    def test_pages_and_scripts_reach_those_at_other_nodes_and_get_their_next_at_once(self):
        page, script = self.a.page(), self.b.script('printer')
        self.store.wait_for_subscribers('i:printer', 1)
        for number in range(100, 150):
            script.say(feedback(number, uuid=page.uuid))
            page.say(feedback(number, ident='printer'))
        page.wait_for(149)
        script.wait_for(149)
        self.assertEqual(page.messages(), list(range(100, 150)))
        self.assertEqual(script.messages(), list(range(100, 150)))
        self.assertEqual(self.c.push(feedback(1, uuid=script.uuid))[0], 404, 'a script has no uuid')

    # protocol.md 11.2
    def test_a_logout_closes_the_tabs_at_all_nodes(self):
        tabs = [node.page(user='42') for node in (self.a, self.b, self.b, self.c)]
        other = self.b.page(user='43')
        self.store.wait_for_subscribers('u:42', 3)
        self.assertEqual(self.c.push({'opcode': 'logout', 'user': '42'}), (200, {'closed': 4}))
        for tab in tabs:
            tab.wait(lambda: tab.close_code == 4401, '4401')
        other.round_trip()
        self.assertEqual(self.a.push({'opcode': 'logout', 'user': '42'}), (200, {'closed': 0}))
        self.assertEqual(self.a.push(feedback(1, user='42'))[0], 404)

    # protocol.md 11.2, 11.4
    def test_a_batch_keeps_its_order_and_says_what_became_of_each(self):
        pages = [node.page() for node in self.all]
        tab = self.b.page(user='42')
        self.store.wait_for_subscribers('u:42', 1)
        packets, expected = [], []
        for number in range(300):
            packets.append(feedback(number, uuid=pages[number % 3].uuid))
            expected.append({'delivered': 1})
            packets.append(feedback(number, user='42'))
            expected.append({'delivered': 1})
        packets.append(feedback(0, user='7'))
        packets.append(broadcast(300))
        status, answer = self.a.push(packets)
        self.assertEqual((status, answer['delivered']), (200, 604))
        self.assertEqual(answer['results'][:600], expected)
        self.assertEqual(answer['results'][600]['delivered'], 0)
        self.assertEqual(answer['results'][601], {'delivered': 4})
        for page in [*pages, tab]:
            page.wait_for(300)
        self.assertEqual(tab.messages(), list(range(301)))
        for index, page in enumerate(pages):
            self.assertEqual(page.messages(), [*range(index, 300, 3), 300])

    # protocol.md 11.2, 3.1
    def test_what_is_sent_goes_through_byte_by_byte_and_of_any_length(self):
        page = self.b.page()
        for filling in ('\u20ac', '\\u0000 "\\n"', 'x' * 70_000, 'y' * 1_000_000):
            text = '{ "opcode":"feedback","uuid":"%s","n":1.10,"x":"%s" }' % (page.uuid, filling.replace('"', '\\"'))
            self.assertEqual(self.a.push(text.encode()), DELIVERED)
            page.wait(lambda: page.texts[-1:] == [text], 'the same bytes')

    # protocol.md 11.4
    def test_who_is_not_waited_for_gets_it_all_the_same(self):
        page = self.c.page()
        status, answer = self.a.request('POST', '/push?wait=0', feedback(5, uuid=page.uuid))
        self.assertIn(status, (200, 202), answer)
        page.wait_for(5)

    # protocol.md 11.3
    def test_channels_are_given_back_when_nobody_wants_them(self):
        pages = [self.a.page(user=str(user)) for user in range(600)]
        self.store.wait_for_subscribers('u:599', 1)
        count = lambda: len(self.store('PUBSUB', 'CHANNELS', PREFIX + 'u:*'))
        self.assertEqual(count(), 600)
        for page in pages:
            page.close()
        eventually('nobody wants them', lambda: count() == 0, 60)


class Links(Case):
    """Ways to Redis, and those that are refused."""

    def check(self, *backplanes, ini=''):
        a, b = self.nodes(backplanes, ini)
        page = a.page()
        self.assertEqual(b.push(feedback(1, uuid=page.uuid)), DELIVERED)
        page.wait_for(1)

    # protocol.md 11.1
    def test_tls_with_roots_of_its_own_beside_tcp(self):
        store = self.redis()
        self.check(store.tls, store.tls, ini=f'backplaneCA={store.roots}')

    # protocol.md 11.1
    def test_password_and_database_by_tcp_and_by_unix_socket(self):
        store = self.redis('--requirepass', 'pa/ss word')
        self.check(f'redis://:pa%2Fss%20word@127.0.0.1:{store.port}/3',
                   f'{store.unix}?password=pa/ss word&database=3')

    # protocol.md 11.1; docs/several-machines.md has this user
    def test_a_user_who_may_do_only_what_is_needed(self):
        store = self.redis()
        with open(DOCS) as docs:
            line = next(line for line in docs if line.startswith('user websock '))
        rules = line.split()[2:]
        self.assertEqual(store('ACL', 'SETUSER', 'websock', *rules), b'+OK')
        password = next(rule for rule in rules if rule.startswith('>'))[1:]
        url = f'redis://websock:{password}@127.0.0.1:{store.port}'
        a, b = self.nodes([url, url])
        page, tab = a.page(), a.page(user='42', ident='printer')
        store.wait_for_subscribers('u:42', 1)
        store.wait_for_subscribers('i:printer', 1)
        for receiver in ({'uuid': page.uuid}, {'user': '42'}, {'ident': 'printer'}):
            self.assertEqual(b.push(feedback(1, **receiver)), DELIVERED)
        self.assertEqual(b.push(broadcast(2)), (200, {'delivered': 2}))
        tab.close()
        page.wait_for(2)
        self.assertEqual(store('ACL', 'LOG'), [], 'nothing was asked that is not allowed')
        with contextlib.closing(store.client()) as client:
            self.assertEqual(client('AUTH', 'websock', password), b'+OK')
            for forbidden in (['KEYS', '*'], ['SET', 'other', '1'], ['GET', 'other'], ['PUBLISH', 'other', 'x'],
                              ['SUBSCRIBE', 'other'], ['PSUBSCRIBE', '*'], ['FLUSHALL'], ['CONFIG', 'GET', '*']):
                self.assertRegex(client(*forbidden), b'^-NOPERM', forbidden)

    # protocol.md 11.1
    def test_a_cluster_is_refused_with_a_clear_line(self):
        # Else the port of its bus is 10,000 above, where the system may have given it to somebody.
        store = self.redis('--cluster-enabled', 'yes', '--cluster-port', str(free_port()))
        node = self.node(store.tcp)
        node.wait_for_log('cluster')
        page = node.page()
        self.assertEqual(node.push(feedback(1, uuid=page.uuid)), DELIVERED)
        page.wait_for(1)

    # protocol.md 11.1
    def test_a_start_while_redis_is_away_works_and_it_is_found_later(self):
        store = self.redis()
        store.kill()
        a, b = self.node(store.unix), self.node(store.unix)
        page = a.page()
        self.assertEqual(a.push(feedback(1, uuid=page.uuid)), DELIVERED)
        page.wait_for(1)
        store.start()
        a.wait_until_in()
        b.wait_until_in()
        later = a.page()
        self.assertEqual(b.push(feedback(2, uuid=later.uuid)), DELIVERED)
        # Its uuid is of the time before there was a number: it is found by name.
        eventually('found', lambda: b.push(feedback(3, uuid=page.uuid)) == DELIVERED)
        page.wait_for(3)

    # protocol.md 11.1
    def test_prefixes_keep_two_shops_on_one_redis_apart(self):
        store = self.redis()
        a, = self.nodes([store.unix], 'backplanePrefix=shop-a:')
        b, = self.nodes([store.unix], 'backplanePrefix=shop-b:')
        page, other = a.page(user='42'), b.page(user='42')
        eventually('heard', lambda: len(store('PUBSUB', 'CHANNELS', 'shop-?:u:42')) == 2)
        self.assertEqual(b.push(feedback(1, uuid=page.uuid))[0], 404)
        self.assertEqual(b.push(feedback(2, user='42')), DELIVERED)
        self.assertEqual(b.push(broadcast(3)), (200, {'delivered': 1}))
        other.wait_for(3)
        page.round_trip()
        self.assertEqual(page.messages(), [])

    # protocol.md 11.1
    def test_another_secret_reaches_nobody_and_is_counted(self):
        store = self.redis()
        a, = self.nodes([store.unix])
        b = self.node(store.unix, 'backplaneTimeout=1s')
        b.settings = b.settings.replace(SECRET, 'another secret, which is as long as it has to be')
        b.kill()
        b.start()
        b.wait_until_in()
        page = a.page()
        status, answer = b.push(feedback(1, uuid=page.uuid))
        self.assertEqual((status, answer['delivered']), (504, 0))
        self.assertEqual(answer['nodes'], {'asked': 1, 'answered': 0})
        a.wait_for_log('not signed by backplaneSecret')
        page.round_trip()
        self.assertEqual(page.messages(), [])


class Away(Case):
    """Redis or a node is away, and back (11.4, 11.5)."""

    def setUp(self):
        self.store = self.redis()
        # Those who go on answer in time on a busy machine, too.
        self.a, self.b, self.c = self.all = self.nodes([self.store.unix] * 3, 'backplaneTimeout=3s')

    # protocol.md 11.4
    def test_the_only_receivers_node_that_does_not_answer_is_504_and_it_may_have_it(self):
        page = self.a.page()
        self.a.signal(signal.SIGSTOP)
        status, answer = self.b.push(feedback(1, uuid=page.uuid))
        self.assertEqual((status, answer['delivered'], answer['nodes']), (504, 0, {'asked': 1, 'answered': 0}))
        self.a.signal(signal.SIGCONT)
        page.wait_for(1)
        self.assertEqual(self.b.push(feedback(2, uuid=page.uuid)), DELIVERED)
        page.wait_for(2)

    # protocol.md 11.4
    def test_who_has_not_answered_is_said_beside_what_was_delivered(self):
        tabs = [node.page(user='42') for node in self.all]
        self.store.wait_for_subscribers('u:42', 3)
        nodes = {'asked': 2, 'answered': 1}
        # Each time for no longer than one of them is waited for.
        for number, (sender, packet, expected) in enumerate((
                (self.b, feedback(1, user='42'), {'delivered': 2, 'nodes': nodes}),
                (self.c, broadcast(2), {'delivered': 2, 'nodes': nodes}),
                (self.b, {'opcode': 'logout', 'user': '42'}, {'closed': 2, 'nodes': nodes})), 1):
            self.a.signal(signal.SIGSTOP)
            self.assertEqual(sender.push(packet), (200, expected))
            self.a.signal(signal.SIGCONT)
            if number < 3:
                tabs[0].wait_for(number)
        for tab in tabs:
            tab.wait(lambda: tab.close_code == 4401, '4401')
            self.assertEqual(tab.messages(), [1, 2])

    # protocol.md 11.4, 11.6
    def test_a_killed_node_is_404_at_once_and_is_missed_by_nobody_else(self):
        page, other = self.a.page(), self.b.page(user='42')
        self.store.wait_for_subscribers('u:42', 1)
        self.a.kill()
        eventually('Redis knows', lambda: self.store.subscriber_count('b') == 2)
        status, answer = self.b.push(feedback(1, uuid=page.uuid))
        self.assertEqual((status, answer['delivered']), (404, 0))
        self.assertEqual(self.c.push(feedback(2, user='42')), DELIVERED)
        self.assertEqual(self.c.push(broadcast(3)), DELIVERED)
        other.wait_for(3)

    # protocol.md 11.5
    def test_redis_away_local_delivery_goes_on_and_the_answer_says_partial(self):
        pages = [node.page(user='42') for node in self.all]
        self.store.wait_for_subscribers('u:42', 3)
        self.store.kill()
        self.a.wait_for_log('Redis is away')
        self.assertEqual(self.a.push(feedback(1, uuid=pages[0].uuid)), DELIVERED)
        status, answer = self.a.push(feedback(2, user='42'))
        self.assertEqual((status, answer), (200, {'delivered': 1, 'partial': True}))
        status, answer = self.a.push(broadcast(3))
        self.assertEqual((status, answer), (200, {'delivered': 1, 'partial': True}))
        status, answer = self.a.push({'opcode': 'logout', 'user': 'nobody'})
        self.assertEqual((status, answer), (200, {'closed': 0, 'partial': True}))
        status, answer = self.a.push(feedback(4, uuid=pages[1].uuid))
        self.assertEqual((status, answer['delivered'], answer['partial']), (504, 0, True))
        pages[0].wait_for(3)
        self.assertEqual(pages[0].messages(), [1, 2, 3])

    # protocol.md 11.5
    def test_redis_back_all_routes_work_again(self):
        pages = [node.page(user='42', ident='printer') for node in self.all]
        for _ in range(3):
            self.store.wait_for_subscribers('u:42', 3)
            self.store.kill()
            for node in self.all:
                status, answer = node.push(broadcast(0))
                self.assertEqual((status, answer['delivered']), (200, 1))
            self.store.start()
            for channel in ('b', 'u:42', 'i:printer'):
                self.store.wait_for_subscribers(channel, 3)
            for sender in self.all:
                number = next(NUMBERS)
                everybody = (200, {'delivered': 3})
                eventually('everybody', lambda: sender.push(broadcast(-1)) == everybody)
                self.assertEqual(sender.push(feedback(number, user='42')), everybody)
                for page in pages:
                    page.wait_for(number)
                    eventually('by uuid', lambda: sender.push(feedback(-2, uuid=page.uuid)) == DELIVERED)
                self.assertEqual(sender.push(feedback(-3, ident='printer')), DELIVERED)

    # protocol.md 11.5
    def test_what_waits_for_redis_is_bounded_and_what_is_lost_is_counted(self):
        store = self.redis()
        a, = self.nodes([store.unix], 'backplaneQueue=64K')
        store.kill()
        a.wait_for_log('Redis is away')
        for _ in range(30):
            self.assertEqual(a.push({**broadcast(1), 'x': 'x' * 10_000}), (200, {'delivered': 0, 'partial': True}))
        a.wait_for_log('messages to other servers lost')

    # protocol.md 11.5
    def test_a_hole_is_told_to_tabs_that_have_opted_in(self):
        plain, told = self.b.page(), self.b.page(query='?resume=1')
        self.assertEqual(self.a.push(broadcast(1)), (200, {'delivered': 2}))
        # What Redis had for this one alone is lost with its connection.
        self.b.signal(signal.SIGSTOP)
        with contextlib.closing(self.store.client()) as client:
            client('CLIENT', 'KILL', 'TYPE', 'pubsub')
            eventually('a and c are back', lambda: self.store.subscriber_count('b') == 2)
            self.assertEqual(self.a.push(broadcast(2))[1]['delivered'], 0)
        self.b.signal(signal.SIGCONT)
        self.store.wait_for_subscribers('b', 3)
        eventually('everybody', lambda: self.a.push(broadcast(3)) == (200, {'delivered': 2}))
        gap = told.wait(lambda: told.find('gap'), 'a gap')
        self.assertEqual(gap['gap'], 'backplane')
        self.assertTrue(gap['cursor'])
        plain.wait_for(3)
        self.assertIsNone(plain.find('gap'))
        self.assertNotIn(2, plain.messages())


class Numbers(Case):
    """The claim to a number (11.3)."""

    # protocol.md 11.3
    def test_a_number_that_another_has_taken_meanwhile_is_given_up(self):
        store = self.redis()
        a, b = self.nodes([store.unix] * 2)
        page = a.page(query='?resume=1')
        number = int(page.uuid[-4:], 16)
        key = f'{PREFIX}node:{number}'
        store('SET', key, 'another', 'PX', '600000')
        # It looks after its claim again when it has lost its connection.
        store('CLIENT', 'KILL', 'TYPE', 'pubsub')
        store('CLIENT', 'KILL', 'TYPE', 'normal')
        a.wait_for_log('is another server by now')
        a.wait_for_log('backplane: this is node', 2)
        self.assertEqual(store('GET', key), b'another')
        later = a.page()
        self.assertNotEqual(int(later.uuid[-4:], 16), number)
        # The other one has lost its connection, too.
        eventually('reached', lambda: b.push(feedback(1, uuid=later.uuid)) == DELIVERED)
        # Whoever has a uuid of the old number is told, or still reached.
        told = lambda: page.find('restart') or page.find('gap') or page.close_code
        eventually('told or reached', lambda: told() or b.push(feedback(2, uuid=page.uuid)) == DELIVERED)
