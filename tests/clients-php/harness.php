<?php
// Tests that print a line each, and what they need: servers, the real one and scripted ones.
declare(strict_types=1);

require dirname(__DIR__, 2) . '/clients/php/websock.php';

const DEADLINE_SECONDS = 20;

/** Runs a test and prints `ok` or `FAILED` with its name. Warnings count as failures. */
function test(string $name, callable $act): void
{
    global $failedTests;
    set_error_handler(static function (int $level, string $text, string $file, int $line): bool {
        throw new ErrorException($text, 0, $level, $file, $line);
    });
    try {
        $act();
        echo "ok $name\n";
    } catch (Throwable $failure) {
        $failedTests++;
        $place = basename($failure->getFile()) . ':' . $failure->getLine();
        echo "FAILED $name: ", get_class($failure), " at $place: ", $failure->getMessage(), "\n";
    } finally {
        restore_error_handler();
        Program::endAll();
    }
}

/** @param mixed $expected @param mixed $actual */
function same($expected, $actual, string $what = 'value'): void
{
    if ($expected !== $actual) {
        $show = static fn($value) => substr((string) json_encode($value), 0, 300);
        throw new RuntimeException("$what is {$show($actual)}, not {$show($expected)}");
    }
}

/** Fails unless $act throws $class with a message that has all of $words in it. */
function throws(string $class, array $words, callable $act): Throwable
{
    try {
        $act();
    } catch (Throwable $thrown) {
        if (!($thrown instanceof $class)) {
            throw $thrown;
        }
        foreach ($words as $word) {
            if (stripos($thrown->getMessage(), $word) === false) {
                throw new RuntimeException("'$word' is not in: " . $thrown->getMessage());
            }
        }
        return $thrown;
    }
    throw new RuntimeException("no $class");
}

/** A server that runs while a test does. */
final class Program
{
    /** @var self[] */
    private static array $running = [];

    /** @var resource */
    private $process;
    /** @var resource kept open: a server may not mind where its lines go */
    private $output;
    public string $said = '';

    /** Starts it and waits for a line that matches $pattern; `said` is its first group. */
    public function __construct(array $command, string $pattern)
    {
        $pipes = [];
        $this->process = proc_open(
            $command,
            [['file', '/dev/null', 'r'], ['pipe', 'w'], STDERR],
            $pipes,
        );
        self::$running[] = $this;
        $this->output = $pipes[1];
        while (($line = $this->readLine()) !== false) {
            if (preg_match($pattern, $line, $found)) {
                $this->said = $found[1];
                return;
            }
        }
        throw new RuntimeException('no line as expected from ' . implode(' ', $command));
    }

    /** Its next line; false at its end. It fails at the deadline, which pipes do not know. */
    public function readLine(): string|false
    {
        $reading = [$this->output];
        $none = null;
        if (stream_select($reading, $none, $none, DEADLINE_SECONDS) !== 1) {
            throw new RuntimeException('no line for ' . DEADLINE_SECONDS . ' s');
        }
        return fgets($this->output);
    }

    /** Ends it and waits for its end. */
    public function end(int $signal = SIGTERM): void
    {
        proc_terminate($this->process, $signal);
        proc_close($this->process);
        self::$running = array_filter(self::$running, fn(self $one) => $one !== $this);
    }

    /**
     * Waits for so many lines of a stub, then asks it to end, and counts what it has said until
     * then, by the lines' text.
     */
    public function countLines(int $atLeast = 0): array
    {
        for ($lines = []; count($lines) < $atLeast; ) {
            $lines[] = $this->readStubLine();
        }
        proc_terminate($this->process);
        while (($line = $this->readStubLine()) !== 'the end') {
            $lines[] = $line;
        }
        return array_count_values($lines);
    }

    private function readStubLine(): string
    {
        $line = $this->readLine();
        return $line === false ? throw new RuntimeException('the stub says nothing') : trim($line);
    }

    public static function endAll(): void
    {
        foreach (self::$running as $one) {
            $one->end(SIGKILL);
        }
    }
}

/** Runs $code in a new PHP with these settings, and returns what it prints. */
function php(string $code, array $settings = []): string
{
    $command = [PHP_BINARY, '-d', 'display_errors=1', '-d', 'html_errors=0'];
    foreach ($settings as $key => $value) {
        array_push($command, '-d', "$key=$value");
    }
    $pipes = [];
    $process = proc_open(
        [...$command, '-r', $code],
        [['file', '/dev/null', 'r'], ['pipe', 'w'], STDERR],
        $pipes,
    );
    $output = stream_get_contents($pipes[1]);
    proc_close($process);
    return trim($output);
}

/** Runs $act in a process of its own, which ends then; the answer is its id. */
function fork(callable $act): int
{
    $id = pcntl_fork();
    if ($id !== 0) {
        return $id;
    }
    try {
        $act();
    } catch (Throwable $failure) {
        fwrite(STDERR, 'a child: ' . $failure->getMessage() . "\n");
        exit(1);
    }
    exit(0);
}

/** Waits for the end of processes, and expects that all went well there. */
function waitForAll(int ...$ids): void
{
    $codes = [];
    foreach ($ids as $id) {
        pcntl_waitpid($id, $status);
        $codes[] = pcntl_wifexited($status) ? pcntl_wexitstatus($status) : 'a signal';
    }
    same(array_fill(0, count($ids), 0), $codes, 'exit codes of the children');
}

/** Starts the real server and returns its address. */
function server(array $ini = [], ?Program &$program = null): string
{
    static $count = 0;
    $directory = getenv('WORK');
    $file = "$directory/websock" . ++$count . '.ini';
    $ini += ['adress' => 'ws://127.0.0.1:0', 'console' => 'true', 'logfile' => ''];
    file_put_contents(
        $file,
        implode("\n", array_map(fn($key) => "$key=$ini[$key]", array_keys($ini))),
    );
    $program = new Program([getenv('WEBSOCK'), '-i', $file], '~Listening on (wss?://[^\s,]+)~');
    return $program->said;
}

/** Starts the real server with TLS, for the name localhost. */
function secureServer(string $host = '127.0.0.1'): string
{
    $directory = getenv('WORK');
    return server([
        'adress' => "wss://$host:0",
        'certFile' => "$directory/cert.pem",
        'pkFile' => "$directory/key.pem",
    ]);
}

/** Starts stub.php in one of its roles and returns HOST:PORT, or unix:///PATH. */
function stub(string $role, string ...$arguments): string
{
    return stubProgram($role, ...$arguments)->said;
}

/** The same as a program, whose lines tell of each connection, request and close frame. */
function stubProgram(string $role, string ...$arguments): Program
{
    return new Program(
        [PHP_BINARY, __DIR__ . '/stub.php', $role, ...$arguments],
        '/^listening on (\S+)/',
    );
}
