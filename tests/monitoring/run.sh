#!/usr/bin/env bash
# The figures in a real Prometheus, the rules and the dashboard, the status page in headless Chromium, and
# the log under the filter for fail2ban.
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
need fail2ban-regex >/dev/null
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
step 'fail2ban-regex finds whom it should in what a server has logged' \
    timeout 300 python3 tests/monitoring/fail2ban.py "$WEBSOCK"
jail() {
    cp -r /etc/fail2ban "$work/fail2ban" &&
        cp packaging/fail2ban/websock.conf "$work/fail2ban/filter.d/" &&
        cp packaging/fail2ban/websock.jail "$work/fail2ban/jail.d/websock.conf" &&
        fail2ban-client -c "$work/fail2ban" -d >"$work/jail" &&
        grep -F "['add', 'websock', 'systemd']" "$work/jail" && grep -F "['start', 'websock']" "$work/jail"
}
step 'fail2ban takes the jail' jail

code=0
(cd tests/monitoring && timeout 300 node --test --test-reporter=spec --test-concurrency=2 prometheus.mjs status.mjs) </dev/null 2>&1 | tee "$work/report" || code=$?
passed=$((passed + $(sed -n 's/^ℹ pass //p' "$work/report" | grep . || echo 0)))
node_failed=$(sed -n 's/^ℹ fail //p' "$work/report")
# A runner that broke off has failed, whatever it printed.
if [ "$code" != 0 ] && [ "${node_failed:-0}" = 0 ]; then node_failed=1; fi
failed=$((failed + ${node_failed:-1}))
trap 'rm -rf "$work"' EXIT
echo "monitoring: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 10 ]
