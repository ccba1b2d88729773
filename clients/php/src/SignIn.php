<?php

declare(strict_types=1);

namespace Websock;

/**
 * Answers the server where `authUrl` in websock.ini names a page of the application:
 *
 *     Websock\SignIn::answer($_SESSION['user'] ?? null);
 */
final class SignIn
{
    /**
     * Says who the visitor is whose cookies have come with this request. To be called before
     * anything is printed, and nothing is to be printed behind it.
     *
     * No is null, false, '' and 0, which is how WordPress and Drupal name nobody. Where the
     * application does not know, because its database is away, say, throw: any status from 500 on
     * means that the server asks again.
     *
     * @param string|int|bool|null $user the user's id; true: signed in, without a name
     * @param array<string, mixed> $more `expire`, seconds until it is asked again; `rooms`, `info`
     * @throws \InvalidArgumentException if an argument makes no sense
     * @throws \LogicException if something was printed before
     */
    public static function answer($user, array $more = []): void
    {
        if (headers_sent($file, $line)) {
            throw new \LogicException("Something was printed before, at $file:$line: no answer");
        }
        $isNobody = in_array($user, [null, false, '', 0, '0'], true);
        $json = $isNobody || $user === true ? '' : self::json(self::id($user), $more);
        // Who somebody is is nothing to be kept on the way.
        header('Cache-Control: no-store');
        http_response_code($isNobody ? 401 : ($json === '' ? 204 : 200));
        if ($json !== '') {
            header('Content-Type: application/json');
            echo $json;
        }
    }

    /**
     * A user's id as text.
     *
     * @internal
     * @param mixed $user
     */
    public static function id($user): string
    {
        if (is_int($user) || (is_object($user) && method_exists($user, '__toString'))) {
            $user = (string) $user;
        }
        $isId = is_string($user) && preg_match('/^\P{Cc}{1,255}$/uD', $user) === 1;
        if (!$isId || strlen($user) > 255) {
            $shown = Options::shown($user);
            $wanted = 'text of 1 to 255 bytes of UTF-8, without control characters, or a number';
            throw new \InvalidArgumentException("A user's id is $wanted. It got $shown");
        }
        return $user;
    }

    /** @param array<string, mixed> $more */
    private static function json(string $user, array $more): string
    {
        $json = json_encode(['user' => $user] + $more, JSON_UNESCAPED_SLASHES);
        if ($json === false) {
            $why = json_last_error_msg();
            throw new \InvalidArgumentException("No answer, JSON cannot say it: $why");
        }
        // The server reads no more (protocol.md 8.4).
        if (strlen($json) > 8192) {
            throw new \InvalidArgumentException('The answer has more than 8192 bytes');
        }
        return $json;
    }
}
