//! What a message causes leaves before what a later frame of the same read brings about
//! (protocol.md 2.2, 2.10).

use std::time::Duration;

use websock::app::{Client as ClientOf, Dialogue, Handle, Resource};

use crate::client::{self, CONTINUATION, PING, TEXT, fragment};
use crate::server::{Client, NEXT, Server, request_to, settings};

const ECHO: &str = r#"{"opcode":"echo","n":1}"#;

fn server() -> Server {
    let mut settings = settings();
    settings.compression.is_on = true;
    settings.compression.threshold_bytes = 0;
    settings.compression.keeps_context = true;
    Server::new(&settings)
}

/// One client of each kind.
fn clients(server: &mut Server) -> Vec<(&'static str, Client)> {
    vec![
        ("web", server.open("192.0.2.1")),
        ("compressed", server.open_compressed("192.0.2.2")),
        ("php on loopback", server.open_php("a", "127.0.0.1")),
        ("php from elsewhere", server.open_php("b", "203.0.113.1")),
    ]
}

/// Each kind of message, in one or two frames.
fn messages(client: &mut Client) -> [Vec<u8>; 2] {
    let whole = client.frame_of(ECHO);
    let (front, back) = ECHO.as_bytes().split_at(9);
    let parts = [
        fragment(false, TEXT, front),
        fragment(true, CONTINUATION, back),
    ];
    [whole, parts.concat()]
}

#[test]
fn an_answer_leaves_before_what_the_next_frame_brings_about() {
    for (name, frame, expected) in [
        ("close", client::close(1000, ""), "close 1000"),
        ("ping", client::frame(PING, b"?"), "pong ?"),
        (
            "a reserved bit",
            fragment(true, 0x20 | TEXT, b"x"),
            "close 1002",
        ),
        ("a reserved opcode", client::frame(0x3, b"x"), "close 1002"),
        ("bad UTF-8", client::frame(TEXT, b"\xFF"), "close 1007"),
    ] {
        for message in 0..2 {
            let mut server = server();
            for (kind, mut client) in clients(&mut server) {
                // Frames that have been read need no gap, but those that have not may.
                server.advance(Duration::from_millis(10));
                let bytes = [&messages(&mut client)[message], &*frame].concat();
                client.end.send(&bytes);
                server.advance(Duration::from_millis(10));
                let heard = client.heard();
                assert_eq!(heard, [NEXT, ECHO, expected], "{kind}, {name}, {message}");
            }
        }
    }
}

#[test]
fn a_read_of_a_php_client_by_its_bytes() {
    let mut server = server();
    let mut client = server.open_php("a", "127.0.0.1");
    server.advance(Duration::from_millis(10));
    let message = [b"\x81\x97\0\0\0\0".as_slice(), ECHO.as_bytes()].concat();
    client
        .end
        .send(&[&message, b"\x88\x82\0\0\0\0\x03\xE8".as_slice()].concat());
    server.advance(Duration::from_millis(10));
    assert_eq!(client.heard(), [NEXT, ECHO, "close 1000"]);
}

#[test]
fn quit_and_what_is_no_json_close_behind_the_answers_to_what_came_before() {
    for (bad, expected) in [(r#"{"opcode":"quit"}"#, "close 1000"), ("{", "close 1007")] {
        let mut server = server();
        for (kind, mut client) in clients(&mut server) {
            server.advance(Duration::from_millis(10));
            let frames = [
                client.frame_of(ECHO),
                client.frame_of(bad),
                client.frame_of(ECHO),
            ];
            client.end.send(&frames.concat());
            server.advance(Duration::from_millis(20));
            assert_eq!(client.heard(), [NEXT, ECHO, NEXT, expected], "{kind}");
        }
    }
}

#[test]
fn frames_behind_a_handshake_in_the_same_segment_are_heard() {
    let mut server = server();
    let mut client = Client::new(server.connect("192.0.2.1"));
    let message = client.frame_of(ECHO);
    client.end.send(&[request_to("/web", ""), message].concat());
    server.settle();
    assert_eq!(client.heard()[1..], [NEXT, ECHO]);
}

#[test]
fn many_messages_of_one_read_are_answered_in_order_over_several_turns() {
    let mut server = server();
    for (kind, mut client) in clients(&mut server) {
        server.advance(Duration::from_millis(10));
        let texts: Vec<String> = (0..1500)
            .map(|n| format!(r#"{{"opcode":"echo","n":{n}}}"#))
            .collect();
        let frames: Vec<Vec<u8>> = texts.iter().map(|text| client.frame_of(text)).collect();
        client.end.send(&frames.concat());
        let mut heard = Vec::new();
        for _ in 0..700 {
            server.advance(Duration::from_millis(10));
            heard.extend(client.heard());
        }
        let expected: Vec<&str> = texts.iter().flat_map(|text| [NEXT, text]).collect();
        assert!(
            heard == expected,
            "{kind}: {} of {}",
            heard.len(),
            expected.len()
        );
    }
}

/// Tells all who are left.
struct Room;

impl Resource for Room {
    fn dialogue(&self) -> Dialogue {
        Dialogue::None
    }

    fn on_close(&mut self, _client: ClientOf, handle: &mut Handle<'_>) {
        handle.broadcast_text("somebody has left");
    }
}

#[test]
fn what_an_end_brings_about_waits_for_nobody_else() {
    let resources: [(&str, Box<dyn Resource>); 1] = [("/echo", Box::new(Room))];
    let mut server = Server::with_resources(&settings(), resources);
    let mut others = server.open_at("/echo", "", "192.0.2.1");
    for (name, frame) in [
        ("closes", client::close(1000, "")),
        ("breaks a rule", client::frame(0x3, b"")),
        ("is too long", client::promise(0x80 | TEXT, 1 << 40)),
    ] {
        // What waits for it keeps it from being gone.
        let end = server.connect_with("192.0.2.2", 1_000);
        let leaver = server.open_on(end, "/echo", "");
        let ping = client::frame(PING, &[b'?'; 125]);
        leaver.end.send(&ping.repeat(10));
        server.settle();
        leaver.end.send(&frame);
        server.settle();
        assert_eq!(others.heard(), ["somebody has left"], "who {name}");
    }
}
