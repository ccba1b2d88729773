#!/usr/bin/env bash
# packaging/openapi.yaml against the running server: schemathesis makes requests of all kinds from
# it, and every answer has to be one that it describes.
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
cargo build --locked --quiet --bin websock
printf '%s\n' adress=ws://127.0.0.1:0 console=true >"$work/websock.ini"
serve "$work/console" "$(target_directory)/debug/websock" -i "$work/websock.ini"

code=0
(cd "$work" && "$cache/bin/schemathesis" --no-color run "$OLDPWD/packaging/openapi.yaml" \
    --url "http://${server_url#ws://}" --max-examples 300 --seed 1 --checks all) </dev/null || code=$?
stop || code=1
trap 'rm -rf "$work"' EXIT
if [ "$code" = 0 ]; then echo "push: 1 passed, 0 failed"; else echo "push: 0 passed, 1 failed"; fi
exit "$code"
