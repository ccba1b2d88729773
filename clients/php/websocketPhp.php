<?php

declare(strict_types=1);

use Websock\Address;
use Websock\Client;
use Websock\WebsockException;

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
