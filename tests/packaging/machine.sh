# shellcheck shell=bash
# What run.sh has set; and texts for another shell.
# shellcheck disable=SC2154,SC2016
# Sourced by run.sh: a clean Debian, and systemd booted in it.

# clean_debian SUITE DIRECTORY PACKAGES...: unpacks a Debian, from the cache if it is there.
clean_debian() {
    local suite=$1 directory=$2 packages archive
    shift 2
    packages=$(IFS=,; echo "$*")
    # Named after what is in it, and made anew each month.
    archive=$cache/$suite-$(sha256sum <<<"$packages" | cut -c 1-12)-$(date +%Y%m).tar
    if [ ! -f "$archive" ]; then
        rm -f "$cache/$suite"-*.tar
        echo "fetching a clean Debian ($suite)"
        mmdebstrap --quiet --variant=minbase --include="$packages" \
            --aptopt='Acquire::Languages "none"' "$suite" "$archive.new.tar" </dev/null
        mv "$archive.new.tar" "$archive"
    fi
    mkdir -p "$directory"
    tar -xf "$archive" -C "$directory" --exclude='./dev/*'
}

machine='' leader=''

# machine_on ROOT: boots systemd in it, without any network but its own loopback.
machine_on() {
    systemd-nspawn --quiet --directory="$1" --machine="websock-test-$$" --register=no --keep-unit \
        --private-network --console=pipe --boot </dev/null >"$work/boot.log" 2>&1 &
    machine=$!
    local deadline=$((SECONDS + 120))
    while kill -0 "$machine" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do
        leader=$(cat "/proc/$machine/task/$machine/children" 2>/dev/null || true)
        leader=${leader%% *}
        if [ -n "$leader" ] && inside test -S /run/systemd/private 2>/dev/null; then
            # Some units of a machine without devices may have failed; that it is up counts.
            inside timeout 120 systemctl is-system-running --wait >"$work/state" 2>&1 || true
            grep -qxE 'running|degraded' "$work/state" && return 0
        fi
        read -r -t 0.2 <> <(:) || true
    done
    tail -n 20 "$work/boot.log" >&2
    return 1
}

# inside COMMAND...: runs it in the machine, as root.
inside() {
    nsenter --target="$leader" --mount --uts --ipc --net --pid --cgroup -- \
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
}

machine_off() {
    [ -n "$machine" ] || return 0
    # nspawn passes it on; systemd halts.
    kill -TERM "$machine" 2>/dev/null || true
    timeout 60 tail -s 0.1 -f --pid="$machine" /dev/null || kill -KILL "$machine" 2>/dev/null || true
    wait "$machine" 2>/dev/null || true
    machine=''
}
