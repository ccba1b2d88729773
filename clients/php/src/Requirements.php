<?php

declare(strict_types=1);

namespace Websock;

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
