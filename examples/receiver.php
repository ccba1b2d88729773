<?php

// A script that others reach by its ident, whatever they are: scripts or pages.
//
// Run:  the server (cargo run --release), then  php examples/receiver.php [ws://HOST:PORT]
//       and in another terminal                 php examples/sender.php
// See:  this one says "waiting for messages to: receiver", and then each message of the sender.
//       It ends with the message "stop", or with Ctrl-C.

declare(strict_types=1);

require __DIR__ . '/../clients/php/websock.php';

const IDENT = 'receiver';

try {
    $client = new Websock\Client($argv[1] ?? 'ws://localhost:8096', ['ident' => IDENT]);
    echo 'waiting for messages to: ', IDENT, "\n";
    do {
        $packet = $client->receive(60.0); // null after a minute of silence
        if ($packet !== null) {
            echo json_encode($packet['message'] ?? null, JSON_UNESCAPED_UNICODE), "\n";
        }
    } while (($packet['message'] ?? null) !== 'stop');
    $client->close();
} catch (Websock\WebsockException $failure) {
    fwrite(STDERR, $failure->getMessage() . "\n");
    exit(1);
}
