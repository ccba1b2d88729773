#!/usr/bin/env bash
# Runs Autobahn's fuzzingclient against examples/echo.rs, judges every verdict, and compares them
# with the stored ones, verdicts.tsv (case, behavior, behaviorClose).
#   run.sh [--all] [--context] [--update] [ws://HOST:PORT]
#     --all       groups 12 and 13 (compression) too
#     --context   the server keeps its compression context, where the client lets it
#     --update    write what was seen to verdicts.tsv; verdicts that are not good still fail
#     ws://...    judge this server, nothing is built or started
# The case reports are left in target/conformance/, index.html first.
# Exit: 0 every case has run, is OK or INFORMATIONAL and is as stored; else 1; usage 2.
set -euo pipefail

cd "$(dirname "$0")/../.."
. tests/serve.sh
cases='1.*,2.*,3.*,4.*,5.*,6.*,7.*,9.*,10.*' limit=300 compression=compressed update='' server_url=''
for argument; do
    case $argument in
        --all) cases+=',12.*,13.*' limit=2100 ;;
        --context) compression=context ;;
        --update) update=--update ;;
        ws://*) server_url=$argument ;;
        *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done

# A suite that cannot be set up has failed; its closing line says so.
trap 'stop || true; echo "conformance: could not be run, 0 passed, 1 failed"' EXIT
cache=${WEBSOCK_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/websock-tests}
wstest=$(tests/conformance/setup.sh "$cache/autobahn-25.10.1")
target=$(target_directory)
out=$target/conformance
rm -rf "$out"
mkdir -p "$out"
if [ -z "$server_url" ]; then
    cargo build --locked --quiet --release --example echo
    serve "$out/server.log" "$target/release/examples/echo" 127.0.0.1:0 "$compression"
fi

python3 tests/conformance/judge.py spec "$out" "$server_url" "$cases" >"$out/spec.json"
code=0
PYTHONUNBUFFERED=1 timeout -k 5 "$limit" "$wstest" -m fuzzingclient -s "$out/spec.json" \
    </dev/null >"$out/log" 2>&1 || code=$?
[ "$code" != 124 ] || echo "conformance: stopped at the limit of $limit s"

trap 'stop || true' EXIT
python3 tests/conformance/judge.py verdicts "$out" "$code" tests/conformance/verdicts.tsv $update
