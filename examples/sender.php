<?php

// Sends to the script that calls itself "receiver".
//
// Run:  php examples/receiver.php in another terminal, then
//       php examples/sender.php [MESSAGE] [ws://HOST:PORT]
// See:  the receiver prints the three messages, or yours.

declare(strict_types=1);

require __DIR__ . '/../clients/php/websock.php';

$messages = isset($argv[1]) ? [$argv[1]] : ['Hello', ['any' => 'JSON'], 'stop'];
try {
    $client = new Websock\Client($argv[2] ?? 'ws://localhost:8096');
    foreach ($messages as $message) {
        $client->feedback($message, ['ident' => 'receiver']); // returns when it is handled
    }
    $client->close();
} catch (Websock\WebsockException $failure) {
    fwrite(STDERR, $failure->getMessage() . "\n");
    exit(1);
}
