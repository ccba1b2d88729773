<?php

declare(strict_types=1);

namespace Websock;

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
