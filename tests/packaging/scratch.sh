# shellcheck shell=bash
# What run.sh has set; and texts for another shell.
# shellcheck disable=SC2154,SC2016
# Sourced by run.sh: the static program in a root where nothing else is, not even /dev/null.

scratch=$work/scratch
mkdir "$scratch"
cp "$static" "$scratch/websock"
cp websock.ini "$scratch/websock.ini"
chmod 755 "$scratch"

# The program in there, as a user that nobody knows.
alone=(chroot --userspec=65532:65532 "$scratch" /websock)

is_static() { ! readelf --program-headers "$1" | grep INTERP && readelf --file-header "$1" | grep -q 'DYN'; }
check 'the static program needs no library and may lie anywhere (static-pie)' is_static "$static"

# says TEXT COMMAND...: what the command prints holds the text.
says() {
    local text=$1
    shift
    timeout 30 "$@" >"$work/output" 2>&1 || true
    grep -F -- "$text" "$work/output" || { cat "$work/output"; return 1; }
}

if serve "$work/scratch.log" "${alone[@]}" -i /websock.ini -adress ws://localhost:0; then
    say 'ok it starts with nothing but its ini file'
    check 'a page of the other program is served' "$websock" echo --url "$server_url/web"
    check 'it is a client, too, and knows localhost' "${alone[@]}" echo --url "ws://localhost:${server_url##*:}/web"
    check 'missing roots of authorities are named' says 'no root certificates' \
        "${alone[@]}" echo --url "wss://localhost:${server_url##*:}/web"
    if stop; then say 'ok it ends with 0 on SIGTERM'; else say 'FAILED it ends with 0 on SIGTERM'; fi
else
    say 'FAILED it starts with nothing but its ini file'
fi

check 'an unknown group is named' says 'there is no group nobodys' \
    "${alone[@]}" -i /websock.ini -adress 'unix:/websock.sock group=nobodys' --check
check 'a group may be a number' says 'fine' \
    chroot "$scratch" /websock -i /websock.ini -adress 'unix:/websock.sock group=4711' --check

# Few descriptors, no /dev/null to keep one in reserve: who is too much is told so.
few_descriptors() {
    serve "$work/few.log" bash -c 'ulimit -n 24; exec chroot "$0" /websock -i /websock.ini -adress ws://127.0.0.1:0' \
        "$scratch" || return 1
    python3 - "${server_url##*:}" <<'PY'
import socket, sys
held = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(40)]
for one in reversed(held):
    one.settimeout(20)
    if one.recv(12) == b"HTTP/1.1 503":
        sys.exit(0)
sys.exit("nobody was refused")
PY
}
check 'without descriptors newcomers get 503' few_descriptors
stop || true

# The time zone: by rule without files, by name with them.
zone() { # TZ OFFSET
    serve "$work/zone.log" env TZ="$1" "$(command -v chroot)" "$scratch" /websock -i /websock.ini \
        -adress ws://127.0.0.1:0 || return 1
    stop
    head -n 1 "$work/zone.log"
    head -n 1 "$work/zone.log" | grep -q " $2; "
}
check 'a time zone by rule needs no files' zone 'XYZ-3' '+0300'
check 'a time zone by name is UTC without files' zone Asia/Kolkata '+0000'
mkdir -p "$scratch/usr/share"
cp -r --parents /usr/share/zoneinfo/Asia/Kolkata "$scratch"
check 'a time zone by name with them' zone Asia/Kolkata '+0530'

# ---- the container, as packaging/Containerfile composes it

# Puts together what the last stage copies, and runs what it says.
container=$work/container
compose_container() {
    mkdir -p "$container" "$work/files/tree/target/packaging"
    cp "$static" "$work/files/websock.ini" "$work/files/tree/target/packaging/"
    local from to copied=0
    while read -r _ from to; do
        case $from in
            /src/*) from=$work/files/tree/${from#/src/} ;;
        esac
        mkdir -p "$container/$(dirname "$to")"
        cp -r "$from" "$container/$to"
        copied=$((copied + 1))
    done < <(sed -n '/^FROM scratch$/,$s/^COPY --from=build /COPY /p' packaging/Containerfile)
    [ "$copied" -ge 4 ]
}
check 'what the container copies is there' compose_container
# ["a", "b"] → a b
words_of() { sed -n "s/^$1 \[\(.*\)\]\$/\1/p" packaging/Containerfile | tr -d '",'; }
user=$(sed -n 's/^USER //p' packaging/Containerfile)
read -r -a entry <<<"$(words_of ENTRYPOINT)"
read -r -a arguments <<<"$(words_of CMD)"
port=$(python3 tests/free_port.py)
arguments[1]=${arguments[1]/8096/$port}
if serve "$work/container.log" chroot --userspec="$user" "$container" "${entry[@]}" "${arguments[@]}"; then
    check 'the container answers health checks' curl -sf "http://127.0.0.1:$port/health"
    check 'its own program asks, too' chroot --userspec="$user" "$container" "${entry[0]}" echo \
        --url "ws://127.0.0.1:$port/web"
    stop || say 'FAILED the container ends with 0 on SIGTERM'
else
    say 'FAILED the container starts'
fi
