//! `ready`, `next` and the packets of the built-in resources (protocol.md 2).

use crate::harness::client::NEXT;
use crate::harness::frame::{self, BINARY, CONTINUATION, FIN, TEXT};
use crate::harness::{Conn, Request, Server, connect, unique_number};

/// Sends a message that ends the connection: `next`, then close with this code and a reason.
#[track_caller]
fn expect_last_message(conn: &mut Conn, bytes: &[u8], code: u16) {
    conn.send_bytes(bytes);
    conn.expect_next();
    let reason = conn.expect_close_and_end(code);
    assert!(!reason.is_empty(), "a close {code} without reason");
}

fn echo() -> String {
    format!(r#"{{"opcode":"echo","number":{}}}"#, unique_number())
}

// protocol.md 2.1
#[test]
fn ready_brings_a_version_4_uuid_in_lower_case() {
    let server = Server::start("");
    let mut seen = Vec::new();
    for request in [
        Request::to("/"),
        Request::to("/web"),
        Request::to("/php"),
        Request::php("/php"),
        Request::to("/web"),
    ] {
        let uuid = server.open(&request).uuid;
        assert_eq!(uuid.len(), 36, "{uuid}");
        for (index, c) in uuid.char_indices() {
            let right = match index {
                8 | 13 | 18 | 23 => c == '-',
                14 => c == '4',
                19 => matches!(c, '8' | '9' | 'a' | 'b'),
                _ => matches!(c, '0'..='9' | 'a'..='f'),
            };
            assert!(right, "{uuid} at {index}");
        }
        assert!(!seen.contains(&uuid), "{uuid} twice");
        seen.push(uuid);
    }
}

// protocol.md 2.1
#[test]
fn a_web_client_gets_ready_in_exactly_66_bytes() {
    let server = Server::start("");
    let mut conn = connect(&server);
    conn.upgrade(&Request::to("/web"));
    let frame = conn.read_frame();
    assert_eq!(
        frame.wire_len,
        2 + r#"{"opcode":"ready","uuid":""}"#.len() + 36
    );
    assert_eq!(frame.opcode, TEXT);
}

// protocol.md 2.2
#[test]
fn next_is_26_bytes_and_comes_before_the_echo() {
    assert_eq!(NEXT.len(), 26);
    let server = Server::start("");
    let mut conn = server.web();
    let packet = echo();
    conn.send_text(&packet);
    let next = conn.read_frame();
    assert_eq!(next.payload, br#"{"opcode":"next","fyi":""}"#);
    assert_eq!((next.opcode, next.wire_len), (TEXT, 28));
    conn.expect_text(&packet);
}

// protocol.md 2.2
#[test]
fn next_comes_before_a_feedback_to_oneself_and_before_a_close() {
    let server = Server::start("");
    let mut conn = server.web_named("self");
    let by_ident = r#"{"opcode":"feedback","ident":"self"}"#;
    let by_uuid = format!(r#"{{"opcode":"feedback","uuid":"{}"}}"#, conn.uuid);
    for packet in [by_ident, &by_uuid] {
        conn.send_text(packet);
        conn.expect_next();
        conn.expect_text(packet);
    }
    conn.send_text(r#"{"opcode":"quit"}"#);
    conn.expect_next();
    conn.expect_close_and_end(1000);
}

// protocol.md 2.2
#[test]
fn each_message_gets_one_next_however_many_fragments_it_has() {
    let server = Server::start("");
    let mut conn = server.web();
    let packet = echo();
    let (begin, end) = packet.split_at(10);
    conn.send_bytes(&frame::masked(TEXT, begin.as_bytes()));
    for middle in end.bytes() {
        conn.send_bytes(&frame::masked(CONTINUATION, &[middle]));
    }
    conn.send_bytes(&frame::masked(FIN | CONTINUATION, b""));
    conn.expect_next();
    conn.expect_text(&packet);
    conn.round_trip();
}

// protocol.md 2.3
#[test]
fn control_frames_get_no_next() {
    let server = Server::start("");
    let mut conn = server.web();
    conn.send_ping(b"one");
    conn.send_pong(b"two");
    conn.send_ping(b"");
    conn.expect_pong(b"one");
    conn.expect_pong(b"");
    conn.round_trip();
    conn.send_close(1000, "");
    conn.expect_close(1000);
    conn.expect_eof();
}

// protocol.md 2.4
#[test]
fn a_broadcast_reaches_every_open_web_client_but_its_sender() {
    let server = Server::start("");
    let mut receivers = [
        server.open(&Request::to("/")),
        server.open(&Request::to("/web")),
        server.open(&Request::to("/php")),
        server.web_named("with ident"),
    ];
    let mut bystanders = [
        server.php(),
        server.open(&Request::php("/web")),
        server.php_named("x"),
    ];
    let mut upgrading = connect(&server);
    let request = Request::to("/web");
    let (begin, end) = (&request.bytes()[..40], &request.bytes()[40..]);
    upgrading.send_bytes(begin);
    let leaving = server.web();
    leaving.close();

    let mut sender = server.web();
    sender.wait_until_handled();
    let packet = r#"{"opcode":"broadcast","message":"to all"}"#;
    sender.send_text(packet);
    sender.expect_next();
    sender.wait_until_handled();

    for receiver in &mut receivers {
        receiver.expect_text(packet);
        receiver.round_trip();
    }
    for bystander in &mut bystanders {
        bystander.round_trip();
    }
    upgrading.send_bytes(end);
    assert_eq!(upgrading.read_response().status(), 101);
    upgrading.expect_ready();
    upgrading.round_trip();
}

// protocol.md 2.4
#[test]
fn a_broadcast_does_not_reach_a_client_that_has_closed_but_is_still_there() {
    let server = Server::start("");
    let mut closing = server.web();
    closing.send_text(r#"{"opcode":"quit"}"#);
    closing.expect_next();
    // The server has sent its close frame and waits for ours.
    closing.expect_close(1000);
    let mut sender = server.web();
    sender.send_for_next(r#"{"opcode":"broadcast"}"#);
    closing.send_close(1000, "");
    closing.expect_end();
}

// protocol.md 2.4
#[test]
fn a_script_can_broadcast_too() {
    let server = Server::start("");
    let mut receivers = [server.web(), server.open(&Request::to("/"))];
    let mut other_script = server.php();
    let packet = r#"{"opcode":"broadcast","from":"script"}"#;
    server.php().send_for_next(packet);
    for receiver in &mut receivers {
        receiver.expect_text(packet);
        receiver.round_trip();
    }
    other_script.round_trip();
}

// protocol.md 2.4
#[test]
fn broadcasts_and_feedbacks_of_one_sender_keep_their_order() {
    let server = Server::start("");
    let mut receiver = server.web_named("receiver");
    let mut sender = server.web();
    let packets: Vec<String> = (0..100)
        .map(|number| match number % 2 {
            0 => format!(r#"{{"opcode":"broadcast","number":{number}}}"#),
            _ => format!(r#"{{"opcode":"feedback","ident":"receiver","number":{number}}}"#),
        })
        .collect();
    for packet in &packets {
        sender.send_text(packet);
    }
    for packet in &packets {
        receiver.expect_text(packet);
        sender.expect_next();
    }
}

// protocol.md 2.4
#[test]
fn quit_is_next_then_close_1000() {
    let server = Server::start("");
    for mut conn in [server.open(&Request::to("/")), server.web(), server.php()] {
        conn.send_text(r#"{"opcode":"quit"}"#);
        conn.expect_next();
        conn.expect_close_and_end(1000);
    }
}

// protocol.md 2.4
#[test]
fn what_is_behind_quit_is_not_handled() {
    let server = Server::start("");
    let mut other = server.web();
    let mut conn = server.web();
    let packets = [
        r#"{"opcode":"quit"}"#,
        r#"{"opcode":"broadcast"}"#,
        r#"{"opcode":"echo"}"#,
    ];
    conn.send_bytes(&packets.map(frame::text).concat());
    conn.expect_next();
    conn.expect_close_and_end(1000);
    other.round_trip();
}

// protocol.md 2.4
#[test]
fn opcodes_are_compared_exactly() {
    let server = Server::start("");
    let mut other = server.web_named("other");
    let mut conn = server.web();
    for packet in [
        r#"{"opcode":"Echo"}"#,
        r#"{"opcode":"ECHO"}"#,
        r#"{"opcode":" echo"}"#,
        r#"{"opcode":"echo "}"#,
        r#"{"opcode":"echo\u0000"}"#,
        r#"{"opcode":"Broadcast"}"#,
        r#"{"opcode":"FEEDBACK","ident":"other"}"#,
        r#"{"opcode":"QUIT"}"#,
        r#"{"Opcode":"echo"}"#,
        r#"{"OPCODE":"quit"}"#,
        r#"{"opcode ":"echo"}"#,
    ] {
        conn.send_for_next(packet);
    }
    other.round_trip();
}

// protocol.md 2.4
#[test]
fn a_packet_without_a_known_opcode_gets_next_and_nothing_else() {
    let server = Server::start("");
    let mut other = server.web();
    let mut conn = server.web();
    for packet in [
        "{}",
        r#"{"opcode":""}"#,
        r#"{"opcode":"nope"}"#,
        r#"{"opcode":"ready"}"#,
        r#"{"opcode":"next"}"#,
        r#"{"opcode":"close"}"#,
        r#"{"message":"no opcode"}"#,
        r#"{"opcode":1}"#,
        r#"{"opcode":true}"#,
        r#"{"opcode":null}"#,
        r#"{"opcode":["echo"]}"#,
        r#"{"opcode":{"opcode":"echo"}}"#,
        r#"{"packet":{"opcode":"echo"}}"#,
        "[]",
        r#"[{"opcode":"echo"}]"#,
        r#"["opcode","echo"]"#,
        r#""echo""#,
        "1",
        "-0.5e-3",
        "true",
        "false",
        "null",
        " {} \r\n\t",
    ] {
        conn.send_for_next(packet);
    }
    other.round_trip();
}

// protocol.md 2.4
#[test]
fn escapes_are_undone_before_opcodes_are_compared() {
    let server = Server::start("");
    let mut conn = server.web();
    let packet = r#"{"\u006fpcode":"\u0065cho"}"#;
    conn.send_text(packet);
    conn.expect_next();
    conn.expect_text(packet);
}

/// Packets of this opcode that a server which decodes and encodes again would change.
fn delicate_packets(opcode_and_more: &str) -> Vec<String> {
    [
        r#""n":12345678901234567890,"m":-0.10,"e":1E5,"p":3.14159265358979323846264338327950288"#,
        r#""huge":1e400,"tiny":-1e-400,"i":9223372036854775808"#,
        r#""z":1,"a":2,"m":3,"10":4,"9":5"#,
        r#""s":"ä\u00e4/\/\u2028😀\ud83d\ude00\u0000""#,
        r#" "spaced" : [ 1 , 2 , { } , [ ] ] "#,
        r#""":"empty key","_empty_":1"#,
        r#""twice":1,"twice":2"#,
    ]
    .iter()
    .map(|rest| format!("{{{opcode_and_more},{rest}}}"))
    .collect()
}

// protocol.md 2.5
#[test]
fn an_echo_brings_back_the_bytes_of_the_sender() {
    let server = Server::start("");
    let mut conn = server.web();
    for packet in delicate_packets(r#""opcode":"echo""#) {
        conn.send_text(&packet);
        conn.expect_next();
        conn.expect_text(&packet);
    }
}

// protocol.md 2.5
#[test]
fn broadcast_and_feedback_bring_the_bytes_of_the_sender() {
    let server = Server::start("");
    let mut receiver = server.web_named("receiver");
    let mut sender = server.web();
    for start in [
        r#""opcode":"broadcast""#,
        r#""ident":"receiver","opcode":"feedback""#,
    ] {
        for packet in delicate_packets(start) {
            sender.send_text(&packet);
            sender.expect_next();
            receiver.expect_text(&packet);
        }
    }
}

// protocol.md 2.6a
#[test]
fn the_bare_text_ping_of_heartbeat_libraries_is_answered_by_next_alone() {
    let server = Server::start("");
    let mut conn = server.web();
    let binary = frame::masked(FIN | BINARY, b"ping");
    for frame in [frame::text("ping"), binary] {
        conn.send_bytes(&frame);
        conn.expect_next();
    }
    // In between nothing else has come.
    let packet = r#"{"opcode":"echo"}"#;
    conn.send_text(packet);
    conn.expect_next();
    conn.expect_text(packet);
    for text in ["Ping", "ping ", "ping\n", "pong"] {
        expect_last_message(&mut server.web(), &frame::text(text), 1007);
    }
}

// protocol.md 2.6
#[test]
fn invalid_json_is_next_then_close_1007() {
    let server = Server::start("");
    for text in [
        "nope",
        "{",
        "}",
        "[1,]",
        r#"{"opcode":"echo",}"#,
        r#"{"opcode":"echo""#,
        r#"{"opcode":"echo"} trailing"#,
        r#"{"opcode":"echo"}{}"#,
        "\u{feff}{\"opcode\":\"echo\"}",
        "{'opcode':'echo'}",
        "{opcode:\"echo\"}",
        r#"{"opcode" "echo"}"#,
        "\u{a0}{}",
        "\u{b}{}",
        "   ",
        "NaN",
        "Infinity",
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "1e",
        "0x1f",
        "tru",
        r#""unfinished"#,
        "\"line\nend\"",
        "\"tab\there\"",
        "\"nul\0\"",
        r#""\x""#,
        r#""\u12g4""#,
        r#""\u123""#,
        "// comment\n{}",
    ] {
        expect_last_message(&mut server.web(), &frame::text(text), 1007);
    }
}

// protocol.md 2.6
#[test]
fn lone_surrogates_are_invalid_json() {
    let server = Server::start("");
    for escape in [
        r"\ud800",
        r"\udbff",
        r"\udc00",
        r"\uDFFF",
        r"\ud800x",
        r"\ud800\u0041",
        r"\ud800\n",
        r"\ud800\ud800",
        r"\udc00\ud800",
    ] {
        for text in [
            format!(r#"{{"opcode":"echo","message":"{escape}"}}"#),
            format!(r#"{{"opcode":"echo","{escape}":1}}"#),
            format!(r#"["{escape}"]"#),
        ] {
            expect_last_message(&mut server.web(), &frame::text(&text), 1007);
        }
    }
    let mut conn = server.web();
    let pair = r#"{"opcode":"echo","message":"\ud83d\ude00\uDBFF\uDFFF"}"#;
    conn.send_text(pair);
    conn.expect_next();
    conn.expect_text(pair);
}

// protocol.md 2.6
#[test]
fn json_may_be_nested_512_deep_and_not_513() {
    let server = Server::start("");
    let arrays = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let packet = |inner: String| format!(r#"{{"opcode":"echo","a":{inner}}}"#);

    let mut conn = server.web();
    for text in [packet(arrays(511)), packet(objects(511))] {
        conn.send_text(&text);
        conn.expect_next();
        conn.expect_text(&text);
    }
    conn.send_for_next(&arrays(512));
    conn.send_for_next(&objects(512));

    let too_deep = [
        arrays(513),
        objects(513),
        packet(arrays(512)),
        packet(objects(512)),
        "[".repeat(100_000),
        arrays(100_000),
        objects(50_000),
    ];
    for text in too_deep {
        expect_last_message(&mut server.web(), &frame::text(&text), 1007);
    }
}

// protocol.md 2.6
#[test]
fn numbers_out_of_range_are_valid_json() {
    let server = Server::start("");
    let mut conn = server.web();
    for number in ["1e400", "-1e400", "1e-400", "1E+999999999", "-0", "0.0e0"] {
        let packet = format!(r#"{{"opcode":"echo","number":{number}}}"#);
        conn.send_text(&packet);
        conn.expect_next();
        conn.expect_text(&packet);
        conn.send_for_next(number);
    }
    let long = format!(r#"{{"opcode":"echo","number":{}}}"#, "9".repeat(10_000));
    conn.send_text(&long);
    conn.expect_next();
    conn.expect_text(&long);
}

// protocol.md 2.6
#[test]
fn what_is_behind_invalid_json_is_not_handled() {
    let server = Server::start("");
    let mut other = server.web();
    let mut conn = server.web();
    let packets = ["nope", r#"{"opcode":"broadcast"}"#].map(frame::text);
    expect_last_message(&mut conn, &packets.concat(), 1007);
    other.round_trip();
}

// protocol.md 2.7
#[test]
fn a_binary_message_is_treated_as_text() {
    let server = Server::start("");
    let mut conn = server.web();
    let packet = r#"{"opcode":"echo","message":"äöü"}"#;
    conn.send_binary(packet.as_bytes());
    conn.expect_next();
    conn.expect_text(packet);

    conn.send_bytes(&frame::masked(BINARY, &packet.as_bytes()[..29]));
    conn.send_bytes(&frame::masked(FIN | CONTINUATION, &packet.as_bytes()[29..]));
    conn.expect_next();
    conn.expect_text(packet);

    let mut receiver = server.web();
    let broadcast = r#"{"opcode":"broadcast"}"#;
    conn.send_binary(broadcast.as_bytes());
    conn.expect_next();
    receiver.expect_text(broadcast);
}

// protocol.md 2.7
#[test]
fn a_binary_message_that_is_no_text_is_invalid_json() {
    let server = Server::start("");
    for bytes in [
        &b"\xff"[..],
        b"{\"opcode\":\"echo\",\"m\":\"\xc3\"}",
        b"\"\xed\xa0\x80\"",
        b"\"\xc0\xaf\"",
        b"nope",
    ] {
        expect_last_message(&mut server.web(), &frame::masked(FIN | BINARY, bytes), 1007);
    }
}

// protocol.md 2.8
#[test]
fn an_empty_message_is_invalid_json() {
    let server = Server::start("");
    let empty_fragments = [
        frame::masked(TEXT, b""),
        frame::masked(CONTINUATION, b""),
        frame::masked(FIN | CONTINUATION, b""),
    ];
    for bytes in [
        frame::text(""),
        frame::masked(FIN | BINARY, b""),
        empty_fragments.concat(),
    ] {
        expect_last_message(&mut server.web(), &bytes, 1007);
    }
}

#[track_caller]
fn expect_reached_by(receiver: &mut Conn, sender: &mut Conn, uuid: &str) {
    let packet = format!(r#"{{"opcode":"feedback","uuid":"{uuid}"}}"#);
    sender.send_for_next(&packet);
    receiver.expect_text(&packet);
}

#[track_caller]
fn expect_not_reached_by(receiver: &mut Conn, sender: &mut Conn, uuid: &str) {
    sender.send_for_next(&format!(r#"{{"opcode":"feedback","uuid":"{uuid}"}}"#));
    receiver.round_trip();
}

// protocol.md 2.9
#[test]
fn a_client_on_the_root_can_choose_its_uuid() {
    let server = Server::start("");
    let mut conn = server.open(&Request::to("/"));
    let mut sender = server.web();
    let mut old = conn.uuid.clone();
    expect_reached_by(&mut conn, &mut sender, &old);
    for name in [
        "a",
        "user-4711",
        "!#$%&'()*+,-./:;<=>?@[]^_`{|}~",
        &"x".repeat(64),
    ] {
        conn.send_for_next(&format!(r#"{{"opcode":"uuid","message":"{name}"}}"#));
        expect_reached_by(&mut conn, &mut sender, name);
        expect_not_reached_by(&mut conn, &mut sender, &old);
        name.clone_into(&mut old);
    }
}

// protocol.md 2.9
#[test]
fn a_uuid_that_cannot_be_had_changes_nothing_and_is_logged() {
    let server = Server::start("");
    let mut conn = server.open(&Request::to("/"));
    let mut sender = server.web();
    let own = conn.uuid.clone();
    let says_so = |line: &str| line.contains("uuid of #") && line.contains("not changed");
    assert!(!server.log_lines().iter().any(|line| says_so(line)));
    let too_long = format!(r#""{}""#, "x".repeat(65));
    for message in [
        r#""""#,
        &too_long,
        r#""ümlaut""#,
        r#""a\u0000b""#,
        r#""a\nb""#,
        r#""\u007f""#,
        "1",
        "null",
        "true",
        r#"["a"]"#,
        r#"{"a":"b"}"#,
    ] {
        conn.send_for_next(&format!(r#"{{"opcode":"uuid","message":{message}}}"#));
        expect_reached_by(&mut conn, &mut sender, &own);
    }
    conn.send_for_next(r#"{"opcode":"uuid"}"#);
    expect_reached_by(&mut conn, &mut sender, &own);
    expect_not_reached_by(&mut conn, &mut sender, &"x".repeat(65));
    server.wait_for_line("a line about the uuid", says_so);
}

// protocol.md 2.9
#[test]
fn a_uuid_that_another_holds_cannot_be_had_until_it_is_free() {
    let server = Server::start("");
    let mut first = server.open(&Request::to("/"));
    let mut second = server.open(&Request::to("/"));
    let mut sender = server.web();
    let take = r#"{"opcode":"uuid","message":"shared"}"#;
    first.send_for_next(take);
    second.send_for_next(take);
    expect_reached_by(&mut first, &mut sender, "shared");
    let own = second.uuid.clone();
    expect_reached_by(&mut second, &mut sender, &own);

    // A given uuid is held as well, in whatever case it is written.
    let given = format!(r#"{{"opcode":"uuid","message":"{}"}}"#, sender.uuid);
    second.send_for_next(&given);
    expect_reached_by(&mut second, &mut sender, &own);

    first.close();
    second.send_for_next(take);
    expect_reached_by(&mut second, &mut sender, "shared");
    expect_not_reached_by(&mut second, &mut sender, &own);
}

// protocol.md 2.9
#[test]
fn on_the_other_resources_opcode_uuid_does_nothing() {
    let server = Server::start("");
    let mut sender = server.web();
    for path in ["/web", "/php"] {
        let mut conn = server.open(&Request::to(path));
        let own = conn.uuid.clone();
        conn.send_for_next(r#"{"opcode":"uuid","message":"chosen"}"#);
        expect_not_reached_by(&mut conn, &mut sender, "chosen");
        expect_reached_by(&mut conn, &mut sender, &own);
    }
}

// protocol.md 2.10
#[test]
fn frames_behind_each_other_in_one_segment_are_all_handled() {
    let server = Server::start("");
    let mut conn = server.web();
    let packets: Vec<String> = (0..300).map(|_| echo()).collect();
    let mut bytes = Vec::new();
    for packet in &packets {
        bytes.extend(frame::text(packet));
    }
    bytes.extend(frame::masked(FIN | frame::PING, b"last"));
    conn.send_bytes(&bytes);
    for packet in &packets {
        conn.expect_next();
        conn.expect_text(packet);
    }
    conn.expect_pong(b"last");
    conn.round_trip();
}

// protocol.md 2.10
#[test]
fn frames_may_be_cut_anywhere() {
    let server = Server::start("");
    let mut witness = server.web();
    let mut conn = server.web();
    let packets = [
        echo(),
        format!(r#"{{"opcode":"echo","pad":"{}"}}"#, "ü".repeat(80)),
    ];
    let bytes = [
        frame::text(&packets[0]),
        frame::masked(FIN | frame::PING, b"cut"),
        frame::text(&packets[1]),
    ]
    .concat();
    for cut in 1..bytes.len() {
        conn.send_bytes(&bytes[..cut]);
        witness.wait_until_handled();
        conn.send_bytes(&bytes[cut..]);
        conn.expect_next();
        conn.expect_text(&packets[0]);
        conn.expect_pong(b"cut");
        conn.expect_next();
        conn.expect_text(&packets[1]);
    }
}

// protocol.md 2.10
#[test]
fn frames_may_come_byte_by_byte() {
    let server = Server::start("");
    let mut witness = server.web();
    let mut conn = server.web();
    let packet = format!(r#"{{"opcode":"echo","pad":"{}"}}"#, "ü".repeat(80));
    for byte in frame::text(&packet) {
        conn.send_bytes(&[byte]);
        witness.wait_until_handled();
    }
    conn.expect_next();
    conn.expect_text(&packet);
}

// protocol.md 2.10
#[test]
fn long_frames_may_be_cut_in_their_header_and_at_their_ends() {
    let server = Server::start("");
    let mut witness = server.web();
    let mut conn = server.web();
    let packet = format!(r#"{{"opcode":"echo","pad":"{}"}}"#, "p".repeat(100_000));
    let bytes = frame::text(&packet);
    let near_the_end = bytes.len() - 5..bytes.len();
    for cut in (1..20).chain(near_the_end) {
        conn.send_bytes(&bytes[..cut]);
        witness.wait_until_handled();
        conn.send_bytes(&bytes[cut..]);
        conn.expect_next();
        conn.expect_text(&packet);
    }
}

// protocol.md 2.10
#[test]
fn messages_of_every_length_around_the_length_forms_come_back() {
    let server = Server::start("");
    let mut conn = server.web();
    let empty = r#"{"opcode":"echo","pad":""}"#.len();
    for len in [
        125,
        126,
        127,
        128,
        1023,
        8191,
        8192,
        16_384,
        65_535,
        65_536,
        65_537,
        1 << 20,
    ] {
        let packet = format!(r#"{{"opcode":"echo","pad":"{}"}}"#, "p".repeat(len - empty));
        conn.send_text(&packet);
        conn.expect_next();
        conn.expect_text(&packet);
    }
}
