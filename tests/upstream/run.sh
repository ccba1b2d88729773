#!/usr/bin/env bash
# The server as a client of a real nginx. Needs Rust and nginx.
#   run.sh
# Last line: N passed, N failed. Exit: 0 if none failed, else 1.
set -euo pipefail
cd "$(dirname "$0")/../.."

report=$(mktemp)
trap 'rm -f "$report"' EXIT
if ! PATH=$PATH:/usr/sbin:/sbin command -v nginx >/dev/null; then
    echo "upstream: nginx is needed"
    echo "0 passed, 1 failed"
    exit 1
fi
code=0
cargo test --locked --test upstream_nginx 2>&1 | tee "$report" || code=$?
awk -v code="$code" '
    /^test result: / { passed += $4; failed += $6; binaries++ }
    END {
        if (!binaries || (code != 0 && !failed)) failed++   # it does not compile, or has died
        printf "%d passed, %d failed\n", passed, failed
        exit failed > 0
    }' "$report"
