//! What is seen of the TLS records themselves (protocol.md 6.2), and what stands before them.
//!
//! PHP's `fread` never reads across the end of a record, so a script gets one frame with each read
//! if each has a record of its own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustix::process::Signal;
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, SupportedProtocolVersion, version};

use crate::harness::client::NEXT;
use crate::harness::frame::{self, Frame};
use crate::harness::tls::{roots, session, trusting_over};
use crate::harness::{PATIENCE, Request, Server};

/// A client that takes one record at a time.
struct Records {
    stream: TcpStream,
    session: ClientConnection,
}

impl Records {
    #[track_caller]
    fn connect(server: &Server, version: &'static SupportedProtocolVersion) -> Self {
        Self::over(dial(server), version)
    }

    #[track_caller]
    fn over(stream: TcpStream, version: &'static SupportedProtocolVersion) -> Self {
        let mut session = session(Arc::new(only(version)));
        session.set_buffer_limit(None);
        let mut records = Self { stream, session };
        records.flush();
        while records.session.is_handshaking() {
            records.take_record();
        }
        records
    }

    fn flush(&mut self) {
        while self.session.wants_write() {
            let written = self.session.write_tls(&mut self.stream);
            written.expect("the server reads");
        }
    }

    #[track_caller]
    fn send(&mut self, bytes: &[u8]) {
        let written = self.session.writer().write_all(bytes);
        written.expect("room in the session");
        self.flush();
    }

    /// What the next record that has something to read holds.
    #[track_caller]
    fn read(&mut self) -> Vec<u8> {
        loop {
            let plain = self.take_record();
            if !plain.is_empty() {
                return plain;
            }
        }
    }

    /// Takes exactly one record (RFC 8446 §5.1: type, version, length); its plaintext.
    #[track_caller]
    fn take_record(&mut self) -> Vec<u8> {
        let mut record = vec![0; 5];
        let got = self.stream.read_exact(&mut record);
        got.expect("the header of a record");
        let len = u16::from_be_bytes([record[3], record[4]]);
        record.resize(5 + usize::from(len), 0);
        let got = self.stream.read_exact(&mut record[5..]);
        got.expect("a whole record");
        let mut rest = record.as_slice();
        while !rest.is_empty() {
            self.session.read_tls(&mut rest).expect("room for a record");
        }
        let state = self.session.process_new_packets().expect("a valid record");
        let mut plain = vec![0; state.plaintext_bytes_to_read()];
        let got = self.session.reader().read_exact(&mut plain);
        got.expect("what it says it has");
        self.flush();
        plain
    }

    /// The next record is this frame, all of it and nothing else.
    #[track_caller]
    fn read_frame(&mut self) -> Frame {
        let record = self.read();
        let frame = frame::read(&record).expect("a whole frame in the record");
        assert_eq!(frame.wire_len, record.len(), "nothing behind it");
        frame
    }

    #[track_caller]
    fn expect_text(&mut self, message: &str) {
        let frame = self.read_frame();
        assert_eq!(frame.payload, message.as_bytes());
    }

    /// 101 and `ready`, a record each.
    #[track_caller]
    fn upgrade(&mut self, request: &Request) {
        self.send(&request.bytes());
        let head = self.read();
        assert!(head.starts_with(b"HTTP/1.1 101 ") && head.ends_with(b"\r\n\r\n"));
        assert!(head.len() < 400, "{} bytes of head", head.len());
        let ready = self.read_frame();
        assert!(ready.payload.starts_with(br#"{"opcode":"ready","#));
        assert_eq!(ready.wire_len, 66, "no blanks");
    }
}

#[track_caller]
fn dial(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// The suite's client, with one version.
fn only(version: &'static SupportedProtocolVersion) -> ClientConfig {
    let mut config = trusting_over(roots(), &[version]);
    config.resumption = Resumption::disabled();
    config
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

fn script() -> Request {
    Request::php("/php").with("Ident", "script")
}

// protocol.md 6.2
#[test]
fn a_script_gets_the_101_and_ready_in_a_record_each_200_times_of_200() {
    let server = Server::start("");
    for version in VERSIONS {
        for _ in 0..100 {
            Records::connect(&server, version).upgrade(&script());
        }
    }
}

// protocol.md 6.2
#[test]
fn each_frame_to_a_script_has_a_record_of_its_own_and_no_blanks() {
    let server = Server::start("");
    for version in VERSIONS {
        let mut conn = Records::connect(&server, version);
        conn.upgrade(&script());
        let packet = |number| format!(r#"{{"opcode":"echo","number":{number}}}"#);
        let all: Vec<u8> = (0..200).flat_map(|n| frame::text(&packet(n))).collect();
        conn.send(&all);
        for number in 0..200 {
            conn.expect_text(NEXT);
            conn.expect_text(&packet(number));
        }
    }
}

// protocol.md 6.2
#[test]
fn two_hundred_feedbacks_without_a_pause_are_two_hundred_records() {
    let server = Server::start("");
    for version in VERSIONS {
        let mut receiver = Records::connect(&server, version);
        receiver.upgrade(&script());
        let mut sender = server.web();
        let packet = |n| format!(r#"{{"opcode":"feedback","ident":"script","number":{n}}}"#);
        let all: Vec<u8> = (0..200).flat_map(|n| frame::text(&packet(n))).collect();
        sender.send_bytes(&all);
        for number in 0..200 {
            receiver.expect_text(&packet(number));
        }
    }
}

// protocol.md 6.2
#[test]
fn frames_that_have_waited_for_a_script_have_a_record_each_as_well() {
    let server = Server::start("");
    for version in VERSIONS {
        let mut receiver = Records::connect(&server, version);
        receiver.upgrade(&script());
        let mut sender = server.web();
        let pad = "p".repeat(3_000);
        let packet =
            |n| format!(r#"{{"opcode":"feedback","ident":"script","number":{n},"pad":"{pad}"}}"#);
        // More than its socket takes, and than leaves in one go.
        for number in 0..2_000 {
            sender.send_for_next(&packet(number));
        }
        for number in 0..2_000 {
            receiver.expect_text(&packet(number));
        }
    }
}

// protocol.md 6.2
#[test]
fn a_frame_longer_than_a_record_begins_and_ends_with_one() {
    let server = Server::start("");
    for version in VERSIONS {
        let mut conn = Records::connect(&server, version);
        conn.upgrade(&script());
        for len in [16_384, 40_000, 100_000, 300_000] {
            let pad = "p".repeat(len);
            let packet = format!(r#"{{"opcode":"echo","pad":"{pad}"}}"#);
            conn.send(&frame::text(&packet));
            conn.expect_text(NEXT);
            let mut bytes = conn.read();
            while frame::read(&bytes).is_none() {
                bytes.extend(conn.read());
            }
            let frame = frame::read(&bytes).expect("it is whole");
            assert_eq!(frame.payload, packet.as_bytes());
            assert_eq!(frame.wire_len, bytes.len(), "nothing behind it");
        }
    }
}

// protocol.md 6.2
#[test]
fn small_frames_of_one_turn_go_to_a_page_together() {
    let server = Server::start("");
    let mut page = Records::connect(&server, &version::TLS13);
    page.send(&Request::to("/web").bytes());
    let mut bytes = Vec::new();
    while !bytes.ends_with(br#""}"#) {
        bytes.extend(page.read());
    }
    let mut echoes = frame::text(r#"{"opcode":"echo","n":1}"#).repeat(20);
    echoes.extend(frame::text(r#"{"opcode":"echo","end":1}"#));
    // All are there when the server looks.
    server.signal(Signal::STOP);
    page.send(&echoes);
    server.signal(Signal::CONT);
    let (mut bytes, mut record_count) = (Vec::new(), 0);
    while !bytes.ends_with(br#""end":1}"#) {
        bytes.extend(page.read());
        record_count += 1;
    }
    assert!(record_count < 21, "42 frames in {record_count} records");
}

// protocol.md 1.8
#[test]
fn the_proxy_protocol_stands_before_tls() {
    let ini = "adress=ws://127.0.0.1:0 proxy\ntrustedProxies=127.0.0.1";
    for version in VERSIONS {
        let server = Server::start(ini);
        let mut stream = dial(&server);
        let header = b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\r\n";
        stream.write_all(header).expect("the server reads");
        let mut conn = Records::over(stream, version);
        conn.send(&Request::to("/web").bytes());
        assert!(conn.read().starts_with(b"HTTP/1.1 101 "));
        server.wait_for_log("is 192.0.2.7:4660, forwarded by 127.0.0.1");
    }
}
