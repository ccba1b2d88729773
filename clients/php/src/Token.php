<?php

declare(strict_types=1);

namespace Websock;

/**
 * Tokens by which a page signs in, where the server has an `authKey`: a JSON Web Token (RFC 7519)
 * with HS256.
 */
final class Token
{
    /**
     * A token for a user. It comes to the server as the cookie `websock_token`, or from websock.js,
     * which takes it as its option `token`; never in a URL.
     *
     * @param string|int $user the user's id
     * @param string $key the authKey of websock.ini, at least 32 bytes
     * @param int $seconds how long it opens; who is connected by then is closed
     * @param array<string, mixed> $claims more of them, such as ['rooms' => ['order-7']]
     * @throws \InvalidArgumentException if an argument makes no sense
     */
    public static function mint(
        $user,
        string $key,
        int $seconds = 3600,
        array $claims = []
    ): string {
        if (strlen($key) < 32) {
            throw new \InvalidArgumentException('authKey has at least 32 bytes; this has fewer');
        }
        if ($seconds < 1) {
            throw new \InvalidArgumentException("A token for $seconds seconds opens nothing");
        }
        $now = time();
        $own = ['sub' => SignIn::id($user), 'iat' => $now, 'exp' => $now + $seconds];
        $signed = self::part(['alg' => 'HS256', 'typ' => 'JWT']);
        $signed .= '.' . self::part($own + ['aud' => 'websock'] + $claims);
        return "$signed." . self::encoded(hash_hmac('sha256', $signed, $key, true));
    }

    /** @param array<string, mixed> $values */
    private static function part(array $values): string
    {
        $json = json_encode($values, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE);
        if ($json === false) {
            $why = json_last_error_msg();
            throw new \InvalidArgumentException("No token, JSON cannot say it: $why");
        }
        return self::encoded($json);
    }

    /** base64url without padding (RFC 7515, section 2). */
    private static function encoded(string $bytes): string
    {
        return rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
    }
}
