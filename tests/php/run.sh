#!/usr/bin/env bash
# The deployed PHP clients' ways of reading against the server (docs/protocol.md, section 6), 200 times each.
#   run.sh [ws://HOST:PORT]      with an address: a server that is running, nothing is built
# Last line: N passed, N failed. Exit: 0 if none failed, else 1.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/serve.sh

work=$(mktemp -d)
# A suite that cannot be set up has failed; its closing line says so.
trap 'stop || true; rm -rf "$work"; echo "php: could not be run, 0 passed, 1 failed"' EXIT
php -r 'exit(PHP_VERSION_ID >= 80100 ? 0 : 1);' || { echo "php: PHP 8.1 or later is needed" >&2; exit 1; }

server_url=${1:-}
if [ -z "$server_url" ]; then
    cargo build --locked --quiet --release --bin websock
    printf '%s\n' adress=ws://127.0.0.1:0 "logfile=$work/websock.log" console=true >"$work/websock.ini"
    serve "$work/console" "$(target_directory)/release/websock" -i "$work/websock.ini"
fi
address=${server_url#ws://}
address=${address%/}

code=0
php tests/php/suite.php "${address%:*}" "${address##*:}" </dev/null 2>&1 | tee "$work/report" || code=$?
passed=$(grep -c '^ok ' "$work/report" || true)
failed=$(grep -c '^FAILED ' "$work/report" || true)
# Its code is 1 if a line says FAILED and 0 if none does; anything else is a suite that has broken off.
if [ "$code" != $((failed > 0)) ] || [ $((passed + failed)) = 0 ]; then
    echo "FAILED the suite itself ended with code $code"
    failed=$((failed + 1))
fi
if [ $# = 0 ]; then
    if stop; then
        echo "ok the server ends with 0 on SIGTERM"
        passed=$((passed + 1))
    else
        echo "FAILED the server did not end with 0 on SIGTERM, or had ended before; its last lines:"
        tail -n 20 "$work/console"
        failed=$((failed + 1))
    fi
fi
trap 'rm -rf "$work"' EXIT
echo "php: $passed passed, $failed failed"
[ "$failed" = 0 ]
