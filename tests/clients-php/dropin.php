<?php
// websocketPhp, as deployed scripts use it.
declare(strict_types=1);

/** The warnings that $act raises. */
function warnings(callable $act): array
{
    $warnings = [];
    set_error_handler(static function (int $level, string $text) use (&$warnings): bool {
        $warnings[] = $text;
        return true;
    });
    try {
        $act();
    } finally {
        restore_error_handler();
    }
    return $warnings;
}

test('a backend job reports into the page that started it', function () {
    $url = server();
    $web = new WebClient('127.0.0.1', parse_url($url, PHP_URL_PORT), '/web');
    $talk = new websocketPhp($url . '/php');
    same(true, $talk->connected);
    $talk->uuid = $web->uuid;
    $talk->feedback('loop 1');
    $expected = [
        'opcode' => 'feedback',
        'ident' => '',
        'uuid' => $web->uuid,
        'message' => 'loop 1',
        'fromUUID' => $talk->fromUUID,
    ];
    $web->expect($expected);
    $talk->broadcast('done');
    $web->expect(['opcode' => 'broadcast', 'message' => 'done']);
    $talk->talk(['opcode' => 'quit']);
    $talk->silent();
    same(false, $talk->connected);
});

test('a sender reaches a receiver by ident, numbers in texts become numbers as ever', function () {
    $url = server();
    $receiver = new websocketPhp($url . '/php', 'receiver');
    $sender = new websocketPhp($url . '/php');
    foreach (['Hello 1', 'Hello 22'] as $message) {
        $sender->feedback($message, 'receiver');
    }
    $sender->feedback('007', 'receiver');
    same('Hello 1', json_decode($receiver->readSocket())->message);
    same('Hello 22', json_decode($receiver->readSocket())->message);
    same(7, json_decode($receiver->readSocket())->message);
});

test('without somebody to send to, feedback sends nothing', function () {
    $talk = new websocketPhp('ws://' . stub('say every message back'), 'me');
    $talk->feedback('nobody');
    $talk->talk(['opcode' => 'echo', 'message' => 'x']);
    same('echo', json_decode($talk->readSocket())->opcode, 'the first message that was sent');
});

test(
    'writeWait says whether it was handled, writeSocket leaves the answer to readSocket',
    function () {
        $talk = new websocketPhp(server());
        same(true, $talk->writeWait('{"opcode":"echo","message":1}'));
        same('{"opcode":"echo","message":1}', $talk->readSocket());
        $talk->writeSocket('{"opcode":"echo","message":2}');
        same('{"opcode":"next","fyi":""}', $talk->readSocket());
        same('{"opcode":"echo","message":2}', $talk->readSocket());
        $talk->writeSocket('');
        same(false, $talk->connected);
    },
);

test('what goes wrong is a warning, and nothing is thrown', function () {
    $program = null;
    $url = server([], $program);
    $talk = new websocketPhp($url);
    $program->end(SIGKILL);
    same(1, count(warnings(fn() => $talk->broadcast('lost'))), 'warnings');
    same(false, $talk->connected);
    same([], warnings(fn() => $talk->broadcast('not sent')), 'warnings');
    same('', $talk->readSocket());
    same(false, $talk->writeWait('x'));
    $none = null;
    $warnings = warnings(function () use (&$none, $url) {
        $none = new websocketPhp($url);
    });
    same(1, count($warnings), 'warnings');
    same(false, $none->connected);
    same(true, strpos($none->errorHandshake, 'refused') !== false, 'the reason');
    $talk = new websocketPhp(server());
    same(1, count(warnings(fn() => $talk->broadcast("\xff"))), 'warnings');
    same(true, $talk->connected);
});

test('certificate options that make no sense are a warning', function () {
    websocketPhp::$tls = getenv('WEBSOCK_TEST_NOT_SET');
    try {
        $talk = null;
        $warnings = warnings(function () use (&$talk) {
            $talk = new websocketPhp('ssl://127.0.0.1:1');
        });
        same([1, false], [count($warnings), $talk->connected], 'warnings, connected');
        same(true, strpos($warnings[0], "'tls'") !== false, $warnings[0]);
    } finally {
        websocketPhp::$tls = [];
    }
});

test('what comes out of a session is not connected', function () {
    $talk = new websocketPhp(server(), 'me');
    $copy = unserialize(serialize($talk));
    same(['me', $talk->fromUUID, false], [$copy->ident, $copy->fromUUID, $copy->connected]);
    same(false, $copy->writeWait('{"opcode":"broadcast"}'));
    same(true, $talk->writeWait('{"opcode":"broadcast"}'));
});

test('a self-signed certificate will do on this machine, as ever, and nowhere else', function () {
    same(true, (new websocketPhp(str_replace('wss:', 'ssl:', secureServer())))->connected);
    // To the client, 127.0.0.2 is another machine.
    $elsewhere = str_replace('wss:', 'ssl:', secureServer('127.0.0.2'));
    $talk = null;
    $warnings = warnings(function () use (&$talk, $elsewhere) {
        $talk = new websocketPhp($elsewhere);
    });
    same([1, false], [count($warnings), $talk->connected], 'warnings, connected');
    same(true, strpos($talk->errorHandshake, 'not trusted') !== false, $talk->errorHandshake);
    websocketPhp::$tls = ['cafile' => getenv('WORK') . '/cert.pem', 'peer_name' => 'localhost'];
    try {
        same(true, (new websocketPhp($elsewhere))->connected, 'connected');
    } finally {
        websocketPhp::$tls = [];
    }
});
