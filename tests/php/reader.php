<?php
// The receiving end of the burst scenario, a process of its own as in deployment:
//   reader.php HOST PORT READING IDENT COUNT
// Prints `ready`, reads COUNT feedback packets numbered from 0, then says how many came in order.
declare(strict_types=1);

require __DIR__ . '/clients.php';

[, $host, $port, $reading, $ident, $count] = $argv;
$received = 0;
try {
    $client = new DeployedClient($host, (int) $port, Reading::from($reading), $ident);
    echo "ready\n";
    while ($received < (int) $count) {
        $client->expect(['opcode' => 'feedback', 'ident' => $ident, 'message' => "number $received"]);
        $received++;
    }
    $client->close();
    echo "received $received\n";
} catch (RuntimeException $failure) {
    echo "received $received, then ", $failure->getMessage(), "\n";
}
