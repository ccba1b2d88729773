<?php

// A script of the PHP server's kind: its client, and a page's uuid.

require __DIR__ . '/websock.php'; // in place of the PHP server's websocketPhp.php
['uuid' => $uuid] = json_decode(file_get_contents('php://input'), true);
$talk = new websocketPhp(getenv('WEBSOCK_SCRIPTS') . '/php');
$talk->uuid = $uuid;
$talk->feedback('from the backend');
$talk->silent();
