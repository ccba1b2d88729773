<?php
// Websock\Client and what is no websock server, or one that does not want it: each is told from
// the others, with what to do.
declare(strict_types=1);

use Websock\Client;
use Websock\ConnectException;

/** Connects, and expects an exception with $words. */
$refused = static function (string $address, array $words, array $options = []): void {
    throws(ConnectException::class, $words, fn() => new Client($address, $options));
};

test('a port on which nobody listens', function () use ($refused) {
    $socket = stream_socket_server('tcp://127.0.0.1:0');
    $name = stream_socket_get_name($socket, false);
    fclose($socket);
    $refused("ws://$name", [$name, 'refused', 'running', 'websock.ini']);
});

test('a host that does not exist', function () use ($refused) {
    $refused('ws://does-not-exist.invalid', ['does-not-exist.invalid', 'running']);
});

test('a Unix socket that does not exist', function () use ($refused) {
    $refused('unix://' . getenv('WORK') . '/nothing', ['No such file', 'running']);
});

foreach (
    [
        'a web page' => ['200', 'not as websock does', 'websock.ini'],
        'not found' => ['404', 'not as websock does', 'websock.ini'],
        'a refusal of another kind' => ['without a reason'],
        'SSH' => ['does not speak HTTP', 'websock.ini'],
        'hang up' => ['without a word'],
        'nothing' => ['no HTTP answer in time', 'websock.ini'],
        'a wrong accept' => ['somebody else'],
        'another dialogue' => ['another kind of WebSocket server'],
        'no greeting' => ['another kind of WebSocket server'],
    ]
    as $role => $words
) {
    test("a server that answers with: $role", function () use ($refused, $role, $words) {
        $options = $role === 'nothing' ? ['timeout' => 0.2] : [];
        $refused('ws://' . stub($role), $words, $options);
    });
}

test('a server with TLS that is addressed without', function () use ($refused) {
    $refused(str_replace('wss:', 'ws:', secureServer()), ['TLS', 'wss://']);
});

test('a server without TLS that is addressed with', function () use ($refused) {
    $refused(str_replace('ws:', 'wss:', server()), ['TLS', 'ws://'], ['timeout' => 2]);
});

test('a certificate that nobody trusts', function () use ($refused) {
    $refused(str_replace('127.0.0.1', 'localhost', secureServer()), ['not trusted', 'cafile']);
});

test('a certificate for another name', function () use ($refused) {
    $tls = ['cafile' => getenv('WORK') . '/cert.pem'];
    $refused(secureServer(), ['another name', 'peer_name'], ['tls' => $tls]);
    $client = new Client(secureServer(), ['tls' => $tls + ['peer_name' => 'localhost']]);
    same(36, strlen($client->uuid), 'length of the uuid');
});

test('the wrong trust', function () use ($refused) {
    $tls = ['cafile' => getenv('WORK') . '/foreign.pem'];
    $refused(
        str_replace('127.0.0.1', 'localhost', secureServer()),
        ['not trusted'],
        ['tls' => $tls],
    );
});

test('a path that the server does not know', function () use ($refused) {
    $refused(server() . '/nope', ['no resource /nope', '/php']);
});

test('a server that is full', function () use ($refused) {
    $url = server(['maxClients' => 1]);
    $first = new Client($url);
    $refused($url, ['Too many connections']);
    $first->close();
});

test('a request that is too long', function () use ($refused) {
    $refused(server(), ['431', 'too long'], ['ident' => str_repeat('x', 9000)]);
});
