//! What the log tells about those who were refused, have failed, or have gone.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;

use rustix::process::Signal;
use rustls::RootCertStore;

use crate::harness::frame::masked;
use crate::harness::{Request, Server, connect, server, tls};

/// The line in which all of `parts` are.
#[track_caller]
fn wait_for_parts(server: &Server, parts: &[&str]) -> String {
    server.wait_for_line(&format!("{parts:?}"), |line| {
        parts.iter().all(|part| line.contains(part))
    })
}

/// Sends a push with these header lines beside its type and length.
#[track_caller]
fn push(server: &Server, headers: &str, body: &str) -> u16 {
    let mut conn = connect(server);
    let head = format!(
        "POST /push HTTP/1.1\r\n{headers}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    conn.send_bytes(format!("{head}{body}").as_bytes());
    conn.read_response().status()
}

const BROADCAST: &str = r#"{"opcode":"broadcast"}"#;

// promise: a line about a refusal says whom it was about
#[test]
fn each_refusal_carries_the_address_and_its_reason() {
    let server = Server::start("");
    let many = "X: y\r\n".repeat(2000);
    for (bytes, parts) in [
        (
            Request::to("/web").without("Sec-WebSocket-Key").bytes(),
            &["refused: 400 ", "Sec-WebSocket-Key"][..],
        ),
        (
            Request::to("/web")
                .set("Sec-WebSocket-Version", "8")
                .bytes(),
            &["refused: 426 "],
        ),
        (b"no request\r\n\r\n".to_vec(), &["refused: 400 "]),
        (
            format!("GET / HTTP/1.1\r\n{many}\r\n").into_bytes(),
            &["refused: 431 "],
        ),
        (
            Request::to("/web").with("Ident", &"i".repeat(129)).bytes(),
            &["refused: 400 ", "maxIdent"],
        ),
        (
            Request::php("/php")
                .with("X-Forwarded-For", "192.0.2.1")
                .bytes(),
            &["refused: 403 "],
        ),
        (
            b"GET /health HTTP/1.0\r\nVia: a\r\n\r\n".to_vec(),
            &["health", "refused"],
        ),
    ] {
        let mut conn = connect(&server);
        conn.send_bytes(&bytes);
        assert!(conn.read_response().status() >= 400);
        wait_for_parts(
            &server,
            &[&["; warning: "], parts, &["(127.0.0.1)"]].concat(),
        );
    }
    assert_eq!(push(&server, "Host: evil.example\r\n", BROADCAST), 403);
    wait_for_parts(&server, &["push", "refused", "evil.example", "(127.0.0.1)"]);
}

// promise: a line about a refusal says whom it was about
#[test]
fn a_refusal_behind_a_trusted_proxy_carries_the_clients_address() {
    let server =
        Server::start("trustedProxies=127.0.0.1\nallowedOrigins=https://shop.example\nmaxPerIP=1");
    let forwarded = |request: Request| request.with("X-Forwarded-For", "192.0.2.7");
    let evil = forwarded(Request::to("/web").with("Origin", "https://evil.example"));
    assert_eq!(connect(&server).request(&evil).status(), 403);
    wait_for_parts(&server, &["refused", "https://evil.example", "192.0.2.7"]);
    let script = forwarded(Request::php("/php"));
    assert_eq!(connect(&server).request(&script).status(), 403);
    wait_for_parts(&server, &["refused", "allowedIP", "192.0.2.7"]);
    let headers = "Host: localhost\r\nX-Forwarded-For: 192.0.2.8\r\n";
    assert_eq!(push(&server, headers, BROADCAST), 403);
    wait_for_parts(&server, &["push", "refused", "allowedIP", "192.0.2.8"]);
    let page = forwarded(Request::to("/web").with("Origin", "https://shop.example"));
    let _first = server.open(&page);
    let mut second = connect(&server);
    second.upgrade(&page);
    wait_for_parts(&server, &["turned away", "Too many", "192.0.2.7"]);
}

// promise: a refused origin is named
#[test]
fn a_refused_origin_is_named() {
    let server = Server::start("allowedOrigins=https://shop.example");
    for origin in ["https://evil.example", "null", "https://a\u{9b}31mb"] {
        let request = Request::to("/web").with("Origin", origin);
        assert_eq!(connect(&server).request(&request).status(), 403);
        // What cannot be shown is escaped.
        let shown = origin.replace('\u{9b}', "\\u{9b}");
        wait_for_parts(&server, &["refused: 403 ", &shown, "(127.0.0.1)"]);
        let headers = format!("Host: localhost\r\nOrigin: {origin}\r\n");
        assert_eq!(push(&server, &headers, BROADCAST), 403);
        wait_for_parts(&server, &["push", "refused", &shown, "(127.0.0.1)"]);
    }
    assert_eq!(connect(&server).request(&Request::to("/web")).status(), 403);
    wait_for_parts(&server, &["refused: 403 ", "no origin", "(127.0.0.1)"]);
}

// promise: a TLS handshake that fails is told with its reason, without loglevel=debug
#[test]
fn a_failed_tls_handshake_is_told_with_its_reason() {
    let directory = server::Directory::new();
    let identity = tls::write_identity(&directory.path);
    let server = Server::start(&format!("adress=wss://127.0.0.1:0\n{identity}"));
    let dial = || TcpStream::connect(server.address()).expect("the server accepts");
    // A client that does not know the certificate's issuer says so by an alert.
    let stranger = Arc::new(tls::trusting(RootCertStore::empty()));
    let _client = tls::TlsTransport::connect_with(dial(), stranger);
    let failed = "the TLS handshake failed: ";
    wait_for_parts(&server, &[failed, "UnknownCA", "(127.0.0.1)"]);
    // One that does not begin with a hello.
    let mut stream = dial();
    let finished = b"\x16\x03\x01\0\x04\x14\0\0\0";
    stream.write_all(finished).expect("the server reads");
    server.wait_for_line("another reason", |line| {
        line.contains(failed) && !line.contains("UnknownCA") && line.ends_with("(127.0.0.1)")
    });
    // And the other way round, on a port without TLS.
    let plain = Server::start("");
    let mut stream = TcpStream::connect(plain.address()).expect("the server accepts");
    stream
        .write_all(b"\x16\x03\x01\0\x04\x01\0\0\0")
        .expect("the server reads");
    wait_for_parts(&plain, &["TLS", "wss://", "(127.0.0.1)"]);
}

// promise: at debug the log tells of messages that found nobody
#[test]
fn what_found_nobody_is_a_line_at_debug() {
    let nobody = r#"{"opcode":"feedback","ident":"nobody-of-this-name"}"#;
    let debug = Server::start("loglevel=debug");
    assert_eq!(push(&debug, "Host: localhost\r\n", nobody), 404);
    let line = wait_for_parts(&debug, &["push on #", "nobody"]);
    assert!(!line.contains("nobody-of-this-name"), "{line}");
    let mut page = debug.web();
    page.send_for_next(nobody);
    debug.wait_for_log("no receiver for feedback from #");

    let info = Server::start("");
    assert_eq!(push(&info, "Host: localhost\r\n", nobody), 404);
    info.web().close();
    info.wait_for_log("Connection closed to socket #");
    let lines = info.log_lines();
    assert!(
        !lines.iter().any(|line| line.contains("nobody")),
        "{lines:?}"
    );
}

// promise: the log is in words, not in Rust
#[test]
fn no_line_shows_the_insides_of_the_program() {
    let server = Server::start("loglevel=trace");
    server.web().close();
    let mut quitting = server.php();
    quitting.send_text(r#"{"opcode":"quit"}"#);
    quitting.expect_next();
    quitting.expect_close_and_end(1000);
    for payload in [&b"\x03\xe9"[..], b"", b"\x0f\xa0because", b"\x03\xed"] {
        let mut page = server.web();
        page.send_bytes(&masked(0x88, payload));
        page.read_to_end();
    }
    server.web().reset();
    let mut violating = server.web();
    violating.send_bytes(b"\xf1\x80\0\0\0\0");
    violating.expect_close_and_end(1002);
    let mut broken = server.web();
    broken.send_text("{");
    broken.expect_next();
    broken.expect_close_and_end(1007);
    drop(connect(&server));
    server.wait_for_log("closes with 1000");
    server.wait_for_log("closes with 1001");
    server.wait_for_log("closes without a code");
    server.wait_for_log("Connection reset by peer (127.0.0.1)");
    for line in server.log_lines() {
        for inside in [
            "Some(",
            "None",
            "Ok(",
            "Err(",
            "CloseCode",
            "kind:",
            "os error",
            "ConnId",
            "::",
            "{ ",
        ] {
            assert!(!line.contains(inside), "{inside:?} in {line}");
        }
    }
}

// promise: the first line says what runs, by which file, and where it listens
#[test]
fn the_first_line_says_what_runs() {
    // A warning comes after it.
    let server = Server::start("adress=ws://127.0.0.1:0 web");
    server.wait_for_log("holds instead of line 1");
    let lines = server.log_lines();
    let first = lines.first().expect("a line");
    let version = concat!("; websock ", env!("CARGO_PKG_VERSION"), " (");
    let pid = format!("), process {}, ", server.pid());
    let ini = format!("{}/", server.directory().display());
    for part in [version, &pid, &ini, ".ini, ", "ws://127.0.0.1:0 web"] {
        assert!(first.contains(part), "{part} is not in {first}");
    }
}

// promise: a line about a refusal says whom it was about, however long what he has sent is
#[test]
fn what_a_client_has_sent_does_not_hide_its_address() {
    let server = Server::start("allowedOrigins=https://shop.example");
    let long = format!("{} (192.0.2.9)", "a".repeat(7000));
    let refused = Request::to("/web").with("Origin", &long);
    assert_eq!(connect(&server).request(&refused).status(), 403);
    let headers = format!("Host: localhost\r\nOrigin: {long}\r\n");
    assert_eq!(push(&server, &headers, BROADCAST), 403);
    let path = format!("/{}", "p".repeat(7000));
    let mut nowhere = connect(&server);
    nowhere.upgrade(&Request::to(&path).with("Origin", "https://shop.example"));
    for parts in [
        ["#", " refused: 403 ", "origin aaa"],
        ["push on #", " refused: ", "origin aaa"],
        ["#", " turned away: ", "no resource /ppp"],
    ] {
        let line = wait_for_parts(&server, &parts);
        assert!(line.ends_with("… (127.0.0.1)"), "{line}");
    }
}

// promise: connections have no lines with logConnections=off, and refusals still have theirs
#[test]
fn connections_are_not_told_if_they_are_not_to_be() {
    let dialogue = |ini: &str| {
        let server = Server::start(ini);
        server.web().close();
        server.php().close();
        let no_key = Request::to("/web").without("Sec-WebSocket-Key");
        assert_eq!(connect(&server).request(&no_key).status(), 400);
        let mut broken = server.web();
        broken.send_bytes(b"\xf1\x80\0\0\0\0");
        broken.expect_close_and_end(1002);
        wait_for_parts(&server, &["refused: 400 ", "(127.0.0.1)"]);
        wait_for_parts(&server, &["broke a rule: ", "(127.0.0.1)"]);
        server.signal(Signal::TERM);
        server.wait_for_log("Server stopped");
        let lines = server.log_lines();
        let begin = lines.iter().position(|line| line.contains("Listening on"));
        lines
            .into_iter()
            .skip(begin.expect("it listens") + 1)
            .collect::<Vec<_>>()
    };
    let told = dialogue("").join("\n");
    for line in ["New client connecting", "Connection closed to socket #"] {
        assert!(told.contains(line), "{line} is not in {told}");
    }
    let lines = dialogue("logConnections=off");
    let kinds = ["refused: ", "broke a rule: ", "Stopping", "Server stopped"];
    let other = |line: &&String| !kinds.iter().any(|kind| line.contains(kind));
    let others: Vec<&String> = lines.iter().filter(other).collect();
    assert!(others.is_empty(), "{others:?}");
    let debug = dialogue("logConnections=off\nloglevel=debug").join("\n");
    assert!(debug.contains("New client connecting"), "{debug}");
}

/// The counts in a line of totals: of those that came and went, five; and of those who are here.
fn totals(line: &str) -> ([u64; 5], [u64; 2]) {
    let (_, text) = line.split_once("summary: ").expect("a line of totals");
    let counts: Vec<u64> = text
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let (since, now) = counts.split_at(5);
    (
        since.try_into().expect("five"),
        now[..2].try_into().expect("two"),
    )
}

// promise: the totals of logSummary are what has happened, each in one line
#[test]
fn the_lines_of_totals_add_up_to_what_has_happened() {
    const SUMMARY: &str = "Since the last summary: ";
    let server = Server::start("logSummary=1");
    let mut page = server.web();
    let other = server.web();
    let mut script = server.php();
    // Three have been sent ready. This one sends this and an echo, and gets next twice and the echo.
    page.send_for_next(r#"{"opcode":"feedback","uuid":"nobody"}"#);
    // In one, out one.
    script.send_text(r#"{"opcode":"quit"}"#);
    script.expect_next();
    script.expect_close_and_end(1000);
    for _ in 0..3 {
        let no_key = Request::to("/web").without("Sec-WebSocket-Key");
        assert_eq!(connect(&server).request(&no_key).status(), 400);
    }
    other.reset();
    server.wait_for_lines("Connection closed to socket #", 2);
    let wanted = [2, 1, 3, 7, 3];
    let mut count = 1;
    let told = loop {
        let lines = server.wait_for_lines(SUMMARY, count);
        let mut sum = [0; 5];
        for line in &lines {
            let (since, _) = totals(line);
            sum.iter_mut().zip(since).for_each(|(sum, one)| *sum += one);
        }
        let (_, now) = totals(lines.last().expect("a line"));
        if now == [1, 0] && sum[4] == wanted[4] {
            break sum;
        }
        count += 1;
    };
    assert_eq!(told, wanted);
    // Nothing is counted twice.
    let lines = server.wait_for_lines(SUMMARY, count + 1);
    assert_eq!(totals(&lines[count]), ([0; 5], [1, 0]));
    drop(page);
}
