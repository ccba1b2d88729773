#!/usr/bin/env bash
# Pages of all kinds that come and go at random, against a server that is restarted, replaced and
# killed: what each of them gets is complete and in order, or it is told of a gap.
#   run.sh [--all] [PROGRAM]      with a path: that server is used, nothing is built
#   WEBSOCK_SEEDS=7-9 chooses the seeds.
# Last line: N passed, N failed. Exit: 0 if none failed, else 1.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/serve.sh

trap 'echo "replay: could not be run, 0 passed, 1 failed"' EXIT
seeds=0-9
if [ "${1:-}" = --all ]; then seeds=0-39; shift; fi
if [ $# = 0 ]; then
    cargo build --locked --quiet --bin websock
    set -- "$(target_directory)/debug/websock"
fi
code=0
python3 tests/replay/model.py "$(realpath "$1")" "${WEBSOCK_SEEDS:-$seeds}" </dev/null || code=$?
trap - EXIT
exit "$code"
