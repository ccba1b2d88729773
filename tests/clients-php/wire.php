<?php
// Websock\Client and frames that are cut, joined, fragmented, late or wrong.
declare(strict_types=1);

use Websock\Client;
use Websock\ConnectionLost;

$to = static fn(string $role, array $options = []) => new Client('ws://' . stub($role), $options);
$messages = static function (Client $client, int $count): array {
    $messages = [];
    while (count($messages) < $count) {
        $messages[] = rtrim($client->receive(DEADLINE_SECONDS)['message'] ?? 'missing', '.');
    }
    return $messages;
};

test(
    'frames in one segment with the 101, and in one segment with next, are all received',
    function () use ($to, $messages) {
        $client = $to('everything in one segment');
        $client->broadcast('x');
        same(['1', '2', '3', '4'], $messages($client, 4));
    },
);

test('an answer in single bytes is received', function () use ($to, $messages) {
    same(['1', '2'], $messages($to('everything in single bytes'), 2));
});

test('a frame in 100 segments is received, and the one behind it', function () use (
    $to,
    $messages,
) {
    same(['1', '2'], $messages($to('a frame in 100 segments'), 2));
});

test('a frame that is not whole at the deadline of receive is not lost', function () use ($to) {
    $client = $to('half a frame, and the rest when asked');
    same(null, $client->receive(0.2), 'half of it');
    same(null, $client->receive(0.001), 'half of it, again');
    $client->write('{}');
    same(200_000, strlen($client->receive(DEADLINE_SECONDS)['message']), 'length');
});

test('a ping is answered while the answer to a message is awaited', function () use ($to) {
    $client = $to('fragments and pings');
    $client->broadcast('x');
    same('1.........', $client->receive(DEADLINE_SECONDS)['message'], 'the joined message');
    same('10 are you there', $client->receive(DEADLINE_SECONDS)['message'], 'the pong');
});

test('a second copy of a packet is dropped', function () use ($to, $messages) {
    $client = $to('a packet twice');
    $client->broadcast('x');
    same(['a', 'a', 'a'], $messages($client, 3));
    same(null, $client->receive(0.05), 'a fourth');
});

test('the request says what the server has to know', function () {
    $client = new Client('ws://' . stub('echo its request') . '/php?x=1', [
        'ident' => 'me',
        'token' => 'a+b&c',
    ]);
    $client->broadcast('x');
    $request = $client->receive(DEADLINE_SECONDS)['request'];
    foreach (
        [
            'GET /php?x=1&token=a%2Bb%26c HTTP/1.1',
            'Client-Type: php',
            'X-Websock-Frames: stream',
            'Ident: me',
        ]
        as $line
    ) {
        same(true, strpos("\r\n$request", "\r\n$line\r\n") !== false, $line);
    }
});

test('a Unix socket will do', function () {
    $path = 'unix://' . getenv('WORK') . '/socket';
    stub('echo its request', $path);
    $client = new Client($path);
    $client->broadcast('x');
    $request = $client->receive(DEADLINE_SECONDS)['request'];
    same(0, strpos($request, "GET /php HTTP/1.1\r\nHost: localhost\r\n"), 'the request');
});

test('the reason of a close frame is told, with what to do', function () use ($to) {
    $client = $to('a close frame');
    $words = ['1008 output over maxQueue', 'websock.ini'];
    $lost = throws(ConnectionLost::class, $words, fn() => $client->broadcast('x'));
    same(1008, $lost->getCode(), 'code');
});

test('what a server says is shown without control characters', function () use ($to) {
    $client = $to('a close frame for a terminal');
    throws(ConnectionLost::class, ['1008 ?[2J? evil'], fn() => $client->broadcast('x'));
});

test('an end in the middle of a frame is told', function () use ($to) {
    $client = $to('half a frame');
    throws(ConnectionLost::class, ['without a word'], fn() => $client->broadcast('x'));
});

test('an answer that does not come is in doubt after the timeout', function () use ($to) {
    $client = $to('no answer', ['timeout' => 2]);
    $words = ['handled or not', 'timeout'];
    throws(ConnectionLost::class, $words, fn() => $client->broadcast('x'));
    throws(ConnectionLost::class, ['closed here'], fn() => $client->broadcast('y'));
});

test('write does not wait, flush waits for every answer', function () use ($to) {
    $client = $to('next after 100 messages', ['timeout' => DEADLINE_SECONDS]);
    for ($number = 0; $number < 99; $number++) {
        $client->write('{}');
    }
    same(null, $client->receive(0), 'an answer before all was sent');
    $client->write('{}');
    $client->flush();
    $client = $to('no answer', ['timeout' => 2]);
    $client->write('{}');
    throws(ConnectionLost::class, ['handled or not'], fn() => $client->flush());
});

test('receive returns null when nothing comes', function () use ($to) {
    same(null, $to('no answer')->receive(0.01));
});

test(
    'after long silence the server is asked; one that answers is kept, one that does not is left',
    function () use ($to) {
        $age = Closure::bind(
            static function (Client $client): void {
                $client->heardAt -= 31;
            },
            null,
            Client::class,
        );
        $isAsked = Closure::bind(
            static fn(Client $client): bool => $client->pingedAt !== null,
            null,
            Client::class,
        );
        $alive = $to('pong only', ['timeout' => DEADLINE_SECONDS]);
        for ($round = 0; $round < 3; $round++) {
            $age($alive);
            same(null, $alive->receive(0.0001));
            for ($until = microtime(true) + DEADLINE_SECONDS; $isAsked($alive); ) {
                same(null, $alive->receive(0.01));
                same(true, microtime(true) < $until, 'an answer to the ping');
            }
        }
        $dead = $to('no answer', ['timeout' => 2]);
        $age($dead);
        throws(ConnectionLost::class, ['silent'], fn() => $dead->receive(DEADLINE_SECONDS));
    },
);

foreach (
    [
        'a masked frame' => 'masked',
        'a reserved bit' => 'reserved bit',
        'an unknown opcode' => 'opcode 3',
        'a long control frame' => 'control frame',
        'a fragmented control frame' => 'control frame',
        'a fragment without a beginning' => 'out of order',
        'a beginning inside a message' => 'out of order',
        'a frame too long' => 'maxMessageBytes',
        'a length beyond numbers' => 'maxMessageBytes',
    ]
    as $role => $word
) {
    test("$role is told", function () use ($to, $role, $word) {
        $client = $to($role);
        $lost = throws(ConnectionLost::class, [$word], fn() => $client->broadcast('x'));
        same(1002, $lost->getCode(), 'code');
    });
}
