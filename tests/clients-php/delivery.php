<?php
// What waits for those who are away, and what other servers have not answered: protocol.md 9.6, 9.8,
// 11.4 and 11.5.
declare(strict_types=1);

use Websock\Client;
use Websock\ConnectException;
use Websock\ConnectionLost;
use Websock\Push;
use Websock\PushException;

test('a push to somebody who is away counts 0, and waits', function () {
    $push = new Push(pushServer());
    same(0, $push->queued(), 'before any push');
    same(0, $push->feedback('hello', 'away'));
    same(1, $push->queued());
    same(true, $push->isComplete());
    same(1, $push->feedback('hello', 'here'));
    same(0, $push->queued(), 'behind one that has arrived');
    same(0, $push->feedback('hello', 'gone'));
    same(0, $push->queued(), 'behind one to nobody');
    $packet = fn(string $uuid) => ['opcode' => 'feedback', 'uuid' => $uuid];
    $results = $push->sendAll(array_map($packet, ['away', 'here', 'away', 'gone']));
    same([0, 1, 0, 0], array_column($results, 'delivered'));
    same(2, $push->queued(), 'of the batch');
    same(['42' => 2], $push->online(['42']));
    same(2, $push->queued(), 'who is here is no push');
    throws(PushException::class, ['503'], fn() => $push->feedback('hello', 'full'));
    same(0, $push->queued(), 'behind one that was refused');
});

test('what other servers have not said is told, and is no failure where somebody was reached', function () {
    $push = new Push(pushServer());
    foreach (['half' => 2, 'late' => 1, 'redis' => 0] as $uuid => $delivered) {
        same($delivered, $push->feedback('hello', $uuid), $uuid);
        same(false, $push->isComplete(), $uuid);
        same(1, $push->feedback('hello', 'here'));
        same(true, $push->isComplete(), "behind $uuid");
    }
    same(2, $push->feedback('hello', 'all'));
    same(true, $push->isComplete(), 'all have answered');
    $packet = fn(string $uuid) => ['opcode' => 'feedback', 'uuid' => $uuid];
    $push->sendAll([$packet('here'), $packet('deaf')]);
    same(false, $push->isComplete(), 'in a batch');
    $words = ['504', 'has not answered', 'handled or not'];
    $lost = throws(ConnectionLost::class, $words, fn() => $push->feedback('hello', 'deaf'));
    same(504, $lost->getCode(), 'code');
    same(1, $push->feedback('the connection is still there', 'here'));
});

test('a position is the cursor of the server', function () {
    $stub = stubProgram('push');
    $push = new Push("http://$stub->said");
    same('abc-12', $push->position());
    same(1, $push->feedback('hello', 'here'));
    same('abc-12', $push->position());
    same(['connection' => 1, 'request' => 3], $stub->countLines(), 'what the server saw');
    foreach (['not found' => '404', 'a page for every push' => '200'] as $role => $status) {
        $push = new Push('http://' . stub($role));
        throws(PushException::class, [$status], fn() => $push->position());
    }
});

/** What $client receives until the connection is lost. */
function received(Client $client): array
{
    $messages = [];
    try {
        while (($packet = $client->receive(DEADLINE_SECONDS)) !== null) {
            $messages[] = $packet['message'] ?? ($packet['opcode'] ?? 'no packet');
        }
    } catch (ConnectionLost $lost) {
        return $messages;
    }
    throw new RuntimeException('the connection stays');
}

test('a client that resumes gets what it has missed once and in order, or is told of a gap', function () {
    $url = 'ws://' . stub('resume');
    $client = new Client($url, ['resume' => true, 'token' => 'sesame']);
    same('OLD', $client->uuid);
    same([1, 'echo'], received($client));
    same(['replayed' => 4, 'gap' => null], $client->resume());
    same('OLD', $client->uuid);
    same(['no packet', 2, 3, 4, 5, 6], received($client));
    throws(ConnectionLost::class, [], fn() => $client->resume());
    same('OLD', $client->uuid, 'an attempt that fails changes nothing');
    same(['replayed' => 0, 'gap' => 'overflow'], $client->resume());
    same('N4', $client->uuid);
    same([7, 9], received($client));
    same(['replayed' => 0, 'gap' => 'unsupported'], $client->resume());
    same(['feedback'], received($client));
    $refused = throws(ConnectException::class, ['not signed in'], fn() => $client->resume());
    same(1008, $refused->getCode());
});

test('a line that is cut behind any byte loses and doubles nothing', function () {
    $client = new Client('ws://' . stub('resume, cut'), ['resume' => true]);
    same([], received($client));
    $expected = 1;
    $round = 0;
    do {
        $round++;
        for ($connections = 0; $expected <= 3 * $round; $connections++) {
            same(true, $connections < 2, "all of round $round in two connections");
            try {
                $resumed = $client->resume();
                same(null, $resumed['gap'], "gap in front of $expected");
                same('OLD', $client->uuid);
                while (true) {
                    same($expected, (int) $client->receive(DEADLINE_SECONDS)['message'], 'message');
                    $expected++;
                }
            } catch (ConnectionLost | ConnectException $lost) {
                // What comes next is behind the message that was received last.
            }
        }
        // Until a whole answer is shorter than what is let through.
    } while ($connections === 2);
    same(true, $round > 30, "round $round");
});

test('a client resumes only if it was made for that', function () {
    $url = 'ws://' . stub('say every message back');
    $client = new Client($url);
    throws(LogicException::class, ["'resume' => true"], fn() => $client->resume());
    $wrong = fn() => new Client($url, ['resume' => 1]);
    throws(InvalidArgumentException::class, ["'resume'", 'true or false'], $wrong);
});

test('the real server keeps what a script misses', function () {
    $url = server();
    $client = new Client($url, ['resume' => true, 'ident' => 'worker']);
    $uuid = $client->uuid;
    $push = new Push($url);
    $client->close();
    // Until the server has seen the end of the connection.
    for ($count = 0; $push->queued() === 0; $count++) {
        $reached = $push->feedback($count, ['ident' => 'worker']);
        same(1, $reached + $push->queued(), 'reached or waiting');
    }
    $results = $push->sendAll([
        ['opcode' => 'broadcast', 'message' => 'for pages'],
        ['opcode' => 'feedback', 'ident' => 'worker', 'message' => $count],
        ['opcode' => 'feedback', 'ident' => 'nobody', 'message' => 'nobody'],
    ]);
    same([0, 1, 0], array_map(fn($result) => $result['queued'] ?? 0, $results));
    same(1, $push->queued(), 'of the batch');
    same(['replayed' => $count + 1, 'gap' => null], $client->resume());
    same($uuid, $client->uuid);
    for ($message = 0; $message <= $count; $message++) {
        same($message, $client->receive(DEADLINE_SECONDS)['message']);
    }
    same(1, $push->feedback('live', ['ident' => 'worker']));
    same('live', $client->receive(DEADLINE_SECONDS)['message']);
});

test('a page that begins at a position of the real server misses nothing since then', function () {
    $url = server();
    $push = new Push($url);
    $since = $push->position();
    $push->broadcast('in between');
    $path = '/web?resume=1&since=' . rawurlencode($since);
    $page = new WebClient('127.0.0.1', parse_url($url, PHP_URL_PORT), $path);
    same('in between', $page->packet()['message']);
    $push->broadcast('later');
    same('later', $page->packet()['message']);
});

test('the real server keeps what a script misses over a restart', function () {
    $ini = ['stateDir' => getenv('WORK') . '/state', 'shutdownTimeout' => '0'];
    mkdir($ini['stateDir']);
    $program = null;
    $url = server($ini, $program);
    $client = new Client($url, ['resume' => true, 'ident' => 'worker']);
    $uuid = $client->uuid;
    $to = ['ident' => 'worker'];
    $push = new Push($url);
    same(1, $push->feedback(1, $to));
    same(0, $push->queued());
    same(1, $client->receive(DEADLINE_SECONDS)['message']);
    $program->end();
    same(['restart'], received($client), 'before the end');
    $url = server(['adress' => $url] + $ini, $program);
    same(0, $push->feedback(2, $to));
    same(1, $push->queued());
    $results = $push->sendAll([
        ['opcode' => 'broadcast', 'message' => 'for pages'],
        ['opcode' => 'feedback', 'ident' => 'worker', 'message' => 3],
        ['opcode' => 'feedback', 'ident' => 'nobody', 'message' => 4],
    ]);
    same([0, 1, 0], array_map(fn($result) => $result['queued'] ?? 0, $results));
    same(1, $push->queued(), 'of the batch');
    same(['replayed' => 2, 'gap' => null], $client->resume());
    same($uuid, $client->uuid);
    same(2, $client->receive(DEADLINE_SECONDS)['message']);
    same(3, $client->receive(DEADLINE_SECONDS)['message']);
    same(1, $push->feedback(4, $to));
    same(4, $client->receive(DEADLINE_SECONDS)['message']);
    // A crash.
    $program->end(SIGKILL);
    same([], received($client));
    server(['adress' => $url] + $ini);
    same(['replayed' => 0, 'gap' => 'restart'], $client->resume());
});
