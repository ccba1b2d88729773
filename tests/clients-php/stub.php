<?php
// A server that does one thing to whoever connects, so that a client has to cope with it:
//   stub.php ROLE [unix:///PATH]
// Prints where it listens, then a line for each connection, request and close frame. It is ended by
// a signal; its last line is `the end` then.
declare(strict_types=1);

require __DIR__ . '/stub-push.php';
require __DIR__ . '/stub-answers.php';
require __DIR__ . '/stub-resume.php';

const NEXT = '{"opcode":"next","fyi":""}';
const READY = '{"opcode":"ready","uuid":"8367a0a4-0000-4000-8000-000000000000"}';

/** The client's end of a connection. */
final class Peer
{
    /** @var resource */
    private $stream;
    /** The client's request, up to its blank line. */
    public string $request = '';

    /** @param resource $stream */
    public function __construct($stream)
    {
        $this->stream = $stream;
    }

    public function say(string ...$bytes): void
    {
        fwrite($this->stream, implode($bytes));
    }

    /** Says it in so many segments. The pauses let each be read alone. */
    public function sayInPieces(int $count, string $bytes): void
    {
        foreach (str_split($bytes, (int) ceil(strlen($bytes) / $count)) as $piece) {
            $this->say($piece);
            usleep(300);
        }
    }

    public function readLine(): string
    {
        $line = fgets($this->stream);
        return $line === false ? exit(0) : $line;
    }

    public function read(int $count): string
    {
        $bytes = $count > 0 ? stream_get_contents($this->stream, $count) : '';
        return strlen((string) $bytes) === $count ? $bytes : exit(0);
    }

    public function readHead(): string
    {
        for ($head = ''; substr($head, -4) !== "\r\n\r\n"; ) {
            $head .= $this->readLine();
        }
        echo "request\n";
        return $head;
    }

    /** Answers the upgrade and greets; the answer is returned if $isSaid is false. */
    public function upgrade(bool $isSaid = true): string
    {
        $this->request = $this->readHead();
        preg_match('/^Sec-WebSocket-Key: (.*)\r/m', $this->request, $found);
        $accept = base64_encode(sha1($found[1] . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11', true));
        $answer =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" .
            "Sec-WebSocket-Accept: $accept\r\n\r\n";
        if ($isSaid) {
            $this->say($answer, frame(READY));
        }
        return $answer;
    }

    /** Opcode and payload of the client's next frame. */
    public function readFrame(): array
    {
        [$first, $length] = array_map('ord', str_split($this->read(2)));
        $length &= 0x7f;
        if ($length >= 126) {
            $length = unpack($length === 126 ? 'n' : 'J', $this->read($length === 126 ? 2 : 8))[1];
        }
        $mask = str_repeat($this->read(4), intdiv($length + 3, 4));
        $payload = $this->read($length) ^ $mask;
        if (($first & 0x0f) === 0x8) {
            echo 'close ', bin2hex($payload), "\n";
            $this->say(frame($payload, 0x88));
        }
        return [$first & 0x0f, $payload];
    }

    /** Says no more, and reads to the end. */
    public function drain(): void
    {
        stream_socket_shutdown($this->stream, STREAM_SHUT_WR);
        stream_copy_to_stream($this->stream, fopen('php://memory', 'w'));
    }
}

/** A server's frame; $first is FIN and opcode. */
function frame(string $payload, int $first = 0x81): string
{
    $length = strlen($payload);
    if ($length < 126) {
        return pack('CC', $first, $length) . $payload;
    }
    return ($length < 65536
        ? pack('CCn', $first, 126, $length)
        : pack('CCJ', $first, 127, $length)) . $payload;
}

/** The packet that number $number is known by. */
function feedback(int $number, int $length = 10): string
{
    return json_encode(['opcode' => 'feedback', 'message' => str_pad("$number", $length, '.')]);
}

/** After the greeting, $frames in answer to the first message. */
function answering(string ...$frames): callable
{
    return static function (Peer $peer) use ($frames): void {
        $peer->upgrade();
        $peer->readFrame();
        $peer->say(...$frames);
        $peer->readFrame();
    };
}

$roles = [
    'push' => 'push',
    'push and close' => static function (Peer $peer): void {
        $peer->readHead();
        $peer->say("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"delivered\":1}");
    },
    'push refused early' => static function (Peer $peer): void {
        $peer->readHead();
        $peer->say(
            "HTTP/1.1 413 Content Too Large\r\nContent-Type: text/plain\r\nContent-Length: 48\r\n",
            "Connection: close\r\n\r\nThe body is too large: maxMessageSize bounds it.\n",
        );
        $peer->drain();
    },
    'a page for every push' => static function (Peer $peer): void {
        $peer->readHead();
        $peer->say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        $peer->drain();
    },
    'echo its request' => static function (Peer $peer): void {
        $peer->upgrade();
        $peer->readFrame();
        $peer->say(frame(NEXT), frame(json_encode(['request' => $peer->request])));
        $peer->readFrame();
    },
    'everything in one segment' => static function (Peer $peer): void {
        $peer->say($peer->upgrade(false), frame(READY), frame(feedback(1)), frame(feedback(2)));
        $peer->readFrame();
        $peer->say(frame(feedback(3)), frame(NEXT), frame(feedback(4)));
        $peer->readFrame();
    },
    'everything in single bytes' => static function (Peer $peer): void {
        $answer =
            $peer->upgrade(false) . frame(READY) . frame(feedback(1)) . frame(feedback(2, 300));
        $peer->sayInPieces(strlen($answer), $answer);
        $peer->readFrame();
    },
    'a frame in 100 segments' => static function (Peer $peer): void {
        $peer->upgrade();
        $peer->sayInPieces(100, frame(feedback(1, 200_000)) . frame(feedback(2)));
        $peer->readFrame();
    },
    'half a frame, and the rest when asked' => static function (Peer $peer): void {
        $peer->upgrade();
        $frame = frame(feedback(1, 200_000));
        $peer->say(substr($frame, 0, 100_000));
        $peer->readFrame();
        $peer->say(substr($frame, 100_000), frame(NEXT));
        $peer->readFrame();
    },
    'fragments and pings' => static function (Peer $peer): void {
        $peer->upgrade();
        $peer->readFrame();
        $text = feedback(1);
        $peer->say(frame(substr($text, 0, 5), 0x01), frame('are you there', 0x89));
        [$opcode, $payload] = $peer->readFrame();
        $peer->say(frame('', 0x00), frame('', 0x8a), frame(substr($text, 5), 0x80), frame(NEXT));
        $peer->say(frame(json_encode(['opcode' => 'pong', 'message' => "$opcode $payload"])));
        $peer->readFrame();
    },
    'a packet twice' => answering(
        frame(NEXT),
        frame('{"opcode":"feedback","message":"a","once":"1"}'),
        frame('{"opcode":"feedback","message":"a","once":"1"}'),
        frame('{"opcode":"feedback","message":"a","once":"2"}'),
        frame('{"opcode":"feedback","message":"a"}'),
    ),
    'a close frame' => answering(frame(pack('n', 1008) . 'output over maxQueue', 0x88)),
    'next after 100 messages' => static function (Peer $peer): void {
        $peer->upgrade();
        for ($number = 0; $number < 100; $number++) {
            $peer->readFrame();
        }
        $peer->say(str_repeat(frame(NEXT), 100));
        $peer->readFrame();
    },
    'say every message back' => static function (Peer $peer): void {
        $peer->upgrade();
        while (true) {
            $peer->say(frame($peer->readFrame()[1]), frame(NEXT));
        }
    },
    'half a frame' => static function (Peer $peer): void {
        $peer->upgrade();
        $peer->readFrame();
        $peer->say(substr(frame(NEXT), 0, 9));
    },
    'no answer' => static function (Peer $peer): void {
        $peer->upgrade();
        while (true) {
            $peer->readFrame();
        }
    },
    'tell the end' => static function (Peer $peer): void {
        register_shutdown_function(static function (): void {
            echo "ended\n";
        });
        $peer->upgrade();
        while (true) {
            $peer->readFrame();
        }
    },
    'pong only' => static function (Peer $peer): void {
        $peer->upgrade();
        while (true) {
            [$opcode, $payload] = $peer->readFrame();
            $peer->say($opcode === 0x9 ? frame($payload, 0x8a) : '');
        }
    },
    'a masked frame' => answering("\x81\x80abcd"),
    'a reserved bit' => answering("\xc1\x00"),
    'an unknown opcode' => answering("\x83\x00"),
    'a long control frame' => answering("\x89\x7e\x00\x80" . str_repeat('x', 128)),
    'a fragmented control frame' => answering("\x09\x00"),
    'a fragment without a beginning' => answering(frame('x', 0x80)),
    'a beginning inside a message' => answering(frame('x', 0x01), frame('y', 0x81)),
    'a frame too long' => answering("\x81\x7f\x00\x00\x00\x00\x10\x00\x00\x00"),
    'a length beyond numbers' => answering("\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff"),
    'SSH' => static function (Peer $peer): void {
        $peer->say("SSH-2.0-OpenSSH_9.2\r\n");
        $peer->readHead();
    },
    'nothing' => static function (Peer $peer): void {
        while (true) {
            $peer->readHead();
        }
    },
    'hang up' => static function (Peer $peer): void {
        $peer->readHead();
    },
    'a web page' => static function (Peer $peer): void {
        $peer->readHead();
        $peer->say("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<h1>It works!</h1>\n");
    },
    'not found' => static function (Peer $peer): void {
        $peer->readHead();
        $peer->say("HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nNot Found");
    },
    'a wrong accept' => static function (Peer $peer): void {
        $answer = $peer->upgrade(false);
        $peer->say((string) preg_replace('/Accept: .*/', "Accept: AAAA\r", $answer), frame(READY));
        $peer->readFrame();
    },
    'a refusal of another kind' => static function (Peer $peer): void {
        $peer->say($peer->upgrade(false), frame('{"opcode":"close","error":["x"]}'));
        $peer->readFrame();
    },
    'a close frame for a terminal' => answering(frame(pack('n', 1008) . "\e[2J\x07 evil", 0x88)),
    'another dialogue' => static function (Peer $peer): void {
        $peer->say($peer->upgrade(false), frame('welcome'));
        $peer->readFrame();
    },
    'resume' => 'resume',
    'resume, cut' => 'resumeCut',
    'no greeting' => static function (Peer $peer): void {
        $peer->say($peer->upgrade(false));
        $peer->readFrame();
    },
];

$role = preg_match('/^(.*), (\d{3})$/', $argv[1], $found)
    ? answer($found[1], $found[2])
    : $roles[$argv[1]];
$context = stream_context_create(['socket' => ['tcp_nodelay' => true]]);
$where = $argv[2] ?? 'tcp://127.0.0.1:0';
$listener = stream_socket_server(
    $where,
    $code,
    $text,
    STREAM_SERVER_BIND | STREAM_SERVER_LISTEN,
    $context,
);
$name = isset($argv[2]) ? $where : stream_socket_get_name($listener, false);
echo "listening on $name\n";
// A process for each connection: an answer may wait for what never comes.
pcntl_signal(SIGCHLD, SIG_IGN);
pcntl_async_signals(true);
pcntl_signal(SIGTERM, static function (): void {
    exit("the end\n");
});
for ($number = 1; ; $number += (int) (bool) $stream) {
    $stream = @stream_socket_accept($listener, 3600);
    echo $stream ? "connection\n" : '';
    if ($stream && pcntl_fork() === 0) {
        pcntl_signal(SIGTERM, SIG_DFL);
        $peer = new Peer($stream);
        $role($peer, $number);
        exit(0);
    }
    if ($stream) {
        fclose($stream);
    }
}
