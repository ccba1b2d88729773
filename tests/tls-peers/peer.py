"""Python's websockets against a server that speaks TLS: peer.py PORT CA_FILE.

Prints a line that begins with `ok` or `FAILED` for each check; exits with 1 if one failed.
"""

import json
import ssl
import sys

from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect

PORT, CA_FILE = sys.argv[1:]
SECONDS_TO_WAIT = 20


def open_client(version):
    context = ssl.create_default_context(cafile=CA_FILE)
    context.minimum_version = context.maximum_version = version
    client = connect(f"wss://localhost:{PORT}/web", ssl=context, max_size=None)
    assert receive(client)["opcode"] == "ready"
    assert client.socket.version() == version.name.replace("_", ".")
    return client


def receive(client):
    return json.loads(client.recv(timeout=SECONDS_TO_WAIT))


def echo(version):
    with open_client(version) as client:
        for message in ["ä€𐍈", "x" * (1 << 20), ["y"] * 100]:
            packet = {"opcode": "echo", "message": message}
            client.send(json.dumps(packet))
            assert receive(client) == {"opcode": "next", "fyi": ""}
            assert receive(client) == packet


def fragments(version):
    with open_client(version) as client:
        text = json.dumps({"opcode": "echo", "message": "z" * 50_000})
        client.send(text[start:start + 1000] for start in range(0, len(text), 1000))
        assert receive(client)["opcode"] == "next"
        assert receive(client) == json.loads(text)


def ping(version):
    with open_client(version) as client:
        assert client.ping("there?").wait(SECONDS_TO_WAIT)


def close(version):
    client = open_client(version)
    client.close(1000, "done")
    try:
        client.recv(timeout=SECONDS_TO_WAIT)
    except ConnectionClosedOK as end:
        assert end.rcvd.code == 1000
        return
    raise AssertionError("it is still open")


def main():
    failed = 0
    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        for check in echo, fragments, ping, close:
            name = f"{check.__name__} over {version.name}"
            try:
                check(version)
                print("ok", name)
            except Exception as error:  # whatever it is, the others are checked
                failed += 1
                print(f"FAILED {name}: {error!r}")
    sys.exit(failed > 0)


main()
