#!/usr/bin/env bash
# packaging/openapi.yaml against the running server: schemathesis makes requests of all kinds from
# it, and every answer has to be one that it describes. hooks.py sees to it that a page and a full
# queue are among the receivers.
#   run.sh [PROGRAM]      with a path: that server is used, nothing is built
# Last lines: those of schemathesis, and N passed, N failed. Exit: 0 if none failed, else 1.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/serve.sh

work=$(mktemp -d)
trap 'stop || true; rm -rf "$work"; echo "push: could not be run, 0 passed, 1 failed"' EXIT
cache=${WEBSOCK_TEST_CACHE:-$HOME/.cache/websock-tests}/schemathesis
if ! "$cache/bin/schemathesis" --version >/dev/null 2>&1; then
    python3 -m venv --clear "$cache"
    "$cache/bin/pip" install --quiet --disable-pip-version-check schemathesis==4.32.5
fi
if [ $# = 0 ]; then
    cargo build --locked --quiet --bin websock
    set -- "$(target_directory)/debug/websock"
fi
# Nobody is pinged: the script that does not read would be closed for not answering.
export WEBSOCK_AUTH_KEY='a secret of thirty-two bytes or more'
printf '%s\n' adress=ws://127.0.0.1:0 console=true maxQueue=64K pingInterval=0 \
    "authKey=$WEBSOCK_AUTH_KEY" >"$work/websock.ini"
serve "$work/console" "$(realpath "$1")" -i "$work/websock.ini"
# 503 is an answer that is described; 500 is none.
printf '%s\n' '[checks.not_a_server_error]' 'expected-statuses = ["2xx", "4xx", 503]' \
    >"$work/schemathesis.toml"

code=0
export WEBSOCK_ADDRESS=${server_url#ws://} WEBSOCK_SEEN="$work/seen"
export SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$PWD/tests/push PYTHONDONTWRITEBYTECODE=1
(cd "$work" && "$cache/bin/schemathesis" --no-color run "$OLDPWD/packaging/openapi.yaml" \
    --url "http://${server_url#ws://}" --max-examples 300 --seed 1 --checks all \
    --exclude-path /sse) </dev/null || code=$?
stop || code=1
# Without this, the answers that depend on a receiver may never have been compared.
for answer in 'page 200' 'full 503' 'user 200'; do
    count=$(grep -c "^$answer " "$work/seen" || true)
    echo "answers '$answer': $count"
    [ "$count" -ge 5 ] || code=1
done
trap 'rm -rf "$work"' EXIT
if [ "$code" = 0 ]; then echo "push: 1 passed, 0 failed"; else echo "push: 0 passed, 1 failed"; fi
exit "$code"
