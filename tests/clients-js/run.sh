#!/usr/bin/env bash
# The JavaScript client: alone with a fake clock, against the server, and through a failing proxy.
#   run.sh [PROGRAM]      with a path: that server is used, nothing is built
# WEBSOCK_SEEDS=7,8,9 chooses the random faults. Needs npm.
# Last line: N passed, N failed. Exit: 0 if none failed, else 1.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/serve.sh
. tests/node.sh

# A suite that cannot be set up has failed; its closing line says so.
work=$(mktemp -d)
trap 'rm -rf "$work"; echo "clients-js: could not be run, 0 passed, 1 failed"' EXIT
ensure_node
if [ $# = 0 ]; then
    cargo build --locked --quiet --release --bin websock
    set -- "$(target_directory)/release/websock"
fi
WEBSOCK=$(realpath "$1")
export WEBSOCK

cd tests/clients-js
npm ci --silent --no-fund --no-audit </dev/null
code=0
timeout -k 5 600 node --test --test-reporter=spec --test-reporter-destination=stdout \
    --test-reporter=tap --test-reporter-destination="$work/tap" ./*.test.mjs </dev/null || code=$?
passed=$(sed -n 's/^# pass //p' "$work/tap")
# Skipped and cancelled tests have not passed.
total=$(sed -n 's/^# tests //p' "$work/tap")
failed=$((${total:-1} - ${passed:-0}))
if [ "$code" != 0 ] && [ "$failed" = 0 ]; then
    echo "FAILED the runner itself ended with code $code"
    failed=1
fi
trap 'rm -rf "$work"' EXIT
echo "clients-js: ${passed:-0} passed, $failed failed"
[ "$failed" = 0 ]
