#!/bin/sh
# Builds what is installed, in target/packaging.
#   build.sh files [DIR]  man pages and completions, the service's ini file and the like
#   build.sh static       target/packaging/websock: one file without any library, for any Linux
#   build.sh deb [OPTIONS of cargo-deb]
#                         the Debian package, with cargo-deb (cargo install cargo-deb --locked)
# Each of them first builds the program, unless WEBSOCK names it already built; deb then wants it in
# cargo's own target/release.
set -eu
cd "$(dirname "$0")/.."
# The commit that the log, /metrics and /status name; a source without git names none.
if [ -z "${WEBSOCK_COMMIT:-}" ] && commit=$(git rev-parse --short HEAD 2>/dev/null); then
    export WEBSOCK_COMMIT="$commit"
fi
out=target/packaging
mkdir -p "$out"

# Where cargo puts the program, whatever its settings say.
built() {
    directory=$(cargo metadata --locked --no-deps --format-version 1 |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    echo "$directory/release/websock"
}

program() {
    if [ -z "${WEBSOCK:-}" ]; then
        cargo build --locked --release --bin websock
        WEBSOCK=$(built)
    fi
}

# fill TEMPLATE MARK FILE: the template with the file in place of the line with the mark.
fill() {
    sed -e "/^@$2@\$/{" -e "r $3" -e d -e '}' -e "s/@VERSION@/$version/" -e "s/@DATE@/$day/" "$1"
}

files() {
    program
    to=${1:-$out}
    mkdir -p "$to"
    version=$("$WEBSOCK" --version | cut -d ' ' -f 2)
    # The date of the version, so that what is built twice is the same.
    seconds=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
    day=$(date -u -d "@$seconds" +%Y-%m-%d)
    "$WEBSOCK" --help | awk -f packaging/man/options.awk >"$to/options"
    fill packaging/man/websock.1.in OPTIONS "$to/options" >"$to/websock.1"
    awk -f packaging/man/ini.awk websock.ini >"$to/keys"
    fill packaging/man/websock.ini.5.in KEYS "$to/keys" >"$to/websock.ini.5"
    rm "$to/options" "$to/keys"
    # A service shows no demo page.
    sed 's/^demo=true$/demo=false/' websock.ini >"$to/websock.ini"
    grep -q '^demo=false$' "$to/websock.ini"
    cat >"$to/changelog" <<END
websock ($version) unstable; urgency=medium

  * CHANGELOG.md in the documentation says what is new.

 -- $(sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)  $(date -u -R -d "@$seconds")
END
}

case "${1:-}" in
    files) files "${2:-}" ;;
    static)
        # Without symbols, as cargo-deb has it, too.
        cargo rustc --locked --release --bin websock -- -C target-feature=+crt-static \
            -C strip=symbols
        cp "$(built)" "$out/websock"
        ;;
    deb)
        shift
        files
        cargo deb --locked --no-build --output "$out/" "$@"
        ;;
    *)
        sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac
