<?php

declare(strict_types=1);

namespace Websock;

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
