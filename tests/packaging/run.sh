#!/usr/bin/env bash
# The packages, on a clean Debian: unit files, deb, static program, container, completions, man pages,
# and the commands of docs/deployment.md. Needs root (or sudo), as it boots systemd in a container.
#   run.sh [--all]   --all: also the static program on a Debian of another C library
# Last line: N passed, N failed. Exit: 0 if none failed, else 1.
# The clean Debian and cargo-deb are kept in $WEBSOCK_TEST_CACHE, by default ~/.cache/websock-tests.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/serve.sh
PATH=$PATH:/usr/sbin:/sbin
[ "$(id -u)" = 0 ] || exec sudo -n --preserve-env=PATH,HOME,WEBSOCK_TEST_CACHE "$0" "$@"

work=$(mktemp -d)
chmod 755 "$work"
. tests/packaging/machine.sh
# A suite that cannot be set up has failed; its closing line says so.
broken='packaging: could not be run, 0 passed, 1 failed'
trap 'machine_off; stop || true; rm -rf --one-file-system "$work"; echo "$broken"' EXIT
for tool in mmdebstrap systemd-nspawn systemd-analyze shellcheck mandoc zsh fish python3 curl; do
    command -v "$tool" >/dev/null || { echo "packaging: $tool is needed" >&2; exit 1; }
done
cache=${WEBSOCK_TEST_CACHE:-$HOME/.cache/websock-tests}/packaging
mkdir -p "$cache"

# ---- what is said of each check

report=$work/report
: >"$report"
say() { echo "$*" | tee -a "$report"; }

# check NAME COMMAND...: the command succeeds. What it prints is shown if it does not.
check() {
    local name=$1
    shift
    if "$@" >"$work/said" 2>&1 </dev/null; then
        say "ok $name"
    else
        say "FAILED $name"
        sed 's/^/    /' "$work/said" | tail -n 40
    fi
}

# ---- what is built: the deb twice, as two versions, and the static program

PATH=$cache/cargo-deb/bin:$PATH
cargo_deb=3.8.0
if [ "$(cargo-deb --version 2>/dev/null)" != "cargo-deb $cargo_deb" ]; then
    echo "building cargo-deb $cargo_deb"
    # Quick to build rather than quick.
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=0 \
        cargo install --quiet --locked --no-default-features --root "$cache/cargo-deb" "cargo-deb@$cargo_deb"
fi
cargo build --locked --quiet --release --bin websock
websock=$(target_directory)/release/websock
# tests/run.sh has it built before any suite runs.
static=target/packaging/websock
if [ ! -x $static ] || [ -n "$(find src Cargo.toml Cargo.lock -newer $static -print -quit)" ]; then
    packaging/build.sh static
    cargo build --locked --quiet --release --bin websock
fi
WEBSOCK=$websock packaging/build.sh files "$work/files"
build_deb() { # REVISION
    WEBSOCK=$websock packaging/build.sh deb --fast --deb-revision "$1"
}
rm -f target/packaging/*.deb
mkdir "$work/debs"
check 'cargo-deb builds the package' build_deb 1
check 'cargo-deb builds the next version' build_deb 2
mv target/packaging/*.deb "$work/debs/"
version=$("$websock" --version | cut -d ' ' -f 2)
architecture=$(dpkg --print-architecture)
# shellcheck disable=SC2034  # in debian.sh
first=websock_$version-1_$architecture.deb
# shellcheck disable=SC2034
second=websock_$version-2_$architecture.deb

# ---- files, without any machine

check 'shellcheck: maintainer scripts, build.sh and this suite' \
    shellcheck --external-sources packaging/deb/* packaging/build.sh packaging/completions/websock.bash tests/packaging/*.sh
check 'mandoc finds nothing wrong in the man pages' \
    mandoc -Tlint -Wwarning "$work/files/websock.1" "$work/files/websock.ini.5"
for shell in bash zsh fish; do
    check "$shell completes options, commands and values" timeout 120 tests/packaging/completions.sh "$shell" packaging/completions
done

# exposure [DROP_IN]: at most 1.5, as systemd-analyze counts it. What a drop-in says holds after the
# unit, so it can stand behind it.
exposure() {
    cat packaging/systemd/websock.service ${1:+"packaging/systemd/$1"} >"$work/websock.service"
    systemd-analyze security --no-pager --offline=true --threshold=15 "$work/websock.service"
}
too_exposed() { ! systemd-analyze security --no-pager --offline=true --threshold=15 "$1"; }
sed '/^SystemCallFilter/d; /^Protect/d' packaging/systemd/websock.service >"$work/bare.service"
check 'exposure of websock.service is at most 1.5' exposure
check 'exposure with session-files.conf is at most 1.5' exposure session-files.conf
check 'exposure with low-ports.conf is at most 1.5' exposure low-ports.conf
check 'a unit with half of it would be told' too_exposed "$work/bare.service"

# ---- what systemd does, by stand-ins: these need no rights

check 'the service manager is told of start, watchdog, reload and stop' \
    python3 tests/packaging/manager.py "$websock" websock.ini
port=$(python3 tests/free_port.py)
systemd-socket-activate --listen="127.0.0.1:$port" "$websock" -i websock.ini -adress "ws://127.0.0.1:$port" \
    </dev/null >"$work/activate.log" 2>&1 &
# What serve would have set: stop ends it.
server_pid=$!
check 'a socket that is passed is used' curl -sf --retry 20 --retry-connrefused --retry-delay 1 \
    "http://127.0.0.1:$port/health"
stop || say 'FAILED the activated server ends with 0 on SIGTERM'

# ---- the static program where nothing else is, and the container

. tests/packaging/scratch.sh

# ---- a clean Debian, first as it is, then booted

. tests/packaging/debian.sh

# ---- the verdict

passed=$(grep -c '^ok ' "$report" || true)
failed=$(grep -c '^FAILED ' "$report" || true)
grep '^FAILED ' "$report" || true
trap 'machine_off; rm -rf --one-file-system "$work"' EXIT
echo "packaging: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 20 ]
