<?php

declare(strict_types=1);

namespace Websock;

/**
 * Who has refused a request, why, and what to do. A proxy before websock, or another server on the
 * port, answers with the same statuses: what websock.ini can change is told only if websock has
 * answered, which the shape of its answers shows.
 *
 * @internal
 */
final class Refusal
{
    private const MAX_BODY_BYTES = 8192;

    /** Advice by what websock's reason has in it; the other reasons have their own. */
    private const REMEDIES = [
        '/token is needed/' => "Give the pushToken of websock.ini as 'token'",
        '/allowedIP/' =>
            'Add the address of this machine to allowedIP in websock.ini, or set pushToken',
        '/trustedProxies/' =>
            'Add the proxy to trustedProxies in websock.ini, or address websock without it',
        '/opened with GET/' => 'There is no /push there: give the address without a path',
        '/queue is full/' => 'The receiver does not read: try again later',
        '/head is too large/' => 'Path, token and ident are too long',
    ];

    /** Advice by the status of others. */
    private const FOREIGN = [
        200 => 'There is no "delivered" in it. Is this the port of adress in websock.ini?',
        401 => 'It wants a sign-in of its own: let it ask for none there',
        403 => 'A rule of its own forbids this: change that, not websock.ini',
        404 => 'Is this the port of adress in websock.ini, and does a proxy pass this path on?',
        405 => 'Is this the port of adress in websock.ini, and does a proxy pass this path on?',
        407 => 'It wants a sign-in of its own: let it ask for none there',
        413 => 'Its limit is smaller than maxMessageSize; with nginx, that is client_max_body_size',
        429 => 'It limits how often: try again later',
        500 => 'It has failed itself: its log says why',
        502 => 'If it is a proxy, it does not reach websock: is websock running where it looks?',
        503 => 'If it is a proxy, it does not reach websock: is websock running where it looks?',
        504 => 'If it is a proxy, websock has not answered it in time, or it does not reach it',
    ];

    /** What only a reason of websock's has in it, if a proxy has passed it on. */
    private const OWN_WORDS =
        '/pushToken|allowedIP|allowedOrigins|trustedProxies|adress|maxMessageSize|' .
        'handshakeTimeout|X-Forwarded-For|WebSocket|server is overloaded|head is too large/';

    /** Websock's own reason, as a line; null if it is another server that has answered. */
    public static function reason(Response $response): ?string
    {
        if (strlen($response->body) > self::MAX_BODY_BYTES) {
            return null;
        }
        $answer = json_decode($response->body, true);
        if (is_array($answer)) {
            $error = is_string($answer['error'] ?? null) ? $answer['error'] : 'it does not say why';
            return is_int($answer['delivered'] ?? null) ? Response::shown($error, 200) : null;
        }
        // Before it knows what is wanted, websock refuses with a sentence, and no more headers than
        // it has to. Others send Server or Date, too; a proxy adds them to websock's answer.
        $isText = stripos($response->header('content-type'), 'text/plain') === 0;
        $isSentence = preg_match('/^[A-Z][^\x00-\x1f<>]{9,250}\.\n?$/D', $response->body);
        $isDirect = true;
        foreach (['server', 'date', 'via'] as $name) {
            $isDirect = $isDirect && $response->header($name) === '';
        }
        $isOwn = $isDirect || preg_match(self::OWN_WORDS, $response->body);
        return $isText && $isSentence && $isOwn ? Response::shown($response->body, 250) : null;
    }

    /** All that is to be told. */
    public static function text(Response $response, string $remote): string
    {
        $reason = self::reason($response);
        if ($reason === null) {
            return self::foreignText($response, $remote);
        }
        $text = "$remote refuses: $response->status " . rtrim($reason, '.');
        foreach (self::REMEDIES as $pattern => $remedy) {
            if (preg_match($pattern, $reason)) {
                return "$text. $remedy";
            }
        }
        return $text;
    }

    /** Nothing of the body, which may be anything. */
    private static function foreignText(Response $response, string $remote): string
    {
        $status = $response->status;
        $server = Response::shown($response->header('server'), 60);
        $who = $server === '' ? '' : " (Server: $server)";
        $text = "$remote answers $status, but not as websock does: a proxy or another server$who";
        if ($status >= 300 && $status < 400) {
            // What is behind ? may be a token.
            $pattern = '~[?#].*|(?<=//)[^/]*@~s';
            $location = preg_replace($pattern, '', $response->header('location'));
            $shown = Response::shown((string) $location, 120);
            return "$text. It points to another address" .
                ($shown === '' ? '' : ", $shown: give that one if it is websock's");
        }
        $remedy = self::FOREIGN[$status] ?? 'Is this the port of adress in websock.ini?';
        return "$text. $remedy";
    }
}
