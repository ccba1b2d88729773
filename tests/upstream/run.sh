#!/usr/bin/env bash
# The server as a client of a real nginx and a real Redis. Needs Rust, nginx and redis-server.
#   run.sh
# Last line: N passed, N failed. Exit: 0 if none failed, else 1.
set -euo pipefail
cd "$(dirname "$0")/../.."

report=$(mktemp)
trap 'rm -f "$report"' EXIT
for command in nginx redis-server; do
    if ! PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null; then
        echo "upstream: $command is needed"
        echo "0 passed, 1 failed"
        exit 1
    fi
done
code=0
cargo test --locked --no-fail-fast --test upstream_nginx --test upstream_redis 2>&1 | tee "$report" || code=$?
awk -v code="$code" '
    /^test result: / { passed += $4; failed += $6; binaries++ }
    END {
        if (binaries < 2 || (code != 0 && !failed)) failed++   # it does not compile, or has died
        printf "%d passed, %d failed\n", passed, failed
        exit failed > 0
    }' "$report"
