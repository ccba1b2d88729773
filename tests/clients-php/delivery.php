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
    $client = new Client($url, ['resume' => true, 'since' => 'e-0']);
    same('OLD', $client->uuid);
    same([1, 'echo'], received($client));
    same(['replayed' => 3, 'gap' => null], $client->resume());
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

test('a client resumes only if it was made for that', function () {
    $url = 'ws://' . stub('say every message back');
    $client = new Client($url);
    throws(LogicException::class, ["'resume' => true"], fn() => $client->resume());
    foreach (['since' => 'e-1', 'cookie' => 'a=b', 'origin' => 'http://h'] as $name => $value) {
        $options = [$name => $value];
        $words = ["'$name'", "'resume' => true"];
        throws(InvalidArgumentException::class, $words, fn() => new Client($url, $options));
    }
    $wrong = ['resume' => 1, 'since' => '', 'cookie' => "a\r\nb: c", 'origin' => null];
    foreach ($wrong as $name => $value) {
        $options = [$name => $value] + ['resume' => true];
        throws(InvalidArgumentException::class, ["'$name'"], fn() => new Client($url, $options));
    }
});
