#!/usr/bin/env bash
# Installs the Autobahn|Testsuite, which is Python 2.7 code, from package registries.
#   setup.sh DIR      prints the command's path, DIR/bin/wstest; does nothing if it is there
# Interpreter: $PY27, else a python2.7 that pyenv has, else the packages of Debian bullseye,
# unpacked under DIR without touching the system (SETUP_APT=1 forces these).
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
wstest=$dir/bin/wstest
exec 9>"$dir/lock"
flock 9
if [ -x "$wstest" ] && "$wstest" --help >/dev/null 2>&1; then echo "$wstest"; exit; fi
echo "conformance: installing the Autobahn testsuite into $dir" >&2
rm -rf "$dir"/{apt,tool,env,bin}

# The first Debian mirror of this machine's apt sources.
mirror() {
    { cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.list 2>/dev/null || true; } |
        sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' | sed -n '/debian\/*$/{p;q}'
}

# Fetches bullseye's Python 2.7 from the mirror $1 into $dir/apt/root. The index may be an archive's,
# whose date of validity has passed; the signature is checked all the same.
unpack_python() {
    local apt=$dir/apt options
    rm -rf "$apt"
    mkdir -p "$apt"/{state/lists/partial,cache/archives/partial,deb,root}
    : >"$apt/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $1 bullseye main" >"$apt/sources.list"
    options=(-qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State="$apt/state"
        -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" -o APT::Sandbox::User="$(id -un)"
        -o Acquire::Check-Valid-Until=false -o APT::Update::Error-Mode=any)
    apt-get "${options[@]}" update >&2 &&
        (cd "$apt/deb" && apt-get "${options[@]}" download python2.7-minimal libpython2.7-minimal \
            libpython2.7-stdlib libpython2.7-dev python2.7-dev libssl1.1 libffi7 >&2) || return 1
    for deb in "$apt"/deb/*.deb; do dpkg -x "$deb" "$apt/root"; done
}

python=${PY27:-}
if [ -z "$python" ] && [ -z "${SETUP_APT:-}" ]; then
    for candidate in "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/2.7.*/bin/python2.7; do
        if [ -x "$candidate" ]; then python=$candidate; fi
    done
fi
if [ -z "$python" ]; then
    first=$(mirror)
    unpack_python "${first:-http://deb.debian.org/debian}" || unpack_python http://archive.debian.org/debian
    usr=$dir/apt/root/usr triplet=$(gcc -print-multiarch)
    export LD_LIBRARY_PATH=$usr/lib/$triplet
    export C_INCLUDE_PATH=$usr/include/python2.7:$usr/include
    python=$usr/bin/python2.7
fi
"$python" -c 'import sys, ssl, zlib; assert sys.version_info[:2] == (2, 7)'

{
    python3 -m venv "$dir/tool"
    # The last line of virtualenv that still makes 2.7 environments.
    "$dir/tool/bin/pip" -q install 'virtualenv==20.21.1'
    "$dir/tool/bin/virtualenv" -q -p "$python" "$dir/env"
    "$dir/env/bin/python" -W ignore -m pip -q --no-python-version-warning install 'autobahntestsuite==25.10.1'
} >&2
mkdir -p "$dir/bin"
{
    echo '#!/bin/sh'
    if [ -n "${LD_LIBRARY_PATH:-}" ]; then echo "LD_LIBRARY_PATH='$LD_LIBRARY_PATH' export LD_LIBRARY_PATH"; fi
    echo "exec '$dir/env/bin/python' '$dir/env/bin/wstest' \"\$@\""
} >"$dir/wstest.new"
chmod +x "$dir/wstest.new"
"$dir/wstest.new" --help >/dev/null
mv "$dir/wstest.new" "$wstest"
echo "$wstest"
