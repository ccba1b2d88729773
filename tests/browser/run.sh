#!/usr/bin/env bash
# The demo page, and the client in other pages, in headless Chromium and Firefox against the server.
# Last lines: those of node's test runner, and N passed, N failed. Exit: 0 if none failed, else 1.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/serve.sh
. tests/node.sh

report=$(mktemp)
trap 'rm -f "$report"; echo "browser: could not be run, 0 passed, 1 failed"' EXIT
ensure_node
CHROMIUM=$(command -v chromium || command -v chromium-browser) || { echo "browser: no chromium" >&2; exit 1; }
cargo build --locked --quiet --bin websock
WEBSOCK=$(target_directory)/debug/websock
FIREFOX=$(command -v firefox-esr || command -v firefox) || { echo "browser: no firefox" >&2; exit 1; }
export CHROMIUM FIREFOX WEBSOCK
(cd tests/browser && npm install --silent --no-audit --no-fund --no-package-lock)

code=0
(cd tests/browser && timeout 600 node --test --test-reporter=spec --test-concurrency=1 suite.mjs client.mjs events.mjs resume.mjs) </dev/null 2>&1 | tee "$report" || code=$?
passed=$(sed -n 's/^ℹ pass //p' "$report")
failed=$(sed -n 's/^ℹ fail //p' "$report")
# A runner that broke off has failed, whatever it printed.
if [ "$code" != 0 ] && [ "${failed:-0}" = 0 ]; then failed=1; fi
trap 'rm -f "$report"' EXIT
echo "browser: ${passed:-0} passed, ${failed:-1} failed"
[ "$code" = 0 ] && [ "${passed:-0}" != 0 ]
