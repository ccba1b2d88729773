//! Fragments, bufferON and bufferOFF, and what is too long (protocol.md 4).

use crate::harness::frame::{
    self, BINARY, CONTINUATION, FIN, LengthForm, PING, PONG, TEXT, masked, masked_as,
};
use crate::harness::{Conn, Server};

const ECHO: &str = r#"{"opcode":"echo","message":"größer"}"#;

/// An echo packet of exactly `len` bytes.
fn echo_of(len: usize) -> String {
    let empty = r#"{"opcode":"echo","pad":""}"#.len();
    format!(r#"{{"opcode":"echo","pad":"{}"}}"#, "p".repeat(len - empty))
}

/// Sends a chunk (or bufferON, bufferOFF), which is answered by `next` alone.
#[track_caller]
fn send_chunk(conn: &mut Conn, chunk: &str) {
    conn.send_text(chunk);
    conn.expect_next();
    conn.send_ping(b"still here");
    conn.expect_pong(b"still here");
}

/// Sends bufferOFF, and expects `next` and then the echo of what the chunks make.
#[track_caller]
fn expect_joined(conn: &mut Conn, packet: &str) {
    conn.send_text("bufferOFF");
    conn.expect_next();
    conn.expect_text(packet);
    conn.round_trip();
}

// protocol.md 4.1
#[test]
fn fragments_are_joined_wherever_they_are_cut() {
    let server = Server::start("");
    let mut conn = server.web();
    let bytes = ECHO.as_bytes();
    for first_byte in [TEXT, BINARY] {
        for cut in 0..=bytes.len() {
            let (begin, end) = bytes.split_at(cut);
            let (middle, end) = end.split_at(end.len() / 2);
            conn.send_bytes(&masked(first_byte, begin));
            conn.send_bytes(&masked(CONTINUATION, middle));
            conn.send_bytes(&masked(FIN | CONTINUATION, end));
            conn.expect_next();
            conn.expect_text(ECHO);
        }
    }
}

// protocol.md 2.10
// protocol.md 4.1
#[test]
fn messages_of_megabytes_come_back_whole_and_what_is_behind_them_is_heard() {
    let server = Server::start("");
    let mut conn = server.web();
    // Characters of all lengths, so that reads and blocks end inside them.
    let packet = format!(r#"{{"opcode":"echo","pad":"{}"}}"#, "aé€𐍈".repeat(300_000));
    let bytes = packet.as_bytes();
    let (begin, end) = bytes.split_at(1_234_567);
    let whole = masked(FIN | TEXT, bytes);
    let fragments = [masked(TEXT, begin), masked(FIN | CONTINUATION, end)].concat();
    let binary = masked(FIN | BINARY, bytes);
    for frames in [whole, fragments, binary] {
        conn.send_bytes(&[frames, frame::text(ECHO)].concat());
        for expected in [&packet, ECHO] {
            conn.expect_next();
            conn.expect_text(expected);
        }
    }
    conn.close();
}

// protocol.md 4.4
#[test]
fn a_message_that_has_only_begun_keeps_no_buffer_that_a_longer_one_has_left() {
    // However long the forty take to begin, none is pinged or has stalled.
    let times = "pingInterval=0\nstallTimeout=1h";
    let server = Server::start(&format!("memoryLimit=8M\nmaxMessageSize=2M\n{times}"));
    let mut honest = server.web();
    let long = echo_of(1_000_000);
    // Forty buffers of a megabyte would be over memoryLimit, which cuts who holds most.
    let mut begun: Vec<Conn> = (0..40)
        .map(|_| {
            honest.send_text(&long);
            honest.expect_next();
            honest.expect_text(&long);
            let mut conn = server.web();
            conn.send_bytes(&masked(TEXT, b"{"));
            conn.send_ping(b"begun");
            conn.expect_pong(b"begun");
            conn
        })
        .collect();
    for conn in &mut begun {
        conn.send_bytes(&masked(FIN | CONTINUATION, b"}"));
        conn.expect_next();
        conn.round_trip();
    }
}

// protocol.md 5.4
#[test]
fn a_broken_character_deep_in_a_long_text_is_refused_before_its_end() {
    let server = Server::start("");
    for broken_at in [1, 200_000, 2_000_000, 2_999_999] {
        let mut payload = vec![b'p'; 3_000_000];
        payload[broken_at] = 0xFF;
        let frame = masked(FIN | TEXT, &payload);
        let mut conn = server.web();
        let header_len = frame.len() - payload.len();
        // The last byte is never sent, unless it is the broken one.
        let end = frame.len() - usize::from(broken_at < payload.len() - 1);
        // What is behind the broken character may not be taken any more.
        let _ = conn.try_send_bytes(&frame[..header_len + broken_at + 1]);
        let _ = conn.try_send_bytes(&frame[header_len + broken_at + 1..end]);
        conn.expect_close(1007);
    }
    server.web().round_trip();
}

// protocol.md 4.1
#[test]
fn control_frames_may_stand_between_fragments() {
    let server = Server::start("");
    let mut conn = server.web();
    conn.send_bytes(&masked(TEXT, &ECHO.as_bytes()[..5]));
    conn.send_ping(b"between");
    conn.expect_pong(b"between");
    conn.send_bytes(&masked(CONTINUATION, &ECHO.as_bytes()[5..9]));
    conn.send_pong(b"unasked");
    conn.send_bytes(&masked(FIN | CONTINUATION, &ECHO.as_bytes()[9..]));
    conn.expect_next();
    conn.expect_text(ECHO);
    conn.round_trip();
}

// protocol.md 4.1
#[test]
fn fragments_in_one_segment_with_control_frames_are_joined() {
    let server = Server::start("");
    let mut conn = server.web();
    let mut bytes = masked(TEXT, &ECHO.as_bytes()[..1]);
    for byte in &ECHO.as_bytes()[1..] {
        bytes.extend(masked(CONTINUATION, &[*byte]));
        bytes.extend(masked(FIN | PONG, b""));
    }
    bytes.extend(masked(FIN | PING, b"end"));
    bytes.extend(masked(FIN | CONTINUATION, b""));
    bytes.extend(frame::text("{}"));
    conn.send_bytes(&bytes);
    conn.expect_pong(b"end");
    conn.expect_next();
    conn.expect_text(ECHO);
    conn.expect_next();
    conn.round_trip();
}

// protocol.md 4.2
#[test]
fn chunks_between_buffer_on_and_off_are_one_message() {
    let server = Server::start("");
    for mut conn in [server.web(), server.php()] {
        send_chunk(&mut conn, "bufferON");
        for (index, c) in ECHO.char_indices() {
            send_chunk(&mut conn, &ECHO[index..index + c.len_utf8()]);
        }
        expect_joined(&mut conn, ECHO);
    }
}

// protocol.md 4.2
#[test]
fn everything_between_on_and_off_is_a_chunk() {
    let server = Server::start("");
    let mut conn = server.web();
    let mut other = server.web();
    send_chunk(&mut conn, "bufferON");
    let chunks = [
        r#"{"opcode":"echo","list":["#,
        r#"{"opcode":"broadcast"}"#,
        ",",
        r#"{"opcode":"quit"}"#,
        "",
        r#",""#,
        "bufferOFF ",
        " bufferON",
        "bufferon",
        r#""]}"#,
    ];
    for chunk in chunks {
        send_chunk(&mut conn, chunk);
    }
    expect_joined(&mut conn, &chunks.concat());
    other.round_trip();
}

// protocol.md 4.2
#[test]
fn only_the_exact_words_switch_buffering() {
    let server = Server::start("");
    for text in [
        "bufferon",
        "BUFFERON",
        "bufferON ",
        " bufferON",
        "bufferON\n",
        "bufferof",
    ] {
        let mut conn = server.web();
        conn.send_text(text);
        conn.expect_next();
        conn.expect_close_and_end(1007);
    }
    let mut conn = server.web();
    send_chunk(&mut conn, r#""bufferON""#);
    conn.round_trip();
}

// protocol.md 4.2
#[test]
fn buffer_on_empties_the_buffer() {
    let server = Server::start("");
    let mut conn = server.web();
    for text in ["bufferON", "left over", "bufferON", ECHO] {
        send_chunk(&mut conn, text);
    }
    expect_joined(&mut conn, ECHO);
}

// protocol.md 4.2
#[test]
fn buffer_off_with_nothing_kept_is_next_only() {
    let server = Server::start("");
    let mut conn = server.web();
    conn.send_for_next("bufferOFF");
    send_chunk(&mut conn, "bufferON");
    conn.send_for_next("bufferOFF");
    conn.send_for_next("bufferOFF");
    for text in ["bufferON", "dropped", "bufferON"] {
        send_chunk(&mut conn, text);
    }
    conn.send_for_next("bufferOFF");
}

// protocol.md 4.2
#[test]
fn the_buffer_is_empty_after_off() {
    let server = Server::start("");
    let mut conn = server.web();
    for _ in 0..3 {
        send_chunk(&mut conn, "bufferON");
        send_chunk(&mut conn, &ECHO[..10]);
        send_chunk(&mut conn, &ECHO[10..]);
        expect_joined(&mut conn, ECHO);
    }
}

// protocol.md 4.2
#[test]
fn buffering_is_per_connection() {
    let server = Server::start("");
    let mut one = server.web();
    let mut other = server.web();
    send_chunk(&mut one, "bufferON");
    other.round_trip();
    send_chunk(&mut one, &ECHO[..9]);
    send_chunk(&mut other, "bufferON");
    let packet = r#"{"opcode":"echo","of":"other"}"#;
    send_chunk(&mut other, packet);
    send_chunk(&mut one, &ECHO[9..]);
    expect_joined(&mut one, ECHO);
    expect_joined(&mut other, packet);
}

// protocol.md 4.2
#[test]
fn chunks_may_be_fragmented_and_binary() {
    let server = Server::start("");
    let mut conn = server.web();
    conn.send_bytes(&masked(TEXT, b"buffer"));
    conn.send_bytes(&masked(FIN | CONTINUATION, b"ON"));
    conn.expect_next();
    conn.send_binary(&ECHO.as_bytes()[..7]);
    conn.expect_next();
    conn.send_bytes(&masked(TEXT, &ECHO.as_bytes()[7..11]));
    conn.send_ping(b"in a chunk");
    conn.expect_pong(b"in a chunk");
    conn.send_bytes(&masked(FIN | CONTINUATION, &ECHO.as_bytes()[11..]));
    conn.expect_next();
    expect_joined(&mut conn, ECHO);
}

// protocol.md 4.2
#[test]
fn joined_chunks_that_are_no_json_are_closed_behind_next() {
    let server = Server::start("");
    let mut conn = server.web();
    send_chunk(&mut conn, "bufferON");
    send_chunk(&mut conn, ECHO);
    send_chunk(&mut conn, ECHO);
    conn.send_text("bufferOFF");
    conn.expect_next();
    conn.expect_close_and_end(1007);
}

// protocol.md 4.2
#[test]
fn joined_chunks_are_broadcast_as_one_message() {
    let server = Server::start("");
    let mut receiver = server.web();
    let mut sender = server.php();
    let packet = format!(
        r#"{{"opcode":"broadcast","pad":"{}"}}"#,
        "p".repeat(200_000)
    );
    send_chunk(&mut sender, "bufferON");
    for chunk in packet.as_bytes().chunks(8192) {
        send_chunk(&mut sender, std::str::from_utf8(chunk).expect("ASCII"));
    }
    sender.send_for_next("bufferOFF");
    receiver.expect_text(&packet);
    receiver.round_trip();
}

/// Sends `count` chunks that are all kept.
#[track_caller]
fn send_chunks(conn: &mut Conn, count: usize) {
    send_chunk(conn, "bufferON");
    send_chunk(conn, r#"{"opcode":"echo","#);
    for _ in 0..count - 2 {
        send_chunk(conn, " ");
    }
    send_chunk(conn, r#""end":1}"#);
}

// protocol.md 4.3
#[test]
fn one_chunk_more_than_max_chunks_is_kept_and_then_it_is_1009() {
    for (ini, max_chunks) in [("", 100), ("maxChunks=3", 3)] {
        let server = Server::start(ini);
        let mut conn = server.web();
        send_chunks(&mut conn, max_chunks + 1);
        let blanks = " ".repeat(max_chunks - 1);
        expect_joined(
            &mut conn,
            &format!(r#"{{"opcode":"echo",{blanks}"end":1}}"#),
        );

        send_chunks(&mut conn, max_chunks + 1);
        conn.send_text(" ");
        conn.expect_next();
        let reason = conn.expect_close_and_end(1009);
        assert!(!reason.is_empty());
    }
}

// protocol.md 4.3
#[test]
fn chunks_over_max_message_size_together_are_1009() {
    let server = Server::start("maxMessageSize=1K");
    let packet = echo_of(1024);
    let (begin, end) = packet.split_at(600);
    let mut conn = server.web();
    send_chunk(&mut conn, "bufferON");
    send_chunk(&mut conn, begin);
    send_chunk(&mut conn, end);
    expect_joined(&mut conn, &packet);

    send_chunk(&mut conn, "bufferON");
    send_chunk(&mut conn, begin);
    conn.send_text(&format!(" {end}"));
    let reason = conn.expect_close_perhaps_behind_next(1009);
    assert!(!reason.is_empty());
}

// protocol.md 4.4
#[test]
fn a_message_over_max_message_size_is_1009() {
    let server = Server::start("maxMessageSize=1K");
    let mut conn = server.web();
    for len in [1023, 1024] {
        let packet = echo_of(len);
        conn.send_text(&packet);
        conn.expect_next();
        conn.expect_text(&packet);
    }
    conn.send_text(&echo_of(1025));
    let reason = conn.expect_close_and_end(1009);
    assert!(!reason.is_empty());
}

// protocol.md 4.4
#[test]
fn a_header_alone_tells_that_a_message_is_too_long() {
    let server = Server::start("maxMessageSize=1K");
    for first in [FIN | TEXT, TEXT, FIN | BINARY, BINARY] {
        for (form, len) in [
            (LengthForm::Sixteen, 1025),
            (LengthForm::Sixteen, 65_535),
            (LengthForm::SixtyFour, 65_536),
            (LengthForm::SixtyFour, u64::MAX >> 1),
        ] {
            let mut conn = server.web();
            conn.send_bytes(&masked_as(first, form, len, b""));
            conn.expect_close_and_end(1009);
        }
    }
}

// protocol.md 4.4
#[test]
fn fragments_over_max_message_size_together_are_1009() {
    let server = Server::start("maxMessageSize=1K");
    let packet = echo_of(1024);
    let mut conn = server.web();
    conn.send_bytes(&masked(TEXT, &packet.as_bytes()[..1000]));
    conn.send_bytes(&masked(FIN | CONTINUATION, &packet.as_bytes()[1000..]));
    conn.expect_next();
    conn.expect_text(&packet);

    conn.send_bytes(&masked(TEXT, &packet.as_bytes()[..1000]));
    conn.send_ping(b"not yet");
    conn.expect_pong(b"not yet");
    conn.send_bytes(&masked_as(CONTINUATION, LengthForm::Seven, 25, b""));
    conn.expect_close_and_end(1009);
}

// protocol.md 4.4
#[test]
fn the_default_is_16_mib() {
    let server = Server::start("");
    let mut conn = server.web();
    let packet = echo_of(16 << 20);
    conn.send_text(&packet);
    conn.expect_next();
    conn.expect_text(&packet);
    conn.round_trip();
    conn.send_bytes(&masked_as(
        FIN | TEXT,
        LengthForm::SixtyFour,
        (16 << 20) + 1,
        b"",
    ));
    conn.expect_close_and_end(1009);
}
