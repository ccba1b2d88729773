<?php

// Keeps sessions where CodeIgniter 3 and 4 keep them (their handler for files): below the session.save_path,
// under the name of the cookie and the id, and locked from reading to the end of the script.

final class CodeIgniterSessions implements SessionHandlerInterface
{
    private string $path = '';
    /** @var resource|null */
    private $file;

    public function open(string $path, string $name): bool
    {
        $this->path = "$path/$name";
        return true;
    }

    public function read(string $id): string
    {
        $this->file = fopen($this->path . $id, 'c+b');
        chmod($this->path . $id, 0600);
        flock($this->file, LOCK_EX);
        return stream_get_contents($this->file);
    }

    public function write(string $id, string $data): bool
    {
        rewind($this->file);
        ftruncate($this->file, 0);
        return fwrite($this->file, $data) === strlen($data) && fflush($this->file);
    }

    public function close(): bool
    {
        if ($this->file) {
            flock($this->file, LOCK_UN);
            fclose($this->file);
            $this->file = null;
        }
        return true;
    }

    public function destroy(string $id): bool
    {
        $this->close();
        return !is_file($this->path . $id) || unlink($this->path . $id);
    }

    public function gc(int $max_lifetime): int
    {
        return 0;
    }
}

session_set_save_handler(new CodeIgniterSessions(), true);
