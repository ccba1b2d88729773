<?php
// The deployed PHP clients' ways through a running server, each 200 times in a row:
//   suite.php HOST PORT
// Prints a line that begins with `ok` or `FAILED` for each scenario; exits with 1 if one failed.
declare(strict_types=1);

require __DIR__ . '/clients.php';

const REPETITIONS = 200;
const FAILURES_ENDURED = 3;
const BURSTS = 5;

[, $host, $port] = $argv;
$port = (int) $port;
$failedScenarios = 0;

/**
 * Runs an exchange REPETITIONS times. $open makes its clients, once and again after each failure;
 * $exchange gets them and its number, and throws what went wrong.
 */
function scenario(string $name, callable $open, callable $exchange): void
{
    global $failedScenarios;
    $clients = null;
    $done = $failures = 0;
    $first = '';
    for ($number = 0; $number < REPETITIONS && $failures < FAILURES_ENDURED; $number++) {
        try {
            $clients ??= $open();
            $exchange($clients, $number);
            $done++;
        } catch (RuntimeException $failure) {
            $first = $first ?: "; first failure, number $number: " . $failure->getMessage();
            $failures++;
            $clients = null;
        }
    }
    $failedScenarios += $failures > 0 ? 1 : 0;
    $stopped = $number < REPETITIONS ? ", stopped at number $number" : '';
    echo $failures > 0 ? 'FAILED' : 'ok', " $name: $done of ", REPETITIONS, $first, $stopped, "\n";
}

foreach (Reading::cases() as $reading) {
    $deployed = fn (string $ident = '') => new DeployedClient($host, $port, $reading, $ident);
    $web = fn (string $path = '/web') => new WebClient($host, $port, $path);
    $named = fn (string $what) => "PHP client of {$reading->value}: $what";

    scenario($named('connects and gets its uuid'), fn () => [], function () use ($deployed) {
        $deployed()->close();
    });

    scenario(
        $named('feedback by uuid reaches a web client'),
        fn () => [$deployed(), $web()],
        function (array $clients, int $number) {
            [$sender, $receiver] = $clients;
            $packet = ['opcode' => 'feedback', 'uuid' => $receiver->uuid, 'message' => "number $number"];
            $sender->send(json_encode($packet));
            $sender->expectNext();
            $receiver->expect($packet);
        },
    );

    // PHP scripts that use JSON_NUMERIC_CHECK send the ident "42" as the number 42.
    scenario(
        $named('feedback by ident reaches a PHP client, by a number too'),
        fn () => [$deployed(), $deployed('backend'), $deployed('42')],
        function (array $clients, int $number) {
            $sender = $clients[0];
            $receiver = $clients[1 + $number % 2];
            $packet = ['opcode' => 'feedback', 'ident' => $number % 2 ? 42 : 'backend', 'message' => "number $number"];
            $sender->send(json_encode($packet, JSON_NUMERIC_CHECK));
            $sender->expectNext();
            $receiver->expect($packet);
        },
    );

    // The feedback shows that the broadcast has not come to the other PHP client, and the `next`
    // of each exchange that it has not come back to the sender.
    scenario(
        $named('a broadcast reaches the web clients and no PHP client'),
        fn () => [$deployed(), $deployed('other'), $web('/'), $web('/web')],
        function (array $clients, int $number) {
            [$sender, $other, $root, $web] = $clients;
            $packet = ['opcode' => 'broadcast', 'message' => "number $number"];
            $sender->send(json_encode($packet));
            $sender->expectNext();
            $root->expect($packet);
            $web->expect($packet);
            $feedback = ['opcode' => 'feedback', 'ident' => 'other', 'message' => "after $number"];
            $sender->send(json_encode($feedback));
            $sender->expectNext();
            $other->expect($feedback);
        },
    );

    foreach (['an echo' => 20, 'an echo longer than one read' => 20_000] as $what => $length) {
        scenario(
            $named("$what comes after its next"),
            fn () => [$deployed()],
            function (array $clients, int $number) use ($length) {
                $packet = ['opcode' => 'echo', 'message' => str_pad("number $number ", $length, 'abcdefghij')];
                $clients[0]->send(json_encode($packet));
                $clients[0]->expectNext();
                $clients[0]->expect($packet);
            },
        );
    }

    scenario(
        $named('a message in chunks between bufferON and bufferOFF is one message'),
        fn () => [$deployed()],
        function (array $clients, int $number) {
            $packet = ['opcode' => 'echo', 'message' => str_pad("number $number ", 30_000, 'abcdefghij')];
            foreach (['bufferON', ...str_split(json_encode($packet), 6144), 'bufferOFF'] as $text) {
                $clients[0]->send($text);
                $clients[0]->expectNext();
            }
            $clients[0]->expect($packet);
        },
    );

    // Each frame must come by itself, whichever of them the server has first.
    scenario(
        $named('what others push between its messages is lost as little as each next'),
        fn () => [$deployed('busy'), $web(), $web()],
        function (array $clients, int $number) {
            [$script, $first, $second] = $clients;
            $pushed = fn (string $by) => ['opcode' => 'feedback', 'ident' => 'busy', 'message' => "$by $number"];
            $first->send(json_encode($pushed('first')));
            $script->send(json_encode(['opcode' => 'feedback', 'uuid' => $first->uuid, 'message' => "back $number"]));
            $second->send(json_encode($pushed('second')));
            $got = [$script->packet(), $script->packet(), $script->packet()];
            foreach ([['opcode' => 'next', 'fyi' => ''], $pushed('first'), $pushed('second')] as $wanted) {
                if (!in_array($wanted, $got, true)) {
                    throw new RuntimeException('no ' . json_encode($wanted) . ' among ' . json_encode($got));
                }
            }
            $second->expectNext();
            $first->packet();
            $first->packet();
        },
    );

    scenario($named('its empty close frame is answered and the connection ended'), fn () => [], function () use ($deployed) {
        $deployed()->closeAndWait();
    });

    burst($named('feedback frames sent back to back arrive in order'), $host, $port, $reading, $web);
}
exit($failedScenarios > 0 ? 1 : 0);

/** A web client sends REPETITIONS feedback packets at once to a PHP client in another process, BURSTS times. */
function burst(string $name, string $host, int $port, Reading $reading, callable $web): void
{
    global $failedScenarios;
    $ends = [];
    for ($round = 0; $round < BURSTS; $round++) {
        $command = [PHP_BINARY, '-d', 'openssl.cafile=' . ini_get('openssl.cafile'), __DIR__ . '/reader.php', $host, (string) $port, $reading->value, "burst $round", (string) REPETITIONS];
        $reader = proc_open($command, [0 => ['file', '/dev/null', 'r'], 1 => ['pipe', 'w']], $pipes);
        try {
            $end = trim((string) fgets($pipes[1]));
            if ($end === 'ready') {
                $sender = $web();
                $sender->sendAll(array_map(
                    fn (int $number) => json_encode(['opcode' => 'feedback', 'ident' => "burst $round", 'message' => "number $number"]),
                    range(0, REPETITIONS - 1),
                ));
                for ($number = 0; $number < REPETITIONS; $number++) {
                    $sender->expectNext();
                }
                $end = trim((string) stream_get_contents($pipes[1]));
            }
        } catch (RuntimeException $failure) {
            $end = 'the sender: ' . $failure->getMessage();
            proc_terminate($reader);
        }
        fclose($pipes[1]);
        proc_close($reader);
        $ends[] = $end;
    }
    $bad = array_filter($ends, fn (string $end) => $end !== 'received ' . REPETITIONS);
    $failedScenarios += $bad ? 1 : 0;
    echo $bad ? 'FAILED' : 'ok', " $name: ", BURSTS - count($bad), ' of ', BURSTS, ' times ', REPETITIONS, $bad ? '; ' . implode('; ', $bad) : '', "\n";
}
