//! Offenders that are planted in an empty crate, each of which has to be found, and what looks like
//! them and is none.

use crate::rules::{Breach, Rules, layer};
use crate::source::Tree;
use crate::{BANS, LAYERS, dependencies};

/// The house's own rules, with nothing tolerated.
const STRICT: Rules = Rules {
    layers: LAYERS,
    bans: BANS,
    tolerated_uses: &[],
    tolerated_paths: &[],
    tolerated_circles: &[],
};

const MANIFEST: &str = "[package]\nname = \"websock\"\n[dependencies]\nlog = \"0.4\"\n\
    mio.workspace = true\nrust-ini = \"0.21\"\nserde = { version = \"1\" }\nserde_json = \"1\"\n\
    sha1 = \"0.11\"\nsignal-hook-mio = \"0.3\"\nsocket2 = \"0.6\"\nuuid = \"1\"\n";

/// What is found in these files.
fn breaches_in(files: &[(&str, &str)]) -> Vec<Breach> {
    let mut tree = Tree::new();
    for (file, code) in files {
        let text = tree.entry((*file).to_owned()).or_default();
        *text += &format!("//! First line.\n{code}\n");
    }
    STRICT.breaches(&tree, &dependencies(MANIFEST))
}

/// Files to which offenders lead, so that names have somewhere to go.
const HOUSE: [(&str, &str); 12] = [
    (
        "src/lib.rs",
        "pub mod app; pub mod net; pub use net::Server;",
    ),
    ("src/base/slot_map.rs", "pub struct SlotMap;"),
    (
        "src/protocol/frame.rs",
        "pub struct Decoder; pub struct Header;",
    ),
    ("src/protocol/mask.rs", "pub fn apply() {}"),
    (
        "src/connection/mod.rs",
        "pub struct ConnId; pub struct Message; pub struct Connection;",
    ),
    ("src/app/session.rs", "pub struct Session;"),
    (
        "src/app/mod.rs",
        "pub mod session; pub use session::Session;",
    ),
    ("src/net/mod.rs", "pub mod server; pub use self::server::*;"),
    ("src/net/server.rs", "pub struct Server;"),
    ("src/ops/metrics.rs", "pub fn count() {}"),
    ("src/logging.rs", "pub fn escape() {}"),
    ("src/config.rs", "pub struct Config;"),
];

const OFFENDERS: [(&str, &str); 66] = [
    ("src/protocol/x.rs", "use std::net::SocketAddr;"),
    (
        "src/protocol/x.rs",
        "use std::{fmt, net::{IpAddr, TcpStream}};",
    ),
    ("src/protocol/x.rs", "use core::net::SocketAddr;"),
    ("src/protocol/x.rs", "fn f(now: std::time::Instant) {}"),
    ("src/protocol/x.rs", "use std::thread;"),
    ("src/protocol/x.rs", "use std::env::var;"),
    ("src/protocol/x.rs", r#"fn f() { log::debug!("x") }"#),
    ("src/protocol/x.rs", "use mio::Token;"),
    ("src/protocol/x.rs", "use ::uuid::Uuid;"),
    ("src/protocol/x.rs", "use crate::connection::ConnId;"),
    (
        "src/protocol/x.rs",
        "use super::super::app::session::Session;",
    ),
    (
        "src/protocol/x.rs",
        "use crate::{protocol::mask, net::server::Server};",
    ),
    ("src/protocol/x.rs", "use crate::config::Config;"),
    ("src/protocol/x.rs", "use crate::ops::metrics;"),
    (
        "src/protocol/x.rs",
        "fn f() { assert!(crate::net::server::is_up()) }",
    ),
    ("src/protocol/x.rs", "use crate::Server;"),
    ("src/protocol/x.rs", "pub use crate::app::Session;"),
    ("src/protocol/mod.rs", "use super::logging;"),
    (
        "src/protocol/mod.rs",
        "mod inner { fn f() { super::super::app::session::f() } }",
    ),
    ("src/base/x.rs", "use crate::protocol::mask;"),
    ("src/base/x.rs", "use std::fs;"),
    (
        "src/connection/x.rs",
        "fn f() { let now = Instant::now(); }",
    ),
    (
        "src/connection/x.rs",
        "fn f() { let now = std::time::Instant::now(); }",
    ),
    (
        "src/connection/x.rs",
        "use std::time::Instant as Clock; fn f() { Clock::now(); }",
    ),
    (
        "src/connection/x.rs",
        "fn f(then: Instant) { then.elapsed(); }",
    ),
    (
        "src/connection/x.rs",
        "use std::time::{Instant, SystemTime};",
    ),
    ("src/connection/x.rs", "use log::trace;"),
    (
        "src/connection/x.rs",
        "#[derive(serde::Serialize)] struct S;",
    ),
    ("src/connection/x.rs", "#[serde(rename)] struct S;"),
    ("src/connection/x.rs", "use serde_json::Value;"),
    ("src/connection/x.rs", "use std::net::TcpStream;"),
    (
        "src/connection/x.rs",
        "use std::net; fn f() { net::TcpStream::connect(0); }",
    ),
    ("src/connection/x.rs", "use crate::app::Session;"),
    ("src/app/x.rs", "use mio::net::TcpStream;"),
    ("src/app/x.rs", "use std::net::{IpAddr, TcpListener};"),
    ("src/app/x.rs", "use std::net::UdpSocket;"),
    ("src/app/x.rs", "fn f() { Instant::now(); }"),
    ("src/app/x.rs", "fn f() { std::thread::spawn(f); }"),
    ("src/app/x.rs", r#"fn f() { std::fs::read("x"); }"#),
    ("src/app/x.rs", "use crate::protocol::frame::encode_header;"),
    (
        "src/app/x.rs",
        "use crate::connection::{ConnId, Connection};",
    ),
    ("src/app/x.rs", "use crate::net::Server;"),
    ("src/app/x.rs", "use crate::logging::escape;"),
    ("src/api/push.rs", "use crate::connection::ConnId;"),
    ("src/api/push.rs", "use crate::app::Session;"),
    ("src/api/push.rs", "use std::net::TcpStream;"),
    ("src/upstream/x.rs", "use crate::connection::ConnId;"),
    (
        "src/upstream/x.rs",
        "fn f() { std::net::TcpStream::connect(0); }",
    ),
    ("src/registry/x.rs", "use crate::app::Session;"),
    ("src/net/x.rs", "use serde_json::Value;"),
    ("src/net/x.rs", "use crate::config::Config;"),
    ("src/net/x.rs", "fn f() { std::time::SystemTime::now(); }"),
    ("src/net/x.rs", "fn f() { unsafe { g() } }"),
    ("src/ops/x.rs", "use crate::protocol::frame::Opcode;"),
    ("src/ops/x.rs", "use mio::net::TcpListener;"),
    ("src/ops/x.rs", "use socket2::Socket;"),
    ("src/ops/x.rs", "fn f() { Instant::now(); }"),
    ("src/config.rs", "use mio::Token;"),
    (
        "src/config/value.rs",
        "use crate::protocol::handshake::Upgrade;",
    ),
    ("src/cli/options.rs", "use ini::Ini;"),
    ("src/client/x.rs", "use crate::net::Server;"),
    ("src/logging.rs", "use crate::app::Session;"),
    ("src/logging.rs", "use std::net::TcpStream;"),
    ("src/main.rs", "fn f() { Instant::now(); }"),
    ("src/lib.rs", "unsafe fn f() {}"),
    ("src/util.rs", "use std::fmt;"),
];

const HARMLESS: [(&str, &str); 22] = [
    ("src/protocol/x.rs", "// use mio::Token; Instant::now()"),
    (
        "src/protocol/x.rs",
        "/* use mio::Token; /* nested */ std::net::TcpStream */",
    ),
    (
        "src/protocol/x.rs",
        r#"const S: &str = "std::net::TcpStream // unsafe \" log::debug";"#,
    ),
    (
        "src/protocol/x.rs",
        r##"const S: &str = r#"use "mio"::Token; Instant::now()"#;"##,
    ),
    (
        "src/protocol/x.rs",
        r#"const C: [char; 3] = ['"', '\'', '{']; // mio::Token"#,
    ),
    (
        "src/protocol/x.rs",
        r#"fn f<'a>(x: &'a str) -> &'a str { x } // "mio::Token"#,
    ),
    (
        "src/protocol/x.rs",
        "#[cfg(test)] mod tests { fn f() { let s = \"}\"; std::thread::spawn(f); } }",
    ),
    ("src/protocol/x.rs", "#[cfg(test)] use std::time::Instant;"),
    (
        "src/protocol/x.rs",
        "struct S { #[cfg(test)] now: std::time::Instant, a: u8 } const B: u8 = 0;",
    ),
    (
        "src/protocol/x.rs",
        "#[cfg(all(test, unix))] fn f<A, B>() -> std::net::IpAddr { g() }",
    ),
    (
        "src/protocol/mod.rs",
        "#[cfg(test)] #[allow(dead_code)] mod frame_tests;",
    ),
    ("src/protocol/frame_tests.rs", "use std::net::TcpStream;"),
    ("src/protocol/mod.rs", "#![forbid(unsafe_code)]"),
    (
        "src/protocol/mod.rs",
        "use self::frame::Header; use super::protocol::mask;",
    ),
    (
        "src/protocol/http.rs",
        "use std::{borrow::Cow, fmt::{self, Write as _}}; use sha1::Digest;",
    ),
    (
        "src/protocol/x.rs",
        "fn f() -> impl Sized + use<> { Vec::<u8>::new() }",
    ),
    (
        "src/connection/x.rs",
        "use std::time::{Duration, Instant}; use crate::protocol::frame::Decoder;",
    ),
    (
        "src/app/x.rs",
        "use std::net::IpAddr; use crate::connection::ConnId; use ipnet::IpNet;",
    ),
    (
        "src/net/x.rs",
        "use mio::Poll; fn f() { Instant::now(); crate::app::Session::new(); }",
    ),
    (
        "src/ops/x.rs",
        "use mio::{Interest, Registry, Token}; use signal_hook_mio::v1_0::Signals;",
    ),
    ("src/config.rs", "use crate::connection::Connection;"),
    ("src/main.rs", "use websock::net::Server; use mio::Token;"),
];

#[test]
fn each_planted_offender_is_found_where_it_stands() {
    for offender in OFFENDERS {
        let (file, code) = offender;
        let found = breaches_in(&[HOUSE.as_slice(), &[offender]].concat());
        let is_found = found.iter().any(|breach| breach.file == file);
        assert!(is_found, "not found in {file}: {code}\n{found:?}");
    }
    let two_lines = breaches_in(&[("src/app/x.rs", "fn f() {}\nuse log::warn;\nuse mio::Token;")]);
    let lines: Vec<usize> = two_lines.iter().map(|breach| breach.line).collect();
    assert_eq!(lines, [4], "{two_lines:?}");
}

#[test]
fn what_only_looks_like_an_offender_is_none() {
    assert_eq!(breaches_in(&HOUSE), []);
    let re_exported = [
        (
            "src/connection/mod.rs",
            "pub use crate::base::slot_map::SlotMap;",
        ),
        ("src/base/slot_map.rs", "pub struct SlotMap;"),
        ("src/app/x.rs", "use crate::connection::SlotMap;"),
    ];
    assert_eq!(breaches_in(&re_exported), [], "it is base's");
    for harmless in HARMLESS {
        let mut files = [HOUSE.as_slice(), &[harmless]].concat();
        if harmless.0 == "src/protocol/frame_tests.rs" {
            files.push(("src/protocol/mod.rs", "#[cfg(test)] mod frame_tests;"));
        }
        let found = breaches_in(&files);
        assert!(found.is_empty(), "{harmless:?}: {found:?}");
    }
}

/// What is said about circles.
fn circles_in(files: &[(&str, &str)]) -> Vec<String> {
    let rules = breaches_in(files).into_iter().map(|breach| breach.rule);
    rules.filter(|rule| rule.contains("in a circle")).collect()
}

#[test]
fn circles_of_files_are_found_however_they_are_closed() {
    let two = "2 files in a circle: src/app/a.rs → src/app/b.rs → src/app/a.rs";
    for (a, b) in [
        (
            "use super::b::B; pub struct A;",
            "use super::a::A; pub struct B;",
        ),
        ("fn f() { super::b::g() }", "fn g() { crate::app::a::f() }"),
        // Through what the folder re-exports.
        (
            "use super::B; pub struct A;",
            "use crate::app::A; pub struct B;",
        ),
        // Methods of a type in another file than the type, which names something of that file.
        (
            "use super::b::B; pub struct A(B);",
            "use super::A; pub struct B; impl A { fn g(&self) {} }",
        ),
        (
            "pub struct A<T>(T); fn f() { super::b::g() }",
            "impl<T: Copy> super::A<T> where T: Sized { fn g() {} } fn g() {}",
        ),
    ] {
        let folder = "mod a; mod b; pub use a::A; pub use b::*;";
        let files = [
            ("src/app/mod.rs", folder),
            ("src/app/a.rs", a),
            ("src/app/b.rs", b),
        ];
        assert_eq!(circles_in(&files), [two], "{a} {b}");
    }
    let parent = [
        ("src/app/mod.rs", "mod a; use a::A; pub struct B;"),
        ("src/app/a.rs", "use super::B; pub struct A;"),
    ];
    assert_eq!(circles_in(&parent).len(), 1, "a folder and its child");
    let three = [
        ("src/net/a.rs", "use super::b::f;"),
        ("src/net/b.rs", "use super::c::f;"),
        ("src/net/c.rs", "use super::a::f;"),
    ];
    assert_eq!(circles_in(&three).len(), 1);
    for (a, b) in [
        ("use super::b::B;", "pub struct B; impl Clone for B {}"),
        (
            "use super::b::B; impl From<B> for u8 {}",
            "#[cfg(test)] use super::a::A; pub struct B;",
        ),
        ("pub use super::b::B;", "use super::a::f; pub struct B;"),
        // Methods of a type in another file than the type, which only calls them.
        (
            "pub struct A; fn f() { A.g() }",
            "use super::a::A; impl A { fn g(&self) {} }",
        ),
    ] {
        assert_eq!(
            circles_in(&[("src/app/a.rs", a), ("src/app/b.rs", b)]),
            [""; 0],
            "{a} {b}"
        );
    }
}

#[test]
fn circles_of_folders_are_found_though_their_files_make_none() {
    let files = [
        ("src/app/a.rs", "use crate::net::b::f;"),
        ("src/net/b.rs", "pub fn f() {}"),
        ("src/net/c.rs", "use crate::app::d::f;"),
        ("src/app/d.rs", "pub fn f() {}"),
    ];
    assert_eq!(
        circles_in(&files),
        ["2 folders in a circle: app → net → app"]
    );
}

#[test]
fn a_crate_that_a_layer_does_not_use_is_struck_off() {
    const WITH_LOG: Rules = Rules {
        layers: &[layer("base", "", "log")],
        ..STRICT
    };
    for (code, count) in [
        ("fn f() { log::info!(\"x\") }", 0),
        ("// log\nuse std::fmt;", 1),
    ] {
        let tree = Tree::from([("src/base/x.rs".to_owned(), code.to_owned())]);
        assert_eq!(WITH_LOG.idle_crates(&tree).len(), count, "{code}");
    }
}

#[test]
fn what_is_tolerated_is_struck_off_once_it_is_gone() {
    let rules = Rules {
        tolerated_uses: &[("app", "net")],
        tolerated_paths: &[("src/app/a.rs", "std::thread::spawn")],
        tolerated_circles: &["src/app/a.rs src/app/b.rs"],
        ..STRICT
    };
    let breaches = |files: &[(&str, &str)]| {
        let tree = files
            .iter()
            .map(|(file, code)| ((*file).to_owned(), (*code).to_owned()));
        rules.breaches(&tree.collect(), &[])
    };
    let server = ("src/net/server.rs", "pub struct Server;");
    let as_tolerated = [
        server,
        (
            "src/app/a.rs",
            "use super::b::f; use crate::net::server::Server; use std::thread::spawn;",
        ),
        ("src/app/b.rs", "use super::a::f;"),
    ];
    assert_eq!(breaches(&as_tolerated), []);
    let better = [server, ("src/app/a.rs", ""), ("src/app/b.rs", "")];
    assert_eq!(
        breaches(&better).len(),
        4,
        "a use, a path, two files of a circle"
    );
    let worse = [
        server,
        (
            "src/app/a.rs",
            "use super::b::f; use crate::net::server::Server; use std::thread::spawn;",
        ),
        ("src/app/b.rs", "use super::c::f;"),
        ("src/app/c.rs", "use super::a::f;"),
    ];
    let worse = breaches(&worse);
    assert!(worse[0].rule.contains("3 files in a circle"), "{worse:?}");
}
