//! What pages may send, and how much of it.

use crate::harness::frame::{CONTINUATION, FIN, LengthForm, TEXT, masked, masked_as, text};
use crate::harness::http::Response;
use crate::harness::{Conn, Request, Server, connect};

const ERROR: &str = r#"{"opcode":"error","error":"this page may not send such packets: webSends does not allow them"}"#;

/// Echo, broadcast and feedback to the ident `witness`.
const PACKETS: [(&str, &str); 3] = [
    ("echo", r#"{"opcode":"echo","n":1}"#),
    ("broadcast", r#"{"opcode":"broadcast","n":2}"#),
    (
        "feedback",
        r#"{"opcode":"feedback","ident":"witness","n":3}"#,
    ),
];

/// Nothing but what was expected has come to this client, which may not even echo.
#[track_caller]
fn expect_no_more(conn: &mut Conn) {
    conn.send_ping(b"and no more");
    conn.expect_pong(b"and no more");
}

/// Sends `packet` as `opcode`, which `is_allowed` or not; `error` is what then follows `next`.
#[track_caller]
fn expect_judged(
    sender: &mut Conn,
    witness: &mut Conn,
    (opcode, packet): (&str, &str),
    is_allowed: bool,
    error: Option<&str>,
) {
    sender.send_text(packet);
    sender.expect_next();
    match (is_allowed, error) {
        (true, _) if opcode == "echo" => sender.expect_text(packet),
        (true, _) => witness.expect_text(packet),
        (false, Some(error)) => sender.expect_text(error),
        (false, None) => {}
    }
    expect_no_more(sender);
    expect_no_more(witness);
}

// protocol.md 8.11
#[test]
fn pages_may_send_what_web_sends_names_and_nothing_else() {
    for (ini, allowed) in [
        ("", "echo broadcast feedback"),
        (
            "webSends=echo,broadcast,feedback",
            "echo broadcast feedback",
        ),
        ("webSends=echo", "echo"),
        ("webSends=broadcast", "broadcast"),
        ("webSends=feedback", "feedback"),
        ("webSends=", ""),
        ("webSends=user:echo,feedback anonymous:echo", "echo"),
        ("webSends=user:echo,broadcast,feedback", ""),
    ] {
        let server = Server::start(ini);
        let mut witness = server.web_named("witness");
        let mut page = server.web();
        let mut told = server.open(&Request::to("/web?user=1"));
        for packet in PACKETS {
            let is_allowed = allowed.contains(packet.0);
            let (sender, witness) = (&mut page, &mut witness);
            expect_judged(sender, witness, packet, is_allowed, None);
            if is_allowed && packet.0 == "broadcast" {
                told.expect_text(packet.1);
            }
            expect_judged(&mut told, witness, packet, is_allowed, Some(ERROR));
            if is_allowed && packet.0 == "broadcast" {
                sender.expect_text(packet.1);
            }
        }
        // Whatever is not allowed, the connection stays, and what reaches nobody works.
        page.send_text(r#"{"opcode":"unknown"}"#);
        page.expect_next();
        page.send_text(r#"{"opcode":"quit"}"#);
        page.expect_next();
        page.expect_close_and_end(1000);
    }
}

// protocol.md 8.11
#[test]
fn no_shape_of_a_message_is_a_way_around_web_sends() {
    let server = Server::start("webSends=");
    let mut witness = server.web_named("witness");
    let mut page = server.web();
    let (_, broadcast) = PACKETS[1];
    let (start, end) = broadcast.as_bytes().split_at(10);

    page.send_binary(broadcast.as_bytes());
    page.expect_next();
    page.send_bytes(&[masked(TEXT, start), masked(FIN | CONTINUATION, end)].concat());
    page.expect_next();
    for part in ["bufferON", broadcast, "bufferOFF"] {
        page.send_text(part);
        page.expect_next();
    }
    let escaped = r#"{"\u006fpcode":"br\u006fadcast"}"#;
    page.send_text(escaped);
    page.expect_next();
    for path in ["/", "/php", "/web?user=0", "/web?x=user=1"] {
        let mut other = server.open(&Request::to(path));
        for packet in PACKETS {
            expect_judged(&mut other, &mut witness, packet, false, None);
        }
    }
    // To itself is to somebody, too.
    witness.send_text(PACKETS[2].1);
    witness.expect_next();
    expect_no_more(&mut page);
    expect_no_more(&mut witness);
}

// protocol.md 8.11
#[test]
fn scripts_and_push_send_whatever_pages_may_not() {
    let server = Server::start("webSends=");
    let mut witness = server.web_named("witness");
    let mut script = server.php();
    for packet in PACKETS {
        expect_judged(&mut script, &mut witness, packet, true, None);
    }
    let (_, body) = PACKETS[1];
    assert_eq!(push(&server, body).body, "{\"delivered\":1}\n");
    witness.expect_text(body);
}

#[track_caller]
fn push(server: &Server, body: &str) -> Response {
    let mut conn = connect(server);
    conn.send_bytes(
        format!(
            "POST /push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    conn.read_response()
}

// protocol.md 8.11
#[test]
fn what_pages_may_not_send_is_one_counted_line_of_the_log() {
    let server = Server::start("webSends=echo");
    let mut page = server.web();
    for _ in 0..100 {
        page.send_text(PACKETS[1].1);
        page.expect_next();
    }
    page.round_trip();
    let line = server.wait_for_log("webSends does not allow");
    assert!(line.contains("allow 1 packet"), "{line}");
    let lines = server.log_lines();
    let count = lines.iter().filter(|line| line.contains("webSends"));
    // One in ten seconds, which this takes not even on a machine that does something else.
    assert!(count.count() < 5, "{lines:?}");
}

/// An echo of exactly `len` bytes.
fn echo_of(len: usize) -> String {
    let empty = r#"{"opcode":"echo","pad":""}"#.len();
    format!(r#"{{"opcode":"echo","pad":"{}"}}"#, "p".repeat(len - empty))
}

// promise: maxWebMessage bounds what a page sends, and maxMessageSize what a script does
#[test]
fn pages_may_send_shorter_messages_than_scripts() {
    let server = Server::start("maxWebMessage=2000\nmaxMessageSize=4000");
    for (request, most) in [(Request::to("/web"), 2000), (Request::php("/php"), 4000)] {
        for len in [most - 1, most] {
            let mut conn = server.open(&request);
            let echo = echo_of(len);
            conn.send_text(&echo);
            conn.expect_next();
            conn.expect_text(&echo);
            conn.round_trip();
        }
        let echo = echo_of(most + 1);
        let (start, end) = echo.as_bytes().split_at(1000);
        let announced = (most + 1) as u64;
        for (name, bytes) in [
            ("whole", text(&echo)),
            (
                "announced",
                masked_as(FIN | TEXT, LengthForm::Sixteen, announced, b""),
            ),
            (
                "fragments",
                [masked(TEXT, start), masked(FIN | CONTINUATION, end)].concat(),
            ),
        ] {
            let mut conn = server.open(&request);
            conn.send_bytes(&bytes);
            let reason = conn.expect_close(1009);
            assert!(!reason.is_empty(), "{name}");
        }
        let mut conn = server.open(&request);
        conn.send_text("bufferON");
        conn.expect_next();
        conn.send_text(&echo[..1000]);
        conn.expect_next();
        conn.send_text(&echo[1000..1000 + most / 4]);
        conn.expect_next();
        conn.send_text(&echo[..most - 1000 - most / 4 + 1]);
        conn.expect_close_perhaps_behind_next(1009);
    }
}
