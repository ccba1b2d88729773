//! Open sessions that are broken, broken off or worn.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::version::{TLS12, TLS13};

use crate::handshakes::{
    APPLICATION_DATA, CHANGE_CIPHER_SPEC, client_hello, dial, expect_alert, expect_records,
    read_to_end, record,
};
use crate::harness::client::NEXT;
use crate::harness::frame;
use crate::harness::tls::{TlsTransport, roots, session, trusting_over};
use crate::harness::{Conn, Request, Server};
use crate::scene::Scene;

/// An open session and the socket below it.
struct Session {
    stream: TcpStream,
    session: ClientConnection,
}

impl Session {
    /// Upgraded on `/web`; `ready` is not read.
    #[track_caller]
    fn open(server: &Server, version: &'static rustls::SupportedProtocolVersion) -> Self {
        let config = Arc::new(trusting_over(roots(), &[version]));
        let mut session = session(config);
        session.set_buffer_limit(None);
        let mut stream = dial(server);
        session.complete_io(&mut stream).expect("a handshake");
        let mut opened = Self { stream, session };
        let request = opened.encrypted(&Request::to("/web").bytes());
        opened.send(&request);
        let count = opened.session.read_tls(&mut opened.stream);
        assert!(count.expect("an answer") > 0);
        opened
    }

    /// The records that carry `plain`.
    fn encrypted(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut records = Vec::new();
        self.session.writer().write_all(plain).expect("room");
        while self.session.wants_write() {
            let written = self.session.write_tls(&mut records);
            written.expect("a vector takes it");
        }
        records
    }

    #[track_caller]
    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Reads until what the server has said ends in `text`.
    #[track_caller]
    fn read_past(&mut self, text: &str) {
        let mut said = Vec::new();
        while !said.ends_with(text.as_bytes()) {
            let state = self.session.process_new_packets().expect("a valid record");
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            let got = self.session.reader().read_exact(&mut plain);
            got.expect("what it says it has");
            said.extend(plain);
            if !said.ends_with(text.as_bytes()) {
                let count = self.session.read_tls(&mut self.stream);
                assert!(
                    count.expect("the server goes on") > 0,
                    "the server has ended"
                );
            }
        }
    }
}

pub(crate) const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

#[test]
fn a_session_that_is_broken_by_the_client_is_ended_with_an_alert() {
    let scene = Scene::start("");
    for version in VERSIONS {
        for (name, bytes) in [
            // Renegotiation as it would be without keys; with them: tests/tls-peers.
            ("a hello in plain", client_hello()),
            (
                "data that is not encrypted",
                record(APPLICATION_DATA, &[0; 100]),
            ),
            (
                "a record that is too long",
                record(APPLICATION_DATA, &[0; 20_000]),
            ),
            ("no record", vec![b'G'; 100]),
            (
                "change_cipher_spec",
                record(CHANGE_CIPHER_SPEC, &[1]).repeat(100),
            ),
        ] {
            for _ in 0..5 {
                let mut opened = Session::open(&scene.server, version);
                let _ = opened.stream.write_all(&bytes);
                expect_alert(name, version, &read_to_end(&mut opened.stream));
                scene.step();
            }
        }
    }
    scene.end();
}

#[test]
fn a_changed_bit_in_a_record_ends_the_session_and_nothing_of_it_is_handled() {
    let scene = Scene::start("");
    let mut witness = scene.server.web();
    for version in VERSIONS {
        for position in [5, 20, 40] {
            let mut opened = Session::open(&scene.server, version);
            let mut bytes = opened.encrypted(&frame::text(r#"{"opcode":"broadcast"}"#));
            bytes[position] ^= 1;
            opened.send(&bytes);
            expect_alert("a changed bit", version, &read_to_end(&mut opened.stream));
            witness.wait_until_handled();
            scene.step();
        }
    }
    witness.close();
    scene.end();
}

#[test]
fn what_came_before_a_broken_record_is_handled_wherever_the_two_are_cut() {
    let scene = Scene::start("");
    let mut witness = scene.server.web();
    for version in VERSIONS {
        for is_cut in [true, false] {
            let packet = format!(r#"{{"opcode":"broadcast","cut":{is_cut}}}"#);
            let mut opened = Session::open(&scene.server, version);
            let good = opened.encrypted(&frame::text(&packet));
            let mut broken = opened.encrypted(&frame::text(r#"{"opcode":"broadcast"}"#));
            broken[20] ^= 1;
            if is_cut {
                opened.send(&good);
                witness.expect_text(&packet);
                opened.send(&broken);
            } else {
                opened.send(&[good, broken].concat());
                witness.expect_text(&packet);
            }
            expect_alert("a changed bit", version, &read_to_end(&mut opened.stream));
            witness.wait_until_handled();
            scene.step();
        }
    }
    witness.close();
    scene.end();
}

#[test]
fn records_of_16_kib_that_drip_are_handled_and_delay_nobody() {
    let scene = Scene::start("");
    let pad = "p".repeat(40_000);
    let packet = format!(r#"{{"opcode":"echo","pad":"{pad}"}}"#);
    for version in VERSIONS {
        let mut receiver = scene.server.web_named("receiver");
        let mut attackers: Vec<Session> = (0..20)
            .map(|_| Session::open(&scene.server, version))
            .collect();
        let feedback =
            packet
                .replace("echo", "feedback")
                .replacen('{', r#"{"ident":"receiver","#, 1);
        let plain = frame::text(&feedback);
        let all: Vec<Vec<u8>> = attackers.iter_mut().map(|a| a.encrypted(&plain)).collect();
        let longest = all.iter().map(Vec::len).max().unwrap_or_default();
        for start in (0..longest).step_by(500) {
            for (attacker, bytes) in attackers.iter_mut().zip(&all) {
                let piece = bytes.get(start..bytes.len().min(start + 500));
                attacker.send(piece.unwrap_or_default());
                scene.step();
            }
        }
        for _ in 0..attackers.len() {
            receiver.expect_text(&feedback);
        }
        receiver.close();
    }
    scene.end();
}

#[test]
fn half_records_that_stay_half_take_no_more_than_they_are() {
    let scene = Scene::start("");
    let mut attackers = Vec::new();
    for number in 0..300 {
        let mut opened = Session::open(&scene.server, VERSIONS[number % 2]);
        let bytes = opened.encrypted(&frame::text(&"x".repeat(16_000)));
        opened.send(&bytes[..bytes.len() - 1]);
        attackers.push(opened);
        scene.step();
    }
    scene.server.web().wait_until_handled();
    // 300 of 16 KiB, and of a session's own memory.
    let grown = scene.grown_bytes();
    assert!(grown < 16 << 20, "{grown} bytes");
    drop(attackers);
    scene.end();
}

#[test]
fn half_records_count_for_the_memory_limit() {
    let scene = Scene::start("memoryLimit=2M\nmaxMessageSize=1M\nmaxQueue=1M");
    let mut attackers = Vec::new();
    for _ in 0..300 {
        // At the limit newcomers are refused.
        let Ok(mut opened) = std::panic::catch_unwind(|| Session::open(&scene.server, &TLS13))
        else {
            break;
        };
        let bytes = opened.encrypted(&frame::text(&"x".repeat(16_000)));
        let _ = opened.stream.write_all(&bytes[..bytes.len() - 1]);
        attackers.push(opened);
        scene.step();
    }
    scene.server.wait_for_log("memoryLimit reached");
    drop(attackers);
    scene.end();
}

#[test]
fn sessions_that_break_off_leave_nothing() {
    let scene = Scene::start("");
    let mut witness = scene.server.web();
    let hello = client_hello();
    for round in 0..300 {
        let version = VERSIONS[round % 2];
        match round % 6 {
            // In the handshake.
            0 => {
                let mut stream = dial(&scene.server);
                let sent = stream.write_all(&hello[..hello.len() * (round + 1) / 301]);
                sent.expect("the server reads");
            }
            // Behind a whole hello: the server's own flight is under way.
            1 => {
                let mut stream = dial(&scene.server);
                stream.write_all(&hello).expect("the server reads");
                stream.shutdown(Shutdown::Write).expect("it is open");
                expect_records("a hello and the end", &read_to_end(&mut stream));
            }
            // In a record; TCP ends in order.
            2 | 3 => {
                let mut opened = Session::open(&scene.server, version);
                let bytes = opened.encrypted(&frame::text(r#"{"opcode":"broadcast"}"#));
                opened.send(&bytes[..bytes.len() - 1 - round % 30]);
                opened.stream.shutdown(Shutdown::Write).expect("it is open");
                expect_records("a cut record", &read_to_end(&mut opened.stream));
            }
            // Between records, without close_notify.
            4 => drop(Session::open(&scene.server, version)),
            // By a reset.
            _ => {
                let stream = dial(&scene.server);
                let transport = TlsTransport::connect(stream);
                Conn::new(Box::new(transport)).reset();
            }
        }
        scene.step();
    }
    // Not one of the cut broadcasts was taken for a whole one.
    witness.wait_until_handled();
    witness.close();
    scene.end();
}

#[test]
fn close_notify_without_a_close_frame_is_an_end_like_any_other() {
    let scene = Scene::start("");
    for version in VERSIONS {
        for _ in 0..20 {
            let mut opened = Session::open(&scene.server, version);
            opened.session.send_close_notify();
            let bytes = opened.encrypted(b"");
            opened.send(&bytes);
            expect_records("close_notify", &read_to_end(&mut opened.stream));
            scene.step();
        }
    }
    scene.end();
}

#[test]
fn what_follows_close_notify_is_not_handled() {
    let scene = Scene::start("");
    let mut witness = scene.server.web();
    let broadcast = frame::text(r#"{"opcode":"broadcast"}"#);
    for _ in 0..20 {
        let mut opened = Session::open(&scene.server, &TLS12);
        let before = opened.encrypted(&broadcast);
        opened.session.send_close_notify();
        let notify = opened.encrypted(b"");
        // The same record again, behind the end.
        opened.send(&[notify, before].concat());
        expect_records("data behind the end", &read_to_end(&mut opened.stream));
        scene.step();
    }
    witness.wait_until_handled();
    witness.close();
    scene.end();
}

#[test]
fn new_keys_without_end_delay_nobody() {
    let scene = Scene::start("");
    for _ in 0..5 {
        let mut opened = Session::open(&scene.server, &TLS13);
        for _ in 0..500 {
            // It takes effect with the next data.
            opened
                .session
                .refresh_traffic_keys()
                .expect("an open session");
            let bytes = opened.encrypted(&frame::text("{}"));
            opened.send(&bytes);
            opened.read_past(NEXT);
            scene.step();
        }
        drop(opened);
    }
    scene.end();
}
