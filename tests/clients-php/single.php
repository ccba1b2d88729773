<?php
// Prints clients/php/websock.php, the one file for scripts without Composer, made of its sources:
//   php single.php > ../../clients/php/websock.php
declare(strict_types=1);

$directory = dirname(__DIR__, 2) . '/clients/php';
$names = [
    'WebsockException',
    'ConnectException',
    'ConnectionLost',
    'PushException',
    'Requirements',
    'Options',
    'Receiver',
    'Address',
    'Stream',
    'Frames',
    'Response',
    'Refusal',
    'Handshake',
    'Place',
    'Client',
    'Push',
    'SignIn',
    'Token',
];

echo "<?php\n\n// Client of a websock server in one file, MIT licence. Its source is src/.\n\n";
echo "declare(strict_types=1);\n\nnamespace Websock {\n\n";
echo "// A second copy, of whatever version, does nothing: all classes are of the first one.\n";
$isFirst = array_map(fn(string $name) => "!class_exists($name::class, false)", $names);
echo "if (\n    ", implode(" &&\n    ", $isFirst), "\n) {\n";
foreach ($names as $name) {
    echo indented(body("$directory/src/$name.php"));
}
echo "}\n}\n\nnamespace {\n";
preg_match('/^((?:\nuse [^\n]+)*\n)(.*)$/s', body("$directory/websocketPhp.php"), $part);
echo "$part[1]\nif (!class_exists('websocketPhp', false)) {\n", indented($part[2]), "}\n}\n";

/** What is behind a file's declare and namespace lines. */
function body(string $file): string
{
    $text = (string) file_get_contents($file);
    $head = '/^<\?php\n\ndeclare\(strict_types=1\);\n(\nnamespace Websock;\n)?/';
    return (string) preg_replace($head, '', $text, 1);
}

/** Classes inside a condition are declared when it is met; others even before the file runs. */
function indented(string $text): string
{
    return (string) preg_replace('/^(?=.)/m', '    ', $text);
}
