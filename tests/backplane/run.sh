#!/usr/bin/env bash
# Several servers as one, by a Redis between them: what docs/protocol.md §11 promises, with real parts.
# First the suite's own cases (rows, faults under load, HAProxy in front), then the whole server suite
# with a backplane set. Needs Rust, python3, redis-server, haproxy, openssl, iproute2 and libfaketime.
#   run.sh [--all] [NAME...]      NAME: one class or case alone, such as faults.OfRedis
# Last line: N passed, N failed. Exit: 0 if none failed, else 1.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/serve.sh
# Debian keeps daemons where a user's PATH does not look.
PATH=$PATH:/usr/sbin:/sbin

work=$(mktemp -d)
redis=
# shellcheck disable=SC2329 # called by trap
end() {
    [ -z "$redis" ] || kill "$redis" 2>/dev/null || true
    rm -rf "$work"
}
trap 'end; echo "backplane: could not be run, 0 passed, 1 failed"' EXIT
for tool in redis-server haproxy openssl python3 ip; do
    command -v "$tool" >/dev/null || { echo "backplane: $tool is needed" >&2; exit 1; }
done
compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || { echo "backplane: libfaketime is needed" >&2; exit 1; }
# Before the tests: they are built with the server that they start.
cargo test --locked --quiet --no-run --test server
cargo build --locked --quiet --bin websock --example echo
WEBSOCK=$(target_directory)/debug/websock
export WEBSOCK

code=0
timeout 1800 python3 -W ignore tests/backplane/run.py "$@" 2>&1 | tee "$work/cases" || code=$?
passed=$(sed -n '$s/^\([0-9]*\) passed, [0-9]* failed$/\1/p' "$work/cases")
failed=$(sed -n '$s/^[0-9]* passed, \([0-9]*\) failed$/\1/p' "$work/cases")
passed=${passed:-0} failed=${failed:-1}

# Cases of tests/server that say something else with a backplane, and why.
left_out=(
    # The one receiver of an ident is asked for at all nodes first: a broadcast is faster (docs/several-machines.md).
    dialogue::broadcasts_and_feedbacks_of_one_sender_keep_their_order
    # It lists all lines of the log.
    log_lines::connections_are_not_told_if_they_are_not_to_be
    # They have a Redis of their own, which they script.
    backplane::
    backplane_moves::
    dial::check_warns_of_a_redis_that_is_away_and_fails_for_one_that_refuses
    # It says something of the Redis, too.
    dial::check_tells_what_the_machine_does_not_allow
    # The backplane counts, too.
    monitoring::deliveries_count_queues_and_pushes_their_responses
    monitoring::messages_and_frames_are_counted_however_they_come
    # What other nodes have said to a user who was not here is a gap (protocol.md 11.5).
    replay::a_page_misses_nothing_between_being_made_and_connecting
)
server_suite() {
    local skipped=() report=$work/server code=0
    local name
    for name in "${left_out[@]}"; do skipped+=(--skip "$name"); done
    redis-server --port 0 --save '' --dir "$work" --unixsocket "$work/redis.sock" >/dev/null &
    redis=$!
    until redis-cli -s "$work/redis.sock" ping >/dev/null 2>&1; do kill -0 "$redis"; done
    WEBSOCK_BACKPLANE=unix:$work/redis.sock cargo test --locked --test server -- \
        --test-threads=8 "${skipped[@]}" 2>&1 | grep -v ' \.\.\. ok$' | tee "$report" || code=$?
    passed=$((passed + $(sed -n 's/^test result: .* \([0-9]*\) passed; .*/\1/p' "$report" | grep . || echo 0)))
    local more
    more=$(sed -n 's/^test result: .* \([0-9]*\) failed; .*/\1/p' "$report")
    # One that did not begin has failed.
    if [ "$code" != 0 ] && [ "${more:-0}" = 0 ]; then more=1; fi
    failed=$((failed + ${more:-1}))
}
case "$*" in
    '' | --all) server_suite ;;
esac
trap end EXIT
echo "backplane: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
