<?php
// Answers that refuse: websock's own, and those of proxies and other servers, which have the same
// statuses. Advice about websock.ini is for websock's own only.
declare(strict_types=1);

use Websock\Client;
use Websock\ConnectException;
use Websock\ConnectionLost;
use Websock\Push;
use Websock\PushException;

/** What Client and Push say to an answer, each with its class and code. */
$told = static function (string $role): array {
    $status = (int) substr($role, -3);
    $at = stub($role);
    $client = throws(
        ConnectException::class,
        ["$status"],
        fn() => new Client("ws://$at", ['token' => 'sesame']),
    );
    $push = new Push("http://$at", ['token' => 'sesame']);
    $pushed = throws(Websock\WebsockException::class, ["$status"], fn() => $push->broadcast('x'));
    same([$status, $status], [$client->getCode(), $pushed->getCode()], 'codes');
    return [$client, $pushed];
};
$has = static function (Throwable $refusal, array $words, array $others): void {
    $text = $refusal->getMessage();
    foreach ($words as $word) {
        same(true, stripos($text, $word) !== false, "$word in $text");
    }
    foreach ($others as $word) {
        same(false, stripos($text, $word), "$word in $text");
    }
};

$keys = ['pushToken', 'allowedIP', 'trustedProxies', 'secret', 'sesame', '<h1>'];
foreach (
    [
        'nginx, 301' => ['nginx/1.22.1', 'https://push.example.org/php: give that'],
        'nginx, 308' => ['nginx/1.22.1', 'https://push.example.org/php: give that'],
        'haproxy, 301' => ['points to another address'],
        'nginx, 401' => ['nginx/1.22.1', 'a sign-in of its own'],
        'nginx, 403' => ['nginx/1.22.1', 'rule of its own'],
        'nginx, 404' => ['nginx/1.22.1', 'pass this path on', 'port of adress'],
        'nginx, 405' => ['nginx/1.22.1', 'pass this path on', 'port of adress'],
        'nginx, 413' => ['nginx/1.22.1', 'client_max_body_size'],
        'nginx, 418' => ['nginx/1.22.1', 'port of adress'],
        'go, 404' => ['pass this path on'],
        'go, 429' => ['how often'],
        'an API, 401' => ['a sign-in of its own'],
        'an API, 403' => ['rule of its own'],
        'nothing more, 401' => ['a sign-in of its own'],
        'nothing more, 403' => ['rule of its own'],
        'another backend, 401' => ['a sign-in of its own'],
        'another backend, 403' => ['rule of its own'],
        'a terminal, 403' => ['(Server: ?[2J? evilxxx'],
        'a terminal, 301' => ['another address, ?]0;x'],
    ]
    as $role => $words
) {
    test("another server's $role is not taken for websock's", function () use (
        $role,
        $words,
        $told,
        $has,
        $keys,
    ) {
        [$client, $push] = $told($role);
        foreach ([$client, $push] as $refusal) {
            $has($refusal, ['not as websock does', ...$words], ["\e", ...$keys]);
            same(true, strlen($refusal->getMessage()) < 400, 'short');
        }
        same(PushException::class, get_class($push), 'class');
    });
}

foreach (
    ['nginx, 500', 'nginx, 502', 'haproxy, 503', 'envoy, 503', 'nginx, 504', 'an API, 503']
    as $role
) {
    test("a push that $role answers is in doubt", function () use ($role, $told, $has, $keys) {
        [$client, $push] = $told($role);
        $others = ['full', 'maxQueue', ...$keys];
        $has($client, ['not as websock does'], ['handled or not', ...$others]);
        $has($push, ['not as websock does', 'handled or not'], $others);
        same(ConnectionLost::class, get_class($push), 'class');
    });
}

foreach (
    [
        'websock: token, 401' => ['A token is needed', "'token'"],
        'websock behind nginx: token, 401' => ['A token is needed', "'token'"],
        'websock: proxy, 403' => ['trustedProxies', 'without it'],
        'websock: host, 403' => ["Host is none of this server's names?[2J"],
        'websock: overload, 503' => ['overloaded: try again later'],
    ]
    as $role => $words
) {
    test("what $role says is believed", function () use ($role, $words, $told, $has) {
        foreach ($told($role) as $refusal) {
            $others = ['not as websock does', 'handled or not', 'allowedIP', "\e"];
            $has($refusal, ['refuses', ...$words], $others);
            same(false, $refusal instanceof ConnectionLost, 'in doubt');
        }
    });
}

test("the real server's refusals are known as its own", function () use ($has) {
    $clientOf = static fn(array $ini, array $options = [], string $path = '') => throws(
        ConnectException::class,
        [],
        fn() => new Client(server($ini) . $path, $options),
    );
    $pushOf = static fn(array $ini, array $options = [], string $path = '') => throws(
        PushException::class,
        [],
        fn() => (new Push(server($ini) . $path, $options))->broadcast(str_repeat('x', 3000)),
    );
    $foreign = ['not as websock does'];
    $token = ['pushToken' => '0123456789abcdef'];
    $has($clientOf($token), ['401', "as 'token'"], $foreign);
    $has($pushOf($token), ['401', "as 'token'"], $foreign);
    $elsewhere = ['allowedIP' => '192.0.2.1'];
    $has($clientOf($elsewhere), ['403', 'Add the address'], $foreign);
    $has($pushOf($elsewhere), ['403', 'Add the address'], $foreign);
    $long = ['ident' => str_repeat('x', 9000)];
    $has($clientOf([], $long), ['431', 'Path, token and ident are too long'], $foreign);
    $has($pushOf([], ['token' => $long['ident']]), ['431', 'are too long'], $foreign);
    $has($pushOf(['maxMessageSize' => '2K']), ['413', 'maxMessageSize'], $foreign);
    $has($pushOf([], [], '/php'), ['405', 'without a path'], $foreign);
});
