<?php
// A server that keeps what its clients miss, by heart: what it does on its first connection, its
// second and so on. A request or packet that is not the expected one gets no answer.
declare(strict_types=1);

function numbered(int $number): string
{
    return "{\"opcode\":\"feedback\",\"message\":$number,\"cursor\":\"e-$number\"}";
}

/** Greets a client that may resume. */
function greet(Peer $peer, string $target, string $uuid, int $cursor, string $secret): void
{
    $answer = $peer->upgrade(false);
    $isScript = strpos($peer->request, "\r\nClient-Type: php\r\n");
    if (!$isScript || strpos($peer->request, "GET $target HTTP/1.1\r\n") !== 0) {
        exit("unexpected\n");
    }
    $ready = ['opcode' => 'ready', 'uuid' => $uuid, 'cursor' => "e-$cursor", 'resume' => $secret];
    $peer->say($answer, frame(json_encode($ready)));
}

/** Answers `resume`, if it is this one, and goes on with what was missed. */
function resumed(Peer $peer, array $wanted, array $answer, string ...$messages): void
{
    [$uuid, $secret, $cursor] = $wanted;
    $packet = ['opcode' => 'resume', 'uuid' => $uuid, 'secret' => $secret, 'cursor' => $cursor];
    if ($peer->readFrame()[1] !== json_encode($packet)) {
        exit("unexpected\n");
    }
    [$uuid, $replayed, $gap, $cursor, $secret] = $answer;
    $packet = ['opcode' => 'resumed', 'uuid' => $uuid, 'replayed' => $replayed, 'gap' => $gap];
    $packet += ['cursor' => $cursor, 'resume' => $secret];
    $peer->say(frame(NEXT), frame(json_encode($packet)), ...array_map('frame', $messages));
}

function resume(Peer $peer, int $number): void
{
    $target = '/php?resume=1&token=sesame';
    $uuids = [1 => 'OLD', 2 => 'N2', 3 => 'N3', 4 => 'N4', 5 => 'N5'];
    if ($number === 6) {
        $peer->say($peer->upgrade(false), frame('{"opcode":"close","error":"not signed in"}'));
        $peer->say(frame(pack('n', 4401) . 'not signed in', 0x88));
        return;
    }
    if ($number === 5) {
        // It keeps nothing, and a cursor is that of the sender.
        $peer->upgrade();
        $peer->say(frame('{"opcode":"feedback","cursor":"mine"}'));
        return;
    }
    greet($peer, $target, $uuids[$number], $number, "T$number");
    if ($number === 1) {
        $peer->say(frame(numbered(1)), frame('{"opcode":"echo","cursor":"mine"}'));
    } elseif ($number === 2) {
        // A client that is new gets what is sent now; who then resumes gets it in its place.
        $peer->say(frame(numbered(4)), frame(numbered(5)), frame('[1]'));
        $answer = ['OLD', 4, null, 'e-1', 'S2'];
        $missed = array_map('numbered', [2, 3, 4, 5, 6]);
        resumed($peer, ['OLD', 'T1', 'e-1'], $answer, ...$missed);
    } elseif ($number === 3) {
        // Lost before the answer, with something that a replay would have had.
        $peer->say(frame(numbered(8)));
        $peer->readFrame();
    } else {
        $peer->say(frame(numbered(7)));
        $answer = ['N4', 0, 'overflow', 'e-8', 'T4'];
        resumed($peer, ['OLD', 'S2', 'e-6'], $answer, numbered(9));
    }
}

/**
 * Keeps three messages more for each round of two connections. The first of a round is cut behind 13
 * bytes more than that of the round before, the second is whole. Connection 1 is before all rounds.
 */
function resumeCut(Peer $peer, int $number): void
{
    $round = intdiv($number, 2);
    $left = $number % 2 === 0 ? 13 * $round : PHP_INT_MAX;
    $say = static function (string ...$bytes) use ($peer, &$left): void {
        $all = implode($bytes);
        $peer->say(substr($all, 0, min($left, strlen($all))));
        $left -= strlen($all);
        if ($left <= 0) {
            exit(0);
        }
    };
    $answer = $peer->upgrade(false);
    $uuid = $number === 1 ? 'OLD' : "N$number";
    $ready = ['opcode' => 'ready', 'uuid' => $uuid, 'cursor' => 'e-0', 'resume' => "S$number"];
    $say($answer, frame(json_encode($ready)));
    if ($number === 1) {
        return;
    }
    $claim = json_decode($peer->readFrame()[1], true);
    $cursor = (int) substr($claim['cursor'], 2);
    $missed = $cursor < 3 * $round ? range($cursor + 1, 3 * $round) : [];
    $packet = ['opcode' => 'resumed', 'uuid' => $claim['uuid'], 'replayed' => count($missed)];
    $packet += ['gap' => null, 'cursor' => $claim['cursor'], 'resume' => "S$number"];
    $say(frame(NEXT), frame(json_encode($packet)), ...array_map(fn($n) => frame(numbered($n)), $missed));
}
