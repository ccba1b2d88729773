"""A stand-in for systemd: what the server tells it, from its start to its end.

   manager.py PROGRAM INI: starts the program, reloads it, ends it. Prints what it was told.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

program, ini = sys.argv[1:]
directory = tempfile.mkdtemp()
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(directory + "/notify")
notify.settimeout(30)
server = subprocess.Popen(
    [program, "-i", ini, "-adress", "ws://127.0.0.1:0"],
    env={"NOTIFY_SOCKET": directory + "/notify", "WATCHDOG_USEC": "500000", "PATH": "/usr/bin"},
    stdout=subprocess.DEVNULL,
)


def expect(*wanted):
    """Waits for messages that have these lines, in this order."""
    deadline = time.monotonic() + 30
    for line in wanted:
        while True:
            if time.monotonic() > deadline:
                sys.exit(f"{line} was not told")
            told = notify.recv(4096).decode()
            print(told.strip().replace("\n", " "))
            if any(one.startswith(line) for one in told.split("\n")):
                break


try:
    expect("READY=1")
    expect("WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1")
    server.send_signal(signal.SIGHUP)
    expect("RELOADING=1", "READY=1")
    server.send_signal(signal.SIGTERM)
    expect("STOPPING=1")
    if server.wait(30) != 0:
        sys.exit("it did not end with 0")
finally:
    server.kill()
    os.unlink(directory + "/notify")
    os.rmdir(directory)
