"""The master of a Redis fails, and Sentinels name another one, while servers push."""

import contextlib
import os
import signal

from faults import Loaded
from harness import PREFIX, Sentinel, eventually


def follows(store):
    """Sentinel cuts those who are connected to a master that becomes a replica."""
    with contextlib.suppress(ConnectionError):
        return store('ROLE')[0] == b'slave'
    return False


class OfTheMaster(Loaded):
    """Three nodes that ask three Sentinels where Redis is: a master with a replica."""

    def setUp(self):
        self.store = self.redis()
        self.replica = self.redis('--replicaof', '127.0.0.1', str(self.store.port))
        eventually('the replica follows', lambda: b'master_link_status:up' in self.replica('INFO', 'replication'))
        sentinels = [Sentinel(self.store) for _ in range(3)]
        for sentinel in sentinels:
            self.addCleanup(sentinel.stop)
        for sentinel in sentinels:
            eventually('Sentinels know of each other', lambda: sentinel.says('slaves=1,sentinels=3'))
        hosts = ','.join(f'127.0.0.1:{sentinel.port}' for sentinel in sentinels)
        self.begin([f'redis+sentinel://{hosts}/shop'] * 3)

    def fail_over(self):
        """Waits until the replica is the master; the one that was."""
        eventually('it is the master', lambda: self.replica('ROLE')[0] == b'master', 60)
        self.store, self.replica = self.replica, self.store
        return self.replica

    def check_numbers(self):
        """Each node has a number of its own, which the new master knows to be its."""
        numbers = [int(node.page().uuid[-4:], 16) for node in self.all]
        self.assertEqual(len(set(numbers)), 3, numbers)
        for number in numbers:
            self.assertTrue(self.store('GET', f'{PREFIX}node:{number}'), number)

    # protocol.md 11.1, 11.3, 11.5
    def test_it_is_killed_while_servers_push_and_comes_back_as_a_replica(self):
        self.load()
        self.pushed(20)
        self.store.kill()
        gone = self.fail_over()
        self.wait_until_whole()
        self.pushed(50)
        gone.start()
        self.pushed(20)
        self.settle()
        self.check(some_lost=True)
        self.check_numbers()
        eventually('it follows', lambda: follows(gone), 60)
        self.wait_until_whole()


if os.environ.get('BACKPLANE_ALL'):
    class OfTheMasterLong(OfTheMaster):
        """What takes half a minute."""

        test_it_is_killed_while_servers_push_and_comes_back_as_a_replica = None

        # protocol.md 11.1, 11.3, 11.5
        def test_it_stands_still_is_replaced_and_goes_on_as_if_it_were_the_master(self):
            self.load()
            self.pushed(20)
            self.store.signal(signal.SIGSTOP)
            gone = self.fail_over()
            self.pushed(5)
            gone.signal(signal.SIGCONT)
            eventually('it follows', lambda: follows(gone), 60)
            self.wait_until_whole()
            self.settle()
            self.check(some_lost=True)
            self.check_numbers()
