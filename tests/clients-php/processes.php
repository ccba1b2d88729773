<?php
// Connections and the processes and copies that come to have them: after a fork, clone, serialize.
declare(strict_types=1);

use Websock\Client;
use Websock\ConnectException;
use Websock\Push;

/** The connection that a Push or Client has. */
$connection = static fn(object $of): int => spl_object_id(
    Closure::bind(static fn($of) => $of->stream, null, get_class($of))($of),
);
/** Lives until the other end of $socket has said something. */
$await = static function ($socket): void {
    stream_set_timeout($socket, DEADLINE_SECONDS);
    same('.', fread($socket, 1), 'a sign of the other process');
};
$pair = static fn() => stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);

test('a Push that was used before a fork gets the answers to its own pushes', function () {
    $stub = stubProgram('push');
    $push = new Push("http://$stub->said");
    same(1, $push->feedback('before', 'here'));
    $children = [];
    for ($child = 0; $child < 4; $child++) {
        $children[] = fork(function () use ($push) {
            for ($number = 0; $number < 200; $number++) {
                same(0, $push->feedback($number, 'gone'), 'delivered by a child');
            }
        });
    }
    for ($number = 0; $number < 200; $number++) {
        same(1, $push->feedback($number, 'here'), 'delivered by the parent');
    }
    waitForAll(...$children);
    same(1, $push->feedback('after', 'here'));
    $seen = $stub->countLines();
    ksort($seen);
    same(['connection' => 5, 'request' => 1002], $seen, 'what the server saw');
});

foreach (['ws', 'wss'] as $scheme) {
    $start = static fn(): string => $scheme === 'ws'
        ? server()
        : str_replace('127.0.0.1', 'localhost', secureServer());
    $options = ['tls' => $scheme === 'ws' ? [] : ['cafile' => getenv('WORK') . '/cert.pem']];

    test(
        "$scheme: a child of a process leaves the connection of its Push alone",
        function () use ($start, $options, $connection, $await, $pair) {
            $push = new Push($start(), $options);
            same(0, $push->broadcast('before'));
            $before = $connection($push);
            [$ours, $theirs] = $pair();
            $child = fork(function () use ($push, $theirs, $await) {
                same(0, $push->broadcast('of the child'));
                same(0, $push->broadcast('of the child'));
                $push->close();
                fwrite($theirs, '.');
                $await($theirs);
            });
            $await($ours);
            same(0, $push->broadcast('of the parent'));
            same($before, $connection($push), 'the connection of the parent');
            fwrite($ours, '.');
            waitForAll($child);
            same(0, $push->broadcast('after the child'));
        },
    );

    test(
        "$scheme: a Client is for the process that made it, and goes on there",
        function () use ($start, $options, $await, $pair) {
            $client = new Client($start(), $options + ['ident' => 'me']);
            $client->echo('for the parent');
            [$ours, $theirs] = $pair();
            $child = fork(function () use ($client, $theirs, $await) {
                $words = ['fork', 'nothing was sent', 'new one'];
                foreach (
                    [
                        fn() => $client->broadcast('x'),
                        fn() => $client->receive(0),
                        fn() => $client->flush(),
                    ]
                    as $act
                ) {
                    throws(ConnectException::class, $words, $act);
                }
                $client->close();
                fwrite($theirs, '.');
                $await($theirs);
            });
            $await($ours);
            $client->echo('still here');
            same('for the parent', $client->receive(DEADLINE_SECONDS)['message']);
            same('still here', $client->receive(DEADLINE_SECONDS)['message']);
            fwrite($ours, '.');
            waitForAll($child);
        },
    );
}

test('the end of a child does not end a connection without TLS', function () use ($connection) {
    $url = server();
    [$push, $client] = [new Push($url), new Client($url, ['ident' => 'me'])];
    same(0, $push->broadcast('before'));
    $before = $connection($push);
    waitForAll(fork(fn() => null));
    same(1, $push->feedback('after', ['ident' => 'me']));
    same($before, $connection($push), 'the connection');
    same('after', $client->receive(DEADLINE_SECONDS)['message']);
});

test('copies of a Push have connections of their own', function () use ($connection) {
    $stub = stubProgram('push');
    $push = new Push("http://$stub->said/secret", ['token' => 'sesame']);
    same(1, $push->feedback('x', 'here'));
    $before = $connection($push);
    $copies = [clone $push, unserialize(serialize($push))];
    $copies[] = unserialize(serialize($copies[1]));
    foreach ($copies as $copy) {
        same(1, $copy->feedback('x', 'here'));
    }
    $copies[0]->close();
    same(1, $push->feedback('x', 'here'));
    same($before, $connection($push), 'the connection');
    same(['connection' => 4, 'request' => 5], $stub->countLines(), 'what the server saw');
});

test('a Client has no copies', function () {
    $client = new Client(server(), ['ident' => 'me']);
    throws(LogicException::class, ['new one'], fn() => clone $client);
    throws(LogicException::class, ['new one'], fn() => serialize($client));
    throws(LogicException::class, ['new one'], fn() => unserialize('O:14:"Websock\Client":0:{}'));
    $client->echo('still here');
    same('still here', $client->receive(DEADLINE_SECONDS)['message']);
});
