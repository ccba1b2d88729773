#!/usr/bin/env bash
# Do the sources keep to the layers' table: who may import what, who may ask the clock?
#   layers.sh              judges this repository: offenders as file:line: rule, exit 1
#   layers.sh --self-test  plants one offender after the other in an empty crate and wants each found,
#                          and wants nothing found where there is nothing
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

judge() { perl "$here/layers.pl" "$1"; }

# One offender to a line: the file, then the code.
offenders() {
    cat <<'OFFENDERS'
src/protocol/frame.rs     use std::net::IpAddr;
src/protocol/frame.rs     use std::{fmt, net::{IpAddr, TcpStream}};
src/protocol/frame.rs     use core::net::IpAddr;
src/protocol/frame.rs     fn f(now: std::time::Instant) {}
src/protocol/frame.rs     use std::thread;
src/protocol/frame.rs     use std::env::var;
src/protocol/frame.rs     fn f() { log::debug!("x") }
src/protocol/frame.rs     use mio::Token;
src/protocol/frame.rs     use ::uuid::Uuid;
src/protocol/frame.rs     use crate::connection::ConnId;
src/protocol/frame.rs     use super::super::app::clients::Clients;
src/protocol/frame.rs     use crate::{protocol::mask, net::wheel::Wheel};
src/protocol/frame.rs     use crate::config::Config;
src/protocol/frame.rs     use crate::ops::metrics;
src/protocol/mod.rs       use super::options;
src/connection/mod.rs     fn f() { let now = Instant::now(); }
src/connection/mod.rs     fn f() { let now = std::time::Instant::now(); }
src/connection/mod.rs     fn f(then: Instant) { then.elapsed(); }
src/connection/mod.rs     use std::time::{Instant, SystemTime};
src/connection/mod.rs     use log::trace;
src/connection/mod.rs     #[derive(serde::Serialize)] struct S;
src/connection/mod.rs     use serde_json::Value;
src/connection/mod.rs     use std::net::TcpStream;
src/connection/mod.rs     use crate::app::packet::Packet;
src/app/session.rs        use mio::net::TcpStream;
src/app/session.rs        use std::net::{IpAddr, TcpListener};
src/app/session.rs        use std::net::UdpSocket;
src/app/session.rs        fn f() { Instant::now(); }
src/app/session.rs        fn f() { std::thread::spawn(f); }
src/app/session.rs        fn f() { std::fs::read("x"); }
src/app/session.rs        use crate::protocol::frame::encode_header;
src/app/session.rs        use crate::connection::{ConnId, Connection};
src/app/session.rs        use crate::net::Server;
src/app/session.rs        use crate::logging::escape;
src/app/session.rs        use crate::backplane::Backplane;
src/http/push.rs          use crate::connection::ConnId;
src/http/push.rs          use std::net::TcpStream;
src/backplane/redis.rs    use serde_json::Value;
src/backplane/redis.rs    use crate::app::Resource;
src/net/server.rs         use serde_json::Value;
src/net/server.rs         use crate::config::Config;
src/net/server.rs         fn f() { std::time::SystemTime::now(); }
src/net/server.rs         fn f() { unsafe { g() } }
src/ops/metrics.rs        use crate::protocol::frame::Opcode;
src/ops/metrics.rs        use mio::net::TcpListener;
src/ops/metrics.rs        use socket2::Socket;
src/ops/metrics.rs        fn f() { Instant::now(); }
src/config.rs             use mio::Token;
src/config/value.rs       use crate::protocol::handshake::Upgrade;
src/options.rs            use ini::Ini;
src/options.rs            use crate::net::Server;
src/logging.rs            use crate::app::Resource;
src/logging.rs            use std::net::TcpStream;
src/main.rs               fn f() { Instant::now(); }
src/lib.rs                unsafe fn f() {}
src/util.rs               use std::fmt;
OFFENDERS
}

# What looks like offenders and is none.
harmless() {
    cat <<'HARMLESS'
src/protocol/frame.rs     // use mio::Token; Instant::now()
src/protocol/frame.rs     /* use mio::Token; /* nested */ std::net::TcpStream */
src/protocol/frame.rs     const S: &str = "std::net::TcpStream // unsafe \" log::debug";
src/protocol/frame.rs     const S: &str = r#"use "mio"::Token; Instant::now()"#;
src/protocol/frame.rs     const C: [char; 3] = ['"', '\'', '{']; // mio::Token
src/protocol/frame.rs     fn f<'a>(x: &'a str) -> &'a str { x } // "mio::Token
src/protocol/frame.rs     #[cfg(test)] mod tests { fn f() { let s = "}"; std::thread::spawn(f); } }
src/protocol/frame.rs     #[cfg(test)] use std::time::Instant;
src/protocol/mod.rs       #[cfg(test)] #[allow(dead_code)] mod frame_tests;
src/protocol/frame_tests.rs  use std::net::TcpStream;
src/protocol/mod.rs       #![forbid(unsafe_code)]
src/protocol/mod.rs       use self::frame::Header; use super::protocol::mask;
src/protocol/http.rs      use std::{borrow::Cow, fmt::{self, Write as _}}; use sha1::Digest;
src/connection/mod.rs     use std::time::{Duration, Instant}; use crate::protocol::frame::Decoder;
src/app/session.rs        use std::net::IpAddr; use crate::connection::ConnId; use uuid::Uuid;
src/net/server.rs         use mio::Poll; fn f() { Instant::now(); crate::app::Session::new(); }
src/ops/signals.rs        use mio::{Interest, Registry, Token}; use signal_hook_mio::v1_0::Signals;
src/config.rs             use crate::connection::Limits;
src/main.rs               use websock::net::Server; use mio::Token;
HARMLESS
}

self_test() {
    local crate file code found mistakes=0 count=0
    crate=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf '$crate'" EXIT
    plant() {
        rm -rf "$crate/src"
        mkdir -p "$crate/src" "$(dirname "$crate/$file")"
        printf '//! First line.\n%s\n' "$code" >"$crate/$file"
    }
    cp "$here/../Cargo.toml" "$crate/"
    while read -r file code; do
        plant
        found=$(judge "$crate") && found="nothing"
        case $found in "$file:"[12]:*) ;; *) mistakes=$((mistakes + 1)); echo "not caught: $file: $code ($found)" ;; esac
        count=$((count + 1))
    done < <(offenders)
    rm -rf "$crate/src"
    while read -r file code; do
        mkdir -p "$(dirname "$crate/$file")"
        printf '%s\n' "$code" >>"$crate/$file"
        count=$((count + 1))
    done < <(harmless)
    judge "$crate" || { mistakes=$((mistakes + 1)); echo "the above are no offenders"; }
    echo "layers: self-test of $count plants, $mistakes mistakes"
    [ "$mistakes" = 0 ]
}

case ${1:-} in
    '') if judge "$here/.."; then echo "layers: kept"; else echo "layers: broken, see above"; exit 1; fi ;;
    --self-test) self_test ;;
    *) sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
