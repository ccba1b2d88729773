//! permessage-deflate (RFC 7692) on the wire: who is offered what, and what then arrives.

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush};

use crate::harness::client::NEXT;
use crate::harness::frame::{BINARY, CLOSE, CONTINUATION, FIN, PING, RSV1, TEXT, masked};
use crate::harness::{Conn, Request, Server, connect, readable};

const OFFER: &str = "permessage-deflate; client_max_window_bits";
const ON: &str = "compression=on";
const KEEPING: &str = "compression=on\ncompressionContext=on";

/// A client that has agreed on compression, with its own memory of the messages before.
struct Peer {
    conn: Conn,
    inflate: Inflate,
    deflate: Deflate,
    keeps_context: bool,
    server_keeps_context: bool,
}

impl Peer {
    /// Opens `/web` with this offer, which has to be accepted.
    #[track_caller]
    fn open(server: &Server, offer: &str) -> Self {
        let request = Request::to("/web").with("Sec-WebSocket-Extensions", offer);
        let mut conn = connect(server);
        let response = conn.upgrade(&request);
        let answer = response.header("Sec-WebSocket-Extensions");
        let answer = answer.expect("compression is agreed on");
        let keeps_context = !answer.contains("client_no_context_takeover");
        let server_keeps_context = !answer.contains("server_no_context_takeover");
        let window_bits = answer
            .split_once("server_max_window_bits=")
            .map_or(15, |(_, bits)| bits.parse().expect("a number"));
        conn.expect_ready();
        Self {
            conn,
            inflate: Inflate::new(false, window_bits),
            deflate: Deflate::new(6, false, 15),
            keeps_context,
            server_keeps_context,
        }
    }

    /// What a message is as payload of a compressed one.
    fn deflated(&mut self, message: &[u8]) -> Vec<u8> {
        let mut out = vec![0; message.len() + 100];
        let before = self.deflate.total_out();
        self.deflate
            .compress(message, &mut out, DeflateFlush::SyncFlush)
            .expect("all can be compressed");
        out.truncate((self.deflate.total_out() - before) as usize);
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
        out.truncate(out.len() - 4);
        if !self.keeps_context {
            self.deflate.reset();
        }
        out
    }

    #[track_caller]
    fn send(&mut self, message: &str) {
        let payload = self.deflated(message.as_bytes());
        self.conn.send_bytes(&masked(FIN | RSV1 | TEXT, &payload));
    }

    /// A text that has come compressed; its length on the wire.
    #[track_caller]
    fn expect_compressed(&mut self, expected: &str) -> Vec<u8> {
        let frame = self.conn.read_frame();
        assert_eq!(
            (frame.fin, frame.rsv1, frame.opcode),
            (true, true, TEXT),
            "{}",
            readable(&frame.payload)
        );
        let input = [&*frame.payload, &[0, 0, 0xff, 0xff]].concat();
        let mut out = vec![0; expected.len() + 100];
        let before = self.inflate.total_out();
        self.inflate
            .decompress(&input, &mut out, InflateFlush::SyncFlush)
            .expect("it can be inflated");
        out.truncate((self.inflate.total_out() - before) as usize);
        assert!(out == expected.as_bytes(), "{}", readable(&out));
        if !self.server_keeps_context {
            self.inflate.reset(false);
        }
        frame.payload
    }
}

/// A packet of about `len` bytes.
fn packet(opcode: &str, len: usize) -> String {
    let items: String = (0..)
        .flat_map(|i: u32| item(i).into_bytes())
        .take(len)
        .map(char::from)
        .collect();
    format!(r#"{{"opcode":"{opcode}","items":"{items}"}}"#)
}

fn item(number: u32) -> String {
    format!(
        "price of {} is {}; ",
        number * 7919 % 1009,
        number * 31 % 677
    )
}

/// The answer to an offer, which must not keep anybody from connecting.
#[track_caller]
fn answer(server: &Server, request: &Request, offer: &str) -> Option<String> {
    let request = request.clone().with("Sec-WebSocket-Extensions", offer);
    let mut conn = connect(server);
    let response = conn.upgrade(&request);
    conn.expect_ready();
    response
        .header("Sec-WebSocket-Extensions")
        .map(str::to_owned)
}

// protocol.md 1.12
#[test]
fn nothing_is_agreed_on_unless_it_is_switched_on() {
    let server = Server::start("");
    for offer in [OFFER, "permessage-deflate", "foo", "permessage-deflate; ="] {
        assert_eq!(
            answer(&server, &Request::to("/web"), offer),
            None,
            "{offer}"
        );
    }
    let mut conn = server.web();
    conn.send_bytes(&masked(FIN | RSV1 | TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00"));
    conn.expect_close_and_end(1002);
}

// protocol.md 1.12
// promise: compression by permessage-deflate where it is switched on (RFC 7692)
#[test]
fn offers_are_answered_by_what_the_server_wants() {
    let off = "permessage-deflate; server_no_context_takeover";
    let without_client = format!("{off}; client_no_context_takeover");
    let server = Server::start(ON);
    let web = Request::to("/web");
    let with_window = format!("{off}; server_max_window_bits=12");
    let smaller_window = format!("{off}; server_max_window_bits=9");
    for (offer, expected) in [
        (OFFER, Some(off)),
        (
            "foo, permessage-deflate; bar, permessage-deflate",
            Some(off),
        ),
        (
            "permessage-deflate; server_max_window_bits=15",
            Some(&*with_window),
        ),
        (
            "permessage-deflate; server_max_window_bits=9, permessage-deflate",
            Some(&*smaller_window),
        ),
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate",
            Some(off),
        ),
        (
            "permessage-deflate; client_no_context_takeover",
            Some(&*without_client),
        ),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("x-webkit-deflate-frame", None),
        ("permessage-deflate; ;", None),
    ] {
        assert_eq!(answer(&server, &web, offer).as_deref(), expected, "{offer}");
    }
    let two_lines = web.with("Sec-WebSocket-Extensions", "foo");
    assert_eq!(answer(&server, &two_lines, OFFER).as_deref(), Some(off));
    assert_eq!(answer(&server, &Request::php("/php"), OFFER), None);

    let server = Server::start(KEEPING);
    assert_eq!(
        answer(&server, &Request::to("/web"), OFFER).as_deref(),
        Some("permessage-deflate")
    );
}

// promise: compression by permessage-deflate where it is switched on (RFC 7692)
#[test]
fn messages_are_compressed_both_ways_from_the_threshold_on() {
    for ini in [ON, KEEPING] {
        let server = Server::start(ini);
        let mut peer = Peer::open(&server, OFFER);
        for len in [2000, 20_000, 200_000] {
            for _ in 0..2 {
                let long = packet("echo", len);
                peer.send(&long);
                peer.conn.expect_next();
                let payload = peer.expect_compressed(&long);
                assert!(payload.len() < long.len() / 2);
            }
        }
        let short = packet("echo", 800);
        peer.send(&short);
        peer.conn.expect_next();
        peer.conn.expect_text(&short);
        // Plain messages are still welcome.
        let long = packet("echo", 2000);
        peer.conn.send_text(&long);
        peer.conn.expect_next();
        peer.expect_compressed(&long);
        peer.conn.close();
    }
}

// promise: compression by permessage-deflate where it is switched on (RFC 7692)
#[test]
fn compressed_fragments_are_one_message() {
    for ini in [ON, KEEPING] {
        let server = Server::start(ini);
        let mut peer = Peer::open(&server, OFFER);
        for _ in 0..2 {
            let long = packet("echo", 5000);
            let payload = peer.deflated(long.as_bytes());
            let (a, b) = payload.split_at(payload.len() / 3);
            peer.conn.send_bytes(&masked(RSV1 | TEXT, a));
            peer.conn.send_ping(b"between");
            peer.conn.expect_pong(b"between");
            peer.conn.send_bytes(&masked(CONTINUATION, &b[..1]));
            peer.conn.send_bytes(&masked(FIN | CONTINUATION, &b[1..]));
            peer.conn.expect_next();
            peer.expect_compressed(&long);
        }
    }
}

// promise: compression by permessage-deflate where it is switched on (RFC 7692)
#[test]
fn a_broadcast_reaches_everybody_in_the_form_that_was_agreed_on() {
    for ini in [ON, KEEPING] {
        let server = Server::start(ini);
        let offers = [
            "permessage-deflate",
            "permessage-deflate",
            "permessage-deflate; server_max_window_bits=12",
            "permessage-deflate; server_max_window_bits=15",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        ];
        let mut peers = offers.map(|offer| Peer::open(&server, offer));
        // Cannot read the form of the others, so it gets broadcasts as they are.
        let mut smaller = Peer::open(&server, "permessage-deflate; server_max_window_bits=9");
        let mut plain = server.web();
        let mut script = server.php();
        for round in 0..3 {
            // Each has something of its own in its context.
            for (number, peer) in peers.iter_mut().enumerate() {
                let own = packet("echo", 1500 + 100 * number + round);
                peer.send(&own);
                peer.conn.expect_next();
                peer.expect_compressed(&own);
            }
            let own = packet("echo", 5000 + round);
            smaller.send(&own);
            smaller.conn.expect_next();
            smaller.expect_compressed(&own);
            for len in [500, 3000, 100_000] {
                let message = packet("broadcast", len);
                script.send_text(&message);
                script.expect_next();
                plain.expect_text(&message);
                smaller.conn.expect_text(&message);
                let mut payloads = Vec::new();
                for peer in &mut peers {
                    if len < 1024 {
                        peer.conn.expect_text(&message);
                    } else {
                        payloads.push(peer.expect_compressed(&message));
                    }
                }
                let is_same = |payload| Some(payload) == payloads.first();
                assert!(payloads.iter().all(is_same), "one form for everybody");
            }
        }
        plain.close();
    }
}

// promise: compression by permessage-deflate where it is switched on (RFC 7692)
#[test]
fn what_cannot_be_inflated_is_closed_and_nobody_else_is_harmed() {
    let server = Server::start("compression=on\nmaxMessageSize=1M\nmaxQueue=1M");
    let mut witness = Peer::open(&server, OFFER);
    let bomb = Peer::open(&server, OFFER).deflated(&vec![b'0'; 50 << 20]);
    assert!(bomb.len() < 60_000);
    let cases = [
        (masked(FIN | RSV1 | BINARY, &bomb), 1009),
        (masked(RSV1 | TEXT, &bomb), 1009),
        (masked(FIN | RSV1 | TEXT, b"no deflate"), 1007),
        (masked(FIN | RSV1 | TEXT, &bomb[..5]), 1007),
        (masked(FIN | RSV1 | PING, b""), 1002),
        (masked(FIN | RSV1 | CONTINUATION, b""), 1002),
    ];
    for (bytes, code) in cases {
        let mut peer = Peer::open(&server, OFFER);
        peer.conn.send_bytes(&bytes);
        peer.conn.expect_close_and_end(code);
        let message = packet("echo", 2000);
        witness.send(&message);
        witness.conn.expect_text(NEXT);
        witness.expect_compressed(&message);
    }
}

// An echo used to come behind the pong, and not at all if a close frame was behind it.
// protocol.md 2.2
// protocol.md 2.10
#[test]
fn a_compressed_echo_leaves_before_what_the_next_frame_brings_about() {
    for ini in [ON, KEEPING] {
        let server = Server::start(ini);
        for len in [500, 3000, 100_000] {
            for (frame, code) in [
                (masked(FIN | PING, b"now"), None),
                (masked(FIN | CLOSE, b"\x03\xe8"), Some(1000)),
                (b"\xb1\x80\0\0\0\0".to_vec(), Some(1002)),
            ] {
                let mut peer = Peer::open(&server, OFFER);
                let echo = packet("echo", len);
                let payload = peer.deflated(echo.as_bytes());
                let message = masked(FIN | RSV1 | TEXT, &payload);
                peer.conn.send_bytes(&[message, frame].concat());
                peer.conn.expect_next();
                match len {
                    ..1024 => peer.conn.expect_text(&echo),
                    _ => drop(peer.expect_compressed(&echo)),
                }
                match code {
                    None => peer.conn.expect_pong(b"now"),
                    Some(code) => drop(peer.conn.expect_close(code)),
                }
            }
        }
    }
}
