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
     * To one client: its uuid, or ['ident' => NAME], or ['uuid' => UUID].
     *
     * @param mixed $message whatever JSON can say
     * @param string|array<string, string|int> $to
     * @return int how many were reached: 1, or 0 if nobody has that uuid or ident
     * @throws WebsockException
     */
    public function feedback($message, $to): int
    {
        $to = Receiver::fields($to);
        return $this->send(['opcode' => 'feedback'] + $to + ['message' => $message]);
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
     * @return int how many were reached
     * @throws ConnectException if nobody answers; nothing was sent
     * @throws ConnectionLost if the answer does not come; it may have been handled or not
     * @throws PushException if the server refuses; getCode() is the status, 503 a full queue
     * @throws \InvalidArgumentException if JSON cannot say it; nothing is sent
     */
    public function send(array $packet): int
    {
        return $this->post($packet)['delivered'];
    }

    /**
     * Several packets in one request, handled in order.
     *
     * @param array<int, array<string, mixed>> $packets
     * @return array<int, array{delivered: int, error?: string}> a result for each
     * @throws WebsockException as send() does
     */
    public function sendAll(array $packets): array
    {
        $answer = $packets ? $this->post(array_values($packets)) : ['results' => []];
        $results = $answer['results'] ?? null;
        if (!is_array($results) || count($results) !== count($packets)) {
            throw new PushException('Not a result for each packet: is this a websock server?', 200);
        }
        return $results;
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
     * @return array{delivered: int} the JSON of an answer that tells how many were reached
     */
    private function post(array $body): array
    {
        Requirements::check();
        $json = json_encode($body, self::JSON);
        if ($json === false) {
            $why = json_last_error_msg();
            throw new \InvalidArgumentException("Not sent, JSON cannot say it: $why");
        }
        $deadline = $this->deadline();
        if (!$this->stream || $this->stream->isStale()) {
            $this->stream = new Stream($this->to, $this->options->tls, $deadline);
        }
        try {
            $response = $this->exchange($json, $deadline);
        } catch (WebsockException $failure) {
            $this->close();
            throw $failure;
        }
        $answer = json_decode($response->body, true);
        $isNobody = $response->status === 404 && Refusal::reason($response) !== null;
        $isCounted = is_array($answer) && is_int($answer['delivered'] ?? null);
        if (!$isCounted || ($response->status !== 200 && !$isNobody)) {
            throw $this->refused($response);
        }
        return $answer;
    }

    private function deadline(): float
    {
        return microtime(true) + $this->options->timeout;
    }

    private function exchange(string $json, float $deadline): Response
    {
        $path = rtrim($this->to->target, '/');
        $lines = [
            "POST $path/push HTTP/1.1",
            "Host: {$this->to->authority}",
            'Content-Type: application/json',
            'Content-Length: ' . strlen($json),
        ];
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
        if ($response->status < 500 || Refusal::reason($response) !== null) {
            return new PushException($text, $response->status);
        }
        // A proxy says this, too, if websock has taken the push and the answer was lost.
        $doubt = 'The push may have been handled or not';
        return new ConnectionLost("$text. $doubt", $response->status);
    }
}
