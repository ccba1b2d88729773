<?php

declare(strict_types=1);

namespace Websock;

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
