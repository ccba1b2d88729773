#!/usr/bin/env bash
# Sign-in with real shops, as docs/sign-in.md says: plain PHP, the PHP server's page and ini,
# sessions in Redis, WordPress, Laravel and Symfony behind PHP-FPM with two workers and nginx, in headless Chromium.
# Everything runs in folders of its own, on Unix sockets and free ports, and is ended.
#   run.sh              ONLY=NAME runs one file: php-server, plain, redis, wordpress, laravel, symfony, crowd
# Last lines: those of node's test runner, and N passed, N failed. Exit: 0 if none failed, else 1.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/serve.sh
. tests/node.sh
# Debian keeps daemons where a user's PATH does not look.
PATH=$PATH:/usr/sbin:/sbin

report=$(mktemp)
trap 'rm -f "$report"; echo "sign-in: could not be run, 0 passed, 1 failed"' EXIT
ensure_node
CHROMIUM=$(command -v chromium || command -v chromium-browser) || { echo "sign-in: no chromium" >&2; exit 1; }
PHP_FPM=$(compgen -G '/usr/sbin/php-fpm*' | sort -V | tail -n 1) || { echo "sign-in: no php-fpm" >&2; exit 1; }
for tool in nginx php mariadbd mariadb-install-db redis-server; do
    command -v "$tool" >/dev/null || { echo "sign-in: $tool is needed" >&2; exit 1; }
done
php -r 'exit(extension_loaded("redis") ? 0 : 1);' || { echo "sign-in: php-redis is needed" >&2; exit 1; }
cargo build --locked --quiet --bin websock
WEBSOCK=$(target_directory)/debug/websock
export CHROMIUM PHP_FPM WEBSOCK
(cd tests/sign-in && npm install --silent --no-audit --no-fund --no-package-lock)

code=0
(cd tests/sign-in && timeout 900 node --test --test-reporter=spec suite.mjs) </dev/null 2>&1 | tee "$report" || code=$?
passed=$(sed -n 's/^ℹ pass //p' "$report")
failed=$(sed -n 's/^ℹ fail //p' "$report")
# A runner that broke off has failed, whatever it printed.
if [ "$code" != 0 ] && [ "${failed:-0}" = 0 ]; then failed=1; fi
trap 'rm -f "$report"' EXIT
echo "sign-in: ${passed:-0} passed, ${failed:-1} failed"
[ "$code" = 0 ] && [ "${passed:-0}" != 0 ]
