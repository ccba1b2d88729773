# shellcheck shell=bash
# Sourced by the suites that need a running server.

# Directory that cargo builds into, whatever the environment or cargo's own settings say.
target_directory() {
    cargo metadata --locked --no-deps --format-version 1 |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

# serve LOG COMMAND...: starts a server, its output in LOG, and waits until it says where it listens.
# Sets server_pid and server_url. Fails if the server ends, or says nothing for 30 s.
serve() {
    local log=$1
    shift
    : >"$log"
    "$@" </dev/null >"$log" 2>&1 &
    server_pid=$!
    if ! read -r -t 30 server_url < <(
        tail -n +1 -f --pid="$server_pid" "$log" 2>/dev/null |
            sed -n -u 's|.*Listening on \(wss\{0,1\}://[^ ,]*\).*|\1|p' 2>/dev/null
    ); then
        echo "no line 'Listening on ...' from: $*" >&2
        tail -n 20 "$log" >&2
        stop
        return 1
    fi
}

# Ends the server that `serve` has started with SIGTERM, after 30 s with SIGKILL.
# Fails unless it has exited with 0.
stop() {
    local pid=${server_pid:-} code=0
    [ -n "$pid" ] || return 0
    server_pid=
    kill -TERM "$pid" 2>/dev/null || true
    timeout 30 tail -s 0.1 -f --pid="$pid" /dev/null || kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || code=$?
    return "$code"
}
