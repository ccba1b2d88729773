<?php
// The PHP examples, as their comments say.
declare(strict_types=1);

const EXAMPLES = __DIR__ . '/../../examples';

/** Runs an example to its end and returns what it prints; it has to exit with 0. */
function example(string ...$command): string
{
    $pipes = [];
    $name = array_shift($command);
    $process = proc_open(
        [PHP_BINARY, EXAMPLES . "/$name", ...$command],
        [['file', '/dev/null', 'r'], ['pipe', 'w'], STDERR],
        $pipes,
    );
    $output = stream_get_contents($pipes[1]);
    same(0, proc_close($process), "the exit code of $name");
    return $output;
}

test('what the sender sends, the receiver prints, and ends', function () {
    $url = server();
    $lines = new Program([PHP_BINARY, EXAMPLES . '/receiver.php', $url], '/(waiting)/');
    same('', example('sender.php', 'Hello', $url));
    same('"Hello"' . "\n", $lines->readLine());
    same('', example('sender.php', 'stop', $url));
    same('"stop"' . "\n", $lines->readLine());
    same(false, $lines->readLine(), 'a line behind the end');
});

test('the backend job reports its progress into the page', function () {
    $url = server();
    $web = new WebClient('127.0.0.1', parse_url($url, PHP_URL_PORT), '/web');
    same("done\n", example('backend.php', $web->uuid, $url));
    same("the page is gone, and so is the job\n", example('backend.php', 'nobody', $url));
    for ($percent = 5; $percent <= 100; $percent += 5) {
        $message = ['percent' => $percent];
        $web->expect(['opcode' => 'feedback', 'uuid' => $web->uuid, 'message' => $message]);
    }
});
