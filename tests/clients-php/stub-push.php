<?php
// POST /push as the real server answers it (issue 6): one client, with the uuid `here` and the
// ident `backend`; the queue of `full` is full; with the path /secret/push, the token is `sesame`.
declare(strict_types=1);

/** Answers pushes on one connection until the client ends it. */
function push(Peer $peer): void
{
    for ($number = 1; ; $number++) {
        $head = $peer->readHead();
        preg_match('/^Content-Length: (\d+)\r$/mi', $head, $found);
        $body = $peer->read((int) ($found[1] ?? 0));
        [$status, $answer] = judge($head, $body);
        $answer = json_encode($answer);
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
            $peer->say("HTTP/1.1 $status\r\nTransfer-Encoding: chunked\r\n\r\n$chunks");
        } else {
            $interim = $number % 3 === 0 ? "HTTP/1.1 100 Continue\r\n\r\n" : '';
            $peer->say(
                "{$interim}HTTP/1.1 $status\r\nContent-Length: ",
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
            return ['401 Unauthorized', ['error' => 'a token is needed']];
        }
    } elseif (strpos($head, 'POST /push ') !== 0) {
        return ['404 Not Found', ['error' => 'no such path']];
    }
    $packets = json_decode($body, true);
    if (strlen($body) > 100_000) {
        return ['413 Content Too Large', ['error' => 'more than maxMessageSize']];
    }
    if (!is_array($packets) || !strpos($head, "\r\nContent-Type: application/json\r\n")) {
        return ['400 Bad Request', ['error' => 'no JSON at 0']];
    }
    if (isset($packets['opcode'])) {
        $answer = judgePacket($packets);
        $status = [
            '' => '200 OK',
            'nobody' => '404 Not Found',
            'full' => '503 Service Unavailable',
        ];
        return [$status[$answer['error'] ?? ''], $answer];
    }
    $results = array_map('judgePacket', $packets);
    $delivered = array_sum(array_column($results, 'delivered'));
    return ['200 OK', ['delivered' => $delivered, 'results' => $results]];
}

function judgePacket(array $packet): array
{
    if (
        $packet['opcode'] === 'broadcast' ||
        ($packet['uuid'] ?? '') === 'here' ||
        ($packet['ident'] ?? '') === 'backend'
    ) {
        return ['delivered' => 1];
    }
    return ['delivered' => 0, 'error' => ($packet['uuid'] ?? '') === 'full' ? 'full' : 'nobody'];
}
