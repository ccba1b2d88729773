//! What keeps the deployed PHP clients whole (protocol.md 6). Plain TCP from loopback throughout: over
//! TLS nothing is padded (6.2).

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::frame::{self, FIN, Frame, TEXT};
use crate::harness::php::PhpStream;
use crate::harness::{Conn, Request, Server, connect};

/// Checks that a frame is padded to a multiple of `unit` by blanks and returns its message.
#[track_caller]
fn unpadded(frame: &Frame, unit: usize) -> String {
    assert_eq!(frame.opcode, TEXT);
    assert_eq!(
        frame.wire_len % unit,
        0,
        "{} bytes on the wire",
        frame.wire_len
    );
    let text = String::from_utf8(frame.payload.clone()).expect("text is UTF-8");
    let message = text.trim_end_matches(' ');
    assert!(
        text.len() - message.len() < unit + 8,
        "no more padding than needed"
    );
    message.to_owned()
}

/// The next frame is this message, padded to exactly `wire_len` bytes.
#[track_caller]
fn expect_padded(conn: &mut Conn, message: &str, wire_len: usize) {
    let frame = conn.read_frame();
    assert_eq!(unpadded(&frame, 8192), message);
    assert_eq!(
        frame.wire_len,
        wire_len,
        "{} bytes of message",
        message.len()
    );
}

const NEXT: &str = r#"{"opcode":"next","fyi":""}"#;

// protocol.md 6.1
#[test]
fn a_php_client_gets_101_and_ready_in_1024_bytes_each() {
    let server = Server::start("");
    for request in [
        Request::php("/php"),
        Request::php("/web"),
        Request::php("/"),
        Request::to("/php").with("client-type", "PHP"),
        Request::to("/php").with("CLIENT-TYPE", " Php "),
        Request::php("/php?x=1").with("Ident", "printer"),
    ] {
        let mut conn = connect(&server);
        let response = conn.upgrade(&request);
        assert_eq!(response.head_len, 1024, "{request:?}");
        assert_eq!(response.header("Connection"), Some("Upgrade"));
        let ready = conn.read_frame();
        assert_eq!(ready.wire_len, 1024);
        assert!(unpadded(&ready, 1024).starts_with(r#"{"opcode":"ready","uuid":""#));
    }
}

// protocol.md 6.1
#[test]
fn later_frames_to_a_php_client_fill_multiples_of_8192_bytes() {
    let server = Server::start("");
    let mut conn = server.php_named("script");
    let mut sender = server.web();
    let empty = r#"{"opcode":"feedback","ident":"script","pad":""}"#.len();
    // Headers are of 4 bytes up to 65,535 bytes of payload, then of 10.
    for (len, wire_len) in [
        (100, 8192),
        (125, 8192),
        (126, 8192),
        (8187, 8192),
        (8188, 8192),
        (8189, 16_384),
        (10_000, 16_384),
        (16_380, 16_384),
        (16_381, 24_576),
        (65_526, 65_536),
        (65_532, 65_536),
        (65_533, 73_728),
        (65_536, 73_728),
        (300_000, 303_104),
    ] {
        let pad = "p".repeat(len - empty);
        let packet = format!(r#"{{"opcode":"feedback","ident":"script","pad":"{pad}"}}"#);
        sender.send_for_next(&packet);
        expect_padded(&mut conn, &packet, wire_len);
    }
}

// protocol.md 6.1
#[test]
fn next_and_echo_to_a_php_client_are_padded() {
    let server = Server::start("");
    let mut conn = server.php();
    for number in 0..20 {
        let packet = format!(r#"{{"opcode":"echo","number":{number}}}"#);
        conn.send_text(&packet);
        expect_padded(&mut conn, NEXT, 8192);
        expect_padded(&mut conn, &packet, 8192);
    }
}

// protocol.md 6.1
#[test]
fn many_frames_to_a_php_client_keep_their_order_and_their_control_frames() {
    let server = Server::start("");
    let mut conn = server.php();
    let mut bytes = Vec::new();
    for number in 0..50 {
        bytes.extend(frame::text(&format!(
            r#"{{"opcode":"echo","number":{number}}}"#
        )));
    }
    conn.send_bytes(&bytes);
    for number in 0..50 {
        expect_padded(&mut conn, NEXT, 8192);
        let packet = format!(r#"{{"opcode":"echo","number":{number}}}"#);
        expect_padded(&mut conn, &packet, 8192);
    }
    conn.send_ping(b"after all");
    conn.expect_pong(b"after all");
    conn.send_text(r#"{"opcode":"quit"}"#);
    expect_padded(&mut conn, NEXT, 8192);
    conn.expect_close_and_end(1000);
}

// protocol.md 6.1
#[test]
fn a_close_of_a_php_client_waits_for_the_frames_before_it() {
    let server = Server::start("");
    let mut conn = server.php();
    let packet = r#"{"opcode":"echo"}"#;
    conn.send_bytes(&[frame::text(packet), frame::text("no JSON")].concat());
    expect_padded(&mut conn, NEXT, 8192);
    expect_padded(&mut conn, packet, 8192);
    expect_padded(&mut conn, NEXT, 8192);
    conn.expect_close_and_end(1007);
}

/// Connects and reads as PHP does; the answers must fill their reads exactly.
#[track_caller]
fn php_connect(server: &Server, request: &Request) -> PhpStream {
    let mut stream = PhpStream::connect(server.address());
    stream.write(&request.bytes());
    let head = stream.fread(1024);
    assert!(head.starts_with(b"HTTP/1.1 101 ") && head.ends_with(b"\r\n\r\n"));
    let ready = stream.read_message(1024);
    assert!(ready.starts_with(r#"{"opcode":"ready""#), "{ready}");
    stream
}

// protocol.md 6.1
#[test]
fn reading_as_php_does_200_connects_of_200_succeed() {
    let server = Server::start("");
    for _ in 0..200 {
        let mut stream = php_connect(&server, &Request::php("/php"));
        // The empty masked close frame by which PHP leaves.
        stream.write(b"\x88\x80\x01\x02\x03\x04");
    }
}

// protocol.md 6.1
#[test]
fn reading_as_php_does_200_exchanges_of_200_succeed() {
    let server = Server::start("");
    let mut stream = php_connect(&server, &Request::php("/php"));
    for number in 0..200 {
        let packet = format!(r#"{{"opcode":"echo","number":{number}}}"#);
        stream.write(&frame::text(&packet));
        assert_eq!(stream.read_message(8192), NEXT);
        assert_eq!(stream.read_message(8192), packet);
    }
}

/// 200 feedbacks to a PHP reader, sent without waiting; `pad` makes them longer.
#[track_caller]
fn feedback_storm(pad: &str) {
    let server = Server::start("");
    let request = Request::php("/php").with("Ident", "reader");
    let mut reader = php_connect(&server, &request);
    let packet = |number: usize| {
        format!(r#"{{"opcode":"feedback","ident":"reader","number":{number},"pad":"{pad}"}}"#)
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..200 {
                assert_eq!(reader.read_message(8192), packet(number));
            }
        });
        let mut sender = server.web();
        let all: Vec<u8> = (0..200)
            .flat_map(|number| frame::text(&packet(number)))
            .collect();
        sender.send_bytes(&all);
        for _ in 0..200 {
            sender.expect_next();
        }
    });
}

// protocol.md 6.1
#[test]
fn reading_as_php_does_200_feedbacks_in_a_row_arrive_whole_and_in_order() {
    feedback_storm("");
}

// protocol.md 6.1
#[test]
fn reading_as_php_does_200_feedbacks_of_two_reads_each_arrive_too() {
    feedback_storm(&"p".repeat(9_000));
}

// protocol.md 6.1
#[test]
fn frames_to_a_php_client_keep_a_distance_of_a_fifth_of_a_millisecond() {
    let server = Server::start("");
    let mut script = server.php_named("script");
    let mut sender = server.web();
    let start = Instant::now();
    sender.send_bytes(&frame::text(r#"{"opcode":"feedback","ident":"script"}"#).repeat(500));
    script.skip_bytes(500 * 8192);
    // The least time that all of them can take; a slow machine only makes it longer.
    let least = 499 * Duration::from_micros(200);
    assert!(
        start.elapsed() >= least,
        "500 frames in {:?}",
        start.elapsed()
    );
    sender.expect_next();
}

/// Nothing is padded for this one: neither the 101, nor `ready`, nor what follows.
#[track_caller]
fn expect_no_padding(server: &Server, request: &Request) {
    let mut conn = connect(server);
    let response = conn.upgrade(request);
    assert!(response.head_len < 400, "{response:?}");
    let ready = conn.read_frame();
    assert_eq!(ready.wire_len, 66);
    let packet = r#"{"opcode":"echo","message":"m"}"#;
    conn.send_bytes(&frame::masked(FIN | TEXT, packet.as_bytes()));
    assert_eq!(conn.read_frame().payload, NEXT.as_bytes());
    assert_eq!(conn.read_frame().payload, packet.as_bytes());
}

// protocol.md 6.1
#[test]
fn nothing_is_padded_for_web_clients() {
    let server = Server::start("");
    for request in [
        Request::to("/web"),
        Request::to("/php"),
        Request::to("/").with("Client-Type", "browser"),
        Request::to("/").with("Client-Type", "php5"),
        Request::to("/").with("Client-Type", ""),
        Request::to("/web").with("X-Websock-Frames", "stream"),
    ] {
        expect_no_padding(&server, &request);
    }
}

// protocol.md 6.4
#[test]
fn php_padding_off_ends_all_padding() {
    let server = Server::start("phpPadding=off");
    expect_no_padding(&server, &Request::php("/php"));
    expect_no_padding(&server, &Request::to("/web"));
}

// protocol.md 6.4
#[test]
fn a_php_client_that_reads_properly_can_decline_padding() {
    let server = Server::start("");
    let stream = Request::php("/php")
        .with("X-Websock-Frames", "stream")
        .with("Ident", "s");
    expect_no_padding(&server, &stream);

    // It is a php client all the same.
    let mut conn = server.open(&stream);
    let mut sender = server.web();
    let by_ident = r#"{"opcode":"feedback","ident":"s"}"#;
    sender.send_for_next(by_ident);
    conn.expect_text(by_ident);
    sender.send_for_next(&format!(
        r#"{{"opcode":"feedback","uuid":"{}"}}"#,
        conn.uuid
    ));
    sender.send_for_next(r#"{"opcode":"broadcast"}"#);
    conn.round_trip();

    // And others are padded as before.
    let mut padded = connect(&server);
    assert_eq!(padded.upgrade(&Request::php("/php")).head_len, 1024);
}

// A frame that the socket did not take used to keep the loop busy until it did.
// protocol.md 6.1
#[test]
fn a_php_client_that_does_not_read_keeps_nobody_busy() {
    let server = Server::start("pingInterval=1s\nmaxQueue=64M\nmemoryLimit=128M");
    let slow = connect(&server).open(&Request::php("/php").with("Ident", "slow"));
    let mut sender = connect(&server).open(&Request::to("/web"));
    sender.answer_pings();
    let text = "x".repeat(100_000);
    for _ in 0..200 {
        sender.send_text(&format!(
            r#"{{"opcode":"feedback","ident":"slow","message":"{text}"}}"#
        ));
        sender.expect_next();
    }
    sender.close();
    let mut idle = server.web();
    idle.expect_ping();
    let before = server.cpu_ticks();
    idle.send_pong(b"");
    idle.expect_ping();
    let ticks = server.cpu_ticks() - before;
    assert!(ticks < 10, "{ticks} ticks of 10 ms in an idle second");
    drop(slow);
}

// Blanks used to count against maxQueue, and half of such a burst was lost.
// protocol.md 6.1
#[test]
fn a_burst_of_feedbacks_larger_with_its_blanks_than_the_queue_arrives_whole() {
    let server = Server::start("maxQueue=1M");
    let mut receiver = connect(&server).open(&Request::php("/php").with("Ident", "printer"));
    let mut sender = connect(&server).open(&Request::to("/web"));
    let packet = |number| format!(r#"{{"opcode":"feedback","ident":"printer","n":{number}}}"#);
    (0..1000).for_each(|number| sender.send_text(&packet(number)));
    for number in 0..1000 {
        expect_padded(&mut receiver, &packet(number), 8192);
    }
    for _ in 0..1000 {
        sender.expect_next();
    }
}
