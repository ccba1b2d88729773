#!/usr/bin/env bash
# Real peers over TLS: openssl, curl, PHP's ssl:// streams, Node's ws, Python's websockets and
# headless Chromium, each of which verifies the chain to a CA that is made here.
# Last line: N passed, N failed. Exit: 0 if none failed, else 1.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/serve.sh
. tests/node.sh
here=tests/tls-peers

work=$(mktemp -d)
# A suite that cannot be set up has failed; its closing line says so.
trap 'stop || true; rm -rf "$work"; echo "tls-peers: could not be run, 0 passed, 1 failed"' EXIT
for tool in openssl curl php python3 certutil; do
    command -v "$tool" >/dev/null || { echo "tls-peers: $tool is needed" >&2; exit 1; }
done
ensure_node
CHROMIUM=$(command -v chromium || command -v chromium-browser) || { echo "tls-peers: no chromium" >&2; exit 1; }
cache=${WEBSOCK_TEST_CACHE:-$HOME/.cache/websock-tests}/websockets
if ! "$cache/bin/python" -c 'import websockets' 2>/dev/null; then
    python3 -m venv --clear "$cache"
    "$cache/bin/pip" install --quiet --disable-pip-version-check websockets==15.0.1
fi
(cd $here && npm install --silent --no-audit --no-fund --no-package-lock)
cargo build --locked --quiet --release --bin websock
websock=$(target_directory)/release/websock

# ---- certificates: a root; below it an intermediate with an RSA leaf, and an ECDSA leaf

issue() { # NAME ISSUER EXTENSIONS KEY_OPTIONS...: NAME.key and NAME.pem
    local name=$work/$1 issuer=$work/$2 extensions=$3
    shift 3
    openssl req -new -nodes -subj "/CN=${name##*/}" -keyout "$name.key" -out "$name.csr" "$@"
    openssl x509 -req -days 2 -in "$name.csr" -CA "$issuer.pem" -CAkey "$issuer.key" -CAcreateserial \
        -extfile <(printf '%b' "$extensions") -out "$name.pem"
}
{
    openssl req -x509 -nodes -days 2 -subj '/CN=root of the tests' -newkey rsa:2048 \
        -keyout "$work/root.key" -out "$work/root.pem"
    authority='basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n'
    leaf='basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n'
    issue intermediate root "$authority" -newkey rsa:2048
    issue rsa intermediate "$leaf" -newkey rsa:2048
    issue ecdsa root "$leaf" -newkey ec -pkeyopt ec_paramgen_curve:prime256v1
} >"$work/openssl.log" 2>&1 || { cat "$work/openssl.log"; exit 1; }
cat "$work/rsa.pem" "$work/intermediate.pem" >"$work/fullchain.pem"
ca=$work/root.pem

# ---- what is said of each check

report=$work/report
: >"$report"
say() { echo "$*" | tee -a "$report"; }

# check NAME PATTERN COMMAND...: the command's output holds the pattern, however it ends.
check() {
    local name=$1 pattern=$2 output
    shift 2
    output=$(timeout 20 "$@" 2>&1 | tr -d '\0') || true
    if grep -aqE "$pattern" <<<"$output"; then
        say "ok $name"
    else
        say "FAILED $name: no '$pattern' in: $(tail -c 600 <<<"$output" | tr '\n' ' ')"
    fi
}

# suite NAME COMMAND...: the command's own lines that begin with `ok` or `FAILED`.
suite() {
    local name=$1 code=0
    shift
    timeout 300 "$@" </dev/null >"$work/output" 2>&1 || code=$?
    grep -E '^(ok|FAILED) ' "$work/output" | sed "s/^\(ok\|FAILED\) /\1 $name: /" | tee -a "$report" || true
    if [ "$code" != 0 ] && ! grep -q '^FAILED ' "$work/output"; then
        say "FAILED $name: ended with code $code: $(tail -n 5 "$work/output" | tr '\n' ' ')"
    fi
}

begin() { # CERTIFICATE KEY
    printf '%s\n' adress=wss://localhost:0 "certFile=$work/$1" "pkFile=$work/$2" console=true demo=true \
        >"$work/websock.ini"
    serve "$work/console" "$websock" -i "$work/websock.ini"
    port=${server_url##*:}
    port=${port%/}
}

# ---- openssl: what is agreed on

client() { openssl s_client -connect "localhost:$port" -servername localhost -CAfile "$ca" -verify_return_error "$@"; }
shake() { client "$@" </dev/null; }
# A whole request, so that tickets have come before the end.
ask() { printf 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' | client -ign_eof "$@"; }
upgrade() {
    printf 'GET /web HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%s\r\n%s\r\n\r\n' \
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' 'Sec-WebSocket-Version: 13'
    # An empty close frame, masked with zeros.
    printf '\210\200\0\0\0\0'
}
upgrade_by_hand() { upgrade | client -quiet -ign_eof "$@"; }
renegotiate() { printf 'R\n' | client -tls1_2; }
export port ca
export -f client shake ask upgrade upgrade_by_hand renegotiate

agreements() { # NAME
    local version
    for version in 1.2 1.3; do
        local option=-tls${version/./_}
        check "$1: TLS $version is agreed on" "^(New|Reused), TLSv$version, " bash -c "shake $option"
        check "$1: the chain is verified over TLS $version" 'Verif(y return code|ication): (0 \(ok\)|OK)' bash -c "shake $option"
        check "$1: a session of TLS $version is given" "^New, TLSv$version, " bash -c "ask $option -sess_out $work/session"
        check "$1: and resumed" "^Reused, TLSv$version, " bash -c "ask $option -sess_in $work/session"
        check "$1: an upgrade by hand over TLS $version" '"opcode":"ready"' bash -c "upgrade_by_hand $option"
    done
    for version in 1 1_1; do
        check "$1: TLS ${version/_/.} is refused with an alert" 'alert (protocol version|handshake failure)' \
            bash -c "shake -tls$version -cipher ALL:@SECLEVEL=0"
    done
    check "$1: http/1.1 is agreed on" '^ALPN protocol: http/1.1' bash -c 'shake -alpn h2,http/1.1'
    check "$1: h2 alone is refused with an alert" 'alert no application protocol' bash -c 'shake -alpn h2'
    check "$1: renegotiation is refused" 'no renegotiation|unexpected message|renegotiation.*(disabled|refused)' \
        bash -c renegotiate
    check "$1: and costs nobody else anything" '"opcode":"ready"' bash -c upgrade_by_hand
}

ended() {
    if stop; then say "ok $1: the server ends with 0 on SIGTERM"; else
        say "FAILED $1: the server did not end with 0 on SIGTERM: $(tail -n 5 "$work/console")"
    fi
}

begin ecdsa.pem ecdsa.key
agreements ECDSA
ended ECDSA

begin fullchain.pem rsa.key
agreements 'RSA with an intermediate'
check 'curl: the page' '<!doctype html>' curl --silent --cacert "$ca" "https://localhost:$port/"
check 'curl: without the CA the certificate is refused' '^60$' \
    curl --silent --output /dev/null --write-out '%{exitcode}\n' "https://localhost:$port/"
check 'curl: plain HTTP is told that this port speaks TLS' '400 .*speaks TLS' \
    bash -c "curl --silent --include http://localhost:$port/ | tr '\r\n' '  '"
suite PHP env WEBSOCK_TEST_TRANSPORT=ssl php -d "openssl.cafile=$ca" tests/php/suite.php localhost "$port"
suite 'Python websockets' "$cache/bin/python" $here/peer.py "$port" "$ca"

export HOME=$work/home WEBSOCK_PORT=$port WEBSOCK_CA=$ca CHROMIUM
mkdir -p "$HOME/.pki/nssdb"
certutil -d "sql:$HOME/.pki/nssdb" -N --empty-password
certutil -d "sql:$HOME/.pki/nssdb" -A -t C,, -n 'root of the tests' -i "$ca"
suite 'Node ws and Chromium' bash -c "cd $here && node --test --test-reporter=./lines.mjs peers.mjs"
ended 'RSA with an intermediate'

passed=$(grep -c '^ok ' "$report" || true)
failed=$(grep -c '^FAILED ' "$report" || true)
trap 'rm -rf "$work"' EXIT
echo "tls-peers: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
