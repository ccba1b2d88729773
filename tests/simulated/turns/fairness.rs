//! Nobody's traffic keeps others waiting.

use crate::client::{self, BINARY, CONTINUATION, fragment};
use crate::server::{Client, NEXT, Server, settings};

const ECHO: &str = r#"{"opcode":"echo","to":"me"}"#;

/// Keeps a connection's buffer full with `bytes`, over and over.
struct Flood {
    client: Client,
    bytes: Vec<u8>,
    sent: usize,
}

impl Flood {
    fn new(client: Client, bytes: Vec<u8>) -> Self {
        Self {
            client,
            bytes,
            sent: 0,
        }
    }

    fn go_on(&mut self) {
        loop {
            let rest = &self.bytes[self.sent..];
            let taken = self.client.end.offer(rest);
            if taken == 0 {
                break;
            }
            self.sent = (self.sent + taken) % self.bytes.len();
        }
        self.client.end.take(usize::MAX);
    }
}

/// What an honest client sends is answered in this turn or the next, while others flood.
fn expect_prompt_echoes(server: &mut Server, floods: &mut [Flood], name: &str) {
    let mut honest = server.open("192.0.2.1");
    for round in 0..12 {
        floods.iter_mut().for_each(Flood::go_on);
        honest.say(ECHO);
        server.turn();
        floods.iter_mut().for_each(Flood::go_on);
        server.turn();
        let heard = honest.heard();
        let own: Vec<&String> = heard.iter().filter(|h| !h.contains("flood")).collect();
        assert_eq!(own, [NEXT, ECHO], "{name}, round {round}");
    }
}

#[test]
fn floods_of_any_kind_leave_others_their_turn() {
    let small = client::text(r#"{"opcode":"echo","x":"flood"}"#).repeat(5000);
    let broadcasts = client::text(r#"{"opcode":"broadcast","x":"flood"}"#).repeat(5000);
    let long = client::text(&format!(
        r#"{{"opcode":"echo","x":"{}"}}"#,
        "f".repeat(900_000)
    ));
    let mut fragments = fragment(false, BINARY, b"{");
    fragments.extend(fragment(false, CONTINUATION, b" ").repeat(50_000));
    fragments.extend(fragment(true, CONTINUATION, b"}"));
    let pings = client::frame(client::PONG, b"").repeat(10_000);
    for (name, bytes) in [
        ("small messages", small),
        ("broadcasts", broadcasts),
        ("long messages", long),
        ("fragments", fragments),
        ("pongs", pings),
    ] {
        let mut settings = settings();
        settings.limits.max_control_frames_per_second = u32::MAX;
        let mut server = Server::new(&settings);
        let mut floods: Vec<Flood> = (0..2)
            .map(|_| Flood::new(server.open("192.0.2.9"), bytes.clone()))
            .collect();
        let _audience: Vec<Client> = (0..20).map(|_| server.open("192.0.2.8")).collect();
        expect_prompt_echoes(&mut server, &mut floods, name);
        let is_open = |flood: &Flood| flood.client.end.closed().is_none();
        assert!(floods.iter().all(is_open), "{name} is no reason to be cut");
    }
}

#[test]
fn one_read_full_of_messages_is_handled_a_share_at_a_time() {
    let mut server = Server::new(&settings());
    let mut client = server.open("192.0.2.1");
    client.end.send(&client::text("{}").repeat(10_000));
    let mut counts = Vec::new();
    while counts.iter().sum::<usize>() < 10_000 {
        server.turn();
        counts.push(client.heard().len());
        assert!(counts.len() < 100, "{counts:?}");
    }
    let most = counts.iter().max();
    assert!(most < Some(&2000), "{counts:?}");
}

/// Also where what has been brought about is carried out several times in a turn, so that it is seen in
/// short queues.
#[test]
fn one_read_full_of_broadcasts_brings_about_a_share_of_deliveries_at_a_time() {
    for max_queue_bytes in [8 << 20, 24 << 10] {
        let mut settings = settings();
        settings.limits.max_queue_bytes = max_queue_bytes;
        let mut server = Server::new(&settings);
        let mut audience: Vec<Client> = (0..300).map(|_| server.open("192.0.2.8")).collect();
        let mut speaker = server.open("192.0.2.1");
        let text = r#"{"opcode":"broadcast"}"#;
        speaker.end.send(&client::text(text).repeat(512));
        let mut counts = Vec::new();
        while counts.iter().sum::<usize>() < 512 {
            server.turn();
            counts.push(speaker.heard().len());
            assert!(counts.len() < 100, "{counts:?}");
        }
        // One when it is told of, and one of long work.
        let most = counts.iter().max();
        assert!(most <= Some(&(2 * (65_536 / 300 + 1))), "{counts:?}");
        server.settle();
        for member in &mut audience {
            assert_eq!(member.heard(), [text; 512]);
        }
    }
}

#[test]
fn a_client_that_does_not_read_is_not_read_until_it_does() {
    let mut settings = settings();
    settings.limits.max_queue_bytes = 256 << 10;
    let mut server = Server::new(&settings);
    let end = server.connect_with("192.0.2.1", 64 << 10);
    let mut client = server.open_on(end, "/echo", "");
    let texts: Vec<String> = (0..3000)
        .map(|n| format!("{n} {}", "x".repeat(1000)))
        .collect();
    let bytes: Vec<u8> = texts.iter().flat_map(|text| client::text(text)).collect();
    let mut sent = 0;
    let mut others = server.open("192.0.2.2");
    loop {
        let taken = client.end.offer(&bytes[sent..]);
        sent += taken;
        server.settle();
        if taken == 0 {
            break;
        }
    }
    assert!(client.end.unread_len() > 0 && sent < bytes.len(), "{sent}");
    let held = server.event_loop.held_bytes();
    assert!(held < 600 << 10, "{held} bytes are held");
    others.say(ECHO);
    server.settle();
    assert_eq!(others.heard(), [NEXT, ECHO], "others are heard meanwhile");

    let mut heard = Vec::new();
    for _ in 0..2_000 {
        heard.extend(client.heard());
        sent += client.end.offer(&bytes[sent..]);
        server.settle();
    }
    assert_eq!(sent, bytes.len());
    assert!(heard == texts, "{} of {}", heard.len(), texts.len());
    assert!(server.event_loop.held_bytes() < 1000);
}

#[test]
fn a_client_that_reads_a_little_at_a_time_gets_everything_in_order() {
    let mut server = Server::new(&settings());
    let end = server.connect_with("192.0.2.1", 4096);
    let mut client = server.open_on(end, "/echo", "");
    let texts: Vec<String> = (0..40)
        .map(|n| format!("{n} {}.", "y".repeat(n * 97)))
        .collect();
    let bytes: Vec<u8> = texts.iter().flat_map(|text| client::text(text)).collect();
    let mut sent = 0;
    for step in 0..8_000 {
        sent += client
            .end
            .offer(&bytes[sent..bytes.len().min(sent + 1 + step % 700)]);
        server.settle();
        client.take(1 + step % 50);
    }
    let heard = client.heard();
    assert!(heard == texts, "{} of {}", heard.len(), texts.len());
}
