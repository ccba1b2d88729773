#!/usr/bin/env bash
# nginx, Apache, HAProxy and Caddy in front of the server, with the blocks that --print-proxy prints.
#   run.sh [--all]      --all: connections stay idle for 120 s, with pings every 30 s; else 3 pings
# WEBSOCK_BIN=FILE takes another build of the server.
# Last line: N passed, N failed. Exit: 0 if none failed, else 1.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/serve.sh
here=tests/proxies
# Debian keeps daemons where a user's PATH does not look.
PATH=$PATH:/usr/sbin:/sbin

work=$(mktemp -d)
chmod 755 "$work"
proxies=()
end_proxies() {
    for pid in "${proxies[@]}"; do
        kill -TERM "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
    done
    proxies=()
}
# A suite that cannot be set up has failed; its closing line says so.
broken='proxies: could not be run, 0 passed, 1 failed'
trap 'end_proxies; stop || true; rm -rf "$work"; echo "$broken"' EXIT

interval=1 pings=3
if [ "${1:-}" = --all ]; then interval=30 pings=4; fi
for tool in nginx apache2 haproxy caddy curl python3 openssl; do
    command -v "$tool" >/dev/null || { echo "proxies: $tool is needed" >&2; exit 1; }
done
bin=${WEBSOCK_BIN:-}
if [ -z "$bin" ]; then
    cargo build --locked --quiet --release --bin websock
    bin=$(target_directory)/release/websock
fi

# begin NAME LISTENER: starts a server that listens there; sets dir, ini and port, the proxy's.
begin() {
    dir=$work/$1 ini=$work/$1/websock.ini
    mkdir -p "$dir"
    port=$(python3 tests/free_port.py)
    local listener=${2//SOCKET/unix:$dir/websock.sock} own_port
    own_port=$(python3 tests/free_port.py)
    listener=${listener//PORT/$own_port}
    local certificate=
    if [[ $listener == wss:* ]]; then
        # Nobody knows who signed it, and it is for a name that the proxy does not connect to.
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=a -addext \
            'subjectAltName=DNS:push.example' -keyout "$dir/key.pem" -out "$dir/cert.pem" \
            2>"$dir/openssl.log"
        chmod 644 "$dir/key.pem"
        certificate=$'\n'"certFile=$dir/cert.pem"$'\n'"pkFile=$dir/key.pem"
    fi
    cat >"$ini" <<INI
adress=ws://127.0.0.1:0 scripts, $listener$certificate
trustedProxies=127.0.0.1, unix
allowedOrigins=https://good.example
pingInterval=$interval
pongTimeout=20
INI
    serve "$dir/console" "$bin" -i "$ini"
}

# judge NAME: runs the checks, then ends the proxy and the server.
judge() {
    python3 $here/checks.py "$1" "$port" "$dir/console" $pings >"$dir/report" 2>&1 || true
    if ! grep -q '^ok ' "$dir/report"; then
        tail -n 20 "$dir/proxy.log" >>"$dir/report"
        echo "FAILED $1: nothing gets through" >>"$dir/report"
    fi
    end_proxies
    local verdict="ok $1: the server ends with 0 on SIGTERM"
    stop || verdict="FAILED $1: the server did not end with 0 on SIGTERM"
    echo "$verdict" >>"$dir/report"
}

# front COMMAND...: starts a proxy in the foreground.
front() {
    "$@" </dev/null >"$dir/proxy.log" 2>&1 &
    proxies+=($!)
}

nginx_in_front() {
    begin "$1" "$2" || return
    "$bin" -i "$ini" --print-proxy nginx >"$dir/block"
    {
        [ "$(id -u)" != 0 ] || echo 'user root;'
        echo "daemon off; worker_processes 1; pid $dir/nginx.pid; error_log stderr; events { }"
        echo "http { access_log off;"
        for kind in client_body proxy fastcgi uwsgi scgi; do
            echo "${kind}_temp_path $dir/$kind;"
        done
        echo "server { listen 127.0.0.1:$port; include $dir/block; } }"
    } >"$dir/conf"
    front nginx -p "$dir" -e stderr -c "$dir/conf"
    judge "$1"
}

apache_in_front() {
    begin "$1" "$2" || return
    "$bin" -i "$ini" --print-proxy apache >"$dir/block"
    {
        for module in mpm_event authz_core proxy proxy_http headers socache_shmcb ssl; do
            echo "LoadModule ${module}_module /usr/lib/apache2/modules/mod_$module.so"
        done
        [ "$(id -u)" != 0 ] || printf '%s\n' 'User www-data' 'Group www-data'
        printf '%s\n' "Listen 127.0.0.1:$port" "PidFile $dir/pid" "ErrorLog $dir/proxy.log" \
            "ServerName site.example" "DefaultRuntimeDir $dir" "Include $dir/block"
    } >"$dir/conf"
    front apache2 -d "$dir" -f "$dir/conf" -DFOREGROUND
    judge "$1"
}

haproxy_in_front() {
    begin "$1" "$2" || return
    {
        printf '%s\n' defaults '    mode http' '    timeout client 5s' '    timeout connect 5s' \
            '    timeout server 5s' 'frontend site' "    bind 127.0.0.1:$port" \
            '    use_backend websock if { path_beg /websock/ }'
        "$bin" -i "$ini" --print-proxy haproxy
    } >"$dir/conf"
    front haproxy -db -f "$dir/conf"
    judge "$1"
}

caddy_in_front() {
    begin "$1" "$2" || return
    {
        printf '%s\n' '{' 'admin off' 'auto_https off' '}' "http://:$port {" "bind 127.0.0.1"
        "$bin" -i "$ini" --print-proxy caddy
        echo '}'
    } >"$dir/conf"
    front env HOME="$dir" caddy run --adapter caddyfile --config "$dir/conf"
    judge "$1"
}

# beside FUNCTION NAME LISTENER: runs it beside the others; if it cannot be set up, it has failed.
variants=()
beside() {
    mkdir -p "$work/$2"
    (
        trap 'end_proxies; stop || true' EXIT
        "$@"
    ) || echo "FAILED $2: could not be run" >>"$work/$2/report" &
    variants+=($!)
}

tcp=ws://127.0.0.1:PORT
tls=wss://127.0.0.1:PORT
beside nginx_in_front nginx "$tcp web"
beside nginx_in_front nginx-unix "SOCKET mode=666 web"
beside nginx_in_front nginx-tls "$tls web"
beside apache_in_front apache "$tcp web"
beside apache_in_front apache-unix "SOCKET mode=666 web"
beside apache_in_front apache-tls "$tls web"
beside haproxy_in_front haproxy "$tcp web"
beside haproxy_in_front haproxy-unix "SOCKET mode=666 web"
beside haproxy_in_front haproxy-tls "$tls web"
beside haproxy_in_front haproxy-proxy-protocol "$tcp web proxy"
beside haproxy_in_front haproxy-unix-proxy-protocol "SOCKET mode=666 web proxy"
beside caddy_in_front caddy "$tcp web"
beside caddy_in_front caddy-tls "$tls web"
beside caddy_in_front caddy-unix "SOCKET mode=666 web"
wait "${variants[@]}"
# One file for each, so that no line is torn by another's.
cat "$work"/*/report | tee "$work/report"

trap 'rm -rf "$work"' EXIT
passed=$(grep -c '^ok ' "$work/report" || true)
failed=$(grep -c '^FAILED ' "$work/report" || true)
echo "proxies: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
