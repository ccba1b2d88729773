#!/usr/bin/env bash
# The figures in a real Prometheus, the rules and the dashboard, and the status page in headless Chromium.
# Last lines: those of node's test runner, and N passed, N failed. Exit: 0 if none failed, else 1.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/serve.sh
. tests/node.sh

work=$(mktemp -d)
trap 'rm -rf "$work"; echo "monitoring: could not be run, 0 passed, 1 failed"' EXIT
ensure_node
need() { command -v "$1" || { echo "monitoring: no $1" >&2; exit 1; }; }
CHROMIUM=$(command -v chromium || need chromium-browser)
PROMETHEUS=$(need prometheus)
PROMTOOL=$(need promtool)
cargo build --locked --quiet --bin websock
WEBSOCK=$(target_directory)/debug/websock
export CHROMIUM PROMETHEUS PROMTOOL WEBSOCK
(cd tests/monitoring && npm install --silent --no-audit --no-fund --no-package-lock)

passed=0 failed=0
# step WHAT COMMAND...: one that has to succeed.
step() {
    local what=$1
    shift
    if "$@" </dev/null >"$work/output" 2>&1; then
        passed=$((passed + 1)) && echo "ok: $what"
    else
        failed=$((failed + 1)) && echo "FAILED: $what" && cat "$work/output"
    fi
}
step 'promtool check rules' promtool check rules packaging/monitoring/websock.rules.yml
cp packaging/monitoring/websock.rules.yml tests/monitoring/rules.test.yml "$work"
step 'promtool test rules' promtool test rules "$work/rules.test.yml"

code=0
(cd tests/monitoring && timeout 300 node --test --test-reporter=spec --test-concurrency=1 prometheus.mjs status.mjs) </dev/null 2>&1 | tee "$work/report" || code=$?
passed=$((passed + $(sed -n 's/^ℹ pass //p' "$work/report" | grep . || echo 0)))
node_failed=$(sed -n 's/^ℹ fail //p' "$work/report")
# A runner that broke off has failed, whatever it printed.
if [ "$code" != 0 ] && [ "${node_failed:-0}" = 0 ]; then node_failed=1; fi
failed=$((failed + ${node_failed:-1}))
trap 'rm -rf "$work"' EXIT
echo "monitoring: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 10 ]
