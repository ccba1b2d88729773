<?php

declare(strict_types=1);

namespace Websock;

/**
 * The answer to an HTTP/1.1 request.
 *
 * @internal
 */
final class Response
{
    private const MAX_HEAD_BYTES = 16384;
    private const MAX_BODY_BYTES = 16777216;

    /** @var int */
    public $status;
    /** @var string */
    public $body = '';
    /** @var array<string, string> by name in lower case */
    private $headers = [];

    /** Reads one from the stream. */
    public function __construct(Stream $stream, float $deadline)
    {
        while (($end = $stream->find("\r\n\r\n")) === null) {
            self::checkBeginning($stream->peek(5));
            if ($stream->available() > self::MAX_HEAD_BYTES || !$stream->fill($deadline)) {
                throw new ConnectionLost('No HTTP answer in time. ' . self::REMEDY, 1006);
            }
        }
        self::checkBeginning($stream->peek(5));
        $lines = explode("\r\n", $stream->take($end + 4));
        $this->status = (int) substr($lines[0], 9, 3);
        foreach ($lines as $line) {
            [$name, $value] = explode(':', $line, 2) + [1 => ''];
            $this->headers[strtolower($name)] = trim($value);
        }
        if ($this->status >= 200 && $this->status !== 204) {
            $this->readBody($stream, $deadline);
        }
    }

    public function header(string $name): string
    {
        return $this->headers[$name] ?? '';
    }

    /** What the other end has said, as a line that does no harm to a terminal or a log. */
    public static function shown(string $text, int $length): string
    {
        $line = preg_replace(['/\s+/', '/[^\x20-\x7e]/'], [' ', '?'], $text);
        return substr(trim((string) $line), 0, $length);
    }

    private static function checkBeginning(string $bytes): void
    {
        if ($bytes !== '' && $bytes[0] === "\x15") {
            throw new ConnectException('The server speaks TLS there: write wss:// or https://');
        }
        if (strncmp($bytes, 'HTTP/', strlen($bytes)) !== 0) {
            throw new ConnectException('What answered does not speak HTTP. ' . self::REMEDY);
        }
    }

    private function readBody(Stream $stream, float $deadline): void
    {
        $length = $this->header('content-length');
        if (stripos($this->header('transfer-encoding'), 'chunked') !== false) {
            $this->readChunks($stream, $deadline);
        } elseif ($length !== '') {
            $this->body = self::exactly($stream, max(0, (int) $length), $deadline);
        } else {
            $this->readToEnd($stream, $deadline);
        }
    }

    private function readChunks(Stream $stream, float $deadline): void
    {
        do {
            $line = self::line($stream, $deadline);
            $size = (int) hexdec(substr($line, 0, strspn($line, '0123456789abcdefABCDEF')));
            $this->body .= self::exactly($stream, $size, $deadline);
            if ($size > 0) {
                self::line($stream, $deadline);
            }
            self::checkSize(strlen($this->body));
        } while ($size > 0);
        while (self::line($stream, $deadline) !== '') {
            // a trailer
        }
    }

    private function readToEnd(Stream $stream, float $deadline): void
    {
        try {
            while ($stream->fill($deadline)) {
                self::checkSize($stream->available());
            }
        } catch (ConnectionLost $end) {
            // That is how such a body ends.
        }
        $this->body = $stream->take($stream->available());
    }

    private static function line(Stream $stream, float $deadline): string
    {
        while (($end = $stream->find("\r\n")) === null) {
            self::checkSize($stream->available());
            self::more($stream, $deadline);
        }
        return rtrim($stream->take($end + 2));
    }

    private static function exactly(Stream $stream, int $count, float $deadline): string
    {
        self::checkSize($count);
        while ($stream->available() < $count) {
            self::more($stream, $deadline);
        }
        return $stream->take($count);
    }

    private static function more(Stream $stream, float $deadline): void
    {
        if (!$stream->fill($deadline)) {
            throw new ConnectionLost('The HTTP answer was not complete in time', 1006);
        }
    }

    private static function checkSize(int $count): void
    {
        if ($count > self::MAX_BODY_BYTES) {
            throw new ConnectionLost('The HTTP answer is too long. ' . self::REMEDY, 1006);
        }
    }

    private const REMEDY = 'Is this the port of adress in websock.ini?';
}
