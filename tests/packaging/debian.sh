# shellcheck shell=bash
# What run.sh has set; and texts for another shell.
# shellcheck disable=SC2154,SC2016
# Sourced by run.sh: the deb on a clean Debian, without systemd running and with it.

debian=$work/debian
clean_debian bookworm "$debian" systemd-sysv logrotate curl libnss-systemd
cp "$work/debs/"*.deb "$debian/root/"

# ---- not booted: as in the build of an image

in_chroot() { chroot "$debian" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
# All files but those of dpkg itself, its logs, and backups that other packages' tools make.
files_in() {
    (cd "$1" && find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp \
        -o -path ./var/lib/dpkg -o -path ./var/log/journal -o -path ./var/cache \) -prune -o -print |
        grep -vxE './(var/log/(dpkg|alternatives)\.log|etc/(passwd|group|shadow|gshadow)-|etc/\.pwd\.lock|root/.*|etc/machine-id|var/lib/logrotate/status|var/lib/systemd/.*)' | sort)
}
files_in "$debian" >"$work/before"
check 'it installs where no systemd runs' in_chroot dpkg --install "/root/$first"
listed() { in_chroot "$@" | grep .; }
check 'its user is there' listed getent passwd websock
closed_ini() { [ "$(in_chroot stat -c '%U %G %a' /etc/websock/websock.ini)" = 'root websock 640' ]; }
check 'its ini file is closed to others' closed_ini
check 'it can do what it has to do (--check as its user)' in_chroot setpriv --reuid=websock --regid=websock \
    --clear-groups websock -i /etc/websock/websock.ini --check
check 'it removes' in_chroot dpkg --remove websock
check 'its ini file is still there' test -f "$debian/etc/websock/websock.ini"
check 'it purges' in_chroot dpkg --purge websock
# left NAME: nothing is left in the tree, and nobody.
left() {
    files_in "$debian" >"$work/after"
    diff "$work/before" "$work/after" && ! grep websock "$debian"/etc/{passwd,group,shadow,gshadow}
}
check 'purge leaves nothing' left

# A static program asks getent of the system that it runs on.
cp "$static" "$debian/root/websock-static"
printf '#!/bin/sh\n[ "$1 $2 $3" = "ahosts -- here.example" ] && echo "127.0.0.1 STREAM here.example"\n' \
    >"$debian/usr/local/bin/getent"
chmod 755 "$debian/usr/local/bin/getent"
ask_getent() {
    serve "$work/getent.log" chroot "$debian" env -i PATH=/usr/local/bin:/usr/bin /root/websock-static \
        -i /root/shipped.ini -adress ws://here.example:0 || return 1
    stop
    grep -F 'Listening on ws://127.0.0.1:' "$work/getent.log"
}
cp websock.ini "$debian/root/shipped.ini"
check 'a static program lets getent look names up' ask_getent
rm "$debian/usr/local/bin/getent" "$debian/root/websock-static"

# ---- booted

if ! machine_on "$debian"; then
    say 'FAILED systemd boots in a container'
    return 0
fi
say 'ok systemd boots in a container'
# Systemd refuses more than five starts in ten seconds.
printf '#!/bin/sh\nsystemctl reset-failed websock && systemctl restart websock\n' >"$debian/root/restart"
inside install -m 755 /root/restart /usr/local/bin/restart-websock
check 'the deb installs' inside dpkg --install "/root/$first"
main_pid() { inside systemctl show --property=MainPID --value websock; }
is_up() { inside timeout 60 sh -c 'until systemctl --quiet is-active websock; do sleep 0.1; done'; }
check 'it runs' is_up
check 'it is enabled' inside systemctl is-enabled websock.service
check "nothing else of it is enabled" inside sh -c '[ "$(systemctl is-enabled websock.socket)" = disabled ]'
check 'systemd finds nothing wrong in its units' inside sh -c \
    'said=$(systemd-analyze verify --man=no /usr/lib/systemd/system/websock.* 2>&1); echo "$said"; ! echo "$said" | grep websock'
check 'its health can be asked' inside curl -sf http://localhost:8096/health
push() {
    inside curl -s -H 'Content-Type: application/json' -d '{"opcode":"broadcast","message":"x"}' \
        http://localhost:8096/push | grep -F '"delivered":0'
}
check 'a push is answered' push
check 'it runs as its own user' inside sh -c \
    '[ "$(stat -c %U /proc/$(systemctl show --property=MainPID --value websock))" = websock ]'
pid=$(main_pid)
check 'a reload is done' inside systemctl reload websock
same_pid() { is_up && [ "$(main_pid)" = "$pid" ]; }
check 'by the same process' same_pid

# A loop that hangs is ended by the watchdog, and started anew.
hang() {
    inside sh -c 'mkdir -p /run/systemd/system/websock.service.d
        printf "[Service]\nWatchdogSec=2s\n" >/run/systemd/system/websock.service.d/quick.conf
        systemctl daemon-reload && restart-websock'
    pid=$(main_pid)
    inside sh -c "kill -STOP $pid"
    inside timeout 60 sh -c "until [ \$(systemctl show --property=NRestarts --value websock) -ge 1 ]; do sleep 0.1; done"
    is_up && [ "$(main_pid)" != "$pid" ] && inside journalctl -u websock | grep -i watchdog
}
check 'a loop that hangs is started anew' hang
inside rm /run/systemd/system/websock.service.d/quick.conf
inside systemctl daemon-reload

# logrotate of Debian, with the file that the deb brings. Twice: the second time compresses.
rotate() {
    inside timeout 60 sh -e -c 'log=/var/log/websock/websock.log
        sed -i "s|^logfile=.*|logfile=$log|" /etc/websock/websock.ini
        restart-websock
        until grep "Starting server" $log; do sleep 0.1; done
        for turn in 1 2; do
            pid=$(systemctl show --property=MainPID --value websock)
            logrotate --force /etc/logrotate.d/websock
            until [ -s $log ]; do sleep 0.1; curl -so /dev/null http://localhost:8096/web; done
            [ "$pid" = "$(systemctl show --property=MainPID --value websock)" ]
        done
        ls -l /var/log/websock
        ! grep "Starting server" $log
        zgrep "Starting server" $log.2.gz
        [ "$(stat -c "%U %a" $log)" = "websock 600" ]'
}
check 'logrotate moves the log, and the server goes on in a new one' rotate

# The next version, while a page is open, which does not come back if it is cut. The ini file has been
# changed, and stays as it is.
upgrade() {
    inside timeout 60 sh -e -c 'restart-websock
        systemd-run --quiet --unit=page websock listen
        until websock send --broadcast before; do sleep 0.1; done'
    pid=$(main_pid)
    inside dpkg --install "/root/$second" || return 1
    is_up && [ "$(main_pid)" != "$pid" ] && inside grep -q '^logfile=/var' /etc/websock/websock.ini || return 1
    inside timeout 60 sh -e -c 'websock send --broadcast behind | grep "delivered to 1"
        until journalctl -u page --no-pager | grep behind; do sleep 0.1; done
        systemctl --quiet is-active page
        systemctl stop page
        [ "$(systemctl show --property=NRestarts --value websock)" = 0 ]
        grep "taken over" /var/log/websock/websock.log'
}
check 'the next version takes over, and an open page does not notice' upgrade

# As www-data, for session files.
as_www_data() {
    inside sh -e -c 'mkdir -p /etc/systemd/system/websock.service.d
        cp /usr/share/doc/websock/examples/session-files.conf /etc/systemd/system/websock.service.d/
        systemctl daemon-reload
        restart-websock
        [ "$(stat -c %U /proc/$(systemctl show --property=MainPID --value websock))" = www-data ]
        [ "$(stat -c %U /var/log/websock/websock.log)" = www-data ]
        curl -sf http://localhost:8096/health
        rm -r /etc/systemd/system/websock.service.d
        systemctl daemon-reload
        restart-websock'
}
check 'with session-files.conf it runs as www-data' as_www_data
low_port() {
    inside sh -e -c 'mkdir -p /etc/systemd/system/websock.service.d
        cp /usr/share/doc/websock/examples/low-ports.conf /etc/systemd/system/websock.service.d/
        sed -i "s|^adress=.*|adress=ws://localhost:80|" /etc/websock/websock.ini
        systemctl daemon-reload
        restart-websock
        curl -sf http://localhost/health
        rm -r /etc/systemd/system/websock.service.d
        sed -i "s|^adress=.*|adress=ws://localhost:8096|" /etc/websock/websock.ini
        systemctl daemon-reload
        restart-websock'
}
check 'with low-ports.conf it listens on port 80' low_port
# Systemd listens: nobody is refused while the server is away.
by_socket() {
    inside sh -e -c 'systemctl stop websock.service
        systemctl start websock.socket
        ! systemctl --quiet is-active websock.service
        curl -sf http://localhost:8096/health
        systemctl --quiet is-active websock.service
        curl -sf "http://[::1]:8096/health"
        journalctl -u websock -n 20 --no-pager
        restart-websock
        curl -sf http://localhost:8096/health
        systemctl stop websock.socket websock.service
        systemctl start websock.service'
}
check 'websock.socket has systemd listen' by_socket
unix_socket() {
    inside sh -e -c 'usermod -aG www-data websock
        sed -i "s|^adress=.*|adress=unix:/run/websock/pages.sock web group=www-data, ws://localhost:8096 scripts|" /etc/websock/websock.ini
        restart-websock
        [ "$(stat -c "%G %a" /run/websock/pages.sock)" = "www-data 660" ]
        sed -i "s|^adress=.*|adress=ws://localhost:8096|" /etc/websock/websock.ini
        restart-websock'
}
check 'a Unix socket is given to the group of a web server' unix_socket

check 'it stops' inside systemctl stop websock
check 'it is removed' inside dpkg --remove websock
check 'and nothing runs' inside sh -c '! systemctl --quiet is-active websock.service'
check 'it is purged' inside dpkg --purge websock
inside rm /usr/local/bin/restart-websock
check 'purge leaves nothing after all that' left

# ---- the commands of docs/deployment.md

. tests/packaging/docs.sh
machine_off

# ---- a Debian of another C library, for which the static program has no modules

if [ "${1:-}" = --all ]; then
    other=$work/trixie
    clean_debian trixie "$other" libnss-systemd libnss-myhostname libnss-resolve
    cp "$static" "$other/root/websock"
    : >"$other/root/empty.ini"
    unknown_name() {
        local status=0
        chroot "$other" /root/websock -i /root/empty.ini -adress ws://no-such.invalid:1 || status=$?
        [ "$status" = 1 ]
    }
    check 'a name that is not known ends the start, not the process' unknown_name
    unknown_group() {
        local status=0
        chroot "$other" /root/websock -i /root/empty.ini -adress 'unix:/tmp/s group=nobodys' || status=$?
        [ "$status" = 1 ]
    }
    check 'nor does a group' unknown_group
fi
