<?php

declare(strict_types=1);

namespace Websock;

/**
 * The opening handshake of a Client (RFC 6455 section 4.1).
 *
 * @internal
 */
final class Handshake
{
    /** @throws ConnectException if the answer is no 101 for this request */
    public static function perform(
        Stream $stream,
        Address $to,
        Options $options,
        float $deadline
    ): void {
        $key = base64_encode(random_bytes(16));
        $lines = [
            "GET {$options->target($to->target)} HTTP/1.1",
            "Host: $to->authority",
            'Upgrade: websocket',
            'Connection: Upgrade',
            "Sec-WebSocket-Key: $key",
            'Sec-WebSocket-Version: 13',
            'Client-Type: php',
            'X-Websock-Frames: stream',
        ];
        if ($options->ident !== '') {
            $lines[] = "Ident: {$options->ident}";
        }
        $stream->write(implode("\r\n", $lines) . "\r\n\r\n", $deadline);
        $response = new Response($stream, $deadline);
        if ($response->status !== 101) {
            throw new ConnectException(Refusal::text($response, $to->remote), $response->status);
        }
        $accept = base64_encode(sha1($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11', true));
        if ($response->header('sec-websocket-accept') !== $accept) {
            $text = "$to->remote answers for somebody else: is a cache in between?";
            throw new ConnectException($text);
        }
    }
}
