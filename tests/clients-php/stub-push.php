<?php
// POST /push as the real server answers it: one client, with the uuid `here` and the
// ident `backend`; the queue of `full` is full; with the path /secret/push, the token is `sesame`.
// The user 42 has two tabs. `away` is a tab that is away and comes back. `half`, `deaf` and `redis`
// are on another server: it has not answered in full, not at all, or cannot be told.
declare(strict_types=1);

const NOBODY = 'nobody has this uuid or ident';
const FULL = "the receiver's queue is full";
const SILENT = "the receiver's server has not answered";

/** What is said of those who are away, or on another server. */
const ELSEWHERE = [
    'away' => ['delivered' => 0, 'queued' => 1],
    'half' => ['delivered' => 2, 'nodes' => ['asked' => 3, 'answered' => 2]],
    'all' => ['delivered' => 2, 'nodes' => ['asked' => 3, 'answered' => 3]],
    'deaf' => ['delivered' => 0, 'error' => SILENT, 'nodes' => ['asked' => 1, 'answered' => 0]],
    'late' => ['delivered' => 1, 'error' => SILENT, 'nodes' => ['asked' => 2, 'answered' => 1]],
    'redis' => ['delivered' => 0, 'error' => NOBODY, 'partial' => true],
];

/** Answers pushes on one connection until the client ends it. */
function push(Peer $peer): void
{
    for ($number = 1; ; $number++) {
        $head = $peer->readHead();
        preg_match('/^Content-Length: (\d+)\r$/mi', $head, $found);
        $body = $peer->read((int) ($found[1] ?? 0));
        [$status, $answer] = judge($head, $body);
        $type = is_array($answer) ? 'application/json' : 'text/plain';
        $answer = is_array($answer) ? json_encode($answer) . "\n" : $answer;
        // Each form of a body once: with a length, in chunks, behind an interim answer.
        if ($number % 3 === 2) {
            $half = intdiv(strlen($answer), 2);
            $chunks = sprintf(
                "%x\r\n%s\r\n%x;x=y\r\n%s\r\n0\r\n\r\n",
                $half,
                substr($answer, 0, $half),
                strlen($answer) - $half,
                substr($answer, $half),
            );
            $head = "HTTP/1.1 $status\r\nContent-Type: $type\r\nTransfer-Encoding: chunked";
            $peer->say("$head\r\n\r\n$chunks");
        } else {
            $interim = $number % 3 === 0 ? "HTTP/1.1 100 Continue\r\n\r\n" : '';
            $peer->say(
                "{$interim}HTTP/1.1 $status\r\nContent-Type: $type\r\nContent-Length: ",
                (string) strlen($answer),
                "\r\n\r\n$answer",
            );
        }
    }
}

/** Status line and answer. */
function judge(string $head, string $body): array
{
    if (strpos($head, 'POST /secret/push ') === 0) {
        if (!strpos($head, "\r\nAuthorization: Bearer sesame\r\n")) {
            return refusal('401 Unauthorized', 'a token is needed: send what pushToken has');
        }
    } elseif (strpos($head, 'POST /users ') === 0) {
        $is42 = fn($id) => (string) $id === '42';
        $here = array_filter(json_decode($body, true), $is42);
        return ['200 OK', ['users' => $here ? [['user' => '42', 'tabs' => 2]] : []]];
    } elseif (strpos($head, 'GET /position ') === 0) {
        return ['200 OK', ['cursor' => 'abc-12']];
    } elseif (strpos($head, 'POST /push ') !== 0) {
        return [
            '405 Method Not Allowed',
            "The method is not allowed: a WebSocket is opened with GET.\n",
        ];
    }
    $packets = json_decode($body, true);
    if (strlen($body) > 100_000) {
        return [
            '413 Content Too Large',
            "The body is too large: maxMessageSize bounds it.\n",
        ];
    }
    if (!is_array($packets) || !strpos($head, "\r\nContent-Type: application/json\r\n")) {
        return refusal('400 Bad Request', 'invalid JSON at byte 0');
    }
    if (isset($packets['opcode'])) {
        $answer = judgePacket($packets);
        $status = [
            '' => '200 OK',
            NOBODY => '404 Not Found',
            FULL => '503 Service Unavailable',
            SILENT => '504 Gateway Timeout',
        ];
        $isQueued = isset($answer['queued']) ? '202 Accepted' : null;
        return [$isQueued ?? $status[$answer['error'] ?? ''], $answer];
    }
    $results = array_map('judgePacket', $packets);
    $delivered = array_sum(array_column($results, 'delivered'));
    return ['200 OK', ['delivered' => $delivered, 'results' => $results]];
}

/** Status line and answer of a push that is refused. */
function refusal(string $status, string $error): array
{
    return [$status, ['delivered' => 0, 'error' => $error]];
}

function judgePacket(array $packet): array
{
    $is42 = (string) ($packet['user'] ?? '') === '42';
    if ($packet['opcode'] === 'logout') {
        return ['closed' => $is42 ? 2 : 0];
    }
    if ($is42) {
        return ['delivered' => 2];
    }
    if (
        $packet['opcode'] === 'broadcast' ||
        ($packet['uuid'] ?? '') === 'here' ||
        ($packet['ident'] ?? '') === 'backend'
    ) {
        return ['delivered' => 1];
    }
    if (isset(ELSEWHERE[$packet['uuid'] ?? ''])) {
        return ELSEWHERE[$packet['uuid']];
    }
    return ['delivered' => 0, 'error' => ($packet['uuid'] ?? '') === 'full' ? FULL : NOBODY];
}
