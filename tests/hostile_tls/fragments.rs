//! Handshake messages that begin in an open session and do not end.
//!
//! No library sends such a thing, so the records are encrypted here, with the keys of a session
//! that was opened in order.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 as SUITE_12, TLS13_AES_128_GCM_SHA256 as SUITE_13,
};
use rustls::crypto::cipher::{AeadKey, Iv, MessageEncrypter, OutboundPlainMessage};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite,
    SupportedProtocolVersion,
};

use crate::handshakes::{dial, expect_alert, expect_records, read_to_end};
use crate::harness::tls::{roots, session, trusting_over};
use crate::harness::{Request, Server, frame};
use crate::scene::Scene;

/// The client's end of an open session whose records are made by hand.
struct Opened {
    stream: TcpStream,
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
}

impl Opened {
    /// Upgraded on `/web` and told so; what the server says from then on is not read any more.
    #[track_caller]
    fn new(server: &Server, version: &'static SupportedProtocolVersion) -> Self {
        let mut config = trusting_over(roots(), &[version]);
        config.enable_secret_extraction = true;
        let mut session = session(Arc::new(config));
        let mut stream = dial(server);
        session.complete_io(&mut stream).expect("a handshake");
        let request = Request::to("/web").bytes();
        session.writer().write_all(&request).expect("room");
        let mut answer = Vec::new();
        // `ready` is the last that a newcomer is told.
        while !answer.ends_with(br#""}"#) {
            session
                .complete_io(&mut stream)
                .expect("the server answers");
            // What has not come yet is an error, too.
            let _ = session.reader().read_to_end(&mut answer);
        }
        let (sequence, secrets) = session.dangerous_extract_secrets().expect("keys").tx;
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else {
            panic!("not the suite that this server likes best");
        };
        Self {
            stream,
            encrypter: encrypter(version.version, key, iv),
            sequence,
        }
    }

    /// Sends one record.
    #[track_caller]
    fn send(&mut self, typ: ContentType, payload: &[u8]) {
        let message = OutboundPlainMessage {
            typ,
            version: ProtocolVersion::TLSv1_2,
            payload: payload.into(),
        };
        let record = self.encrypter.encrypt(message, self.sequence);
        self.sequence += 1;
        let record = record.expect("a record").encode();
        self.stream.write_all(&record).expect("the server reads");
    }

    /// Reads until the server has sent `count` bytes more.
    #[track_caller]
    fn expect_bytes(&mut self, count: usize) {
        let mut bytes = vec![0; count];
        self.stream
            .read_exact(&mut bytes)
            .expect("the server goes on");
    }
}

fn encrypter(version: ProtocolVersion, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
    match (version, SUITE_12, SUITE_13) {
        (ProtocolVersion::TLSv1_2, SupportedCipherSuite::Tls12(suite), _) => {
            let (salt, explicit) = iv.as_ref().split_at(4);
            suite.aead_alg.encrypter(key, salt, explicit)
        }
        (_, _, SupportedCipherSuite::Tls13(suite)) => suite.aead_alg.encrypter(key, iv),
        _ => panic!("suites of other versions"),
    }
}

/// KeyUpdate, and a hello that asks for renegotiation (RFC 8446 §4.6.3, RFC 5246 §7.4.1.2).
const MESSAGES: [(&SupportedProtocolVersion, &[u8]); 2] = [
    (&TLS13, &[24, 0, 0, 1, 0]),
    (&TLS12, &[1, 0, 0, 4, 3, 3, 0, 0]),
];

#[test]
fn the_server_goes_on_sending_while_a_handshake_message_is_unfinished() {
    let scene = Scene::start("");
    let mut witness = scene.server.web();
    let broadcast = format!(r#"{{"opcode":"broadcast","pad":"{}"}}"#, "p".repeat(4000));
    for (version, message) in MESSAGES {
        for len in 0..message.len() {
            let mut opened = Opened::new(&scene.server, version);
            opened.send(ContentType::Handshake, &message[..len]);
            for _ in 0..3 {
                witness.send_text(&broadcast);
                witness.expect_next();
                opened.expect_bytes(4000);
                scene.step();
            }
            witness.wait_until_handled();
            // Goes with half a message, half a close frame, or in the right order.
            match len % 3 {
                0 => drop(opened),
                1 => {
                    opened.send(ContentType::Handshake, &message[len..len + 1]);
                    drop(opened);
                }
                _ => opened.send(ContentType::Alert, &[1, 0]),
            }
        }
    }
    witness.close();
    scene.end();
}

#[test]
fn data_between_the_parts_of_a_handshake_message_ends_the_session() {
    let scene = Scene::start("");
    let mut witness = scene.server.web();
    for (version, message) in MESSAGES {
        for len in 1..message.len() {
            let mut opened = Opened::new(&scene.server, version);
            opened.send(ContentType::Handshake, &message[..len]);
            let packet = frame::text(r#"{"opcode":"broadcast"}"#);
            opened.send(ContentType::ApplicationData, &packet);
            expect_records("data in between", &read_to_end(&mut opened.stream));
            scene.step();
        }
    }
    witness.wait_until_handled();
    witness.close();
    scene.end();
}

#[test]
fn unknown_handshake_messages_and_broken_ones_end_the_session_with_an_alert() {
    let scene = Scene::start("");
    let witness = scene.server.web();
    for (version, _) in MESSAGES {
        for message in [
            &[99, 0, 0, 0][..],
            &[24, 0, 0, 1, 9],
            &[24, 0, 0, 0],
            &[20, 0, 0, 0],
            &[4, 0, 0, 1, 0],
            &[24, 0, 0, 1, 0, 24],
        ] {
            let mut opened = Opened::new(&scene.server, version);
            opened.send(ContentType::Handshake, message);
            let end = read_to_end(&mut opened.stream);
            expect_alert("a handshake message", version, &end);
            scene.step();
        }
        // What is longer than any may be ends without one.
        let mut opened = Opened::new(&scene.server, version);
        opened.send(ContentType::Handshake, &[1, 0xFF, 0xFF, 0xFF, 0]);
        opened.send(ContentType::ApplicationData, b"what no server understands");
        expect_records("a giant message", &read_to_end(&mut opened.stream));
    }
    witness.close();
    scene.end();
}
