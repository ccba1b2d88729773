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
    'Address',
    'Stream',
    'Frames',
    'Response',
    'Client',
    'Push',
];

echo "<?php\n\n// Client of a websock server in one file, MIT licence. Its source is src/.\n\n";
echo "declare(strict_types=1);\n\nnamespace Websock {\n";
foreach ($names as $name) {
    echo body("$directory/src/$name.php");
}
echo "}\n\nnamespace {\n", body("$directory/websocketPhp.php"), "}\n";

/** What is behind a file's declare and namespace lines. */
function body(string $file): string
{
    $text = (string) file_get_contents($file);
    $head = '/^<\?php\n\ndeclare\(strict_types=1\);\n(\nnamespace Websock;\n)?/';
    return (string) preg_replace($head, '', $text, 1);
}
