#!/usr/bin/env bash
# Runs every suite. Needs Rust; what else is missing is installed from Debian's packages.
#   run.sh [--all]      --all: the long groups too (conformance groups 12 and 13)
# Last line: N passed, N failed, counting suites. Exit: 0 if none failed, else 1; usage 2.
# Tools that no package holds go to $WEBSOCK_TEST_CACHE, by default ~/.cache/websock-tests.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null

all=()
case "$#${1:-}" in
    0) ;;
    1--all) all=(--all) ;;
    *) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

# Installs the packages whose commands are missing.
install_packages() {
    local missing=() apt_get=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
    command -v php >/dev/null || missing+=(php-cli)
    command -v python3 >/dev/null || missing+=(python3)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || missing+=(chromium)
    command -v npm >/dev/null || missing+=(nodejs npm)
    command -v curl >/dev/null || missing+=(curl)
    command -v openssl >/dev/null || missing+=(openssl)
    command -v gcc >/dev/null || missing+=(gcc libc6-dev)
    PATH=$PATH:/usr/sbin command -v nginx >/dev/null || missing+=(nginx-light)
    PATH=$PATH:/usr/sbin command -v apache2 >/dev/null || missing+=(apache2-bin)
    PATH=$PATH:/usr/sbin command -v haproxy >/dev/null || missing+=(haproxy)
    command -v certutil >/dev/null || missing+=(libnss3-tools)
    command -v caddy >/dev/null || missing+=(caddy)
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "installing: ${missing[*]}"
    [ "$(id -u)" = 0 ] || apt_get=(sudo -n "${apt_get[@]}")
    "${apt_get[@]}" update && "${apt_get[@]}" install -y --no-install-recommends "${missing[@]}"
}

# cargo's own closing lines, one for each test binary, added up.
rust_tests() {
    local report=$work/cargo code=0
    cargo test --locked --no-fail-fast 2>&1 | tee "$report" || code=$?
    awk -v code="$code" '
        /^test result: / { passed += $4; failed += $6; ignored += $8; binaries++ }
        END {
            if (!binaries || (code != 0 && !failed)) failed++   # it does not compile, or one has died
            printf "cargo test: %d passed, %d failed", passed, failed
            if (ignored) printf ", %d ignored", ignored
            print ""
            exit failed > 0
        }' "$report"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
: >"$work/closing"

# suite NAME COMMAND...: runs one suite and keeps its closing line.
suite() {
    local name=$1 verdict=passed
    shift
    printf '\n== %s\n' "$name"
    if "$@" 2>&1 | tee "$work/output"; then passed=$((passed + 1)); else verdict=FAILED failed=$((failed + 1)); fi
    printf '%s  %s: %s\n' "$verdict" "$name" "$(sed -n '$p' "$work/output")" >>"$work/closing"
}

if ! install_packages; then
    echo "FAILED  what the suites need could not be installed" | tee -a "$work/closing"
    failed=1
fi
suite 'Rust tests' rust_tests
suite 'PHP clients' tests/php/run.sh
suite 'PHP library' tests/clients-php/run.sh
suite 'JavaScript client' tests/clients-js/run.sh
suite 'push API' tests/push/run.sh
suite 'browser' tests/browser/run.sh
suite 'proxies' tests/proxies/run.sh --all
suite 'TLS peers' tests/tls-peers/run.sh
suite 'conformance' tests/conformance/run.sh "${all[@]}"

printf '\n'
cat "$work/closing"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
