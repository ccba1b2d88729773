"""Between one server and Redis packets vanish: nobody is told that a connection is over."""

import ctypes
import os
import subprocess

from harness import NUMBERS, Case, broadcast, eventually, feedback

DELIVERED = (200, {'delivered': 1})
CLONE_NEWNET = 0x40000000
# Those who go on answer in time on a busy machine, too.
LATE = 'backplaneTimeout=2s'


def run(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Namespace:
    """A network namespace of its own, which is there as long as its process."""

    def __init__(self):
        self.process = subprocess.Popen(['unshare', '--net', 'sh', '-c', 'ip link set lo up && echo && exec cat'],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b'\n', 'no namespace'
        self.pid = str(self.process.pid)
        self.enter = ['nsenter', f'--net=/proc/{self.pid}/ns/net']

    def __call__(self, *command):
        run(*self.enter, *command)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Network:
    """Redis and the tests on this side, a server on the other one, and a router between the server and
    Redis which forwards or does not. The tests reach the server past the router.

        tests, Redis ──198.18.1── router ──198.18.2── server
             └──────────────────198.18.3───────────────┘
    """

    redis = '198.18.1.1'
    server = '198.18.3.2'

    def __init__(self):
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            raise PermissionError(os.strerror(ctypes.get_errno()))
        run('ip', 'link', 'set', 'lo', 'up')
        self.router, self.far = Namespace(), Namespace()
        here = run
        for where, name, other, far_name in ((here, 'one', self.router, 'left'), (here, 'three', self.far, 'past'),
                                             (self.router, 'right', self.far, 'two')):
            where('ip', 'link', 'add', 'name', name, 'type', 'veth', 'peer', 'name', far_name, 'netns', other.pid)
        for where, name, address in ((here, 'one', '198.18.1.1'), (self.router, 'left', '198.18.1.2'),
                                     (self.router, 'right', '198.18.2.1'), (self.far, 'two', '198.18.2.2'),
                                     (here, 'three', '198.18.3.1'), (self.far, 'past', '198.18.3.2')):
            where('ip', 'address', 'add', f'{address}/24', 'dev', name)
            where('ip', 'link', 'set', name, 'up')
        here('ip', 'route', 'add', '198.18.2.0/24', 'via', '198.18.1.2')
        self.far('ip', 'route', 'add', '198.18.1.0/24', 'via', '198.18.2.1')
        self.heal()

    def _forward(self, value):
        self.router('sh', '-c', f'echo {value} >/proc/sys/net/ipv4/ip_forward')

    def cut(self):
        self._forward(0)

    def heal(self):
        self._forward(1)

    def stop(self):
        self.router.stop()
        self.far.stop()


class Cut(Case):
    def setUp(self):
        try:
            network = Network()
        except (OSError, subprocess.CalledProcessError) as error:
            # Whoever may not: a proxy that carries nothing and ends nothing stands for it.
            print(f'[no network of its own: {error}]', end=' ', flush=True)
            self.store = self.redis()
            proxy = self.proxy(self.store)
            self.cut, self.heal = proxy.freeze, proxy.heal
            self.a = self.node(proxy.url, LATE)
        else:
            self.addCleanup(network.stop)
            self.cut, self.heal = network.cut, network.heal
            self.store = self.redis('--bind', '127.0.0.1', network.redis, '--protected-mode', 'no')
            self.a = self.node(f'redis://{network.redis}:{self.store.port}', LATE + '\nallowedIP=198.18.3.1', host=network.server,
                               command=network.far.enter)
        self.b, self.c = self.node(self.store.unix, LATE), self.node(self.store.unix, LATE)
        self.all = [self.a, self.b, self.c]
        for node in self.all:
            node.wait_until_in()
        self.know_each_other()

    def know_each_other(self):
        for node in self.all:
            heard = lambda: [one for one in node.request('GET', '/nodes')[1]['nodes'] if one['silent'] < 10]
            eventually('all are heard', lambda: len(heard()) == 3, 40)

    # protocol.md 11.4, 11.5; docs/several-machines.md says after how long it is noticed
    def test_a_server_that_cannot_reach_redis_any_more_notices_and_finds_its_way_back(self):
        pages = [node.page(user='42', query='?resume=1') for node in self.all]
        self.store.wait_for_subscribers('u:42', 3)
        for node in self.all:
            for page in pages:
                self.assertEqual(node.push(feedback(1, uuid=page.uuid)), DELIVERED)
        self.cut()
        # Neither Redis nor the others know; nobody says that it has arrived.
        status, answer = self.b.push(feedback(2, uuid=pages[0].uuid))
        self.assertEqual((status, answer['nodes']), (504, {'asked': 1, 'answered': 0}))
        expected = (200, {'delivered': 2, 'nodes': {'asked': 2, 'answered': 1}})
        self.assertEqual(self.b.push(broadcast(3)), expected)
        self.assertEqual(self.c.push(feedback(4, user='42')), expected)
        status, answer = self.a.push(feedback(5, uuid=pages[1].uuid))
        self.assertEqual((status, answer['delivered']), (504, 0))
        self.a.wait_for_log('Redis is away')
        # It serves its own, and says that others are missing.
        self.assertEqual(self.a.push(feedback(6, uuid=pages[0].uuid)), DELIVERED)
        self.assertEqual(self.a.push(broadcast(7)), (200, {'delivered': 1, 'partial': True}))
        self.heal()
        self.a.wait_for_log('backplane: connected', 2)
        pages[0].wait(lambda: pages[0].find('gap'), 'a gap: what was sent meanwhile is said to be missing')
        self.know_each_other()
        for node in self.all:
            for page in pages:
                eventually('by uuid', lambda: node.push(feedback(-1, uuid=page.uuid)) == DELIVERED)
            everybody = (200, {'delivered': 3})
            eventually('by user', lambda: node.push(feedback(-1, user='42')) == everybody)
            number = next(NUMBERS) + 100
            self.assertEqual(node.push(broadcast(number)), everybody)
            for page in pages:
                page.wait_for(number)
        for page in pages:
            for number in range(1, 8):
                self.assertLessEqual(page.messages().count(number), 1 if number > 1 else 3, number)
