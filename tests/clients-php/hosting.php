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
        'array_diff_key array_keys array_shift array_values assert chr count explode ' .
        'function_exists hexdec implode in_array intdiv is_array is_string key max min fmod ord ' .
        'preg_match preg_replace rawurlencode rtrim str_repeat stripos strlen strncmp strpos ' .
        'strspn strtolower substr trigger_error trim';
    // Without getmypid, nobody forks.
    $called = array_diff(calledFunctions(), explode(' ', $harmless), ['getmypid']);
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
