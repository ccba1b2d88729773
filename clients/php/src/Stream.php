<?php

declare(strict_types=1);

namespace Websock;

/**
 * A connection that keeps what it has read until it is wanted, and never waits beyond a deadline.
 * Deadlines are times of microtime(true).
 *
 * @internal
 */
final class Stream
{
    private const READ_BYTES = 65536;
    private const WRITE_BYTES = 16384;
    private const MAX_UNASKED_BYTES = 67108864;

    /** @var resource|null */
    private $socket;
    /** @var string */
    private $remote;
    /** @var int the process that has connected */
    private $processId;
    /** @var bool */
    private $isEncrypted = false;
    /** @var resource[] sockets that this process has from its parent, see close() */
    private static $inherited = [];
    /** @var string read, from $taken on not taken yet */
    private $buffer = '';
    /** @var int */
    private $taken = 0;

    /** @param array<string, mixed> $tls PHP's ssl context options */
    public function __construct(Address $address, array $tls, float $deadline)
    {
        $this->remote = $address->remote;
        $this->processId = self::processId();
        $tls += ['peer_name' => $address->host, 'SNI_enabled' => true];
        $context = stream_context_create(['ssl' => $tls, 'socket' => ['tcp_nodelay' => true]]);
        $seconds = max(0.001, $deadline - microtime(true));
        $warnings = [];
        $socket = self::quietly($warnings, static function () use ($address, $seconds, $context) {
            $flags = STREAM_CLIENT_CONNECT;
            return stream_socket_client(
                $address->remote,
                $code,
                $text,
                $seconds,
                $flags,
                $context,
            );
        });
        if (!$socket) {
            throw new ConnectException(
                "Cannot connect to $this->remote: " .
                    self::cause($warnings) .
                    '. Is the server running, is that its adress in websock.ini?',
            );
        }
        stream_set_blocking($socket, false);
        $this->socket = $socket;
        if ($address->isSecure) {
            $this->encrypt($deadline);
        }
    }

    public function __destruct()
    {
        $this->close();
    }

    /** Closes it for this process; nothing is said that would end it for the one that connected. */
    public function close(): void
    {
        if ($this->socket && $this->isEncrypted && $this->isInherited()) {
            // fclose would send a close_notify of TLS into the connection of the parent process.
            self::$inherited[] = $this->socket;
        } elseif ($this->socket) {
            fclose($this->socket);
        }
        $this->socket = null;
    }

    /** Whether a process has connected that has forked this one: both have the same connection. */
    public function isInherited(): bool
    {
        return $this->processId !== self::processId();
    }

    /**
     * Whether it is no use: it is another process's, or the other end has closed, or has sent what
     * nobody asked for. Does not wait.
     */
    public function isStale(): bool
    {
        return $this->isInherited() ||
            !$this->socket ||
            $this->available() > 0 ||
            $this->read() ||
            feof($this->socket);
    }

    /** How many bytes have been read and not taken. */
    public function available(): int
    {
        return strlen($this->buffer) - $this->taken;
    }

    /** The next bytes, as many as are there, without taking them. */
    public function peek(int $count): string
    {
        return substr($this->buffer, $this->taken, $count);
    }

    /** Takes bytes that are there. */
    public function take(int $count): string
    {
        $bytes = substr($this->buffer, $this->taken, $count);
        $this->taken += $count;
        if ($this->taken >= strlen($this->buffer)) {
            $this->buffer = '';
            $this->taken = 0;
        } elseif ($this->taken > self::READ_BYTES) {
            $this->buffer = substr($this->buffer, $this->taken);
            $this->taken = 0;
        }
        return $bytes;
    }

    /** Where $needle begins among the bytes that are there, or null. */
    public function find(string $needle): ?int
    {
        $position = strpos($this->buffer, $needle, $this->taken);
        return $position === false ? null : $position - $this->taken;
    }

    /** Waits for more bytes. False at the deadline. */
    public function fill(float $deadline): bool
    {
        // Reading comes before waiting: what TLS has deciphered already, no wait would show.
        while (!$this->read()) {
            if (!$this->socket || feof($this->socket)) {
                throw new ConnectionLost("$this->remote has ended it without a word", 1006);
            }
            if (!$this->wait(false, $deadline)) {
                return false;
            }
        }
        return true;
    }

    /**
     * Sends it all, and reads meanwhile, so that two full queues do not wait for each other. The
     * time until the deadline is there anew whenever the other end has taken something.
     */
    public function write(string $bytes, float $deadline): void
    {
        $patience = $deadline - microtime(true);
        for ($sent = 0; $sent < strlen($bytes); $sent += $count) {
            $piece = substr($bytes, $sent, self::WRITE_BYTES);
            while (($count = $this->writePiece($piece)) === 0) {
                $this->waitToWrite($deadline);
            }
            $deadline = microtime(true) + $patience;
        }
    }

    private function waitToWrite(float $deadline): void
    {
        if (!$this->wait(true, $deadline)) {
            throw new ConnectionLost("$this->remote has taken nothing for too long", 1006);
        }
        if (!$this->read() && feof($this->socket)) {
            throw new ConnectionLost("$this->remote has ended it without a word", 1006);
        }
        if ($this->available() > self::MAX_UNASKED_BYTES) {
            throw new ConnectionLost('More has come than is kept: read more often', 1006);
        }
    }

    private function writePiece(string $piece): int
    {
        $warnings = ['it was closed here'];
        $count = false;
        if ($this->socket) {
            $warnings = [];
            $count = self::quietly($warnings, function () use ($piece) {
                return fwrite($this->socket, $piece);
            });
        }
        if ($count === false && ($warnings || feof($this->socket))) {
            $text = "No connection to $this->remote any more: " . self::cause($warnings);
            throw new ConnectionLost($text, 1006);
        }
        return (int) $count;
    }

    /** Reads what is there. */
    private function read(): bool
    {
        $warnings = [];
        $bytes = $this->socket
            ? self::quietly($warnings, function () {
                return fread($this->socket, self::READ_BYTES);
            })
            : '';
        $this->buffer .= (string) $bytes;
        return (string) $bytes !== '';
    }

    private function wait(bool $isWriting, float $deadline): bool
    {
        while (($left = $deadline - microtime(true)) > 0) {
            $reading = [$this->socket];
            $writing = $isWriting ? [$this->socket] : null;
            $except = null;
            $seconds = (int) min($left, 3600);
            $micros = (int) (fmod($left, 1) * 1e6);
            $warnings = [];
            $count = self::quietly($warnings, static function () use (
                &$reading,
                &$writing,
                &$except,
                $seconds,
                $micros
            ) {
                return stream_select($reading, $writing, $except, $seconds, $micros);
            });
            if ($count) {
                return true;
            }
            // A signal ends the wait too; anything else would fail for ever.
            if ($count === false && stripos(implode($warnings), 'interrupted') === false) {
                throw new WebsockException('Cannot wait: ' . self::cause($warnings));
            }
        }
        return false;
    }

    private function encrypt(float $deadline): void
    {
        $warnings = [];
        do {
            $done = self::quietly($warnings, function () {
                $method = STREAM_CRYPTO_METHOD_TLS_CLIENT;
                return stream_socket_enable_crypto($this->socket, true, $method);
            });
        } while ($done === 0 && $this->wait(false, $deadline));
        if ($done !== true) {
            $cause = $done === 0 ? 'no answer in time' : self::cause($warnings);
            $remedy = self::tlsRemedy($cause);
            throw new ConnectException("No TLS with $this->remote: $cause. $remedy");
        }
        $this->isEncrypted = true;
    }

    /** The same for ever where getmypid is disabled: nobody forks there. */
    private static function processId(): int
    {
        return function_exists('getmypid') ? (int) getmypid() : 0;
    }

    private static function tlsRemedy(string $cause): string
    {
        if (stripos($cause, 'verify failed') !== false) {
            return "Its certificate is not trusted here: give 'tls' => ['cafile' => 'FILE.pem']";
        }
        if (stripos($cause, 'did not match') !== false) {
            return "It is for another name: write that, or give 'tls' => ['peer_name' => 'NAME']";
        }
        return 'If the server listens without TLS there, write ws:// or http://';
    }

    /**
     * Calls $act and collects PHP's warnings.
     *
     * @param string[] $warnings
     * @return mixed
     */
    private static function quietly(array &$warnings, callable $act)
    {
        set_error_handler(static function (int $level, string $text) use (&$warnings): bool {
            $warnings[] = $text;
            return true;
        });
        try {
            return $act();
        } finally {
            restore_error_handler();
        }
    }

    /** @param string[] $warnings */
    private static function cause(array $warnings): string
    {
        $text = preg_replace('/^\w+\(\): |\s+/', ' ', implode('; ', $warnings));
        return trim((string) $text) ?: 'the other end has closed it';
    }
}
