<?php
// Websock\Client against the real server, over ws and wss.
declare(strict_types=1);

use Websock\Client;
use Websock\ConnectionLost;

const TRUSTED = 'cert.pem';

foreach (['ws', 'wss'] as $scheme) {
    $start = static function () use ($scheme): string {
        return $scheme === 'ws' ? server() : str_replace('127.0.0.1', 'localhost', secureServer());
    };
    $tls = ['tls' => $scheme === 'ws' ? [] : ['cafile' => getenv('WORK') . '/' . TRUSTED]];
    $client = static fn(string $url, array $options = []) => new Client($url, $options + $tls);

    test(
        "$scheme: feedback by ident, broadcast and echo arrive as they were sent",
        function () use ($start, $client) {
            $url = $start();
            [$script, $other] = [$client($url), $client($url, ['ident' => 'other'])];
            same(36, strlen($script->uuid), 'length of the uuid');
            foreach (
                ['text', "\u{1f600} \"\\", 42, 1.0, null, ['deep' => [true, 1e100]]]
                as $message
            ) {
                $script->feedback($message, ['ident' => 'other']);
                $expected = ['opcode' => 'feedback', 'ident' => 'other', 'message' => $message];
                same($expected, $other->receive(DEADLINE_SECONDS), 'packet');
            }
            $script->echo('to myself');
            same(
                ['opcode' => 'echo', 'message' => 'to myself'],
                $script->receive(DEADLINE_SECONDS),
            );
            $script->feedback('nobody is no error', 'no such uuid');
        },
    );

    test("$scheme: 10,000 feedbacks in a row are sent, received and in order", function () use (
        $start,
        $client,
    ) {
        $url = $start();
        [$script, $other] = [$client($url), $client($url, ['ident' => 'other'])];
        for ($number = 0; $number < 10_000; $number++) {
            $script->feedback($number, ['ident' => 'other']);
        }
        for ($number = 0; $number < 10_000; $number++) {
            same($number, $other->receive(DEADLINE_SECONDS)['message'] ?? null, 'message');
        }
        same(null, $other->receive(0), 'one more');
    });

    test("$scheme: what comes while an answer is awaited is kept", function () use (
        $start,
        $client,
    ) {
        $script = $client($start(), ['ident' => 'me']);
        for ($number = 0; $number < 1000; $number++) {
            $script->feedback($number, ['ident' => 'me']);
        }
        for ($number = 0; $number < 1000; $number++) {
            same($number, $script->receive(DEADLINE_SECONDS)['message'] ?? null, 'message');
        }
    });

    test("$scheme: many messages may be sent before the first answer is awaited", function () use (
        $start,
        $client,
    ) {
        $script = $client($start());
        for ($number = 0; $number < 500; $number++) {
            $script->write(json_encode(['opcode' => 'echo', 'message' => $number]));
        }
        $script->flush();
        for ($number = 0; $number < 500; $number++) {
            same($number, $script->receive(DEADLINE_SECONDS)['message'] ?? null, 'message');
        }
    });

    test("$scheme: messages of all lengths come back whole", function () use ($start, $client) {
        $script = $client($start());
        foreach (
            [0, 1, 90, 120, 125, 126, 127, 65_000, 65_536, 70_000, 1 << 20, 15 << 20]
            as $length
        ) {
            $message =
                str_repeat('0123456789abcdef', intdiv($length, 16)) .
                str_repeat('x', $length % 16);
            $script->echo($message);
            $packet = $script->receive(DEADLINE_SECONDS);
            same(true, $packet !== null && $packet['message'] === $message, "whole at $length");
        }
    });

    test(
        "$scheme: a death of the server in the middle is told, and what had come is not lost",
        function () use ($scheme, $tls) {
            $program = null;
            $directory = getenv('WORK');
            $files = ['certFile' => "$directory/cert.pem", 'pkFile' => "$directory/key.pem"];
            $url = server(
                ['adress' => "$scheme://127.0.0.1:0"] + ($scheme === 'ws' ? [] : $files),
                $program,
            );
            $script = new Client(
                str_replace('127.0.0.1', 'localhost', $url),
                $tls + ['ident' => 'me'],
            );
            $script->echo('kept');
            $script->echo('kept too');
            $program->end(SIGKILL);
            $lost = throws(ConnectionLost::class, [], fn() => $script->broadcast('in doubt'));
            same(1006, $lost->getCode(), 'code');
            same('kept', $script->receive(0)['message']);
            same('kept too', $script->receive(0)['message']);
            throws(ConnectionLost::class, [], fn() => $script->receive(DEADLINE_SECONDS));
        },
    );
}

test('web clients get broadcasts, and feedback by their uuid', function () {
    $url = server();
    $script = new Client($url);
    $web = new WebClient('127.0.0.1', parse_url($url, PHP_URL_PORT), '/web');
    $script->broadcast('to all');
    $web->expect(['opcode' => 'broadcast', 'message' => 'to all']);
    $script->feedback('to you', $web->uuid);
    $web->expect(['opcode' => 'feedback', 'uuid' => $web->uuid, 'message' => 'to you']);
});

test('the end of the server by SIGTERM is told with its code', function () {
    $program = null;
    $script = new Client(server([], $program));
    $program->end();
    $lost = throws(
        ConnectionLost::class,
        ['1001', 'connect again'],
        fn() => $script->receive(DEADLINE_SECONDS),
    );
    same(1001, $lost->getCode(), 'code');
});

test('a restart is told with its code to a script that has asked for new words', function () {
    $program = null;
    $script = new Client(server([], $program) . '/php?user=1');
    $program->end();
    $packet = $script->receive(DEADLINE_SECONDS);
    same('restart', $packet['opcode'] ?? null, 'opcode');
    same(0, $packet['after'], 'one client is not spread');
    $lost = throws(
        ConnectionLost::class,
        ['1012', 'restarts', 'connect again'],
        fn() => $script->receive(DEADLINE_SECONDS),
    );
    same(1012, $lost->getCode(), 'code');
});

test('close is answered, and the connection of no use any more', function () {
    $script = new Client(server());
    $script->close();
    throws(ConnectionLost::class, [], fn() => $script->broadcast('late'));
    $script->close();
    $stub = stubProgram('tell the end');
    (new Client("ws://$stub->said"))->close();
    $expected = ['connection' => 1, 'request' => 1, 'close 03e8' => 1, 'ended' => 1];
    same($expected, $stub->countLines(4), 'what the server saw');
});

test('quit ends the connection with 1000', function () {
    $script = new Client(server());
    $script->send(['opcode' => 'quit']);
    $lost = throws(ConnectionLost::class, ['1000'], fn() => $script->receive(DEADLINE_SECONDS));
    same(1000, $lost->getCode(), 'code');
});

test('a message over maxMessageSize is told with its code and the key', function () {
    $script = new Client(server(['maxMessageSize' => '2K']));
    $lost = throws(
        ConnectionLost::class,
        ['1009', 'maxMessageSize'],
        fn() => $script->echo(str_repeat('x', 5000)),
    );
    same(1009, $lost->getCode(), 'code');
});

test('what JSON cannot say is refused before anything is sent', function () {
    $script = new Client(server());
    $circular = new stdClass();
    $circular->self = $circular;
    foreach (["\xff", NAN, $circular, fopen('php://memory', 'r')] as $message) {
        throws(
            InvalidArgumentException::class,
            ['Not sent'],
            fn() => $script->echo($message),
        );
    }
    $script->echo('still here');
    same('still here', $script->receive(DEADLINE_SECONDS)['message']);
});

test('feedback to nobody is refused before anything is sent', function () {
    $script = new Client(server());
    foreach (['', [], ['uuid' => ''], ['ident' => '']] as $to) {
        throws(InvalidArgumentException::class, ['ident'], fn() => $script->feedback('x', $to));
    }
});

test('numbers that PHP cannot hold come as text', function () {
    $script = new Client(server());
    $script->sendText('{"opcode":"echo","message":123456789012345678901234567890}');
    same('123456789012345678901234567890', $script->receive(DEADLINE_SECONDS)['message']);
});

test('a queue of unread messages at the server does not stop a script that sends', function () {
    $script = new Client(server());
    $message = str_repeat('x', 1 << 20);
    for ($number = 0; $number < 30; $number++) {
        $script->write(json_encode(['opcode' => 'echo', 'message' => $message]));
    }
    $script->flush();
    for ($number = 0; $number < 30; $number++) {
        same(1 << 20, strlen($script->receive(DEADLINE_SECONDS)['message'] ?? ''), 'length');
    }
});

test('arguments that make no sense are refused', function () {
    foreach (
        [
            '',
            'localhost:port',
            'ftp://h/',
            "ws://h/\r\nX: y",
            'ws://h:123456',
            'ws://[::1',
            'ws://a b/',
        ]
        as $address
    ) {
        throws(InvalidArgumentException::class, ['address'], fn() => new Client($address));
    }
    throws(
        InvalidArgumentException::class,
        ['idnet'],
        fn() => new Client('ws://h', ['idnet' => 'x']),
    );
    $url = server();
    throws(
        InvalidArgumentException::class,
        ['ident'],
        fn() => new Client($url, ['ident' => "a\r\nb: c"]),
    );
});

test('an address may be written as websock.ini, browsers and PHP do', function () {
    $url = server();
    $port = parse_url($url, PHP_URL_PORT);
    foreach (
        [
            "ws://127.0.0.1:$port/php",
            "tcp://127.0.0.1:$port",
            "127.0.0.1:$port",
            "http://127.0.0.1:$port/?x=1",
        ]
        as $address
    ) {
        $script = new Client($address);
        $script->echo('here');
        same('here', $script->receive(DEADLINE_SECONDS)['message'], "echo by $address");
    }
});
