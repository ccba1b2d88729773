#!/usr/bin/env bash
# Sessions of a real PHP. Needs Rust, php, php-fpm8.2, the extension igbinary and nginx.
#   run.sh
# Last line: N passed, N failed. Exit: 0 if none failed, else 1.
set -euo pipefail
cd "$(dirname "$0")/../.."

report=$(mktemp)
trap 'rm -f "$report"' EXIT
PATH=$PATH:/usr/sbin:/sbin
for name in php php-fpm8.2 nginx; do
    if ! command -v "$name" >/dev/null; then
        echo "sessions: $name is needed"
        echo "0 passed, 1 failed"
        exit 1
    fi
done
code=0
cargo test --locked --test sessions_php 2>&1 | tee "$report" || code=$?
awk -v code="$code" '
    /^test result: / { passed += $4; failed += $6; binaries++ }
    END {
        if (!binaries || (code != 0 && !failed)) failed++   # it does not compile, or has died
        printf "%d passed, %d failed\n", passed, failed
        exit failed > 0
    }' "$report"
