<?php

declare(strict_types=1);

namespace Websock;

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
