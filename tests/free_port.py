"""A TCP port of 127.0.0.1 on which nobody listens, for a server that is started a moment later.

It is none of those that the system gives to whoever asks for any, and each process has some of its own
to choose from: else somebody else might have it before that server does.

free_port.py prints one.
"""

import contextlib
import itertools
import os
import socket

# Redis in cluster mode wants 10,000 more, too.
FIRST, LAST = 10_000, 55_000
OF_EACH_PROCESS = 16
NUMBERS = itertools.count(os.getpid() * OF_EACH_PROCESS)


def free_port():
    with open('/proc/sys/net/ipv4/ip_local_port_range') as file:
        given_from = int(file.read().split()[0])
    count = (given_from if given_from > 2 * FIRST else LAST) - FIRST
    while True:
        port = FIRST + next(NUMBERS) % count
        with contextlib.suppress(OSError), socket.create_server(('127.0.0.1', port)):
            return port


if __name__ == '__main__':
    print(free_port())
