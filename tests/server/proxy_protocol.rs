//! The PROXY protocol (protocol.md 1.7, 1.8, 1.11): where `proxy` stands behind an address.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::dial::start_tls_with;
use crate::harness::{Conn, PATIENCE, Request, Server, connect};

const INI: &str = "adress=ws://127.0.0.1:0 proxy\ntrustedProxies=127.0.0.1\n";

/// A header of version 2 for a client of 192.0.2.7, with something that a load balancer adds.
fn version_2() -> Vec<u8> {
    let addresses = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
    let noop = [4, 0, 1, 0];
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10".to_vec();
    header.extend(addresses.iter().chain(&noop));
    header
}

fn headers() -> [Vec<u8>; 2] {
    [
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 80\r\n".to_vec(),
        version_2(),
    ]
}

fn forwarded(server: &Server, header: &[u8]) -> Conn {
    let mut conn = connect(server);
    conn.send_bytes(header);
    conn
}

// protocol.md 1.8
#[test]
fn both_versions_tell_whom_the_proxy_forwards() {
    for header in headers() {
        let server = Server::start(INI);
        forwarded(&server, &header)
            .open(&Request::to("/web"))
            .round_trip();
        server.wait_for_log("is 192.0.2.7:4660, forwarded by 127.0.0.1");
    }
}

// promise: the PROXY protocol is spoken where the ini says so, and nowhere else
#[test]
fn a_header_and_a_request_may_come_together_or_in_pieces() {
    let server = Server::start(INI);
    for header in headers() {
        let mut bytes = header.clone();
        bytes.extend(Request::to("/web").bytes());
        let mut conn = connect(&server);
        conn.send_bytes(&bytes);
        assert_eq!(conn.read_response().status(), 101);
        conn.expect_ready();
        conn.round_trip();
        let mut pieces = connect(&server);
        for byte in &bytes {
            pieces.send_bytes(&[*byte]);
            conn.wait_until_handled();
        }
        assert_eq!(pieces.read_response().status(), 101);
    }
}

// protocol.md 1.7
#[test]
fn a_script_behind_it_is_judged_by_its_own_address() {
    let script = Request::php("/php");
    for header in headers() {
        let server = Server::start(INI);
        assert_eq!(forwarded(&server, &header).request(&script).status(), 403);
        let server = Server::start(&format!("{INI}allowedIP=192.0.2.7"));
        forwarded(&server, &header).open(&script).round_trip();
        // Who connects to the proxy is no proxy of ours.
        let pretended = script.clone().with("X-Forwarded-For", "192.0.2.7");
        assert_eq!(
            forwarded(&server, &header).request(&pretended).status(),
            403
        );
    }
}

// protocol.md 1.7
#[test]
fn whom_the_proxy_does_not_tell_is_no_script() {
    let server = Server::start(INI);
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let mut conn = forwarded(&server, header);
        assert_eq!(conn.request(&Request::php("/php")).status(), 403);
        let pretended = Request::php("/php").with("X-Forwarded-For", "127.0.0.1");
        assert_eq!(forwarded(&server, header).request(&pretended).status(), 403);
        forwarded(&server, header)
            .open(&Request::to("/web"))
            .round_trip();
    }
}

// protocol.md 1.11
#[test]
fn each_forwarded_address_has_places_of_its_own() {
    let server = Server::start(&format!("{INI}maxPerIP=1"));
    let from = |ip: &str| format!("PROXY TCP4 {ip} 10.0.0.1 1 80\r\n");
    let mut first = forwarded(&server, from("192.0.2.7").as_bytes()).open(&Request::to("/web"));
    let mut second = forwarded(&server, from("192.0.2.8").as_bytes()).open(&Request::to("/web"));
    let mut third = forwarded(&server, from("192.0.2.7").as_bytes());
    third.upgrade(&Request::to("/web"));
    third.expect_text(r#"{"opcode":"close","error":"Too many connections from: 192.0.2.7"}"#);
    first.round_trip();
    second.round_trip();
}

// promise: the PROXY protocol is spoken where the ini says so, and nowhere else
#[test]
fn who_sends_no_header_or_a_broken_one_is_cut_with_a_line_in_the_log() {
    for (bytes, line) in [
        (Request::to("/web").bytes(), "sends: no PROXY header"),
        (
            b"PROXY TCP4 a b 1 2\r\n".to_vec(),
            "sends: malformed PROXY header",
        ),
        (b"\x16\x03\x01\0\x01".to_vec(), "sends: no PROXY header"),
    ] {
        let server = Server::start(INI);
        let mut conn = connect(&server);
        conn.send_bytes(&bytes);
        conn.expect_end();
        server.wait_for_log(line);
        forwarded(&server, &version_2())
            .open(&Request::to("/web"))
            .round_trip();
    }
    let server = Server::start(&format!("{INI}handshakeTimeout=50ms"));
    let mut conn = forwarded(&server, b"PROXY TCP4");
    conn.read_to_end();
    server.wait_for_log("sends no PROXY header");
}

// promise: the PROXY protocol is spoken where the ini says so, and nowhere else
#[test]
fn who_is_no_trusted_proxy_may_not_connect_there() {
    let server = Server::start("adress=ws://127.0.0.1:0 proxy\ntrustedProxies=10.0.0.1");
    let mut conn = connect(&server);
    let _ = conn.try_send_bytes(&version_2());
    conn.expect_end();
    server.wait_for_log("127.0.0.1");
    server.wait_for_log("if it is yours, set trustedProxies=127.0.0.1");
}

// promise: the PROXY protocol is spoken where the ini says so, and nowhere else
#[test]
fn elsewhere_a_header_is_a_malformed_request() {
    let server = Server::start("trustedProxies=127.0.0.1");
    for header in headers() {
        let mut conn = connect(&server);
        conn.send_bytes(&header);
        conn.send_bytes(&Request::to("/web").bytes());
        assert_eq!(conn.read_response().status(), 400);
    }
}

// promise: the PROXY protocol is spoken where the ini says so, and nowhere else
#[test]
fn a_header_comes_before_tls_even_in_the_same_segment() {
    let words = "proxy\ntrustedProxies=127.0.0.1";
    for header in headers() {
        let (server, files) = start_tls_with(words, |_| {});
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(files.path.join("ca.pem")).expect("a CA");
        roots.add(ca).expect("a CA");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let mut session = ClientConnection::new(Arc::new(config), name).expect("a session");
        let mut bytes = header;
        session.write_tls(&mut bytes).expect("a client hello");
        let mut socket = TcpStream::connect(server.address()).expect("the server accepts");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.write_all(&bytes).expect("the server reads");
        let mut stream = StreamOwned::new(session, socket);
        let request = Request::to("/web").bytes();
        stream.write_all(&request).expect("the server reads");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("an answer");
        assert_eq!(&status, b"HTTP/1.1 101");
        server.wait_for_log("is 192.0.2.7:4660, forwarded by 127.0.0.1");
    }
}
