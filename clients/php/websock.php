<?php

// Client of a websock server in one file, MIT licence. Its source is src/.

declare(strict_types=1);

namespace Websock {

// A second copy, of whatever version, does nothing: all classes are of the first one.
if (
    !class_exists(WebsockException::class, false) &&
    !class_exists(ConnectException::class, false) &&
    !class_exists(ConnectionLost::class, false) &&
    !class_exists(PushException::class, false) &&
    !class_exists(Requirements::class, false) &&
    !class_exists(Options::class, false) &&
    !class_exists(Receiver::class, false) &&
    !class_exists(Address::class, false) &&
    !class_exists(Stream::class, false) &&
    !class_exists(Frames::class, false) &&
    !class_exists(Response::class, false) &&
    !class_exists(Refusal::class, false) &&
    !class_exists(Handshake::class, false) &&
    !class_exists(Place::class, false) &&
    !class_exists(Client::class, false) &&
    !class_exists(Push::class, false) &&
    !class_exists(SignIn::class, false) &&
    !class_exists(Token::class, false)
) {

    /** Everything that can go wrong with the server. The message says why, and what to do. */
    class WebsockException extends \RuntimeException
    {
    }

    /** There is no connection, so nothing was sent. */
    final class ConnectException extends WebsockException
    {
    }

    /**
     * The connection has ended. What was being sent may have been handled or not; everything that was
     * sent before it has been. The code is that of the server's close frame (RFC 6455, 7.4), or 1006.
     */
    final class ConnectionLost extends WebsockException
    {
    }

    /** The server has refused a push. The code is the HTTP status. */
    final class PushException extends WebsockException
    {
    }

    /**
     * What PHP has to let this library do. Hosters forbid functions by disable_functions in php.ini;
     * calling one of them would be an Error that says nothing of php.ini.
     *
     * @internal
     */
    final class Requirements
    {
        /** All that connections call, but what works on texts, arrays, numbers and types only. */
        private const FUNCTIONS = [
            'base64_encode',
            'fclose',
            'feof',
            'fread',
            'fwrite',
            'json_decode',
            'json_encode',
            'json_last_error_msg',
            'microtime',
            'pack',
            'random_bytes',
            'restore_error_handler',
            'set_error_handler',
            'sha1',
            'stream_context_create',
            'stream_select',
            'stream_set_blocking',
            'stream_socket_client',
            'stream_socket_enable_crypto',
            'unpack',
        ];

        /** @var bool */
        private static $isMet = false;

        /** @throws ConnectException if a function is missing */
        public static function check(): void
        {
            if (self::$isMet) {
                return;
            }
            $missing = [];
            foreach (self::FUNCTIONS as $name) {
                if (!function_exists($name)) {
                    $missing[] = $name;
                }
            }
            if ($missing) {
                $names = implode(', ', $missing);
                throw new ConnectException(
                    "Not connected: PHP has no $names here. Probably php.ini names it in " .
                        'disable_functions: take it out there, or ask the hoster to',
                );
            }
            self::$isMet = true;
        }
    }

    /**
     * The options of a Client or a Push, each of its type, with its default where it was not given.
     * What makes no sense is refused here, by name, and not where it is used.
     *
     * @internal
     */
    final class Options
    {
        /** @var string */
        public $token = '';
        /** @var float seconds */
        public $timeout = 10.0;
        /** @var array<string, mixed> PHP's ssl context options */
        public $tls = [];
        /** @var string */
        public $ident = '';
        /** @var string */
        public $path = '/php';
        /** @var bool */
        public $resume = false;
        /** @var int */
        public $maxMessageBytes = 33554432;

        private const NAMES = [
            'Push' => ['token', 'timeout', 'tls'],
            'Client' => ['token', 'timeout', 'tls', 'ident', 'path', 'maxMessageBytes', 'resume'],
        ];
        /** What has to be a text, or true or false, in `tls`; PHP gets the others as they are. */
        private const TLS_TEXTS = [
            'peer_name',
            'cafile',
            'capath',
            'local_cert',
            'local_pk',
            'ciphers',
        ];
        private const TLS_SWITCHES = [
            'verify_peer',
            'verify_peer_name',
            'allow_self_signed',
            'SNI_enabled',
        ];

        /** @var string Push or Client */
        private $for;

        /** @param array<mixed> $options */
        public function __construct(string $for, array $options)
        {
            $this->for = $for;
            foreach ($options as $name => $value) {
                if (!in_array($name, self::NAMES[$for], true)) {
                    throw $this->unknown($name);
                }
                $this->$name = $this->{"check$name"}($value);
            }
        }

        /** Path and query of the upgrade; `$target` is the address's. */
        public function target(string $target): string
        {
            $target = $target === '' ? $this->path : $target;
            foreach (['resume' => $this->resume ? '1' : '', 'token' => $this->token] as $name => $value) {
                if ($value !== '') {
                    $target .= (strpos($target, '?') ? '&' : '?') . "$name=" . rawurlencode($value);
                }
            }
            return $target;
        }

        /**
         * A value as messages show it.
         *
         * @param mixed $value
         */
        public static function shown($value): string
        {
            if ($value === false) {
                return 'false, as getenv() says: is the environment variable set?';
            }
            if ($value === null) {
                return 'null: is the variable set? If there is to be none, leave it out';
            }
            if (is_string($value)) {
                return '"' . substr((string) preg_replace('/[^\x20-\x7e]/', '?', $value), 0, 80) . '"';
            }
            $isNumber = is_int($value) || is_float($value);
            return $isNumber ? "the number $value" : 'of type ' . gettype($value);
        }

        /** @param mixed $value */
        private function checkToken($value): string
        {
            $isText = is_string($value);
            $shown = $isText ? 'one with blanks or control characters' : self::shown($value);
            $isRight = $isText && !preg_match('/[^\x21-\x7e]/', $value);
            $isLine = $isText && preg_match('/^[\x21-\x7e]+\s+$/D', $value);
            $hint = $isLine ? ': it ends with a blank or a line end, use trim()' : '';
            return $isRight ? $value : $this->fail('token', $shown . $hint, 'the text of pushToken');
        }

        /** @param mixed $value */
        private function checkTimeout($value): float
        {
            $isRight = !is_bool($value) && is_numeric($value) && $value > 0 && $value <= 1e9;
            $wanted = 'a number of seconds above 0';
            return $isRight ? (float) $value : $this->fail('timeout', self::shown($value), $wanted);
        }

        /** @param mixed $value */
        private function checkIdent($value): string
        {
            $isRight =
                is_int($value) || (is_string($value) && !preg_match('/[\x00-\x1f\x7f]/', $value));
            $wanted = 'a name without control characters';
            return $isRight ? (string) $value : $this->fail('ident', self::shown($value), $wanted);
        }

        /** @param mixed $value */
        private function checkPath($value): string
        {
            $isRight = is_string($value) && preg_match('~^/[\x21\x22\x24-\x7e]*$~D', $value);
            $wanted = 'a path that begins with /, without blanks, as /php';
            return $isRight ? $value : $this->fail('path', self::shown($value), $wanted);
        }

        /** @param mixed $value */
        private function checkResume($value): bool
        {
            return is_bool($value) ? $value : $this->fail('resume', self::shown($value), 'true or false');
        }

        /** @param mixed $value */
        private function checkMaxMessageBytes($value): int
        {
            $isRight = is_int($value) || (is_string($value) && preg_match('/^\d{1,18}$/D', $value));
            $wanted = 'a number of bytes above 0, as 33554432';
            return $isRight && (int) $value > 0
                ? (int) $value
                : $this->fail('maxMessageBytes', self::shown($value), $wanted);
        }

        /**
         * @param mixed $value
         * @return array<string, mixed>
         */
        private function checkTls($value): array
        {
            if (!is_array($value)) {
                $this->fail('tls', self::shown($value), "an array, as ['cafile' => 'FILE.pem']");
            }
            foreach ($value as $name => $part) {
                $known = array_merge(self::TLS_TEXTS, self::TLS_SWITCHES);
                $meant = self::closest((string) $name, $known);
                if (is_int($name) || $name === 'ssl') {
                    $wanted = "PHP's ssl context options themselves, as ['cafile' => 'FILE.pem']";
                    $this->fail('tls', 'an array of something else', $wanted);
                } elseif ($meant !== '' && $meant !== $name) {
                    $this->fail('tls', 'one with ' . self::shown($name), "'$meant'");
                } elseif (in_array($name, self::TLS_TEXTS, true) && (!is_string($part) || !$part)) {
                    $this->fail("tls' => ['$name']", self::shown($part), 'a text');
                } elseif (in_array($name, self::TLS_SWITCHES, true) && is_string($part)) {
                    $this->fail("tls' => ['$name']", self::shown($part), 'true or false');
                }
            }
            return $value;
        }

        /** @return never */
        private function fail(string $name, string $shown, string $wanted)
        {
            $name = substr($name, -1) === ']' ? "'$name" : "'$name'";
            throw new \InvalidArgumentException(
                "$this->for's option $name has to be $wanted. It is $shown",
            );
        }

        /** @param string|int $name */
        private function unknown($name): \InvalidArgumentException
        {
            $names = self::NAMES[$this->for];
            $hint = 'It has ' . implode(', ', $names);
            if (is_int($name)) {
                $hint = "Options have names: ['token' => 'TOKEN']";
            } elseif (self::closest($name, $names) !== '') {
                $hint = "Did you mean '" . self::closest($name, $names) . "'?";
            } elseif (in_array($name, self::NAMES['Client'], true)) {
                $hint .= "; '$name' is one of Client";
            }
            $shown = is_int($name) ? $name : self::shown($name);
            return new \InvalidArgumentException("$this->for has no option $shown. $hint");
        }

        /**
         * The name that was probably meant, or ''.
         *
         * @param string[] $names
         */
        private static function closest(string $name, array $names): string
        {
            $found = '';
            $least = 3;
            foreach ($names as $known) {
                $plain = strtolower(substr(str_replace(['-', '_', ' '], '', $name), 0, 60));
                $distance = levenshtein($plain, strtolower(str_replace('_', '', $known)));
                if ($name === $known) {
                    return $known;
                }
                if ($distance < $least && $distance < strlen($known) - 2) {
                    $least = $distance;
                    $found = $known;
                }
            }
            return $found;
        }
    }

    /**
     * Whom a feedback is for.
     *
     * @internal
     */
    final class Receiver
    {
        /** By which a feedback finds its receivers; all but a uuid may be a number. */
        private const NAMES = ['uuid', 'ident', 'user'];

        /**
         * The packet's fields that name it.
         *
         * @param mixed $to a uuid, or ['uuid' => UUID], ['ident' => NAME] or ['user' => ID]
         * @return array<mixed>
         */
        public static function fields($to): array
        {
            $fields = is_array($to) ? $to : ['uuid' => $to];
            return self::named($fields, self::NAMES, 'feedback needs a uuid or an ident, or a user');
        }

        /**
         * The packet's fields that say who is logged out.
         *
         * @param array<mixed> $fields ['user' => ID] or ['session' => ID]
         * @return array<mixed>
         */
        public static function loggedOut(array $fields): array
        {
            return self::named($fields, ['user', 'session'], 'logout needs a user or a session');
        }

        /**
         * @param array<mixed> $fields
         * @param array<int, string> $names one of which has to be there
         * @return array<mixed> the fields, their texts as such
         */
        private static function named(array $fields, array $names, string $needs): array
        {
            foreach ($names as $name) {
                $value = $fields[$name] ?? '';
                if (is_object($value) && method_exists($value, '__toString')) {
                    $value = $fields[$name] = (string) $value;
                }
                if ((is_string($value) && $value !== '') || (is_int($value) && $name !== 'uuid')) {
                    return $fields;
                }
            }
            $given = array_values(array_intersect_key($fields, array_flip($names)));
            $none = 'an array without ' . implode(', ', $names);
            $shown = $given ? Options::shown($given[0]) : $none;
            throw new \InvalidArgumentException("$needs. It got $shown");
        }
    }

    /**
     * Where the server is, as websock.ini, browsers or PHP write it: SCHEME://HOST[:PORT][/PATH] with
     * ws, http or tcp, for TLS wss, https or ssl; without a scheme, tcp; or unix:/PATH/OF/SOCKET.
     *
     * @internal
     */
    final class Address
    {
        /** @var string what PHP's streams take */
        public $remote;
        /** @var bool */
        public $isSecure = false;
        /** @var string the host, without brackets */
        public $host = 'localhost';
        /** @var string the Host header */
        public $authority = 'localhost';
        /** @var string path and query, '' if there is none */
        public $target = '';

        private const SECURE = [
            'ws' => false,
            'http' => false,
            'tcp' => false,
            'wss' => true,
            'https' => true,
            'ssl' => true,
        ];

        public function __construct(string $text)
        {
            if (preg_match('/[\x00-\x20\x7f]/', $text)) {
                throw new \InvalidArgumentException('An address has no blanks, no control characters');
            }
            if (preg_match('~^unix:(?://)?(/.+)~i', $text, $part)) {
                $this->remote = "unix://$part[1]";
                return;
            }
            $pattern = '~^(?:(\w+)://)?(\[[0-9a-f:.]+\]|[^/:?#@\[\]]+)(?::(\d{1,5}))?([/?][^#]*)?$~iD';
            $found = preg_match($pattern, $text, $part);
            $scheme = strtolower($part[1] ?? '') ?: 'tcp';
            if (!$found || !isset(self::SECURE[$scheme])) {
                $remedy = 'write ws://HOST:PORT/php';
                $remedy .= $text === '' ? '. Is the environment variable set that it comes from?' : '';
                throw new \InvalidArgumentException("\"$text\" is no address: $remedy");
            }
            $this->isSecure = self::SECURE[$scheme];
            $this->host = trim($part[2], '[]');
            $port = (int) ($part[3] ?? 0) ?: ($this->isSecure ? 443 : 80);
            $this->remote = "tcp://$part[2]:$port";
            $this->authority = "$part[2]:$port";
            $target = $part[4] ?? '';
            $this->target = strncmp($target, '?', 1) === 0 ? "/$target" : $target;
        }
    }

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

    /**
     * Where a Client is in what the server keeps for it, and what it needs to come back there.
     *
     * @internal
     */
    final class Place
    {
        /** @var string */
        public $uuid;
        /** @var string '' where the server keeps nothing */
        private $cursor;
        /** @var string */
        private $secret;

        /** @param array<string, mixed> $ready */
        public function __construct(array $ready)
        {
            $this->uuid = self::text($ready, 'uuid');
            $this->cursor = self::text($ready, 'cursor');
            $this->secret = self::text($ready, 'resume');
        }

        /** Whether the server keeps anything for this client. */
        public function isKept(): bool
        {
            return $this->cursor !== '' && $this->secret !== '';
        }

        /** @return array<string, string> the packet that asks for what was missed */
        public function request(): array
        {
            return [
                'opcode' => 'resume',
                'uuid' => $this->uuid,
                'secret' => $this->secret,
                'cursor' => $this->cursor,
            ];
        }

        /**
         * Goes by the answer.
         *
         * @param array<string, mixed> $resumed
         * @param string[] $early what came before it
         * @return string[] what is to be handed out now
         */
        public function resume(array $resumed, array $early): array
        {
            $this->__construct($resumed);
            if (self::gap($resumed) !== null) {
                return $early;
            }
            // What is kept is among what was missed, and follows; perhaps under another cursor.
            $unkept = [];
            foreach ($early as $text) {
                if (self::cursor(json_decode($text, true)) === '') {
                    $unkept[] = $text;
                }
            }
            return $unkept;
        }

        /**
         * Takes note of a packet that came.
         *
         * @param mixed $packet
         */
        public function pass($packet): void
        {
            $cursor = $this->cursor === '' ? '' : self::cursor($packet);
            if ($cursor !== '') {
                $this->cursor = $cursor;
            }
        }

        /** @param array<string, mixed> $resumed */
        public static function gap(array $resumed): ?string
        {
            $gap = $resumed['gap'] ?? null;
            return $gap === null || is_string($gap) ? $gap : 'unknown';
        }

        /** @param array<string, mixed> $resumed */
        public static function replayed(array $resumed): int
        {
            return is_int($resumed['replayed'] ?? null) ? max(0, $resumed['replayed']) : 0;
        }

        /**
         * The cursor that the server has given a packet. An echo has none: what is there is the
         * sender's.
         *
         * @param mixed $packet
         */
        private static function cursor($packet): string
        {
            $isEcho = !is_array($packet) || !isset($packet['opcode']) || $packet['opcode'] === 'echo';
            return $isEcho ? '' : self::text($packet, 'cursor');
        }

        /** @param array<mixed> $packet */
        private static function text(array $packet, string $name): string
        {
            return is_string($packet[$name] ?? null) ? $packet[$name] : '';
        }
    }

    /**
     * A script's connection to a websock server.
     *
     * The server answers each message with one `next`; the sending methods return when it has come, so
     * the server has handled the message then. Whatever else arrives meanwhile is kept for receive().
     */
    final class Client
    {
        private const JSON =
            JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION;
        private const MAX_INBOX_BYTES = 67108864;
        private const MAX_SEEN = 1000;
        private const SILENCE_SECONDS = 30;

        /** @var string under which web clients could be reached; scripts are reached by ident */
        public $uuid = '';

        /** @var Address */
        private $to;
        /** @var Options */
        private $options;
        /** @var Stream */
        private $stream;
        /** @var Frames */
        private $frames;
        /** @var Place */
        private $place;
        /** @var float */
        private $timeout;
        /** @var array<string, mixed> the server's `ready`, and `resumed` */
        private $greeting = [];
        /** @var array<string, mixed>|null */
        private $resumed;
        /** @var bool whether `resumed` is awaited */
        private $isResuming = false;
        /** @var string why the server closes, if it has said so in a packet */
        private $refusal = '';
        /** @var int messages whose `next` has not come */
        private $unanswered = 0;
        /** @var string[] */
        private $inbox = [];
        /** @var int */
        private $inboxBytes = 0;
        /** @var array<string, true> ids of packets that have come */
        private $seen = [];
        /** @var float */
        private $heardAt;
        /** @var float|null */
        private $pingedAt;

        /**
         * Connects.
         *
         * Options: `ident`, the name under which others reach this script; `timeout`, seconds for
         * connecting and for each answer (10); `token`, if pushToken is set in websock.ini; `tls`,
         * PHP's ssl context options, such as cafile; `path`, if the address has none (/php);
         * `maxMessageBytes`, the longest message that is taken (32 MiB).
         *
         * With `resume` => true the server keeps what comes for this script while it is away, and
         * resume() has it.
         *
         * @param string $address ws://HOST:PORT or wss://HOST:PORT, or unix:/PATH
         * @param array<string, mixed> $options
         * @throws ConnectException if there is no websock server, or it refuses
         * @throws \InvalidArgumentException if an argument makes no sense
         */
        public function __construct(string $address, array $options = [])
        {
            $this->options = new Options('Client', $options);
            Requirements::check();
            $this->to = new Address($address);
            $this->timeout = $this->options->timeout;
            $this->connect();
            $this->begin();
        }

        /**
         * Connects anew, behind a ConnectionLost, and catches up: what was missed is what receive()
         * returns next, each message once, and $uuid is the old one again. Wants the option `resume`.
         *
         * If it throws, it can be called again, a while later, and nothing is lost by that; but not if
         * the server will not have us, which codes from 400 to 499 say.
         *
         * @return array{replayed: int, gap: ?string} how many messages were missed, and come now; or why
         *     they do not come: the server's `restart`, `overflow`, `expired`, `backplane` or `unknown`,
         *     or `unsupported` if it keeps nothing
         * @throws ConnectException if there is no websock server now, or it refuses
         * @throws ConnectionLost if the connection is lost again meanwhile
         */
        public function resume(): array
        {
            $this->checkProcess();
            if (!$this->options->resume) {
                throw new \LogicException("Only a Client made with 'resume' => true can resume");
            }
            $this->stream->close();
            // What they said of these is in doubt; nothing is sent twice.
            $this->unanswered = 0;
            $this->refusal = '';
            $this->connect();
            if (!$this->place->isKept() || !(new Place($this->greeting))->isKept()) {
                $this->begin();
                return ['replayed' => 0, 'gap' => 'unsupported'];
            }
            $before = count($this->inbox);
            try {
                $resumed = $this->askToResume();
            } finally {
                // The replay has it, too; also the next one, if this one fails.
                $early = array_slice($this->inbox, $before);
                $this->inbox = array_slice($this->inbox, 0, $before);
                $this->inboxBytes -= strlen(implode('', $early));
            }
            $this->keepUnseen($this->place->resume($resumed, $early));
            $this->uuid = $this->place->uuid;
            $gap = Place::gap($resumed);
            return ['replayed' => $gap === null ? Place::replayed($resumed) : 0, 'gap' => $gap];
        }

        /**
         * Sends to one client: its uuid, or ['ident' => NAME], or ['uuid' => UUID]; or to all tabs of a
         * user: ['user' => ID].
         *
         * @param mixed $message whatever JSON can say
         * @param string|array<string, string|int> $to
         * @throws ConnectionLost
         */
        public function feedback($message, $to): void
        {
            $to = Receiver::fields($to);
            $this->send(['opcode' => 'feedback'] + $to + ['message' => $message]);
        }

        /**
         * Sends to all web clients.
         *
         * @param mixed $message whatever JSON can say
         * @throws ConnectionLost
         */
        public function broadcast($message): void
        {
            $this->send(['opcode' => 'broadcast', 'message' => $message]);
        }

        /**
         * Sends to this script itself; receive() gets it.
         *
         * @param mixed $message whatever JSON can say
         * @throws ConnectionLost
         */
        public function echo($message): void
        {
            $this->send(['opcode' => 'echo', 'message' => $message]);
        }

        /**
         * Sends a packet and waits until the server has handled it.
         *
         * @param array<string, mixed> $packet with an `opcode`
         * @throws ConnectionLost if the connection ends first; then it may have been handled or not
         * @throws \InvalidArgumentException if JSON cannot say it; nothing is sent
         */
        public function send(array $packet): void
        {
            $text = json_encode($packet, self::JSON);
            if ($text === false) {
                $why = json_last_error_msg();
                throw new \InvalidArgumentException("Not sent, JSON cannot say it: $why");
            }
            $this->sendText($text);
        }

        /**
         * Sends a text as it is and waits until the server has handled it.
         *
         * @throws ConnectionLost if the connection ends first; then it may have been handled or not
         */
        public function sendText(string $text): void
        {
            $this->write($text);
            $this->flush();
        }

        /**
         * Sends a text as it is and does not wait. Call flush() behind some hundred of them at most.
         *
         * @throws ConnectionLost
         */
        public function write(string $text): void
        {
            $this->checkProcess();
            $this->unanswered++;
            $this->frames->sendText($text, $this->deadline());
        }

        /**
         * Waits until the server has handled everything that was sent.
         *
         * @throws ConnectionLost if the connection ends first
         */
        public function flush(): void
        {
            $this->checkProcess();
            $deadline = $this->deadline();
            while ($this->unanswered > 0) {
                $before = $this->unanswered;
                if (!$this->handleNext($deadline)) {
                    $this->stream->close();
                    $text = "No answer for $this->timeout s; it may have been handled or not";
                    throw new ConnectionLost("$text. If the server is just slow, set 'timeout'", 1006);
                }
                if ($this->unanswered < $before) {
                    $deadline = $this->deadline();
                }
            }
        }

        /**
         * The next packet from others, or null if none comes for $seconds.
         *
         * @return array<string, mixed>|null
         * @throws ConnectionLost
         */
        public function receive(float $seconds): ?array
        {
            $text = $this->receiveText($seconds);
            if ($text === null) {
                return null;
            }
            $packet = json_decode($text, true, 512, JSON_BIGINT_AS_STRING);
            return is_array($packet) ? $packet : ['opcode' => '', 'message' => $text];
        }

        /**
         * The same as the text that came.
         *
         * @throws ConnectionLost
         */
        public function receiveText(float $seconds): ?string
        {
            $this->checkProcess();
            $deadline = microtime(true) + $seconds;
            while (!$this->inbox) {
                if (!$this->handleNext($deadline)) {
                    return null;
                }
            }
            $text = array_shift($this->inbox);
            $this->inboxBytes -= strlen($text);
            return $text;
        }

        /** Says goodbye and waits, for a second at most, until the server has heard it. */
        public function close(): void
        {
            if ($this->stream->isInherited()) {
                $this->stream->close();
                return;
            }
            try {
                $deadline = microtime(true) + 1;
                $this->frames->sendClose(1000, $deadline);
                while ($this->frames->receive($deadline) !== null) {
                    // what was under way is not wanted any more
                }
            } catch (ConnectionLost $closed) {
                // as it should
            }
            $this->stream->close();
        }

        /** One dialogue cannot be had by two. */
        public function __clone()
        {
            throw new \LogicException('A Client is one connection and has no copies: make a new one');
        }

        /** @return array<mixed> */
        public function __serialize(): array
        {
            throw new \LogicException('A Client is a connection: make a new one, serialize none');
        }

        /** @param array<mixed> $data */
        public function __unserialize(array $data): void
        {
            throw new \LogicException('A Client is a connection: make a new one, serialize none');
        }

        private function checkProcess(): void
        {
            if ($this->stream->isInherited()) {
                throw new ConnectException(
                    'This Client was made before the fork and is that of the other process: ' .
                        'nothing was sent. Make a new one in each process',
                );
            }
        }

        private function deadline(): float
        {
            return microtime(true) + $this->timeout;
        }

        /** Takes in one message; false at the deadline. */
        private function handleNext(float $deadline): bool
        {
            $text = $this->nextText($deadline);
            if ($text === null) {
                return false;
            }
            $packet = json_decode($text, true);
            $opcode = is_array($packet) ? $packet['opcode'] ?? null : null;
            if ($opcode === 'next') {
                $this->unanswered = max(0, $this->unanswered - 1);
            } elseif ($opcode === 'ready') {
                $this->greeting = is_string($packet['uuid'] ?? null) ? $packet : [];
            } elseif ($opcode === 'resumed' && $this->isResuming) {
                $this->resumed = $packet;
            } elseif ($opcode === 'close') {
                $error = $packet['error'] ?? '';
                $line = is_string($error) ? Response::shown($error, 200) : '';
                $this->refusal = $line === '' ? 'the server closes without a reason' : $line;
            } elseif ($this->isResuming || !$this->place) {
                $this->keep($text);
            } else {
                $this->place->pass($packet);
                if (!$this->isSeen($packet)) {
                    $this->keep($text);
                }
            }
            return true;
        }

        /** Waits for a message, and after long silence asks whether the server is still there. */
        private function nextText(float $deadline): ?string
        {
            do {
                $due = $this->pingedAt
                    ? $this->pingedAt + $this->timeout
                    : $this->heardAt + self::SILENCE_SECONDS;
                $isHeard = false;
                $text = $this->frames->receive(min($deadline, $due), $isHeard);
                $now = microtime(true);
                if ($isHeard) {
                    $this->heardAt = $now;
                    $this->pingedAt = null;
                } elseif ($now >= $due && $this->pingedAt) {
                    $this->stream->close();
                    throw new ConnectionLost(
                        'The server is silent, even if asked. Connect again',
                        1006,
                    );
                } elseif ($now >= $due) {
                    $this->frames->sendPing($this->deadline());
                    $this->pingedAt = $now;
                }
            } while ($text === null && $now < $deadline);
            return $text;
        }

        /**
         * Whether a packet is the second copy of one whose sender was in doubt.
         *
         * @param mixed $packet
         */
        private function isSeen($packet): bool
        {
            $id = is_array($packet) ? $packet['once'] ?? null : null;
            if (!is_string($id)) {
                return false;
            }
            if (isset($this->seen["=$id"])) {
                return true;
            }
            $this->seen["=$id"] = true;
            if (count($this->seen) > self::MAX_SEEN) {
                unset($this->seen[key($this->seen)]);
            }
            return false;
        }

        /** @param string[] $texts */
        private function keepUnseen(array $texts): void
        {
            foreach ($texts as $text) {
                if (!$this->isSeen(json_decode($text, true))) {
                    $this->keep($text);
                }
            }
        }

        private function keep(string $text): void
        {
            $this->inbox[] = $text;
            $this->inboxBytes += strlen($text);
            if ($this->inboxBytes > self::MAX_INBOX_BYTES) {
                $this->stream->close();
                throw new ConnectionLost(
                    'More has come than is kept: call receive() more often',
                    1006,
                );
            }
        }

        /** As the client that `ready` was for. */
        private function begin(): void
        {
            $this->place = new Place($this->greeting);
            $this->uuid = $this->place->uuid;
        }

        private function connect(): void
        {
            $deadline = $this->deadline();
            $this->heardAt = microtime(true);
            $this->pingedAt = null;
            $this->isResuming = false;
            $this->greeting = [];
            $to = $this->to;
            $this->stream = new Stream($to, $this->options->tls, $deadline);
            $this->frames = new Frames($this->stream, $this->options->maxMessageBytes);
            try {
                Handshake::perform($this->stream, $to, $this->options, $deadline);
                $this->awaitReady($deadline);
            } catch (ConnectionLost $lost) {
                $text = $this->refusal === '' ? $lost->getMessage() : $this->refusal;
                throw new ConnectException("No dialogue with $to->remote: $text", $lost->getCode());
            }
        }

        /** @return array<string, mixed> what the server answers */
        private function askToResume(): array
        {
            $this->isResuming = true;
            $this->resumed = null;
            $this->frames->sendText((string) json_encode($this->place->request()), $this->deadline());
            $deadline = $this->deadline();
            while ($this->resumed === null) {
                if (!$this->handleNext($deadline)) {
                    $this->stream->close();
                    throw new ConnectionLost("No answer to resume for $this->timeout s", 1006);
                }
            }
            $this->isResuming = false;
            return $this->resumed;
        }

        private function awaitReady(float $deadline): void
        {
            $before = count($this->inbox);
            while (!$this->greeting && count($this->inbox) === $before && $this->refusal === '') {
                if (!$this->handleNext($deadline)) {
                    break;
                }
            }
            if ($this->refusal !== '') {
                $isPath = strncmp($this->refusal, 'no resource', 11) === 0;
                $hint = $isPath ? '. Paths are /php, /web and /' : '';
                throw new ConnectException("The server closes: $this->refusal$hint", 1008);
            }
            if (!$this->greeting) {
                throw new ConnectException(
                    'No "ready" came: this is another kind of WebSocket server',
                );
            }
        }
    }

    /**
     * Sends into pages by HTTP (POST /push), and is told whether that reached anybody.
     *
     * The connection is kept for the next push. Nothing is ever sent twice: if a connection breaks
     * before the answer, ConnectionLost says that the push may have been handled or not. Processes that
     * were forked, copies and what was unserialized connect for themselves.
     */
    final class Push
    {
        private const JSON =
            JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION;

        /** @var Address */
        private $to;
        /** @var Options */
        private $options;
        /** @var array{string, array<string, mixed>} the constructor's arguments */
        private $made;
        /** @var Stream|null */
        private $stream;
        /** @var int for how many the last push waits */
        private $queued = 0;
        /** @var bool whether all servers have been told of the last push, and have answered */
        private $isComplete = true;

        /**
         * Connects with the first push, not yet here.
         *
         * Options: `token`, if pushToken is set in websock.ini; `timeout`, seconds for connecting and
         * for each answer (10); `tls`, PHP's ssl context options, such as cafile.
         *
         * @param string $address http://HOST:PORT or https://HOST:PORT, also ws, wss, tcp and ssl; or
         *     unix:/PATH. A path is put before /push, for a proxy that wants one.
         * @param array<string, mixed> $options
         * @throws \InvalidArgumentException if an argument makes no sense
         */
        public function __construct(string $address, array $options = [])
        {
            $this->options = new Options('Push', $options);
            $this->made = [$address, $options];
            $this->to = new Address($address);
        }

        /**
         * To one client: its uuid, or ['ident' => NAME], or ['uuid' => UUID]; or to all tabs of a user:
         * ['user' => ID].
         *
         * @param mixed $message whatever JSON can say
         * @param string|array<string, string|int> $to
         * @return int how many were reached: 0 if nobody has that uuid, ident or user, or who has it is
         *     away: then queued() says for how many it waits
         * @throws WebsockException
         */
        public function feedback($message, $to): int
        {
            $to = Receiver::fields($to);
            return $this->send(['opcode' => 'feedback'] + $to + ['message' => $message]);
        }

        /**
         * To all open tabs of a user, as whom the page has signed in.
         *
         * @param mixed $message whatever JSON can say
         * @param string|int $user the user's id: '42' and 42 are the same
         * @return int how many tabs were reached; 0 if the user has none
         * @throws WebsockException
         */
        public function user($message, $user): int
        {
            return $this->feedback($message, ['user' => $user]);
        }

        /**
         * Logs a user out: all tabs are closed at once, and stay so until the page signs in again. To be
         * called behind session_destroy(), so that what the page asks then is answered with no.
         *
         * @param string|int|array<string, string|int> $whom the user's id, or ['session' => session_id()]
         *     for the tabs of one browser
         * @return int how many tabs were closed
         * @throws WebsockException
         */
        public function logout($whom): int
        {
            $fields = is_array($whom) ? $whom : ['user' => $whom];
            return $this->send(['opcode' => 'logout'] + Receiver::loggedOut($fields));
        }

        /**
         * Which of these users have an open tab.
         *
         * @param array<int, string|int> $users their ids
         * @return array<int|string, int> by id, how many tabs; those who have none are left out
         * @throws WebsockException
         */
        public function online(array $users): array
        {
            $answer = $users ? $this->post('users', array_values($users)) : [];
            return array_column($answer['users'] ?? [], 'tabs', 'user');
        }

        /**
         * To all web clients.
         *
         * @param mixed $message whatever JSON can say
         * @return int how many were reached
         * @throws WebsockException
         */
        public function broadcast($message): int
        {
            return $this->send(['opcode' => 'broadcast', 'message' => $message]);
        }

        /**
         * One packet.
         *
         * @param array<string, mixed> $packet with an `opcode`
         * @return int how many were reached, or closed by a logout
         * @throws ConnectException if nobody answers; nothing was sent
         * @throws ConnectionLost if the answer does not come, or not from the server that has the
         *     receiver (504); it may have been handled or not
         * @throws PushException if the server refuses; getCode() is the status, 503 a full queue
         * @throws \InvalidArgumentException if JSON cannot say it; nothing is sent
         */
        public function send(array $packet): int
        {
            $answer = $this->post('push', $packet);
            return $answer['closed'] ?? $answer['delivered'];
        }

        /**
         * Several packets in one request, handled in order.
         *
         * @param array<int, array<string, mixed>> $packets
         * @return array<int, array{delivered?: int, queued?: int, closed?: int, error?: string}> a
         *     result for each
         * @throws WebsockException as send() does
         */
        public function sendAll(array $packets): array
        {
            $answer = $packets ? $this->post('push', array_values($packets)) : ['results' => []];
            $results = $answer['results'] ?? null;
            if (!is_array($results) || count($results) !== count($packets)) {
                throw new PushException('Not a result for each packet: is this a websock server?', 200);
            }
            return $results;
        }

        /**
         * For how many clients that are away the last push, or all of the last batch, waits: they get
         * it when they come back within replayTime, two minutes by default.
         */
        public function queued(): int
        {
            return $this->queued;
        }

        /**
         * Whether all servers, where several share the clients, were told of the last push or batch and
         * have said how many they reached. If not, more may have been reached than was returned.
         */
        public function isComplete(): bool
        {
            return $this->isComplete;
        }

        /**
         * Where the messages to all and to users are now. A page that is given this, and hands it to its
         * client as `since`, misses none that come before it has connected. To be called before the
         * page's data is read.
         *
         * @throws WebsockException as send() does
         */
        public function position(): string
        {
            return $this->ask('position', null)['cursor'];
        }

        /** A copy has a connection of its own. */
        public function __clone()
        {
            $this->stream = null;
        }

        /** @return array{string, array<string, mixed>} what it was made of, the token too */
        public function __serialize(): array
        {
            return $this->made;
        }

        /** @param array{string, array<string, mixed>} $made */
        public function __unserialize(array $made): void
        {
            $this->__construct(...$made);
        }

        /** Ends the connection; the next push makes a new one. */
        public function close(): void
        {
            if ($this->stream) {
                $this->stream->close();
            }
            $this->stream = null;
        }

        /**
         * @param array<mixed> $body
         * @return array<string, mixed> the JSON of an answer that tells how many were reached or closed,
         *     or who is here
         */
        private function post(string $path, array $body): array
        {
            Requirements::check();
            $json = json_encode($body, self::JSON);
            if ($json === false) {
                $why = json_last_error_msg();
                throw new \InvalidArgumentException("Not sent, JSON cannot say it: $why");
            }
            if ($path === 'push') {
                $this->queued = 0;
                $this->isComplete = true;
            }
            $answer = $this->ask($path, $json);
            if ($path === 'push') {
                $this->note($answer);
            }
            return $answer;
        }

        /**
         * Asks by POST, or by GET if there is no body.
         *
         * @return array<string, mixed>
         */
        private function ask(string $path, ?string $json): array
        {
            Requirements::check();
            $deadline = $this->deadline();
            if (!$this->stream || $this->stream->isStale()) {
                $this->stream = new Stream($this->to, $this->options->tls, $deadline);
            }
            try {
                $response = $this->exchange($path, $json, $deadline);
            } catch (WebsockException $failure) {
                $this->close();
                throw $failure;
            }
            $answer = json_decode($response->body, true);
            if (!is_array($answer) || !$this->isAnswer($path, $answer, $response)) {
                throw $this->refused($response);
            }
            return $answer;
        }

        /** @param array<mixed> $answer */
        private function isAnswer(string $path, array $answer, Response $response): bool
        {
            $status = $response->status;
            if ($path === 'position') {
                return $status === 200 && is_string($answer['cursor'] ?? null);
            }
            if ($path === 'users') {
                return $status === 200 && is_array($answer['users'] ?? null);
            }
            $count = $answer['closed'] ?? $answer['delivered'] ?? null;
            // 404: nobody is there. 504: a server has not answered, and others have reached somebody.
            $isOwn = $status === 404 && Refusal::reason($response) !== null;
            return is_int($count) &&
                ($status === 200 || $status === 202 || $isOwn || ($status === 504 && $count > 0));
        }

        /** @param array<mixed> $answer */
        private function note(array $answer): void
        {
            $results = is_array($answer['results'] ?? null) ? $answer['results'] : [];
            foreach ($results ?: [$answer] as $result) {
                $this->queued += is_int($result['queued'] ?? null) ? $result['queued'] : 0;
            }
            foreach ([$answer, ...array_values($results)] as $result) {
                $nodes = $result['nodes'] ?? [];
                $isAnswered = ($nodes['answered'] ?? 0) >= ($nodes['asked'] ?? 0);
                if (!$isAnswered || ($result['partial'] ?? false) === true) {
                    $this->isComplete = false;
                }
            }
        }

        private function deadline(): float
        {
            return microtime(true) + $this->options->timeout;
        }

        private function exchange(string $path, ?string $json, float $deadline): Response
        {
            $prefix = rtrim($this->to->target, '/');
            $method = $json === null ? 'GET' : 'POST';
            $lines = ["$method $prefix/$path HTTP/1.1", "Host: {$this->to->authority}"];
            if ($json !== null) {
                $lines[] = 'Content-Type: application/json';
                $lines[] = 'Content-Length: ' . strlen($json);
            }
            if ($this->options->token !== '') {
                $lines[] = 'Authorization: Bearer ' . $this->options->token;
            }
            assert($this->stream !== null);
            $unsent = null;
            try {
                $this->stream->write(implode("\r\n", $lines) . "\r\n\r\n$json", $deadline);
            } catch (ConnectionLost $unsent) {
                // A server that refuses may close before it has read all; its answer may be there.
            }
            try {
                do {
                    $response = new Response($this->stream, $this->deadline());
                } while ($response->status < 200);
            } catch (ConnectionLost $lost) {
                throw $unsent ?? $lost;
            }
            if ($unsent || stripos($response->header('connection'), 'close') !== false) {
                $this->close();
            }
            return $response;
        }

        private function refused(Response $response): WebsockException
        {
            $text = Refusal::text($response, $this->to->remote);
            $isOwn = Refusal::reason($response) !== null && $response->status !== 504;
            if ($response->status < 500 || $isOwn) {
                return new PushException($text, $response->status);
            }
            // A proxy says this, too, if websock has taken the push and the answer was lost; websock, if
            // another server has not answered it.
            $doubt = 'The push may have been handled or not';
            return new ConnectionLost("$text. $doubt", $response->status);
        }
    }

    /**
     * Answers the server where `authUrl` in websock.ini names a page of the application:
     *
     *     Websock\SignIn::answer($_SESSION['user'] ?? null);
     */
    final class SignIn
    {
        /**
         * Says who the visitor is whose cookies have come with this request. To be called before
         * anything is printed, and nothing is to be printed behind it.
         *
         * No is null, false, '' and 0, which is how WordPress and Drupal name nobody. Where the
         * application does not know, because its database is away, say, throw: any status from 500 on
         * means that the server asks again.
         *
         * @param string|int|bool|null $user the user's id; true: signed in, without a name
         * @param array<string, mixed> $more `expire`, seconds until it is asked again; `rooms`, `info`
         * @throws \InvalidArgumentException if an argument makes no sense
         * @throws \LogicException if something was printed before
         */
        public static function answer($user, array $more = []): void
        {
            if (headers_sent($file, $line)) {
                throw new \LogicException("Something was printed before, at $file:$line: no answer");
            }
            $isNobody = in_array($user, [null, false, '', 0, '0'], true);
            $json = $isNobody || $user === true ? '' : self::json(self::id($user), $more);
            // Who somebody is is nothing to be kept on the way.
            header('Cache-Control: no-store');
            http_response_code($isNobody ? 401 : ($json === '' ? 204 : 200));
            if ($json !== '') {
                header('Content-Type: application/json');
                echo $json;
            }
        }

        /**
         * A user's id as text.
         *
         * @internal
         * @param mixed $user
         */
        public static function id($user): string
        {
            if (is_int($user) || (is_object($user) && method_exists($user, '__toString'))) {
                $user = (string) $user;
            }
            $isId = is_string($user) && preg_match('/^\P{Cc}{1,255}$/uD', $user) === 1;
            if (!$isId || strlen($user) > 255) {
                $shown = Options::shown($user);
                $wanted = 'text of 1 to 255 bytes of UTF-8, without control characters, or a number';
                throw new \InvalidArgumentException("A user's id is $wanted. It got $shown");
            }
            return $user;
        }

        /** @param array<string, mixed> $more */
        private static function json(string $user, array $more): string
        {
            $json = json_encode(['user' => $user] + $more, JSON_UNESCAPED_SLASHES);
            if ($json === false) {
                $why = json_last_error_msg();
                throw new \InvalidArgumentException("No answer, JSON cannot say it: $why");
            }
            // The server reads no more (protocol.md 8.4).
            if (strlen($json) > 8192) {
                throw new \InvalidArgumentException('The answer has more than 8192 bytes');
            }
            return $json;
        }
    }

    /**
     * Tokens by which a page signs in, where the server has an `authKey`: a JSON Web Token (RFC 7519)
     * with HS256.
     */
    final class Token
    {
        /**
         * A token for a user. It comes to the server as the cookie `websock_token`, or from websock.js,
         * which takes it as its option `token`; never in a URL.
         *
         * @param string|int $user the user's id
         * @param string $key the authKey of websock.ini, at least 32 bytes
         * @param int $seconds how long it opens; who is connected by then is closed
         * @param array<string, mixed> $claims more of them, such as ['rooms' => ['order-7']]
         * @throws \InvalidArgumentException if an argument makes no sense
         */
        public static function mint(
            $user,
            string $key,
            int $seconds = 3600,
            array $claims = []
        ): string {
            if (strlen($key) < 32) {
                throw new \InvalidArgumentException('authKey has at least 32 bytes; this has fewer');
            }
            if ($seconds < 1) {
                throw new \InvalidArgumentException("A token for $seconds seconds opens nothing");
            }
            $now = time();
            $own = ['sub' => SignIn::id($user), 'iat' => $now, 'exp' => $now + $seconds];
            $signed = self::part(['alg' => 'HS256', 'typ' => 'JWT']);
            $signed .= '.' . self::part($own + ['aud' => 'websock'] + $claims);
            return "$signed." . self::encoded(hash_hmac('sha256', $signed, $key, true));
        }

        /** @param array<string, mixed> $values */
        private static function part(array $values): string
        {
            $json = json_encode($values, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE);
            if ($json === false) {
                $why = json_last_error_msg();
                throw new \InvalidArgumentException("No token, JSON cannot say it: $why");
            }
            return self::encoded($json);
        }

        /** base64url without padding (RFC 7515, section 2). */
        private static function encoded(string $bytes): string
        {
            return rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
        }
    }
}
}

namespace {

use Websock\Address;
use Websock\Client;
use Websock\WebsockException;

if (!class_exists('websocketPhp', false)) {

    /**
     * Takes the place of phpWebSocketServer's class of this name: a script changes only its require.
     *
     * As there, nothing is thrown: what goes wrong is a warning, and $connected is false from then on.
     * Messages that arrive while an answer is awaited are no longer lost, and readSocket() waits as
     * long as it takes. Certificates are checked, except on this machine itself; see $tls.
     */
    class websocketPhp
    {
        /** @var array<string, mixed> PHP's ssl context options, such as ['cafile' => 'FILE.pem'] */
        public static $tls = [];

        /** @var string the web client that feedback() is for */
        public $uuid = '';
        /** @var bool */
        public $connected = false;
        /** @var int not used any more: long messages need no chunks */
        public $chunkSize = 0;
        /** @var string */
        public $ident;
        /** @var string this connection's uuid */
        public $fromUUID = '';
        /** @var string */
        public $errorHandshake = '';

        /** @var Client|null */
        private $client;
        /** @var int answers to writeSocket() that readSocket() has not given yet */
        private $owed = 0;

        /** JSON_NUMERIC_CHECK as ever, though it makes the number 7 of the text "007". */
        private const JSON = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_NUMERIC_CHECK;
        private const NEXT = '{"opcode":"next","fyi":""}';
        private const HERE = ['localhost', '127.0.0.1', '::1'];

        /**
         * @param string $Address such as ssl://example.org:8096/php
         * @param string $myIdent the name under which other scripts reach this one
         */
        public function __construct($Address, $myIdent = '')
        {
            $this->ident = (string) $myIdent;
            try {
                $host = (new Address((string) $Address))->host;
                $tls = self::$tls;
                if (is_array($tls) && in_array($host, self::HERE, true)) {
                    $tls += ['verify_peer' => false, 'verify_peer_name' => false];
                }
                $options = ['ident' => $this->ident, 'tls' => $tls, 'path' => '/'];
                $this->client = new Client((string) $Address, $options);
                $this->fromUUID = $this->client->uuid;
                $this->connected = true;
            } catch (WebsockException | InvalidArgumentException $failure) {
                $this->errorHandshake = $failure->getMessage();
                $this->fail($failure);
            }
        }

        /** @param mixed $message */
        final public function broadcast($message): void
        {
            $this->talk(['opcode' => 'broadcast', 'message' => $message]);
        }

        /**
         * @param mixed $message
         * @param string|int $otherIdent
         */
        final public function feedback($message, $otherIdent = ''): void
        {
            if ($this->uuid || $otherIdent !== '') {
                $this->talk([
                    'opcode' => 'feedback',
                    'ident' => $otherIdent,
                    'uuid' => $this->uuid,
                    'message' => $message,
                    'fromUUID' => $this->fromUUID,
                ]);
            }
        }

        /** @param array<string, mixed>|object $msg */
        final public function talk($msg): void
        {
            $json = json_encode((object) $msg, self::JSON);
            if ($json === false) {
                trigger_error('websock: not sent, ' . json_last_error_msg(), E_USER_WARNING);
            } else {
                $this->writeWait($json);
            }
        }

        /**
         * @param string $m
         * @return bool whether the server has handled it
         */
        final public function writeWait($m)
        {
            return $this->attempt(static function (Client $client) use ($m): bool {
                $client->sendText((string) $m);
                return true;
            }, false);
        }

        /** @param string $message an empty one closes, as ever */
        final public function writeSocket($message): void
        {
            if ((string) $message === '') {
                $this->silent();
                return;
            }
            $this->owed += $this->attempt(static function (Client $client) use ($message): int {
                $client->write((string) $message);
                return 1;
            }, 0);
        }

        /** @return string the next message, or '' if the connection has ended */
        final public function readSocket()
        {
            return $this->attempt(function (Client $client): string {
                if ($this->owed > 0) {
                    $client->flush();
                    $this->owed--;
                    return self::NEXT;
                }
                do {
                    $text = $client->receiveText(3600.0);
                } while ($text === null);
                return $text;
            }, '');
        }

        final public function silent(): void
        {
            if ($this->client) {
                $this->client->close();
            }
            $this->client = null;
            $this->connected = false;
        }

        /** @return string[] what a copy in a session has; it is not connected */
        public function __sleep(): array
        {
            return ['uuid', 'chunkSize', 'ident', 'fromUUID', 'errorHandshake'];
        }

        /**
         * @template T
         * @param callable(Client): T $act
         * @param T $otherwise
         * @return T
         */
        private function attempt(callable $act, $otherwise)
        {
            if (!$this->client || !$this->connected) {
                return $otherwise;
            }
            try {
                return $act($this->client);
            } catch (WebsockException $failure) {
                $this->fail($failure);
                return $otherwise;
            }
        }

        private function fail(Exception $failure): void
        {
            $this->client = null;
            $this->connected = false;
            trigger_error('websock: ' . $failure->getMessage(), E_USER_WARNING);
        }
    }
}
}
