//! What a message causes leaves before the pong or the close that a later frame of the same read
//! brings about, whoever the client is.

use crate::harness::frame::{
    CLOSE, CONTINUATION, FIN, LengthForm, PING, PONG, TEXT, masked, masked_as, text, unmasked,
};
use crate::harness::{Conn, Request, Server};

const ECHO: &str = r#"{"opcode":"echo","n":1}"#;

/// [`ECHO`] in a frame whose mask is 0.
fn echo_frame() -> Vec<u8> {
    [b"\x81\x97\0\0\0\0", ECHO.as_bytes()].concat()
}

/// Of each kind of client whose frames are queued in a way of their own.
fn everybody() -> [Request; 4] {
    [
        Request::to("/web"),
        Request::to("/php"),
        Request::php("/php"),
        Request::php("/php").with("X-Websock-Frames", "stream"),
    ]
}

/// One frame with this opcode, whose payload begins so.
#[track_caller]
fn expect_frame(conn: &mut Conn, name: &str, opcode: u8, payload: &[u8]) {
    let frame = conn.read_frame();
    assert_eq!(frame.opcode, opcode, "{name}: {frame:?}");
    assert!(frame.payload.starts_with(payload), "{name}: {frame:?}");
}

// protocol.md 2.2
// protocol.md 5.3
#[test]
fn an_echo_leaves_before_the_close_that_came_with_it() {
    let server = Server::start("");
    for request in everybody() {
        let mut conn = server.open(&request);
        conn.send_bytes(&[&*echo_frame(), b"\x88\x82\0\0\0\0\x03\xe8"].concat());
        conn.expect_next();
        conn.expect_text(ECHO);
        conn.expect_close(1000);
        conn.expect_eof();
    }
}

// protocol.md 2.2
// protocol.md 2.10
#[test]
fn an_echo_leaves_before_whatever_the_next_frame_brings_about() {
    let server = Server::start("");
    let begun = [masked(TEXT, b"begun"), masked(FIN | PING, b"inside")].concat();
    for (name, bytes, opcode, payload) in [
        ("ping", masked(FIN | PING, b"now"), PONG, &b"now"[..]),
        ("ping without payload", masked(FIN | PING, b""), PONG, b""),
        ("ping inside a message", begun, PONG, b"inside"),
        ("close without code", masked(FIN | CLOSE, b""), CLOSE, b""),
        (
            "close 4000",
            masked(FIN | CLOSE, b"\x0f\xa0"),
            CLOSE,
            b"\x0f\xa0",
        ),
        (
            "reserved bit",
            b"\xf1\x80\0\0\0\0".to_vec(),
            CLOSE,
            b"\x03\xea",
        ),
        (
            "reserved opcode",
            masked(FIN | 0x3, b""),
            CLOSE,
            b"\x03\xea",
        ),
        ("no mask", unmasked(FIN | TEXT, b"{}"), CLOSE, b"\x03\xea"),
        (
            "no start",
            masked(FIN | CONTINUATION, b""),
            CLOSE,
            b"\x03\xea",
        ),
        (
            "close code 1005",
            masked(FIN | CLOSE, b"\x03\xed"),
            CLOSE,
            b"\x03\xea",
        ),
        ("no UTF-8", masked(FIN | TEXT, b"\xff"), CLOSE, b"\x03\xef"),
        (
            "too long",
            masked_as(FIN | TEXT, LengthForm::SixtyFour, 1 << 40, b""),
            CLOSE,
            b"\x03\xf1",
        ),
    ] {
        for request in everybody() {
            let mut conn = server.open(&request);
            conn.send_bytes(&[echo_frame(), bytes.clone()].concat());
            conn.expect_next();
            conn.expect_text(ECHO);
            expect_frame(&mut conn, name, opcode, payload);
        }
    }
}

// protocol.md 2.2
// protocol.md 2.10
#[test]
fn messages_and_control_frames_in_turn_are_answered_in_turn() {
    let server = Server::start("");
    for request in everybody() {
        let mut conn = server.open(&request);
        let long = format!(r#"{{"opcode":"echo","pad":"{}"}}"#, "p".repeat(100_000));
        let mut bytes = Vec::new();
        for number in 0..20_u8 {
            bytes.extend(echo_frame());
            bytes.extend(masked(FIN | PING, &[number]));
        }
        bytes.extend(text(&long));
        bytes.extend(masked(FIN | PING, b"long"));
        bytes.extend(text(r#"{"opcode":"quit"}"#));
        bytes.extend(masked(FIN | PING, b"never"));
        conn.send_bytes(&bytes);
        for number in 0..20_u8 {
            conn.expect_next();
            conn.expect_text(ECHO);
            conn.expect_pong(&[number]);
        }
        conn.expect_next();
        conn.expect_text(&long);
        conn.expect_pong(b"long");
        conn.expect_next();
        conn.expect_close_and_end(1000);
    }
}

// protocol.md 2.2
// protocol.md 2.10
#[test]
fn what_goes_to_others_is_in_front_of_what_a_later_frame_brings_them() {
    let server = Server::start("");
    let broadcast = r#"{"opcode":"broadcast","n":1}"#;
    let feedback = r#"{"opcode":"feedback","ident":"page","n":2}"#;
    for request in everybody() {
        let mut sender = server.open(&request);
        let mut page = server.web_named("page");
        let mut bytes = [text(broadcast), text(feedback)].concat();
        bytes.extend(masked(FIN | CLOSE, b"\x03\xe8"));
        sender.send_bytes(&bytes);
        page.expect_text(broadcast);
        page.expect_text(feedback);
        sender.expect_next();
        sender.expect_next();
        sender.expect_close(1000);
        sender.expect_eof();
        page.round_trip();
        page.close();
    }
}
