<?php

declare(strict_types=1);

namespace Websock;

/**
 * WebSocket messages over a stream (RFC 6455, client side): answers pings, joins fragments.
 *
 * @internal
 */
final class Frames
{
    private const TEXT = 0x1;
    private const CLOSE = 0x8;
    private const PING = 0x9;
    private const PONG = 0xa;

    /** @var Stream */
    private $stream;
    /** @var int */
    private $maxMessageBytes;
    /** @var string fragments of an unfinished message */
    private $fragments = '';
    /** @var bool */
    private $isFragmented = false;
    /** @var bool whether a close frame was sent: nothing may follow it (RFC 6455, 5.5.1) */
    private $isClosing = false;

    public function __construct(Stream $stream, int $maxMessageBytes)
    {
        $this->stream = $stream;
        $this->maxMessageBytes = $maxMessageBytes;
    }

    public function sendText(string $text, float $deadline): void
    {
        $this->send(self::TEXT, $text, $deadline);
    }

    public function sendPing(float $deadline): void
    {
        $this->send(self::PING, '', $deadline);
    }

    public function sendClose(int $code, float $deadline): void
    {
        if (!$this->isClosing) {
            $this->isClosing = true;
            $this->send(self::CLOSE, pack('n', $code), $deadline);
        }
    }

    /**
     * The next message, or null at the deadline; then nothing is lost.
     *
     * @param bool $isHeard set to true when anything has come, be it half a frame
     */
    public function receive(float $deadline, bool &$isHeard = false): ?string
    {
        for (;;) {
            $frame = $this->nextFrame();
            if ($frame !== null) {
                $isHeard = true;
                $message = $this->handle($frame[0], $frame[1], $frame[2], $deadline);
                if ($message !== null) {
                    return $message;
                }
            } elseif ($this->stream->fill($deadline)) {
                $isHeard = true;
            } else {
                return null;
            }
        }
    }

    private function send(int $opcode, string $payload, float $deadline): void
    {
        $length = strlen($payload);
        $head = chr(0x80 | $opcode);
        if ($length < 126) {
            $head .= chr(0x80 | $length);
        } elseif ($length < 65536) {
            $head .= pack('Cn', 0x80 | 126, $length);
        } else {
            $head .= pack('CJ', 0x80 | 127, $length);
        }
        $mask = random_bytes(4);
        $masked = $payload ^ str_repeat($mask, intdiv($length + 3, 4));
        $this->stream->write($head . $mask . $masked, $deadline);
    }

    /**
     * Opcode, whether it is the last fragment, and payload; null if the frame is not whole yet.
     *
     * @return array{int, bool, string}|null
     */
    private function nextFrame(): ?array
    {
        $head = $this->stream->peek(10);
        if (strlen($head) < 2) {
            return null;
        }
        [$first, $length] = [ord($head[0]), ord($head[1])];
        $this->check(($first & 0x70) === 0, 'a reserved bit is set');
        $this->check($length < 0x80, 'a frame is masked');
        $isControl = ($first & 0x08) !== 0;
        $isWhole = $first >= 0x80 && $length < 126;
        $this->check(!$isControl || $isWhole, 'a control frame is long or in fragments');
        $headBytes = [126 => 4, 127 => 10][$length] ?? 2;
        if (strlen($head) < $headBytes) {
            return null;
        }
        if ($headBytes > 2) {
            $length = unpack($headBytes === 4 ? 'n' : 'J', $head, 2)[1];
        }
        $isShort = $length >= 0 && $length + strlen($this->fragments) <= $this->maxMessageBytes;
        $this->check($isShort, "a message is longer than maxMessageBytes, $this->maxMessageBytes");
        if ($this->stream->available() < $headBytes + $length) {
            return null;
        }
        $this->stream->take($headBytes);
        return [$first & 0x0f, $first >= 0x80, $this->stream->take($length)];
    }

    /** What a frame completes: a message, or null. */
    private function handle(int $opcode, bool $isLast, string $payload, float $deadline): ?string
    {
        switch ($opcode) {
            case self::PING:
                if (!$this->isClosing) {
                    $this->send(self::PONG, $payload, max($deadline, microtime(true) + 1));
                }
                return null;
            case self::PONG:
                return null;
            case self::CLOSE:
                throw $this->closed($payload);
            case 0x0:
            case self::TEXT:
            case 0x2:
                return $this->join($opcode, $isLast, $payload);
            default:
                $this->check(false, "opcode $opcode is unknown");
        }
    }

    private function join(int $opcode, bool $isLast, string $payload): ?string
    {
        $this->check(($opcode === 0) === $this->isFragmented, 'fragments are out of order');
        $this->isFragmented = !$isLast;
        $this->fragments .= $payload;
        if (!$isLast) {
            return null;
        }
        $message = $this->fragments;
        $this->fragments = '';
        return $message;
    }

    private function closed(string $payload): ConnectionLost
    {
        $code = strlen($payload) < 2 ? 1005 : unpack('n', $payload)[1];
        $reason = Response::shown(substr($payload, 2), 123);
        try {
            $this->sendClose($code === 1005 ? 1000 : $code, microtime(true) + 1);
        } catch (ConnectionLost $lost) {
            // It has not waited for our answer.
        }
        $remedy =
            [
                1001 => 'The server stops: connect again in a moment',
                1007 => 'What was sent was no JSON in UTF-8',
                1008 => 'A limit in websock.ini: maxQueue, if this script reads too little',
                1009 => 'The message was longer than maxMessageSize',
                1012 => 'The server restarts: connect again in a moment',
            ][$code] ?? 'Connect again';
        return new ConnectionLost("The server has closed: $code $reason. $remedy", $code);
    }

    private function check(bool $isRight, string $what): void
    {
        if (!$isRight) {
            throw new ConnectionLost("What came is not allowed: $what", 1002);
        }
    }
}
