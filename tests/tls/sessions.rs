//! What is agreed on: versions, key exchange, protocol, resumption.

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, NamedGroup, ProtocolVersion};

use crate::authority::{Authority, Files, dial, expect_dialogue, try_dial};
use crate::harness::tls::{TlsTransport, client_config, roots, trusting_over};
use crate::harness::{Conn, Request, Server};

fn start(authority: &Authority) -> (Server, Files) {
    let leaf = authority.issue("localhost");
    let files = Files::new();
    (
        Server::start(&files.pair(&leaf.pem, &leaf.key_pem())),
        files,
    )
}

#[test]
fn the_newest_version_and_the_hybrid_key_exchange_are_agreed_on() {
    let authority = Authority::new();
    let (server, _files) = start(&authority);
    let transport = dial(&server, authority.client(), "localhost");
    let session = transport.session();
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let group = session.negotiated_key_exchange_group();
    let group = group.expect("a group").name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    expect_dialogue(transport);
    let old = authority.client_over(&[&TLS12]);
    let transport = dial(&server, old, "localhost");
    let version = transport.session().protocol_version();
    assert_eq!(version, Some(ProtocolVersion::TLSv1_2));
    expect_dialogue(transport);
}

#[test]
fn http_1_1_is_agreed_on_and_http_2_alone_is_refused() {
    let authority = Authority::new();
    let (server, _files) = start(&authority);
    let offering = |protocols: &[&[u8]]| {
        let mut config = authority.client();
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        try_dial(&server, config, "localhost")
    };
    for protocols in [&[&b"http/1.1"[..]][..], &[b"h2", b"http/1.1"]] {
        let transport = offering(protocols).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(transport.session().alpn_protocol(), Some(&b"http/1.1"[..]));
        expect_dialogue(transport);
    }
    let error = offering(&[b"h2"]).err().expect("h2 is not spoken");
    assert!(error.contains("NoApplicationProtocol"), "{error}");
}

#[test]
fn a_client_that_comes_back_resumes_its_session() {
    let server = Server::start("");
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(trusting_over(roots(), &[version]));
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let stream = std::net::TcpStream::connect(server.address());
            let stream = stream.expect("the server accepts");
            let transport = TlsTransport::connect_with(stream, Arc::clone(&config));
            kinds.push(transport.session().handshake_kind());
            // Its ticket has come by the time that something else has.
            let conn = Conn::new(Box::new(transport));
            conn.open(&Request::to("/web")).close();
        }
        let resumed = Some(HandshakeKind::Resumed);
        let full = Some(HandshakeKind::Full);
        assert_eq!(kinds, [full, resumed, resumed], "{version:?}");
    }
}

#[test]
fn a_ticket_of_another_server_is_no_harm() {
    let config = client_config();
    for _ in 0..2 {
        let server = Server::start("");
        for _ in 0..2 {
            let stream = std::net::TcpStream::connect(server.address());
            let stream = stream.expect("the server accepts");
            let transport = TlsTransport::connect_with(stream, Arc::clone(&config));
            expect_dialogue(transport);
        }
    }
}
