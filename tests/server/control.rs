//! Pings, closing, and what RFC 6455 forbids (protocol.md 5).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;

use crate::harness::frame::{
    self, BINARY, CLOSE, CONTINUATION, FIN, LengthForm, PING, PONG, TEXT, close_payload, masked,
    masked_as, unmasked,
};
use crate::harness::{Request, Server, connect, eventually};

/// The payload of the server's own pings.
const OWN_PING: &[u8] = br#"{"opcode":"PING"}"#;

// protocol.md 5.1
#[test]
fn a_ping_is_answered_by_a_pong_with_its_payload() {
    let server = Server::start("");
    for mut conn in [server.web(), server.php()] {
        for payload in [&b""[..], b"x", b"\x00\xff\xfe binary", &[0x55; 125]] {
            conn.send_ping(payload);
            conn.expect_pong(payload);
        }
        conn.round_trip();
    }
}

// protocol.md 5.1
#[test]
fn many_pings_in_one_segment_are_answered_in_order() {
    let server = Server::start("");
    let mut conn = server.web();
    let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let frames: Vec<u8> = numbers
        .iter()
        .flat_map(|n| masked(FIN | PING, n.as_bytes()))
        .collect();
    conn.send_bytes(&frames);
    for number in &numbers {
        conn.expect_pong(number.as_bytes());
    }
}

// protocol.md 5.1
#[test]
fn a_ping_inside_an_unfinished_message_is_answered_at_once() {
    let server = Server::start("");
    let mut conn = server.web();
    conn.send_bytes(&masked(TEXT, b"{\"opcode\":"));
    conn.send_ping(b"now");
    conn.expect_pong(b"now");
    conn.send_bytes(&masked(FIN | CONTINUATION, b"\"echo\"}"));
    conn.expect_next();
    conn.expect_text(r#"{"opcode":"echo"}"#);
}

// protocol.md 5.1
#[test]
fn a_pong_that_nobody_asked_for_is_ignored() {
    let server = Server::start("");
    let mut conn = server.web();
    for payload in [&b""[..], b"why", OWN_PING, &[0; 125]] {
        conn.send_pong(payload);
        conn.round_trip();
    }
}

// protocol.md 5.2
#[test]
fn a_silent_web_client_is_pinged_and_stays_if_it_answers() {
    let server = Server::start("pingInterval=100ms\npongTimeout=10");
    let mut conn = server.web();
    for _ in 0..3 {
        let payload = conn.expect_ping();
        assert_eq!(payload, OWN_PING);
        conn.send_pong(&payload);
    }
}

// protocol.md 5.2
#[test]
fn a_php_client_is_never_pinged() {
    let server = Server::start("pingInterval=100ms\npongTimeout=10");
    let mut script = server.php();
    // Opened later, and so pinged later than the script would be.
    let mut web = server.web();
    for _ in 0..4 {
        let payload = web.expect_ping();
        web.send_pong(&payload);
    }
    script.round_trip();
}

// protocol.md 5.2
#[test]
fn pings_go_out_while_others_keep_the_server_busy() {
    let server = Server::start("pingInterval=200ms\npongTimeout=10");
    let (is_done, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let mut busy = server.php();
            while !is_done.load(Ordering::Relaxed) {
                busy.round_trip();
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let pinged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // It goes on from here until the ping has come.
            eventually("the server is busy", || count.load(Ordering::Relaxed) > 10);
            server.web().expect_ping()
        }));
        is_done.store(true, Ordering::Relaxed);
        assert_eq!(pinged.expect("a ping"), OWN_PING);
        busy.join().expect("the busy one was served");
    });
}

// protocol.md 5.2
#[test]
fn a_web_client_that_stays_silent_after_a_ping_is_closed() {
    let server = Server::start("pingInterval=100ms\npongTimeout=100ms\ncloseTimeout=100ms");
    let mut script = server.php();
    let mut silent = server.web();
    assert_eq!(silent.expect_ping(), OWN_PING);
    // A close frame may be sent before the end, but nothing else.
    let rest = silent.read_to_end();
    if let Some(frame) = frame::read(&rest) {
        assert_eq!((frame.opcode, frame.wire_len), (CLOSE, rest.len()));
    } else {
        assert_eq!(rest, b"");
    }
    script.round_trip();
}

// protocol.md 5.2
#[test]
fn a_web_client_that_says_anything_after_a_ping_stays() {
    let server = Server::start("pingInterval=500ms\npongTimeout=3");
    let mut conn = server.web();
    // For longer than pongTimeout.
    for _ in 0..8 {
        assert_eq!(conn.expect_ping(), OWN_PING);
        conn.send_text("{}");
        conn.expect_next();
    }
}

// protocol.md 5.3
#[test]
fn a_close_frame_is_answered_with_its_code_and_then_tcp_is_closed() {
    let server = Server::start("");
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1013, 3000, 3456, 4999] {
        for reason in ["", "bye", "größer als", &"r".repeat(123)] {
            let mut conn = server.web();
            conn.send_close(code, reason);
            conn.expect_close(code);
            conn.expect_eof();
        }
    }
    server.web().round_trip();
}

// protocol.md 5.3
#[test]
fn a_close_frame_without_code_is_answered_too() {
    let server = Server::start("");
    for mut conn in [server.web(), server.php()] {
        conn.send_bytes(&masked(FIN | CLOSE, b""));
        let frame = conn.read_frame();
        assert_eq!(frame.opcode, CLOSE);
        assert!(
            frame.payload.is_empty() || frame.payload == 1000_u16.to_be_bytes(),
            "{frame:?}"
        );
        conn.expect_eof();
    }
}

// protocol.md 5.3
#[test]
fn a_close_frame_inside_an_unfinished_message_is_answered() {
    let server = Server::start("");
    let mut conn = server.web();
    conn.send_bytes(&masked(TEXT, b"{\"opcode\":"));
    conn.send_close(1001, "");
    conn.expect_close(1001);
    conn.expect_eof();
}

// protocol.md 5.3
#[test]
fn what_is_before_a_close_frame_is_handled_and_what_is_behind_is_not() {
    let server = Server::start("");
    let mut other = server.web();
    let mut conn = server.web();
    let packet = r#"{"opcode":"echo"}"#;
    let bytes = [
        frame::text(packet),
        masked(FIN | CLOSE, &close_payload(1000, b"")),
        frame::text(r#"{"opcode":"broadcast"}"#),
        masked(FIN | PING, b"too late"),
    ];
    conn.send_bytes(&bytes.concat());
    conn.expect_next();
    conn.expect_text(packet);
    conn.expect_close(1000);
    conn.expect_end();
    other.round_trip();
}

/// Each of these alone ends its connection with this code, and a reason; nothing behind it is
/// handled, and nobody else notices.
#[track_caller]
fn expect_violations(code: u16, table: &[(&str, Vec<u8>)]) {
    let server = Server::start("");
    let mut witness = server.web();
    for (name, bytes) in table {
        eprintln!("{name}");
        let mut conn = server.web();
        conn.send_bytes(bytes);
        let reason = conn.expect_close_and_end(code);
        assert!(!reason.is_empty(), "{name}: close {code} without reason");

        let mut conn = server.web();
        let broadcast = frame::text(r#"{"opcode":"broadcast"}"#);
        conn.send_bytes(&[bytes.as_slice(), &broadcast].concat());
        conn.expect_close_and_end(code);
        witness.round_trip();
    }
}

// protocol.md 5.4
#[test]
fn frames_that_the_rfc_forbids_are_1002() {
    let mut table = vec![
        ("unmasked text", unmasked(FIN | TEXT, b"{}")),
        ("unmasked empty text", unmasked(FIN | TEXT, b"")),
        ("unmasked ping", unmasked(FIN | PING, b"")),
        (
            "unmasked close",
            unmasked(FIN | CLOSE, &close_payload(1000, b"")),
        ),
        ("rsv1", masked(FIN | 0x40 | TEXT, b"{}")),
        ("rsv2", masked(FIN | 0x20 | TEXT, b"{}")),
        ("rsv3", masked(FIN | 0x10 | TEXT, b"{}")),
        ("rsv1 in a ping", masked(FIN | 0x40 | PING, b"")),
        ("rsv3 in a close", masked(FIN | 0x10 | CLOSE, b"")),
        ("continuation of nothing", masked(FIN | CONTINUATION, b"{}")),
        (
            "unfinished continuation of nothing",
            masked(CONTINUATION, b"{}"),
        ),
        (
            "text inside a text",
            [masked(TEXT, b"{"), masked(FIN | TEXT, b"{}")].concat(),
        ),
        (
            "binary inside a text",
            [masked(TEXT, b"{"), masked(BINARY, b"}")].concat(),
        ),
        ("ping of 126 bytes", masked(FIN | PING, &[0; 126])),
        ("pong of 126 bytes", masked(FIN | PONG, &[0; 126])),
        (
            "close of 126 bytes",
            masked(FIN | CLOSE, &close_payload(1000, &[b'r'; 124])),
        ),
        ("fragmented ping", masked(PING, b"")),
        ("fragmented pong", masked(PONG, b"")),
        ("fragmented close", masked(CLOSE, b"")),
        ("close payload of one byte", masked(FIN | CLOSE, b"\x03")),
        (
            "125 bytes in the 16-bit form",
            masked_as(FIN | TEXT, LengthForm::Sixteen, 125, &[b' '; 125]),
        ),
        (
            "no bytes in the 16-bit form",
            masked_as(FIN | TEXT, LengthForm::Sixteen, 0, b""),
        ),
        (
            "125 bytes in the 64-bit form",
            masked_as(FIN | TEXT, LengthForm::SixtyFour, 125, &[b' '; 125]),
        ),
        (
            "65,535 bytes in the 64-bit form",
            masked_as(FIN | TEXT, LengthForm::SixtyFour, 65_535, b""),
        ),
        (
            "short ping in the 16-bit form",
            masked_as(FIN | PING, LengthForm::Sixteen, 5, b"hello"),
        ),
        (
            "64-bit length with its top bit set",
            masked_as(FIN | TEXT, LengthForm::SixtyFour, 1 << 63, b""),
        ),
        (
            "64-bit length of all ones",
            masked_as(FIN | BINARY, LengthForm::SixtyFour, u64::MAX, b""),
        ),
    ];
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        table.push(("reserved opcode", masked(FIN | opcode, b"")));
        table.push(("reserved opcode, unfinished", masked(opcode, b"x")));
    }
    for code in [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535,
    ] {
        table.push(("close code", masked(FIN | CLOSE, &close_payload(code, b""))));
    }
    expect_violations(1002, &table);
}

// protocol.md 5.4
#[test]
fn invalid_utf8_in_a_text_is_1007() {
    let mut table: Vec<(&str, Vec<u8>)> = [
        &b"\xff"[..],
        b"\"\xc0\xaf\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xf4\x90\x80\x80\"",
        b"\"\x80\"",
        b"\"\xc3\"",
        b"\"\xe2\x82\"",
        b"\xf0\x9f\x98",
    ]
    .map(|payload| ("text", masked(FIN | TEXT, payload)))
    .to_vec();
    table.push((
        "close reason",
        masked(FIN | CLOSE, &close_payload(1000, b"\xff")),
    ));
    table.push((
        "cut off at the end of a fragmented text",
        [masked(TEXT, b"\"\xc3"), masked(FIN | CONTINUATION, b"")].concat(),
    ));
    table.push((
        "cut off between fragments",
        [
            masked(TEXT, b"\"\xe2\x82"),
            masked(FIN | CONTINUATION, b"\""),
        ]
        .concat(),
    ));
    expect_violations(1007, &table);
}

// protocol.md 5.4
#[test]
fn invalid_utf8_is_refused_before_its_message_ends() {
    let server = Server::start("");
    let mut in_mid_frame = server.web();
    in_mid_frame.send_bytes(&masked_as(
        FIN | TEXT,
        LengthForm::Sixteen,
        1000,
        b"\"abc\xff",
    ));
    in_mid_frame.expect_close_and_end(1007);

    let mut between_fragments = server.web();
    between_fragments.send_bytes(&masked(TEXT, b"\"abc\xf0\x28"));
    between_fragments.expect_close_and_end(1007);
}

// protocol.md 5.4
#[test]
fn a_script_is_held_to_the_rules_too() {
    let server = Server::start("");
    let mut unmasked_text = server.php();
    unmasked_text.send_bytes(&unmasked(FIN | TEXT, b"{}"));
    unmasked_text.expect_close_and_end(1002);
    let mut no_utf8 = server.php();
    no_utf8.send_bytes(&masked(FIN | TEXT, b"\xff"));
    no_utf8.expect_close_and_end(1007);
}

// protocol.md 5.5
#[test]
fn sigterm_says_1001_to_everybody_and_exits_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start("");
        let mut open = [server.web(), server.open(&Request::to("/")), server.php()];
        let mut in_mid_message = server.web();
        in_mid_message.send_bytes(&masked(TEXT, b"{"));
        let mut upgrading = connect(&server);
        upgrading.send_bytes(b"GET /web HTTP/1.1\r\n");
        open[0].wait_until_handled();

        server.signal(signal);
        for conn in open.iter_mut().chain([&mut in_mid_message]) {
            conn.expect_close_and_end(1001);
        }
        // It has no close frames yet; a complete refusal is as good as the end.
        upgrading.read_to_end();
        let status = server.wait_exit();
        assert_eq!(status.code(), Some(0), "{signal:?}: {status}");
    }
}

// protocol.md 5.5
#[test]
fn sigterm_with_nobody_there_exits_0() {
    let server = Server::start("");
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0));
}

// protocol.md 5.5
#[test]
fn what_was_under_way_at_sigterm_arrives_before_the_1001() {
    let server = Server::start("");
    let mut receiver = server.web();
    let mut sender = server.web();
    let packet = format!(
        r#"{{"opcode":"broadcast","pad":"{}"}}"#,
        "p".repeat(1 << 20)
    );
    sender.send_text(&packet);
    sender.expect_next();
    server.signal(Signal::TERM);
    receiver.expect_text(&packet);
    receiver.expect_close_and_end(1001);
    sender.expect_close_and_end(1001);
    assert_eq!(server.wait_exit().code(), Some(0));
}

// protocol.md 5.5
#[test]
fn a_client_that_does_not_answer_delays_the_end_only_for_shutdown_timeout() {
    let server = Server::start("shutdownTimeout=200ms\ncloseTimeout=60");
    let mut deaf = server.web();
    server.signal(Signal::TERM);
    deaf.expect_close(1001);
    assert_eq!(server.wait_exit().code(), Some(0));
    deaf.expect_end();
}

// protocol.md 5.5
#[test]
fn a_second_signal_ends_the_server_at_once() {
    let server = Server::start("shutdownTimeout=60\ncloseTimeout=60");
    let mut deaf = server.web();
    server.signal(Signal::TERM);
    deaf.expect_close(1001);
    server.signal(Signal::TERM);
    server.wait_exit();
    deaf.expect_end();
}
