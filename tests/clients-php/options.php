<?php
// What scripts give to the constructors and to feedback(): checked there, and told by its name.
declare(strict_types=1);

use Websock\Client;
use Websock\Push;

/** Expects Push, Client or both to refuse an option, before anybody is asked. */
$refused = static function (array $classes, array $options, string ...$words): void {
    foreach ($classes as $class) {
        $make = fn() => new $class('unix:/nobody', $options);
        throws(InvalidArgumentException::class, $words, $make);
    }
};
$both = [Push::class, Client::class];
$client = [Client::class];

test('an option that comes from a variable that is not set is told', function () use (
    $refused,
    $both,
    $client,
) {
    foreach (['token', 'timeout', 'tls', 'ident', 'path', 'maxMessageBytes'] as $name) {
        $classes = in_array($name, ['token', 'timeout', 'tls'], true) ? $both : $client;
        $value = [$name => getenv('WEBSOCK_TEST_NOT_SET')];
        $refused($classes, $value, "'$name'", 'false', 'environment variable set?');
        $refused($classes, [$name => null], "'$name'", 'null', 'leave it out');
        $refused($classes, [$name => new stdClass()], "'$name'", 'of type object');
        $refused($classes, [$name => true], "'$name'", 'of type boolean');
    }
    foreach (['cafile', 'peer_name', 'local_cert'] as $name) {
        $refused($both, ['tls' => [$name => false]], "'tls' => ['$name']", 'variable set?');
        $refused($both, ['tls' => [$name => '']], "'tls' => ['$name']", 'a text');
    }
    throws(InvalidArgumentException::class, ['variable set'], fn() => new Push(''));
    throws(InvalidArgumentException::class, ['variable set'], fn() => new Client(''));
});

test('an option that makes no sense is told, with what would', function () use (
    $refused,
    $both,
    $client,
) {
    foreach ([0, -1, '', '10 s', NAN, INF, 1e12, []] as $timeout) {
        $refused($both, ['timeout' => $timeout], "'timeout'", 'seconds above 0');
    }
    $refused($both, ['timeout' => '10 s'], '"10 s"');
    $refused($both, ['token' => 1234567890123456], "'token'", 'number 1234567890123456');
    $refused($both, ['token' => "0123456789abcdef\n"], "'token'", 'line end', 'trim()');
    $refused($both, ['token' => "0123\r\nX: y"], "'token'", 'control characters');
    $refused($both, ['tls' => 'own.pem'], "'tls'", "['cafile' => 'FILE.pem']", '"own.pem"');
    $refused($both, ['tls' => ['ssl' => ['cafile' => 'x']]], "'tls'", 'themselves');
    $refused($both, ['tls' => ['own.pem']], "'tls'", 'themselves');
    $refused($both, ['tls' => ['ca_file' => 'x']], "'tls'", "'cafile'", 'ca_file');
    $refused($both, ['tls' => ['verify_pear' => false]], "'verify_peer'");
    $refused($both, ['tls' => ['verify_peer' => 'false']], 'true or false', '"false"');
    $refused($client, ['path' => 'php'], "'path'", 'begins with /', '"php"');
    $refused($client, ['path' => "/a b"], "'path'", 'without blanks');
    $refused($client, ['path' => "/a\r\nX: y"], "'path'", '"/a??X: y"');
    $refused($client, ['ident' => "a\r\nb: c"], "'ident'", 'control');
    $refused($client, ['ident' => 1.5], "'ident'", 'number 1.5');
    foreach ([0, -1, '0', '32M', 1.5] as $count) {
        $refused($client, ['maxMessageBytes' => $count], "'maxMessageBytes'", 'bytes above 0');
    }
});

test('a token is never in a message', function () use ($both) {
    foreach ($both as $class) {
        foreach (["sesame\n", 'sesame sesame', ['sesame'], "sesame\xff"] as $token) {
            $make = fn() => new $class('unix:/nobody', ['token' => $token]);
            $refusal = throws(InvalidArgumentException::class, ['token'], $make);
            same(false, strpos($refusal->getMessage(), 'sesame'), $refusal->getMessage());
        }
    }
});

test('an option that there is not is told, with the one that was meant', function () use (
    $refused,
    $both,
) {
    foreach (
        ['tokn' => 'token', 'Token' => 'token', 'time_out' => 'timeout', 'TLS' => 'tls']
        as $given => $meant
    ) {
        $refused($both, [$given => 'x'], "no option \"$given\"", "Did you mean '$meant'?");
    }
    foreach (['max_message_bytes' => 'maxMessageBytes', 'idnet' => 'ident'] as $given => $meant) {
        $refused([Client::class], [$given => 'x'], "no option \"$given\"", "'$meant'");
    }
    $refused($both, ['cafile' => 'x'], 'no option "cafile"', 'token, timeout, tls');
    $refused($both, ['sesame'], 'no option 0', "['token' => 'TOKEN']");
    $refused([Push::class], ['ident' => 'x'], 'no option "ident"', 'one of Client');
    $refused($both, ["\e[2J" . str_repeat('x', 999) => 1], '"?[2Jxxx');
});

test('what a configuration has as text is taken', function () {
    $url = server(['pushToken' => '1234567890123456']);
    $options = ['token' => '1234567890123456', 'timeout' => '10', 'tls' => ['verify_depth' => 5]];
    same(0, (new Push($url, $options))->broadcast('x'));
    $script = new Client($url, $options + ['ident' => 42, 'maxMessageBytes' => '1000']);
    $script->feedback('by number', ['ident' => 42]);
    same('by number', $script->receive(DEADLINE_SECONDS)['message']);
});

test('whom a feedback is for is told, if it is nobody', function () {
    $push = new Push('unix:/nobody');
    $script = new Client(server());
    $missing = getenv('WEBSOCK_TEST_NOT_SET');
    foreach (
        [
            [$missing, 'variable set?'],
            [['ident' => $missing], 'variable set?'],
            [null, 'null'],
            [['uuid' => null], 'null'],
            [7, 'the number 7'],
            ['', '""'],
            [['idnet' => 'backend'], 'an array without uuid, ident, user'],
            [['backend'], 'an array without uuid, ident, user'],
            [['user' => ''], '""'],
            [new stdClass(), 'of type object'],
        ]
        as [$to, $word]
    ) {
        $words = ['feedback needs a uuid or an ident', $word];
        throws(InvalidArgumentException::class, $words, fn() => $push->feedback('x', $to));
        throws(InvalidArgumentException::class, $words, fn() => $script->feedback('x', $to));
    }
});

test('whom a logout is for is told, if it is nobody', function () {
    $push = new Push('unix:/nobody');
    foreach (
        [
            [null, 'null'],
            ['', '""'],
            [['session' => ''], '""'],
            [['session' => session_id()], '""'],
            [['uuid' => 'x'], 'an array without user, session'],
        ]
        as [$whom, $word]
    ) {
        $words = ['logout needs a user or a session', $word];
        throws(InvalidArgumentException::class, $words, fn() => $push->logout($whom));
    }
});

test('what has a text may be a uuid', function () {
    $url = server();
    $script = new Client($url);
    $web = new WebClient('127.0.0.1', parse_url($url, PHP_URL_PORT), '/web');
    $uuid = new class ($web->uuid) {
        public function __construct(private string $uuid)
        {
        }

        public function __toString(): string
        {
            return $this->uuid;
        }
    };
    same(1, (new Push($url))->feedback('x', $uuid));
    $web->expect(['opcode' => 'feedback', 'uuid' => $web->uuid, 'message' => 'x']);
});
