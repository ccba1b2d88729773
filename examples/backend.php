<?php

// A backend job that reports its progress into the page that started it.
//
// Run:  the server (cargo run --release), and at the top of the repository
//         php -S localhost:8080
// See:  http://localhost:8080/examples/page.html: its button starts this job, its bar fills.
//       Or on the command line, with the UUID that the page shows:
//         php examples/backend.php UUID [ws://HOST:PORT]

declare(strict_types=1);

require __DIR__ . '/../clients/php/websock.php';

const STEPS = 20;
const STEP_MICROSECONDS = 100_000;

// The page posts {"uuid": …}.
$request = json_decode((string) file_get_contents('php://input'), true);
$uuid = $argv[1] ?? $request['uuid'] ?? '';
if (!is_string($uuid) || $uuid === '') {
    http_response_code(400);
    exit("Whose job is it? Give the UUID that the page shows.\n");
}

try {
    $push = new Websock\Push($argv[2] ?? 'ws://localhost:8096');
    for ($step = 1; $step <= STEPS; $step++) {
        usleep(STEP_MICROSECONDS); // here it works
        $progress = ['percent' => intdiv(100 * $step, STEPS)];
        if ($push->feedback($progress, $uuid) === 0) {
            exit("the page is gone, and so is the job\n");
        }
    }
} catch (Websock\WebsockException $failure) {
    http_response_code(502);
    exit($failure->getMessage() . "\n");
}
echo "done\n";
