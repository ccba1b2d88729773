<?php

declare(strict_types=1);

namespace Websock;

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
