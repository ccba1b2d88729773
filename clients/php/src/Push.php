<?php

declare(strict_types=1);

namespace Websock;

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
