#!/usr/bin/env bash
# The PHP client against the server, over ws and wss, and against servers that misbehave.
#   run.sh [PROGRAM]      with a path: that server is used, nothing is built
# Needs PHP 8.1 or later with openssl and pcntl, and the openssl command. The client itself is for
# PHP 7.4 to 8.4; each PHP that is installed as phpX.Y checks its syntax.
# Last line: N passed, N failed. Exit: 0 if none failed, else 1.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/serve.sh

# A suite that cannot be set up has failed; its closing line says so.
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"; echo "clients-php: could not be run, 0 passed, 1 failed"' EXIT
php -r 'exit(PHP_VERSION_ID >= 80100 && extension_loaded("openssl") && extension_loaded("pcntl") ? 0 : 1);' ||
    { echo "clients-php: PHP 8.1 or later with openssl and pcntl is needed" >&2; exit 1; }
if [ $# = 0 ]; then
    cargo build --locked --quiet --release --bin websock
    set -- "$(target_directory)/release/websock"
fi
WEBSOCK=$(realpath "$1")
export WEBSOCK WORK

# certificate FILE NAME: a self-signed one for NAME, and FILE.key.
certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$2" \
        -addext "subjectAltName=DNS:$2" -out "$1.pem" -keyout "$1.key" 2>"$WORK/openssl" ||
        { cat "$WORK/openssl" >&2; return 1; }
}
certificate "$WORK/cert" localhost
certificate "$WORK/foreign" example.org
mv "$WORK/cert.key" "$WORK/key.pem"

code=0
timeout -k 5 600 php -d zend.assertions=1 tests/clients-php/suite.php </dev/null 2>&1 |
    tee "$WORK/report" || code=$?
suite_failed=$(grep -c '^FAILED ' "$WORK/report" || true)
for php in $(compgen -c php | grep -xE 'php([78]\.[0-9])?' | sort -u); do
    for file in clients/php/*.php clients/php/src/*.php; do
        if "$php" -l "$file" >"$WORK/lint" 2>&1; then
            echo "ok $php -l $file"
        else
            echo "FAILED $php -l $file: $(head -n 2 "$WORK/lint" | tr '\n' ' ')"
        fi
    done
done | tee -a "$WORK/report" | grep -v '^ok' || true
passed=$(grep -c '^ok ' "$WORK/report" || true)
failed=$(grep -c '^FAILED ' "$WORK/report" || true)
# Its code is 1 if a test has failed and 0 if none has; else the suite has broken off.
if [ "$code" != $((suite_failed > 0)) ] || ! grep -qx 'all parts have been run' "$WORK/report"; then
    echo "FAILED the suite itself ended with code $code"
    failed=$((failed + 1))
fi
trap 'rm -rf "$WORK"' EXIT
echo "clients-php: $passed passed, $failed failed"
[ "$failed" = 0 ]
