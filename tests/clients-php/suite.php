<?php
// The PHP client's tests. The environment names the server's program, WEBSOCK, and a directory
// with cert.pem, key.pem and foreign.pem, WORK.
declare(strict_types=1);

require __DIR__ . '/harness.php';
require dirname(__DIR__) . '/php/clients.php';

$failedTests = 0;

test('websock.php is what its source makes', function () {
    $made = shell_exec(escapeshellarg(PHP_BINARY) . ' ' . escapeshellarg(__DIR__ . '/single.php'));
    $kept = file_get_contents(dirname(__DIR__, 2) . '/clients/php/websock.php');
    same(true, $made === $kept, 'current (run: php single.php > ../../clients/php/websock.php)');
});

$parts = [
    'client',
    'wire',
    'refusals',
    'answers',
    'push',
    'users',
    'delivery',
    'processes',
    'hosting',
    'options',
    'dropin',
    'examples',
];
foreach (array_slice($argv, 1) ?: $parts as $part) {
    require __DIR__ . "/$part.php";
}
// Without this line, run.sh knows that a test has ended the suite.
echo "all parts have been run\n";
exit($failedTests > 0 ? 1 : 0);
