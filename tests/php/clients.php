<?php
// Two clients, written from the protocol's description: one that reads as the deployed PHP scripts do
// (docs/protocol.md, section 6), which keeps what it reads only under certain conditions, and one
// that buffers as a browser does.
declare(strict_types=1);

const SECONDS_TO_WAIT = 20;

/** `tcp`, or `ssl` with the CA in php.ini's openssl.cafile. */
define('TRANSPORT', getenv('WEBSOCK_TEST_TRANSPORT') ?: 'tcp');

/** The year of the deployed client's version. They differ in how they read a frame's rest. */
enum Reading: string
{
    case Of2021 = '2021';
    case Of2026 = '2026';
}

/** A frame from the server; only whole ones are made. */
final class Frame
{
    private function __construct(public readonly int $opcode, public readonly string $payload, public readonly int $length)
    {
    }

    /** The first frame in $bytes, or null if it is not whole. */
    public static function first(string $bytes): ?self
    {
        $length = self::length($bytes);
        if ($length === null || strlen($bytes) < $length) {
            return null;
        }
        $header = $length - self::payloadLength($bytes);
        return new self(ord($bytes[0]) & 0x0f, substr($bytes, $header, $length - $header), $length);
    }

    /** Bytes of the first frame in $bytes, header included; null if its header is not whole. */
    public static function length(string $bytes): ?int
    {
        $payload = self::payloadLength($bytes);
        if ($payload === null) {
            return null;
        }
        return $payload + ($payload < 126 ? 2 : ($payload < 65_536 ? 4 : 10));
    }

    private static function payloadLength(string $bytes): ?int
    {
        if (strlen($bytes) < 2) {
            return null;
        }
        $short = ord($bytes[1]);
        if ($short < 126) {
            return $short;
        }
        if ($short > 127) {
            throw new RuntimeException('a frame from the server with a mask');
        }
        if (strlen($bytes) < ($short === 126 ? 4 : 10)) {
            return null;
        }
        return $short === 126 ? unpack('n', $bytes, 2)[1] : unpack('J', $bytes, 2)[1];
    }
}

/** What both clients share: the request, sending, the end. */
abstract class Client
{
    /** @var resource */
    protected $stream;
    public readonly string $uuid;

    /** @param string[] $headers */
    public function __construct(string $host, int $port, string $path, array $headers)
    {
        $this->stream = $this->open($host, $port);
        stream_set_timeout($this->stream, SECONDS_TO_WAIT);
        $key = base64_encode(random_bytes(16));
        $this->write(implode("\r\n", [
            "GET $path HTTP/1.1",
            "Host: $host:$port",
            'Upgrade: WebSocket',
            'Connection: Upgrade',
            "Sec-WebSocket-Key: $key",
            'Sec-WebSocket-Version: 13',
            "Origin: http://$host",
            ...$headers,
        ]) . "\r\n\r\n");
        $this->checkAnswer($this->readAnswer(), $key);
        $ready = $this->packet();
        if (($ready['opcode'] ?? '') !== 'ready') {
            throw new RuntimeException('no ready but ' . json_encode($ready));
        }
        if (!preg_match('/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/D', $ready['uuid'] ?? '')) {
            throw new RuntimeException('no uuid in ' . json_encode($ready));
        }
        $this->uuid = $ready['uuid'];
    }

    public function __destruct()
    {
        if (is_resource($this->stream ?? null)) {
            fclose($this->stream);
        }
    }

    /** @return resource */
    abstract protected function open(string $host, int $port);

    /** The answer to the request, as far as this client takes it. */
    abstract protected function readAnswer(): string;

    /** The next frame. */
    abstract protected function frame(): Frame;

    /** The JSON object in the next frame. */
    public function packet(): array
    {
        $frame = $this->frame();
        if ($frame->opcode !== 0x1) {
            throw new RuntimeException(sprintf('no text frame but opcode 0x%x: %s', $frame->opcode, bin2hex(substr($frame->payload, 0, 60))));
        }
        $packet = json_decode($frame->payload, true);
        if (!is_array($packet)) {
            throw new RuntimeException('no packet but ' . substr($frame->payload, 0, 60));
        }
        return $packet;
    }

    /** Reads the `next` that answers every message. */
    public function expectNext(): void
    {
        $packet = $this->packet();
        if ($packet !== ['opcode' => 'next', 'fyi' => '']) {
            throw new RuntimeException('no next but ' . substr(json_encode($packet), 0, 100));
        }
    }

    /** Reads a packet that must equal $wanted. */
    public function expect(array $wanted): void
    {
        $packet = $this->packet();
        if ($packet !== $wanted) {
            throw new RuntimeException('no ' . substr(json_encode($wanted), 0, 100) . ' but ' . substr(json_encode($packet), 0, 100));
        }
    }

    /** Sends one text message, without waiting for its `next`. */
    public function send(string $text): void
    {
        $this->write(self::masked($text));
    }

    /** Sends the messages back to back. @param string[] $texts */
    public function sendAll(array $texts): void
    {
        $this->write(implode('', array_map(self::masked(...), $texts)));
    }

    /** Ends the connection as the deployed clients do: an empty close frame, then the socket. */
    public function close(): void
    {
        $this->sendClose();
        fclose($this->stream);
    }

    /** Sends the empty close frame and waits for the server's and for the end of the connection. */
    public function closeAndWait(): void
    {
        $this->sendClose();
        $rest = stream_get_contents($this->stream);
        $ended = feof($this->stream) && !stream_get_meta_data($this->stream)['timed_out'];
        fclose($this->stream);
        if ($rest !== "\x88\x00" || !$ended) {
            throw new RuntimeException('no close frame and end but ' . bin2hex(substr($rest, 0, 60)) . ($ended ? '' : ', and no end'));
        }
    }

    private function sendClose(): void
    {
        $this->write("\x88\x80" . random_bytes(4));
    }

    /** One read of at most $size bytes. Waits for the first, as a deployed client does. */
    protected function read(int $size): string
    {
        $bytes = fread($this->stream, $size);
        if ($bytes === false || $bytes === '') {
            throw new RuntimeException(feof($this->stream) ? 'the server has ended the connection' : 'nothing came for ' . SECONDS_TO_WAIT . ' s');
        }
        return $bytes;
    }

    private function write(string $bytes): void
    {
        while ($bytes !== '') {
            $written = fwrite($this->stream, $bytes);
            if ($written === false || $written === 0) {
                throw new RuntimeException('the server takes nothing more');
            }
            $bytes = substr($bytes, $written);
        }
    }

    private function checkAnswer(string $answer, string $key): void
    {
        if (!str_starts_with($answer, "HTTP/1.1 101 Switching Protocols\r\n")) {
            throw new RuntimeException('no 101 but ' . strtok($answer, "\r\n"));
        }
        $accept = base64_encode(sha1($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11', true));
        foreach (['Upgrade: websocket', 'Connection: Upgrade', "Sec-WebSocket-Accept: $accept"] as $line) {
            if (!str_contains($answer, "\r\n$line\r\n")) {
                throw new RuntimeException("no line '$line' in the 101");
            }
        }
    }

    private static function masked(string $text): string
    {
        $length = strlen($text);
        $header = match (true) {
            $length < 126 => pack('CC', 0x81, 0x80 | $length),
            $length < 65_536 => pack('CCn', 0x81, 0x80 | 126, $length),
            default => pack('CCJ', 0x81, 0x80 | 127, $length),
        };
        $mask = random_bytes(4);
        return $header . $mask . ($text ^ substr(str_repeat($mask, intdiv($length, 4) + 1), 0, $length));
    }
}

/**
 * Reads as the deployed scripts do: 1024 bytes for the 101, 1024 for `ready`, then 8192 per frame,
 * of which only the first frame counts. What else a read has returned is lost.
 */
final class DeployedClient extends Client
{
    private int $readSize = 1024;

    public function __construct(string $host, int $port, private readonly Reading $reading, string $ident = '')
    {
        parent::__construct($host, $port, '/php', ['Client-Type: php', "Ident: $ident"]);
        $this->readSize = 8192;
    }

    protected function open(string $host, int $port)
    {
        $stream = $this->reading === Reading::Of2021
            ? fsockopen(TRANSPORT . "://$host", $port, $code, $message, SECONDS_TO_WAIT)
            : stream_socket_client(TRANSPORT . "://$host:$port", $code, $message, SECONDS_TO_WAIT);
        return $stream ?: throw new RuntimeException("no connection: $message");
    }

    protected function readAnswer(): string
    {
        return $this->read(1024);
    }

    protected function frame(): Frame
    {
        $bytes = $this->read($this->readSize);
        while (($frame = Frame::first($bytes)) === null) {
            $bytes .= $this->read(match ($this->reading) {
                Reading::Of2021 => 8192,
                Reading::Of2026 => (Frame::length($bytes) ?? 8192 + strlen($bytes)) - strlen($bytes),
            });
        }
        return $frame;
    }
}

/** Buffers as a browser does: nothing that a read has returned is lost. */
final class WebClient extends Client
{
    private string $buffer = '';

    /** @param string[] $headers whole lines, such as a cookie's */
    public function __construct(string $host, int $port, string $path = '/web', array $headers = [])
    {
        parent::__construct($host, $port, $path, $headers);
    }

    protected function open(string $host, int $port)
    {
        $stream = stream_socket_client(TRANSPORT . "://$host:$port", $code, $message, SECONDS_TO_WAIT);
        return $stream ?: throw new RuntimeException("no connection: $message");
    }

    protected function readAnswer(): string
    {
        while (($end = strpos($this->buffer, "\r\n\r\n")) === false) {
            $this->buffer .= $this->read(8192);
        }
        return $this->take($end + 4);
    }

    protected function frame(): Frame
    {
        while (($frame = Frame::first($this->buffer)) === null) {
            $this->buffer .= $this->read(8192);
        }
        $this->take($frame->length);
        return $frame;
    }

    private function take(int $length): string
    {
        $taken = substr($this->buffer, 0, $length);
        $this->buffer = substr($this->buffer, $length);
        return $taken;
    }
}
