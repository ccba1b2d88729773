//! When memory is scarce whoever holds most pays, and nobody else.

use std::time::Duration;

use websock::api::NotReady;
use websock::net::ServerSettings;

use crate::client::{self, BINARY, TEXT, fragment};
use crate::server::{Client, NEXT, Server, push, settings};
use crate::system::FarEnd;

const LIMIT: usize = 4 << 20;

fn tight() -> ServerSettings {
    let mut settings = settings();
    settings.memory_limit_bytes = LIMIT;
    settings.limits.max_message_bytes = 1 << 20;
    settings.limits.max_web_message_bytes = 1 << 20;
    settings.limits.max_queue_bytes = 256 << 10;
    settings.compression.is_on = true;
    settings
}

/// A way to hold about 60 KB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    Message,
    Fragments,
    Chunks,
    Body,
    Queue,
}

const HOLDS: [Hold; 5] = [
    Hold::Message,
    Hold::Fragments,
    Hold::Chunks,
    Hold::Body,
    Hold::Queue,
];

const HELD: usize = 60_000;

/// Scripts may come from there, too.
const ATTACKER: &str = "203.0.113.66";

/// Somebody who is about to hold much.
fn begin(server: &mut Server, how: Hold, ip: &str) -> FarEnd {
    match how {
        Hold::Body => server.connect(ip),
        Hold::Message | Hold::Fragments | Hold::Chunks => server.open(ip).end,
        Hold::Queue => {
            let end = server.connect_with(ip, 4000);
            // It does not read its echo.
            server.open_on(end, "/echo", "").end
        }
    }
}

fn fill(end: &FarEnd, how: Hold) {
    let filling = "x".repeat(HELD);
    let bytes = match how {
        Hold::Message => [client::promise(0x82, HELD as u64 + 5), filling.into_bytes()].concat(),
        Hold::Fragments => fragment(false, BINARY, filling.as_bytes()),
        Hold::Chunks => [client::text("bufferON"), client::text(&filling)].concat(),
        Hold::Body => push(&(filling + "xx"))
            .into_bytes()
            .split_last()
            .unwrap()
            .1
            .to_vec(),
        Hold::Queue => client::frame(BINARY, filling.as_bytes()),
    };
    // Those who have been cut take nothing.
    end.offer(&bytes);
}

fn hold(server: &mut Server, how: Hold, ip: &str) -> FarEnd {
    let end = begin(server, how, ip);
    fill(&end, how);
    end
}

/// Honest clients, each of an address of its own, in the middle of a small message.
fn honest(server: &mut Server, count: usize) -> Vec<Client> {
    let open = |at| {
        let client = server.open(&format!("192.0.2.{at}"));
        client.end.send(&fragment(false, TEXT, br#"{"opcode":"#));
        client
    };
    (0..count).map(open).collect()
}

#[track_caller]
fn expect_honest(server: &mut Server, clients: &mut [Client], what: &str) {
    for client in clients {
        client.end.send(&fragment(true, 0, br#""echo"}"#));
        server.settle();
        assert_eq!(client.heard(), [NEXT, r#"{"opcode":"echo"}"#], "{what}");
    }
}

#[test]
fn the_address_that_holds_most_pays_and_honest_clients_stay() {
    for how in HOLDS {
        let mut server = Server::new(&tight());
        let mut honest = honest(&mut server, 40);
        let ends: Vec<FarEnd> = (0..200)
            .map(|_| begin(&mut server, how, ATTACKER))
            .collect();
        server.settle();
        for end in &ends {
            fill(end, how);
            server.turn();
            let held = server.event_loop.held_bytes();
            assert!(held <= LIMIT, "{how:?}: {held} bytes are held");
        }
        server.settle();
        let cut = ends.iter().filter(|end| end.closed().is_some()).count();
        assert!(cut > 0, "{how:?}: nobody has paid");
        expect_honest(&mut server, &mut honest, &format!("{how:?}"));
        // It may be told to try again, once.
        server.ask(HEALTH, "127.0.0.1");
        let mut late = vec![server.open("192.0.2.99")];
        late[0].end.send(&fragment(false, TEXT, br#"{"opcode":"#));
        expect_honest(&mut server, &mut late, &format!("{how:?}, who comes later"));
    }
}

#[test]
fn nothing_that_is_held_has_no_end() {
    for how in HOLDS {
        let mut server = Server::new(&tight());
        let ends: Vec<FarEnd> = (0..20).map(|_| hold(&mut server, how, ATTACKER)).collect();
        server.settle();
        let held = server.event_loop.held_bytes();
        assert!(held >= 19 * HELD, "{how:?}: {held} bytes");
        // Nobody answers a ping either, so that this is the end of them all.
        server.advance(Duration::from_secs(120));
        assert!(ends.iter().all(|end| end.closed().is_some()), "{how:?}");
        assert_eq!(server.event_loop.held_bytes(), 0, "{how:?}");
        assert_eq!(server.event_loop.link_count(), 0);
    }
}

#[test]
fn chunks_that_stall_are_closed_though_their_client_answers_pings() {
    let mut server = Server::new(&settings());
    let mut client = server.open("192.0.2.1");
    client.say("bufferON");
    client.say(&"x".repeat(100_000));
    server.settle();
    assert_eq!(client.heard(), [NEXT, NEXT]);
    assert!(server.event_loop.held_bytes() >= 100_000);
    let mut heard = Vec::new();
    for _ in 0..80 {
        server.advance(Duration::from_secs(1));
        client.end.offer(&client::frame(client::PONG, b""));
        heard.extend(client.heard());
    }
    heard.retain(|h| h != "ping");
    assert_eq!(heard, ["close 1008"]);
    assert_eq!(server.event_loop.held_bytes(), 0);
}

/// Between the two marks newcomers would be refused and nobody cut: a refusal brings relief.
#[test]
fn who_is_refused_for_want_of_memory_gets_in_a_moment_later() {
    for how in [Hold::Message, Hold::Chunks, Hold::Body] {
        let mut server = Server::new(&tight());
        let ends: Vec<FarEnd> = (0..100)
            .map(|_| begin(&mut server, how, ATTACKER))
            .collect();
        let is_refused = ends.iter().any(|end| {
            assert!(ends.iter().all(|end| end.closed().is_none()), "{how:?}");
            fill(end, how);
            server.settle();
            let unready = server.event_loop.unready();
            let is_refused = server.ask(HEALTH, "127.0.0.1").starts_with("HTTP/1.1 503 ");
            assert_eq!(unready == [NotReady::Memory], is_refused, "{how:?}");
            is_refused
        });
        assert!(is_refused, "{how:?}: more than the limit is held");
        server.open("192.0.2.1");
        assert_eq!(server.event_loop.unready(), []);
        let cut = ends.iter().filter(|end| end.closed().is_some()).count();
        assert!(cut == 1 || cut == 2, "{how:?}: {cut} were cut");
    }
}

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn spare_buffers_alone_keep_nobody_out() {
    for count in [20, 62] {
        let mut server = Server::new(&tight());
        let clients: Vec<Client> = (0..count).map(|_| server.open("192.0.2.1")).collect();
        for client in &clients {
            client
                .end
                .send(&fragment(false, TEXT, &vec![b' '; 32 << 10]));
        }
        server.settle();
        for client in &clients {
            client.end.send(&fragment(true, 0, &vec![b' '; 32 << 10]));
            client.end.end();
        }
        server.settle();
        drop(clients);
        assert_eq!(server.event_loop.link_count(), 0);
        assert_eq!(server.event_loop.held_bytes(), 0);
        server.open("192.0.2.1");
    }
}

/// Each of 60 short frames inflates to a long message that never ends: memory is asked for before
/// it is taken, so that also within a turn no more is held than a little over the limit.
#[test]
fn what_inflates_within_a_turn_is_held_against_the_limit() {
    let mut server = Server::new(&tight());
    let mut honest = honest(&mut server, 10);
    let mut attackers: Vec<Client> = (0..60).map(|_| server.open_compressed(ATTACKER)).collect();
    for attacker in &mut attackers {
        let long = " ".repeat(1_000_000);
        let payload = attacker.codec.as_mut().unwrap().deflate(&long);
        let first = 0x40 | TEXT;
        attacker
            .end
            .send(&client::frame_with(first, client::MASK, &payload));
    }
    let info = allocation_counter::measure(|| server.settle());
    let most = 2 * LIMIT as u64;
    assert!(info.bytes_max < most, "{} bytes were taken", info.bytes_max);
    assert!(server.event_loop.held_bytes() <= LIMIT);
    let gone = |client: &&Client| client.end.closed().is_some();
    assert!(attackers.iter().filter(gone).count() > 40);
    expect_honest(&mut server, &mut honest, "inflating");
}

#[test]
fn clients_that_come_and_go_leave_no_memory() {
    let mut server = Server::new(&tight());
    for round in 0..3 {
        let ends: Vec<FarEnd> = HOLDS
            .iter()
            .map(|how| hold(&mut server, *how, "192.0.2.1"))
            .collect();
        server.settle();
        for (at, end) in ends.iter().enumerate() {
            match (at + round) % 2 {
                0 => end.reset(),
                _ => end.end(),
            }
        }
        // What waits for those who have ended their side may still leave.
        server.advance(Duration::from_secs(10));
        assert_eq!(server.event_loop.link_count(), 0, "round {round}");
        assert_eq!(server.event_loop.held_bytes(), 0, "round {round}");
    }
}
