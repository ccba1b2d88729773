<?php
// What proxies and other servers answer to any request, and what websock does, also behind them.
declare(strict_types=1);

const DATE_LINE = 'Date: Mon, 23 Nov 2026 07:00:00 GMT';
const REDIRECT = 'Location: https://user:secret@push.example.org/php?token=sesame';
const NEEDS_TOKEN = "A token is needed: connect to /php?token= with what pushToken has.\n";
const LONG = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx';
const ANSWERS = [
    'nginx' => [
        ['Server: nginx/1.22.1', DATE_LINE, 'Content-Type: text/html', REDIRECT],
        '<html><body><h1>secret page</h1></body></html>',
    ],
    'haproxy' => [
        ['Cache-Control: no-cache', 'Content-Type: text/html'],
        '<html><body><h1>secret page</h1>No server is available.</body></html>',
    ],
    'go' => [['Content-Type: text/plain; charset=utf-8', DATE_LINE], "secret page\n"],
    'envoy' => [['Content-Type: text/plain', 'Server: envoy', DATE_LINE], 'no healthy secret'],
    'another backend' => [['Content-Type: text/plain', DATE_LINE], "It failed: a secret.\n"],
    'an API' => [['Content-Type: application/json'], '{"error":"secret"}'],
    'nothing more' => [[], ''],
    'a terminal' => [["Server: \e[2J\x07 evil" . LONG, "Location: \e]0;x"], ''],
    'websock: token' => [['Content-Type: text/plain'], NEEDS_TOKEN],
    'websock behind nginx: token' => [
        ['Server: nginx', DATE_LINE, 'Content-Type: text/plain'],
        NEEDS_TOKEN,
    ],
    'websock: proxy' => [
        ['Content-Type: text/plain'],
        "Scripts are not allowed through a proxy unless trustedProxies names it.\n",
    ],
    'websock: host' => [
        ['Content-Type: application/json'],
        '{"delivered":0,"error":"Host is none of this server\u0027s names\u001b[2J"}',
    ],
    'websock: overload' => [
        ['Content-Type: text/plain'],
        "The server is overloaded: try again later.\n",
    ],
];

/** The role that gives one of the answers with a status: `nginx, 401`. */
function answer(string $who, string $status): callable
{
    [$lines, $body] = ANSWERS[$who];
    $length = strlen($body);
    $head = implode("\r\n", ["HTTP/1.1 $status X", ...$lines, "Content-Length: $length"]);
    return static function (Peer $peer) use ($head, $body): void {
        $peer->readHead();
        $peer->say("$head\r\n\r\n$body");
        $peer->drain();
    };
}
