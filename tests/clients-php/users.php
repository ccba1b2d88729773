<?php
// Users: pushes to them, logout, who is here, tokens and answers to authUrl.
declare(strict_types=1);

use Websock\Push;
use Websock\PushException;
use Websock\SignIn;
use Websock\Token;

const AUTH_KEY = 'a secret of thirty-two bytes or more';

test('a push to a user counts tabs, and a logout what it has closed', function () {
    $push = new Push(pushServer());
    same(2, $push->user('hello', '42'));
    same(2, $push->user('hello', 42));
    same(2, $push->feedback('hello', ['user' => '42']));
    same(0, $push->user('hello', '7'));
    same(2, $push->logout('42'));
    same(2, $push->logout(42));
    same(0, $push->logout('7'));
    same(0, $push->logout(['session' => 'abc']));
    same(2, $push->send(['opcode' => 'logout', 'user' => '42']));
    $results = $push->sendAll([
        ['opcode' => 'feedback', 'user' => '42'],
        ['opcode' => 'logout', 'user' => '42'],
    ]);
    same([['delivered' => 2], ['closed' => 2]], $results);
});

test('who is here is told by id', function () {
    $push = new Push(pushServer());
    same(['42' => 2], $push->online(['42', '7']));
    same(['42' => 2], $push->online([3 => 7, 5 => 42]));
    same([], $push->online(['7']));
    same([], $push->online([]));
});

test('the real server lets in by a token, and reaches and logs out that user', function () {
    $url = server(['authKey' => AUTH_KEY, 'require' => 'true']);
    $port = parse_url($url, PHP_URL_PORT);
    $tab = fn($user) => new WebClient('127.0.0.1', $port, '/web', [
        'Cookie: websock_token=' . Token::mint($user, AUTH_KEY, 60),
    ]);
    $push = new Push($url);
    $tabs = [$tab('jané@example.org'), $tab('jané@example.org'), $tab(7)];
    same(2, $push->user(['n' => 1.0], 'jané@example.org'));
    $packet = ['opcode' => 'feedback', 'user' => 'jané@example.org', 'message' => ['n' => 1.0]];
    $tabs[0]->expect($packet);
    $tabs[1]->expect($packet);
    same(1, $push->user('x', 7));
    same(1, $push->user('x', '7'));
    same(['7' => 1, 'jané@example.org' => 2], $push->online([7, 'jané@example.org', 'nobody']));
    $script = new Websock\Client($url);
    $script->feedback('y', ['user' => 7]);
    $script->send(['opcode' => 'logout', 'user' => 7]);
    same(0, $push->logout(7), 'the script has done it');
    same(2, $push->logout('jané@example.org'));
    $results = $push->sendAll([
        ['opcode' => 'logout', 'user' => '42'],
        ['opcode' => 'feedback', 'user' => '42'],
    ]);
    same([0, 0], [$results[0]['closed'], $results[1]['delivered']]);
    same([], $push->online([7, 'jané@example.org']));
});

test('the real server says where nobody is there, and what it does not know', function () {
    [$url] = realPushServer('ws');
    $push = new Push($url);
    $words = ['400', 'opcode must be'];
    throws(PushException::class, $words, fn() => $push->send(['opcode' => 'login']));
    same(0, $push->logout('42'), 'nobody was there');
    same([], $push->online(['42']));
    same(0, $push->user('x', '42'));
});

/** The two parts of a token that are JSON, and whether its signature is that of the key. */
function opened(string $token, string $key): array
{
    [$head, $claims, $signature] = explode('.', $token);
    $decode = fn(string $part) => base64_decode(strtr($part, '-_', '+/'), true);
    $wanted = hash_hmac('sha256', "$head.$claims", $key, true);
    $isSigned = hash_equals($wanted, $decode($signature));
    $isBare = strpbrk($token, '+/= ') === false;
    return [json_decode($decode($head), true), json_decode($decode($claims), true), $isSigned && $isBare];
}

test('a token says who it is, until when and for whom', function () {
    $before = time();
    $token = Token::mint('42', AUTH_KEY, 60, ['rooms' => ['order-7'], 'aud' => 'other']);
    [$head, $claims, $isSigned] = opened($token, AUTH_KEY);
    same(['alg' => 'HS256', 'typ' => 'JWT'], $head);
    same(true, $isSigned, 'signed');
    same(true, $claims['iat'] >= $before && $claims['iat'] <= time(), 'iat');
    $own = ['sub' => '42', 'iat' => $claims['iat'], 'exp' => $claims['iat'] + 60];
    same($own + ['aud' => 'websock', 'rooms' => ['order-7']], $claims);
    // The bytes of the user that base64 makes + and / of.
    foreach (['jané~~~???>>>', 42, '0'] as $user) {
        [, $claims, $isSigned] = opened(Token::mint($user, AUTH_KEY), AUTH_KEY);
        same([(string) $user, true], [$claims['sub'], $isSigned]);
    }
});

test('a token is not made of what opens nothing', function () {
    $long = str_repeat('x', 256);
    foreach (
        [
            ['32 bytes', '42', str_repeat('k', 31), 60],
            ['0 seconds', '42', AUTH_KEY, 0],
            ['null', null, AUTH_KEY, 60],
            ['false', false, AUTH_KEY, 60],
            ['1 to 255 bytes', '', AUTH_KEY, 60],
            ['1 to 255 bytes', $long, AUTH_KEY, 60],
            ['1 to 255 bytes', str_repeat('ä', 128), AUTH_KEY, 60],
            ['control characters', "4\n", AUTH_KEY, 60],
            ['UTF-8', "\xff", AUTH_KEY, 60],
        ]
        as [$word, $user, $key, $seconds]
    ) {
        $mint = fn() => Token::mint($user, $key, $seconds);
        throws(InvalidArgumentException::class, [$word], $mint);
    }
    same(true, Token::mint(substr($long, 1), str_repeat('k', 32), 1) !== '');
});

/** Runs a page that answers authUrl in a server of PHP's own; status line, headers, body. */
function answered(string $answer): array
{
    $page = tempnam(getenv('WORK'), 'page') . '.php';
    $source = dirname(__DIR__, 2) . '/clients/php/websock.php';
    file_put_contents($page, "<?php require " . var_export($source, true) . "; $answer");
    $probe = stream_socket_server('tcp://127.0.0.1:0');
    $address = stream_socket_get_name($probe, false);
    fclose($probe);
    $null = ['file', '/dev/null', 'r'];
    $process = proc_open(
        [PHP_BINARY, '-S', $address, $page],
        [$null, ['file', '/dev/null', 'w'], ['pipe', 'w']],
        $pipes,
    );
    stream_set_timeout($pipes[2], DEADLINE_SECONDS);
    same(true, strpos((string) fgets($pipes[2]), 'started') !== false, 'PHP has begun to listen');
    $context = stream_context_create(['http' => ['ignore_errors' => true]]);
    $body = file_get_contents("http://$address/", false, $context);
    proc_terminate($process);
    proc_close($process);
    return [$http_response_header, $body];
}

test('an answer to authUrl is yes, yes without a name, or no', function () {
    foreach (
        [
            ['$_SESSION["user"] ?? null', '401', ''],
            ['0', '401', ''],
            ['"0"', '401', ''],
            ['""', '401', ''],
            ['false', '401', ''],
            ['true', '204', ''],
            ['42', '200', '{"user":"42"}'],
            ['"a/b", ["expire" => 60]', '200', '{"user":"a/b","expire":60}'],
            ['"42", ["user" => "1"]', '200', '{"user":"42"}'],
        ]
        as [$arguments, $status, $body]
    ) {
        [$headers, $got] = answered("Websock\\SignIn::answer($arguments);");
        same($body, $got, $arguments);
        same($status, explode(' ', $headers[0])[1], $arguments);
        same(true, in_array('Cache-Control: no-store', $headers, true), "$arguments: not kept");
        $isJson = in_array('Content-Type: application/json', $headers, true);
        same($body !== '', $isJson, "$arguments: type");
    }
    // What the application does not know is neither yes nor no.
    [$headers] = answered('Websock\SignIn::answer([]);');
    same('500', explode(' ', $headers[0])[1]);
});
