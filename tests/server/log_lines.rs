//! What the log tells about those who were refused, have failed, or have gone.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;

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
        wait_for_parts(&server, &[parts, &["(127.0.0.1)"]].concat());
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
