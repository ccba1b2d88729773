# shellcheck shell=bash
# What run.sh has set; and texts for another shell.
# shellcheck disable=SC2154,SC2016
# Sourced by run.sh: the commands of docs/deployment.md, word by word, in the machine.

docs=$work/docs
python3 tests/packaging/docs.py docs/deployment.md "$docs" >"$docs.list" ||
    say 'FAILED each block of docs/deployment.md says where it is tried'

# The machine's own copy of the repository, as far as the commands need it, and an ordinary user.
prepare_docs() {
    mkdir -p "$debian/root/websock/target"
    cp -r packaging "$debian/root/websock/"
    inside sh -e -c 'useradd --create-home someone
        echo "127.0.0.1 push.example.org" >>/etc/hosts
        mkdir -p /etc/letsencrypt/live/push.example.org'
    local live=$debian/etc/letsencrypt/live/push.example.org
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=authority of the tests' \
        -keyout "$work/authority.key" -out "$debian/root/authority.pem"
    openssl req -newkey rsa:2048 -nodes -subj /CN=push.example.org -keyout "$live/privkey.pem" \
        -out "$work/push.csr"
    openssl x509 -req -days 2 -in "$work/push.csr" -CA "$debian/root/authority.pem" \
        -CAkey "$work/authority.key" -CAcreateserial -out "$live/fullchain.pem" \
        -extfile <(echo 'subjectAltName=DNS:push.example.org')
    cp "$work/files/websock.ini" "$debian/root/shipped.ini"
}

# set_keys FILE: the shipped ini file with these lines in place of theirs.
set_keys() {
    local line name
    inside cp --no-preserve=mode,ownership /root/shipped.ini /etc/websock/websock.ini
    while read -r line; do
        name=${line%%=*}
        inside sed -i "s|^$name=.*|$line|" /etc/websock/websock.ini
    done <"$1"
    inside sh -c 'chown root:websock /etc/websock/websock.ini; chmod 640 /etc/websock/websock.ini'
}

# as_root NUMBER DIRECTORY: drop-ins of the blocks before are gone.
as_root() {
    inside sh -c 'rm -rf /etc/systemd/system/websock.service.d; systemctl daemon-reload
        ! systemctl cat --quiet websock >/dev/null 2>&1 || systemctl reset-failed websock' || true
    inside env SSL_CERT_FILE=/root/authority.pem timeout 120 sh -e -c "cd $2; $(cat "$docs/$1")"
}
as_user() {
    cp "$docs/$1" "$debian/home/someone/block"
    inside su - someone -c 'timeout 60 sh -e block'
}
until_it_listens() {
    cp "$docs/$1" "$debian/home/someone/block"
    inside sh -e -c 'systemctl stop websock
        systemd-run --quiet --unit=try --uid=someone --working-directory=/home/someone sh -e block
        tries=0
        until journalctl -u try --no-pager | grep "Listening on unix"; do
            sleep 0.1
            tries=$((tries + 1))
            [ $tries -lt 200 ] || { journalctl -u try --no-pager; exit 1; }
        done
        ls -l /home/someone/websock/pages.sock | grep "^srw-rw-rw-"
        systemctl stop try
        systemctl start websock'
}
in_repository() {
    # The suite has installed it.
    sed '/^cargo install cargo-deb --locked$/d' "$docs/$1" >"$work/block"
    CARGO_INSTALL_ROOT=$work/cargo bash -e "$work/block" || return 1
    rm -rf "$debian/root/websock/target/packaging"
    cp -r target/packaging "$debian/root/websock/target/"
}
check_own_ini() {
    inside env PUSH_TOKEN=0123456789abcdef websock -i /root/block.ini --check
}

try_blocks() {
    local number line where later=()
    while IFS=$'\t' read -r number line where; do
        local name="docs/deployment.md:$line, $where"
        case $where in
            not) ;;
            repository) check "$name" in_repository "$number" ;;
            'root in the repository') check "$name" as_root "$number" /root/websock ;;
            'root in the repository, without the package') later+=("$number $name") ;;
            'root; with '*)
                echo "${where#root; with }" >"$work/keys"
                set_keys "$work/keys"
                check "$name" as_root "$number" /root
                ;;
            root) check "$name" as_root "$number" /root ;;
            user) check "$name" as_user "$number" ;;
            'user, until it listens') check "$name" until_it_listens "$number" ;;
            'file '*)
                check "$name" inside install -D -m 644 /dev/stdin "${where#file }" <"$docs/$number"
                mkdir -p "$debian/$(dirname "${where#file }")"
                cp "$docs/$number" "$debian/${where#file }"
                ;;
            'lines of the ini file')
                set_keys "$docs/$number"
                check "$name" inside websock -i /etc/websock/websock.ini --check
                ;;
            'an ini file of its own')
                cp "$docs/$number" "$debian/root/block.ini"
                check "$name" check_own_ini
                ;;
            *) say "FAILED $name: nobody knows how" ;;
        esac
    done <"$docs.list"
    check 'the package is purged for the recipes without it' inside dpkg --purge websock
    for line in "${later[@]}"; do
        check "${line#* }" as_root "${line%% *}" /root/websock
        check "... and the service runs" is_up
    done
}
check 'the machine for the commands of the docs' prepare_docs
try_blocks
