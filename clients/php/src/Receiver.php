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
    /**
     * The packet's fields that name it.
     *
     * @param mixed $to a uuid, or ['uuid' => UUID] or ['ident' => NAME]
     * @return array<mixed>
     */
    public static function fields($to): array
    {
        $fields = is_array($to) ? $to : ['uuid' => $to];
        foreach (['uuid', 'ident'] as $name) {
            $value = $fields[$name] ?? '';
            if (is_object($value) && method_exists($value, '__toString')) {
                $value = $fields[$name] = (string) $value;
            }
            if ((is_string($value) && $value !== '') || ($name === 'ident' && is_int($value))) {
                return $fields;
            }
        }
        $given = array_values(array_intersect_key($fields, ['uuid' => 0, 'ident' => 0]));
        $shown = $given ? Options::shown($given[0]) : "an array with neither 'uuid' nor 'ident'";
        throw new \InvalidArgumentException("feedback needs a uuid or an ident. It got $shown");
    }
}
