//! Handshakes that do not end, and records that are none.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use rustls::{ProtocolVersion, SupportedProtocolVersion};

use crate::harness::frame::{CONTINUATION, FIN, TEXT, masked};
use crate::harness::tls::{client_config, session};
use crate::harness::{Conn, PATIENCE, Request, Server, dial_from, readable};
use crate::scene::Scene;

/// A TCP connection on which a test speaks TLS, or not, by itself.
#[track_caller]
pub(crate) fn dial(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    stream
}

/// The record with which a client begins.
pub(crate) fn client_hello() -> Vec<u8> {
    let mut hello = Vec::new();
    let mut session = session(client_config());
    session.write_tls(&mut hello).expect("a vector takes it");
    hello
}

/// All that comes until the connection ends, in whichever way.
#[track_caller]
pub(crate) fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("no end: {error}"),
        _ => bytes,
    }
}

/// Nothing but TLS records, of which the last may be cut (RFC 8446 §5.1).
#[track_caller]
pub(crate) fn expect_records(name: &str, bytes: &[u8]) {
    let mut rest = bytes;
    while let [kind, 3, 0..=4, high, low, behind @ ..] = rest {
        assert!((20..=23).contains(kind), "{name}: {}", readable(bytes));
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        rest = behind.get(len..).unwrap_or_default();
    }
    assert!(rest.len() < 5, "{name}: {}", readable(bytes));
}

/// Nothing but records, and the last of them is an alert. Under TLS 1.3 it is encrypted like any other
/// and told by its length: two bytes, their type, and 16 of authentication (RFC 8446 §5.2).
#[track_caller]
pub(crate) fn expect_alert(name: &str, version: &SupportedProtocolVersion, bytes: &[u8]) {
    expect_records(name, bytes);
    let (mut rest, mut last) = (bytes, None);
    while let [kind, 3, 0..=4, high, low, behind @ ..] = rest {
        let len = u16::from_be_bytes([*high, *low]);
        last = Some((*kind, len));
        rest = behind.get(usize::from(len)..).unwrap_or_default();
    }
    let is_alert = match last {
        Some((ALERT, _)) => true,
        Some((APPLICATION_DATA, len)) => version.version == ProtocolVersion::TLSv1_3 && len == 19,
        _ => false,
    };
    assert!(
        is_alert,
        "{name}: no alert at the end of {}",
        readable(bytes)
    );
}

/// A record of this content type.
pub(crate) fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).expect("at most 65,535 bytes");
    [&[kind, 3, 3][..], &len.to_be_bytes(), payload].concat()
}

pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION_DATA: u8 = 23;

#[test]
fn five_hundred_half_handshakes_are_ended_while_others_go_on() {
    let scene = Scene::start("handshakeTimeout=1");
    let mut attackers: Vec<TcpStream> = (0..500).map(|_| dial(&scene.server)).collect();
    for (index, stream) in attackers.iter_mut().enumerate() {
        let hello = client_hello();
        // Some stop within their hello, some when they should answer the server's.
        let len = 1 + index * hello.len() / 400;
        let sent = stream.write_all(&hello[..len.min(hello.len())]);
        sent.expect("the server reads");
        scene.step();
    }
    for stream in &mut attackers {
        expect_records("half a handshake", &read_to_end(stream));
        scene.step();
    }
    drop(attackers);
    scene.end();
}

#[test]
fn a_byte_at_a_time_does_not_prolong_a_handshake() {
    let scene = Scene::start("handshakeTimeout=1");
    let mut stream = dial(&scene.server);
    let moment = std::time::Duration::from_millis(1);
    stream.set_read_timeout(Some(moment)).expect("a timeout");
    let mut ended = false;
    // A hello that announces 16 KiB.
    let beginning = [HANDSHAKE, 3, 1, 0x40, 0, 1, 0, 0x3F, 0xFC];
    for byte in beginning.into_iter().chain(std::iter::repeat_n(0, 16_000)) {
        if stream.write_all(&[byte]).is_err() {
            ended = true;
            break;
        }
        scene.step();
        match stream.read(&mut [0; 64]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => {
                ended = true;
                break;
            }
            Ok(_) => {}
        }
    }
    assert!(ended, "a dripping handshake is ended");
    drop(stream);
    scene.end();
}

#[test]
fn what_is_no_handshake_is_ended_with_an_alert_at_most() {
    let noise: Vec<u8> = (0..16_000_u32).map(|n| ((n * 7919) >> 5) as u8).collect();
    let hello = client_hello();
    let mut wrong_length = hello.clone();
    wrong_length[3..5].copy_from_slice(&[0xFF, 0xFF]);
    let cut_hello = [&hello[..hello.len() - 10], &[0xFF; 64]].concat();
    let scene = Scene::start("handshakeTimeout=1");
    for (name, bytes) in [
        ("noise in a record", record(HANDSHAKE, &noise)),
        (
            "noise behind a first byte",
            [&[HANDSHAKE], &*noise].concat(),
        ),
        ("an empty record", record(HANDSHAKE, b"")),
        ("many empty records", record(HANDSHAKE, b"").repeat(10_000)),
        ("a record of 65,535 bytes", wrong_length),
        ("a hello whose end is wrong", cut_hello),
        (
            "a message of 16 MiB",
            record(HANDSHAKE, &[1, 0xFF, 0xFF, 0xFF]),
        ),
        (
            "the same, and more and more of it",
            [
                record(HANDSHAKE, &[1, 0xFF, 0xFF, 0xFF]),
                record(HANDSHAKE, &[0; 16_000]).repeat(50),
            ]
            .concat(),
        ),
        (
            "a hello of SSL 2",
            b"\x16\x2E\x01\0\x02\0\x15\0\0\0\x10".to_vec(),
        ),
        (
            "data behind a hello",
            [&*hello, &record(APPLICATION_DATA, &noise)].concat(),
        ),
        (
            "alerts",
            [&*hello, &record(ALERT, &[1, 90]).repeat(1000)].concat(),
        ),
        (
            "change_cipher_spec without end",
            [&*hello, &record(CHANGE_CIPHER_SPEC, &[1]).repeat(10_000)].concat(),
        ),
        ("two hellos", [&*hello, &*hello].concat()),
        (
            "Finished at once",
            [&*hello, &record(HANDSHAKE, &[20, 0, 0, 0])].concat(),
        ),
    ] {
        for _ in 0..10 {
            let mut stream = dial(&scene.server);
            // The server may have ended it by then.
            let _ = stream.write_all(&bytes);
            expect_records(name, &read_to_end(&mut stream));
            scene.step();
        }
    }
    scene.end();
}

#[test]
fn plain_http_is_told_that_this_port_speaks_tls() {
    let scene = Scene::start("");
    for request in [
        Request::to("/web").bytes(),
        Request::php("/php").bytes(),
        b"GET / HTTP/1.0\r\n\r\n".to_vec(),
        b"POST /push HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        b"\0".to_vec(),
        b"\x80\x2E\x01\0\x02".to_vec(),
    ] {
        for _ in 0..20 {
            let mut stream = dial(&scene.server);
            stream.write_all(&request).expect("the server reads");
            let answer = read_to_end(&mut stream);
            let answer = String::from_utf8(answer).expect("a plain answer");
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
            for part in ["\r\nConnection: close\r\n", "speaks TLS", "wss://"] {
                assert!(answer.contains(part), "{part:?} in {answer}");
            }
            scene.step();
        }
    }
    scene.end();
}

/// Bytes of handshakes that do not end count for the total, and used to count for nobody: those who
/// held something else were cut in their stead.
#[test]
fn half_handshakes_are_paid_for_by_those_who_hold_them() {
    for attacker in [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::LOCALHOST] {
        let scene = Scene::start(
            "memoryLimit=6M\nmaxMessageSize=1M\nmaxQueue=1M\nhandshakeTimeout=60\ncloseTimeout=60",
        );
        let server = &scene.server;
        let mut pages: Vec<Conn> = (0..25).map(|_| server.web()).collect();
        for page in &mut pages {
            page.send_bytes(&masked(TEXT, &[b' '; 10_000]));
            scene.step();
        }
        // A hello of 65,531 bytes whose last ones do not come.
        let hello = [&[1, 0, 0xFF, 0xFB][..], &[0; 64_996]].concat();
        let records: Vec<u8> = hello
            .chunks(16_000)
            .flat_map(|part| record(HANDSHAKE, part))
            .collect();
        let attackers: Vec<TcpStream> = (0..200)
            .map(|_| {
                let mut stream = dial_from(attacker, server);
                // It may be refused, or cut for the others.
                let _ = stream.write_all(&records);
                scene.step();
                stream
            })
            .collect();
        server.wait_for_log("memoryLimit reached");
        for page in &mut pages {
            page.send_bytes(&masked(FIN | CONTINUATION, b"{}"));
            page.expect_next();
            page.round_trip();
        }
        drop((pages, attackers));
        scene.end_keeping(32 << 20);
    }
}
