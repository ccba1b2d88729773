#!/usr/bin/env bash
# Runs every suite, two at a time. Needs Rust; what else is missing is installed from Debian's packages.
#   run.sh [--all]      --all: the long groups too (conformance groups 12 and 13, 5,000 pages handed over)
# What a suite prints comes when it has ended. Last: a line for each suite, and N passed, N failed,
# counting suites. Exit: 0 if none failed, else 1; usage 2.
# Tools that no package holds go to $WEBSOCK_TEST_CACHE, by default ~/.cache/websock-tests.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null
. tests/node.sh

all=()
case "$#${1:-}" in
    0) ;;
    1--all) all=(--all) ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

# Installs the packages whose commands are missing.
install_packages() {
    local missing=() apt_get=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
    command -v php >/dev/null || missing+=(php-cli)
    command -v python3 >/dev/null || missing+=(python3)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || missing+=(chromium)
    command -v firefox-esr >/dev/null || command -v firefox >/dev/null || missing+=(firefox-esr)
    command -v npm >/dev/null || missing+=(nodejs npm)
    command -v curl >/dev/null || missing+=(curl)
    command -v openssl >/dev/null || missing+=(openssl)
    command -v gcc >/dev/null || missing+=(gcc libc6-dev)
    PATH=$PATH:/usr/sbin command -v nginx >/dev/null || missing+=(nginx-light)
    PATH=$PATH:/usr/sbin command -v apache2 >/dev/null || missing+=(apache2-bin)
    PATH=$PATH:/usr/sbin command -v haproxy >/dev/null || missing+=(haproxy)
    PATH=$PATH:/usr/sbin command -v php-fpm8.2 >/dev/null || missing+=(php8.2-fpm)
    php -m 2>/dev/null | grep -q '^igbinary$' || missing+=(php-igbinary)
    command -v redis-server >/dev/null || missing+=(redis-server)
    PATH=$PATH:/usr/sbin:/sbin command -v ip >/dev/null || missing+=(iproute2)
    php -r 'exit(extension_loaded("redis") ? 0 : 1);' 2>/dev/null || missing+=(php-redis)
    compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || missing+=(libfaketime)
    command -v certutil >/dev/null || missing+=(libnss3-tools)
    command -v caddy >/dev/null || missing+=(caddy)
    command -v promtool >/dev/null || missing+=(prometheus)
    command -v fail2ban-regex >/dev/null || missing+=(fail2ban)
    # php: without it, WordPress would bring PHP as a module of Apache.
    compgen -G '/usr/sbin/php-fpm*' >/dev/null || missing+=(php php-fpm)
    PATH=$PATH:/usr/sbin command -v mariadbd >/dev/null || missing+=(mariadb-server-core)
    [ -f /usr/share/wordpress/wp-login.php ] || missing+=(php wordpress)
    php -r 'exit(extension_loaded("mysqli") ? 0 : 1);' 2>/dev/null || missing+=(php-mysql)
    php -r 'exit(extension_loaded("pdo_sqlite") ? 0 : 1);' 2>/dev/null || missing+=(php-sqlite3)
    [ -d /usr/share/php/Illuminate/Foundation ] || missing+=(php-laravel-framework)
    [ -d /usr/share/php/Symfony/Bundle/FrameworkBundle ] || missing+=(php-symfony-framework-bundle)
    [ -d /usr/share/php/Symfony/Bundle/SecurityBundle ] || missing+=(php-symfony-security-bundle)
    [ -d /usr/share/php/Symfony/Component/Yaml ] || missing+=(php-symfony-yaml)
    command -v systemd-analyze >/dev/null || missing+=(systemd)
    command -v systemd-nspawn >/dev/null || missing+=(systemd-container)
    command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
    command -v shellcheck >/dev/null || missing+=(shellcheck)
    command -v mandoc >/dev/null || missing+=(mandoc)
    command -v zsh >/dev/null || missing+=(zsh)
    command -v fish >/dev/null || missing+=(fish)
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "installing: ${missing[*]}"
    [ "$(id -u)" = 0 ] || apt_get=(sudo -n "${apt_get[@]}")
    "${apt_get[@]}" update && without_services "${apt_get[@]}" install -y --no-install-recommends "${missing[@]}"
}

# without_services COMMAND...: packages that it installs do not start their servers; the suites start
# those that they need, with settings of their own.
without_services() {
    local policy=/usr/sbin/policy-rc.d as_root=() code=0
    [ "$(id -u)" = 0 ] || as_root=(sudo -n)
    [ ! -e "$policy" ] || { "$@"; return; }
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    "$@" || code=$?
    "${as_root[@]}" rm -f "$policy"
    return "$code"
}

# What the suites run, built once: each finds it there. The last build is the one that the Rust tests
# want in target/debug.
build() {
    cargo build --locked --release --example echo &&
        packaging/build.sh static &&
        cargo build --locked --release --bin websock &&
        cargo build --locked --bin websock &&
        cargo test --locked --no-run &&
        echo "built"
}

# The Rust tests that take longest; the rest are all the others.
long_tests=(hostile hostile_tls simulated)

long_rust_tests() {
    cargo_test "${long_tests[@]/#/--test=}"
}

rust_tests() {
    local others=() name
    for name in tests/*/main.rs; do
        name=${name#tests/} name=${name%/main.rs}
        [[ " ${long_tests[*]} " = *" $name "* ]] || others+=("--test=$name")
    done
    cargo_test --lib --bins "${others[@]}" -- --doc
}

# The server is replaced under 5,000 pages.
long_takeover() {
    cargo test --locked --test takeover -- --ignored --nocapture 2>&1 | grep -v '^$'
}

# cargo_test ARGUMENTS... [-- ARGUMENTS...]: cargo's own closing lines, one for each test binary, added
# up. What stands behind -- is for a second run.
cargo_test() {
    local report runs=1 code=0
    report=$(mktemp "$work/cargo.XXXXXX")
    local first=() second=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do first+=("$1") && shift; done
    [ $# = 0 ] || { shift && second=("$@") && runs=2; }
    cargo test --locked --no-fail-fast "${first[@]}" 2>&1 | tee "$report" || code=$?
    if [ "$runs" = 2 ]; then
        cargo test --locked --no-fail-fast "${second[@]}" 2>&1 | tee -a "$report" || code=$?
    fi
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
# Each suite is a group of processes, which goes as a whole if this one is ended.
declare -A names=() outputs=() starts=()
end_all() {
    for pid in "${!names[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap end_all EXIT
passed=0 failed=0
: >"$work/closing"

# start NAME COMMAND...: begins a suite.
start() {
    local name=$1 output
    shift
    output=$(mktemp "$work/output.XXXXXX")
    echo "-- begins: $name"
    set -m
    ("$@") >"$output" 2>&1 &
    set +m
    names[$!]=$name outputs[$!]=$output starts[$!]=$SECONDS
}

# Waits for one suite, shows what it has printed and keeps its closing line.
finish() {
    local pid='' code=0 verdict=passed
    wait -n -p pid "${!names[@]}" || code=$?
    if [ "$code" = 0 ]; then passed=$((passed + 1)); else verdict=FAILED failed=$((failed + 1)); fi
    printf '\n== %s: %s after %d s\n' "${names[$pid]}" "$verdict" $((SECONDS - starts[$pid]))
    cat "${outputs[$pid]}"
    printf '%s  %s: %s\n' "$verdict" "${names[$pid]}" "$(sed -n '$p' "${outputs[$pid]}")" >>"$work/closing"
    unset "names[$pid]"
}

# suite NAME COMMAND...: runs a suite beside at most one other.
suite() {
    while [ ${#names[@]} -ge 2 ]; do finish; done
    start "$@"
}

# alone NAME COMMAND...: runs it beside none, as what it shows hangs on who gets the processor.
alone() {
    while [ ${#names[@]} -gt 0 ]; do finish; done
    start "$@"
    finish
}

# Cargo keeps its two builds of target/debug/websock, with and without what only tests need, in one
# place: whoever builds the other one waits until the Rust tests have ended.
await_rust_tests() {
    while [[ "${names[*]}" = *'Rust tests'* ]]; do finish; done
}

if ! install_packages || ! ensure_node; then
    echo "FAILED  what the suites need could not be installed" | tee -a "$work/closing"
    failed=1
fi
alone 'build' build
# The longest first.
suite 'conformance' tests/conformance/run.sh "${all[@]}"
suite 'Rust tests that take long' long_rust_tests
suite 'Rust tests' rust_tests
suite 'proxies' tests/proxies/run.sh --all
suite 'TLS peers' tests/tls-peers/run.sh
suite 'PHP library' tests/clients-php/run.sh
suite 'JavaScript client' tests/clients-js/run.sh
suite 'packaging' tests/packaging/run.sh "${all[@]}"
suite 'PHP sessions' tests/sessions/run.sh
await_rust_tests
suite 'push API' tests/push/run.sh
suite 'upstream' tests/upstream/run.sh
suite 'nothing lost while away' tests/replay/run.sh "${all[@]}"
suite 'several servers' tests/backplane/run.sh "${all[@]}"
suite 'browser' tests/browser/run.sh
suite 'monitoring' tests/monitoring/run.sh
suite 'sign-in with real shops' tests/sign-in/run.sh
[ ${#all[@]} = 0 ] || alone 'hand-over at length' long_takeover
alone 'PHP clients' tests/php/run.sh

printf '\n'
cat "$work/closing"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
