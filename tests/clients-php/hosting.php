<?php
// What PHP does not allow, and what else a site has loaded.
declare(strict_types=1);

use Websock\Requirements;

const SOURCE = __DIR__ . '/../../clients/php';
const SINGLE = SOURCE . '/websock.php';

/** The functions that the library calls. */
function calledFunctions(): array
{
    $called = [];
    foreach ([...glob(SOURCE . '/src/*.php'), SOURCE . '/websocketPhp.php'] as $file) {
        $tokens = array_values(array_filter(
            PhpToken::tokenize(file_get_contents($file)),
            fn(PhpToken $token) => !$token->isIgnorable(),
        ));
        foreach ($tokens as $at => $token) {
            $isCall = $token->is(T_STRING) && ($tokens[$at + 1] ?? $token)->text === '(';
            if ($isCall && !$tokens[$at - 1]->is(['->', '::', T_FUNCTION, T_NEW])) {
                $called[$token->text] = true;
            }
        }
    }
    return array_keys($called);
}

test('every function that may be forbidden is asked for', function () {
    $harmless =
        'array_column array_flip array_intersect_key array_merge array_shift array_slice array_values assert chr count explode fmod ' .
        'function_exists gettype hexdec implode in_array intdiv is_array is_bool is_float is_int ' .
        'is_numeric is_object is_string key levenshtein max method_exists min ord preg_match ' .
        'preg_replace rawurlencode rtrim str_repeat str_replace stripos strlen strncmp strpos ' .
        'strspn strtolower strtr substr trigger_error trim';
    // No connection needs these: tokens and answers to authUrl do, and PHP names what is missing.
    $unconnected = ['hash_hmac', 'header', 'headers_sent', 'http_response_code', 'time'];
    // Without getmypid, nobody forks.
    $others = [...explode(' ', $harmless), ...$unconnected, 'getmypid'];
    $called = array_diff(calledFunctions(), $others);
    sort($called);
    $names = (new ReflectionClassConstant(Requirements::class, 'FUNCTIONS'))->getValue();
    same($called, $names, 'Requirements::FUNCTIONS');
});

test('a function that php.ini forbids is named, with what to do', function () {
    $code =
        'require ' .
        var_export(SINGLE, true) .
        ';
        foreach ([
            fn() => (new Websock\Push("unix:/nobody"))->broadcast(1),
            fn() => (new Websock\Push("unix:/nobody"))->sendAll([["opcode" => "broadcast"]]),
            fn() => new Websock\Client("unix:/nobody"),
        ] as $act) {
            try { $act(); } catch (Websock\WebsockException $e) {
                echo get_class($e), ": ", $e->getMessage(), "\n";
            }
        }
        echo @(new websocketPhp("unix:/nobody"))->errorHandshake;';
    $names = (new ReflectionClassConstant(Requirements::class, 'FUNCTIONS'))->getValue();
    foreach ([...$names, 'stream_select,stream_socket_client'] as $name) {
        $lines = explode("\n", php($code, ['disable_functions' => $name]));
        same(4, count($lines), "lines without $name: " . implode(' / ', $lines));
        $name = str_replace(',', ', ', $name);
        foreach ($lines as $number => $line) {
            $words = "Not connected: PHP has no $name here. Probably php.ini names it in disable_f";
            same($number < 3, strpos($line, 'Websock\ConnectException: ') === 0, $line);
            same(true, strpos($line, $words) !== false, $line);
        }
    }
});

test('what hosters forbid besides is not needed', function () {
    $code =
        'require ' .
        var_export(SINGLE, true) .
        ';
        $url = ' .
        var_export(server(), true) .
        ';
        $client = new Websock\Client($url, ["ident" => "me"]);
        $push = new Websock\Push($url);
        echo $push->feedback("x", ["ident" => "me"]), $push->feedback("x", ["ident" => "me"]);
        echo $client->receive(20)["message"];
        $talk = new websocketPhp($url);
        echo $talk->writeWait("{}") ? "y" : "n";';
    $forbidden =
        'getmypid,fsockopen,pfsockopen,gethostbyname,stream_set_timeout,ini_set,ini_get,exec,' .
        'shell_exec,proc_open,set_time_limit,curl_exec,pcntl_fork,phpinfo,error_log,fopen';
    $settings = ['disable_functions' => $forbidden, 'allow_url_fopen' => '0'];
    same('11xy', php($code, $settings));
});

/** Writes a copy of the library, changed by $edit, and returns the code that loads it. */
function copyOf(string $file, callable $edit): string
{
    static $count = 0;
    $copy = getenv('WORK') . '/copy' . ++$count . '.php';
    file_put_contents($copy, $edit(file_get_contents($file)));
    return 'require ' . var_export($copy, true) . ';';
}

/** What Composer does with composer.json's autoload. */
function composer(): string
{
    return 'spl_autoload_register(function ($class) {
        $path = str_replace(["Websock\\\\", "\\\\"], ["src/", "/"], $class) . ".php";
        if (is_file($file = ' .
        var_export(SOURCE, true) .
        ' . "/$path")) { require $file; }
    });';
}

test('a second copy of the library, of another version too, is harmless', function () {
    $same = copyOf(SINGLE, fn(string $text) => $text);
    $other = copyOf(
        SINGLE,
        fn(string $text) => preg_replace(
            ['/final class Push\b.*?\{/s', '/^(\s*)final class Address\b/m'],
            ['$0 const VERSION = "other";', '$1final class Novelty {} $0'],
            $text,
        ),
    );
    $deployed = copyOf(SINGLE, fn() => '<?php class websocketPhp { const VERSION = "deployed"; }');
    $url = var_export(server(), true);
    $which =
        'echo defined("Websock\Push::VERSION") ? "other" : "this", " ",
            defined("websocketPhp::VERSION") ? "deployed" : "new", " ",
            (new Websock\Push(' .
        $url .
        '))->broadcast(1),
            strlen((new Websock\Client(' .
        $url .
        '))->uuid), strlen((new ReflectionClass("websocketPhp"))->name);';
    $load = 'require ' . var_export(SINGLE, true) . ';';
    $autoloaded = composer() . 'new Websock\Push("http://h");';
    $cases = [
        'this file twice' => [$load . $load, 'this new'],
        'a copy' => [$load . $same, 'this new'],
        'another version behind it' => [$load . $other, 'this new'],
        'another version before it' => [$other . $load, 'other new'],
        'Composer, and nothing loaded by it' => [composer() . $load, 'this new'],
        'Composer, and Push loaded by it' => [$autoloaded . $load, 'this new'],
        'Composer behind it' => [$load . $autoloaded, 'this new'],
        'Composer before another version' => [$autoloaded . $other, 'this new'],
        "phpWebSocketServer's own class before it" => [$deployed . $load, 'this deployed'],
    ];
    foreach ($cases as $case => [$code, $expected]) {
        same("$expected 03612", php($code . $which), $case);
    }
});

test('the library leaves no variables and functions behind', function () {
    $code =
        '$before = [count(get_defined_vars()), count(get_defined_functions()["user"])]; require ' .
        var_export(SINGLE, true) .
        '; echo json_encode([$before,
            [count(get_defined_vars()) - 1, count(get_defined_functions()["user"])]]);';
    [$before, $after] = json_decode(php($code));
    same($before, $after, 'variables and functions');
});
