<?php
// Websock\Push against the real server, and against stub-push.php, which answers in every form that
// HTTP allows and does not mind being treated badly.
declare(strict_types=1);

use Websock\Client;
use Websock\ConnectException;
use Websock\ConnectionLost;
use Websock\Push;
use Websock\PushException;

/** Address of a stub with a client that has the uuid `here` and the ident `backend`. */
function pushServer(): string
{
    return 'http://' . stub('push');
}

/** Starts the real server; its address for pushes by $scheme, and that of its WebSocket. */
function realPushServer(string $scheme): array
{
    [$cert, $key, $socket] = array_map(
        fn(string $name) => getenv('WORK') . "/$name",
        ['cert.pem', 'key.pem', 'websock.socket'],
    );
    $also = ['ws' => '', 'wss' => ',wss://localhost:0', 'unix' => ",unix:$socket"][$scheme];
    $files = $scheme === 'wss' ? ['certFile' => $cert, 'pkFile' => $key] : [];
    $program = null;
    $url = server(['adress' => "ws://127.0.0.1:0$also"] + $files, $program);
    for ($found = []; $scheme === 'wss' && !$found;) {
        preg_match('~Listening on wss://[^\s,]*:(\d+)~', (string) $program->readLine(), $found);
    }
    $to = ['ws' => $url, 'wss' => 'wss://localhost:' . ($found[1] ?? ''), 'unix' => "unix:$socket"];
    return [$to[$scheme], $url];
}

foreach (['ws', 'wss', 'unix'] as $scheme) {
    test("$scheme: the real server counts whom a push reaches", function () use ($scheme) {
        [$to, $url] = realPushServer($scheme);
        $web = new WebClient('127.0.0.1', parse_url($url, PHP_URL_PORT), '/web');
        $script = new Client($url, ['ident' => 'backend']);
        $push = new Push($to, ['tls' => ['cafile' => getenv('WORK') . '/cert.pem']]);
        $packet = ['opcode' => 'feedback', 'uuid' => $web->uuid];
        for ($number = 0; $number < 300; $number++) {
            same(1, $push->feedback($number, $web->uuid), 'delivered');
            $web->expect($packet + ['message' => $number]);
        }
        same(1, $push->feedback('to a script', ['ident' => 'backend']), 'delivered');
        same('to a script', $script->receive(DEADLINE_SECONDS)['message']);
        same(0, $push->feedback('hello', 'nobody'), 'delivered to nobody');
        same(1, $push->broadcast('to all'), 'delivered to all');
        $web->expect(['opcode' => 'broadcast', 'message' => 'to all']);
        $results = $push->sendAll([$packet, ['opcode' => 'feedback', 'uuid' => 'nobody']]);
        same([1, 0], array_column($results, 'delivered'), 'delivered of a batch');
    });
}

test('the real server asks for its token, and for no message over maxMessageSize', function () {
    $url = server(['pushToken' => 'open-sesame-0123456789', 'maxMessageSize' => '2K']);
    foreach ([[], ['token' => 'wrong']] as $options) {
        $push = new Push($url, $options);
        throws(PushException::class, ['401', 'pushToken'], fn() => $push->broadcast('x'));
    }
    $push = new Push($url, ['token' => 'open-sesame-0123456789']);
    same(0, $push->feedback('x', 'nobody'));
    $words = ['413', 'maxMessageSize'];
    throws(PushException::class, $words, fn() => $push->broadcast(str_repeat('x', 5000)));
    $client = new Client($url, ['token' => 'open-sesame-0123456789', 'ident' => 'me']);
    same(1, $push->feedback('y', ['ident' => 'me']));
    same('y', $client->receive(DEADLINE_SECONDS)['message']);
    throws(ConnectException::class, ['401', 'pushToken'], fn() => new Client($url));
});

test('a push to somebody counts 1, to nobody 0', function () {
    $push = new Push(pushServer());
    same(1, $push->feedback('hello', 'here'));
    same(1, $push->feedback('hello', ['ident' => 'backend']));
    same(0, $push->feedback('hello', 'gone'));
});

test('1,000 pushes go over one connection', function () {
    $stub = stubProgram('push');
    $push = new Push("http://$stub->said");
    for ($number = 0; $number < 1000; $number++) {
        same(1, $push->feedback($number, 'here'));
    }
    same(['connection' => 1, 'request' => 1000], $stub->countLines(), 'what the server saw');
});

test('several packets in one request are answered one by one', function () {
    $stub = stubProgram('push');
    $push = new Push("http://$stub->said");
    $packets = [
        ['opcode' => 'feedback', 'uuid' => 'here', 'message' => 1],
        ['opcode' => 'feedback', 'uuid' => 'gone', 'message' => 2],
    ];
    same([1, 0], array_column($push->sendAll($packets), 'delivered'));
    same([1, 0], array_column($push->sendAll([5 => $packets[0], 9 => $packets[1]]), 'delivered'));
    same([], $push->sendAll([]));
    same(2, $stub->countLines()['request'], 'requests');
});

test('a receiver whose queue is full is told from one who is not there', function () {
    $push = new Push(pushServer());
    $words = ['503', 'queue is full', 'does not read', 'later'];
    $refused = throws(PushException::class, $words, fn() => $push->feedback('hello', 'full'));
    same(503, $refused->getCode(), 'code');
    same(1, $push->feedback('the connection is still there', 'here'));
});

test('a token opens; without it, or with a wrong one, it is told', function () {
    $url = pushServer() . '/secret';
    same(1, (new Push($url, ['token' => 'sesame']))->feedback('hello', 'here'));
    foreach ([[], ['token' => 'wrong']] as $options) {
        $push = new Push($url, $options);
        $refused = throws(
            PushException::class,
            ['401', 'pushToken'],
            fn() => $push->feedback('x', 'here'),
        );
        same(401, $refused->getCode(), 'code');
        same(false, strpos($refused->getMessage(), 'wrong'), 'the token in the message');
    }
});

test('a message that is too long is told with the key', function () {
    $push = new Push(pushServer());
    $words = ['413', 'maxMessageSize'];
    throws(PushException::class, $words, fn() => $push->broadcast(str_repeat('x', 200_000)));
});

test('a refusal before all was read is told', function () {
    $push = new Push('http://' . stub('push refused early'));
    $words = ['413', 'maxMessageSize'];
    throws(PushException::class, $words, fn() => $push->broadcast(str_repeat('x', 20_000_000)));
});

test('an address with a path that has no push is told', function () {
    $push = new Push(pushServer() . '/php');
    throws(PushException::class, ['405', 'without a path'], fn() => $push->broadcast('x'));
});

test('a Unix socket will do', function () {
    $path = 'unix://' . getenv('WORK') . '/push';
    stub('push', $path);
    same(1, (new Push($path))->feedback('hello', 'here'));
});

test('a connection that the server has ended in between is made anew', function () {
    $stub = stubProgram('push and close');
    $push = new Push("http://$stub->said");
    same(1, $push->broadcast('a'));
    // Waits for the end of the connection, which the next push is to find.
    $socket = Closure::bind(static fn(Push $push) => $push->stream, null, Push::class)($push);
    $socket = Closure::bind(static fn($stream) => $stream->socket, null, Websock\Stream::class)(
        $socket,
    );
    $reading = [$socket];
    $none = null;
    same(1, stream_select($reading, $none, $none, DEADLINE_SECONDS), 'the end');
    same(1, $push->broadcast('b'));
    $push->close();
    same(1, $push->broadcast('c'));
    same(['connection' => 3, 'request' => 3], $stub->countLines(), 'what the server saw');
});

test('a push whose answer does not come is in doubt, and not sent again', function () {
    foreach (
        ['hang up' => ['without a word', []], 'nothing' => ['in time', ['timeout' => 0.2]]]
        as $role => [$word, $options]
    ) {
        $stub = stubProgram($role);
        $push = new Push("http://$stub->said", $options);
        throws(ConnectionLost::class, [$word], fn() => $push->broadcast('a'));
        same(['connection' => 1, 'request' => 1], $stub->countLines(2), "seen: $role");
    }
});

test('what is no websock server is told', function () {
    foreach (
        [
            'SSH' => [ConnectException::class, 'does not speak HTTP'],
            'a web page' => [PushException::class, 'port of adress in websock.ini'],
            'not found' => [PushException::class, 'not as websock does'],
            'a page for every push' => [PushException::class, 'delivered'],
        ]
        as $role => [$class, $word]
    ) {
        $push = new Push('http://' . stub($role));
        throws($class, [$word], fn() => $push->broadcast('x'));
    }
    $push = new Push('http://' . stub('a page for every push'));
    $packets = [['opcode' => 'broadcast']];
    throws(PushException::class, ['delivered'], fn() => $push->sendAll($packets));
    $push = new Push('http://' . stub('push and close'));
    throws(PushException::class, ['each packet'], fn() => $push->sendAll($packets));
});

test('certificates are checked', function () {
    $push = new Push(str_replace(['wss:', '127.0.0.1'], ['https:', 'localhost'], secureServer()));
    throws(ConnectException::class, ['not trusted', 'cafile'], fn() => $push->broadcast('x'));
});

test('a port on which nobody listens is told', function () {
    $push = new Push('unix://' . getenv('WORK') . '/nobody');
    throws(ConnectException::class, ['running'], fn() => $push->broadcast('x'));
});

test('arguments that make no sense are refused before anything is sent', function () {
    throws(InvalidArgumentException::class, ['address'], fn() => new Push('ftp://h'));
    throws(
        InvalidArgumentException::class,
        ['tokn'],
        fn() => new Push('http://h', ['tokn' => 'x']),
    );
    throws(
        InvalidArgumentException::class,
        ['token'],
        fn() => new Push('http://h', ['token' => "a\r\nb"]),
    );
    $push = new Push('unix:///nobody');
    throws(InvalidArgumentException::class, ['Not sent'], fn() => $push->broadcast("\xff"));
});
