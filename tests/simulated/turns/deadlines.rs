//! Deadlines of those whom a turn does not reach: what has come from them already counts.

use std::time::Duration;

use crate::client::{self, CONTINUATION, PONG, TEXT, fragment};
use crate::server::{Client, NEXT, Server, request_to, settings};

/// More than a wait tells of.
const CROWD: usize = 200;

const MOST_READY: usize = 64;

const ECHO: &str = r#"{"opcode":"echo","n":1}"#;

fn crowd(server: &mut Server) -> Vec<Client> {
    (0..CROWD).map(|_| server.open("192.0.2.1")).collect()
}

/// The server stands still so long, then goes on, and is told of some of those who are ready.
fn freeze(server: &mut Server, time: Duration) {
    server.system.let_waits_tell(MOST_READY);
    server.system.jump_to(server.system.time() + time);
    server.turn();
    server.settle();
}

#[track_caller]
fn expect_all_open(clients: &[Client]) {
    let lost = clients.iter().filter(|c| c.end.closed().is_some()).count();
    assert_eq!(lost, 0, "of {CROWD}");
}

#[test]
fn a_pong_that_has_come_counts_however_many_others_have_come_with_it() {
    let settings = settings();
    let mut server = Server::new(&settings);
    let mut clients = crowd(&mut server);
    server.advance(settings.limits.ping_interval + Duration::from_secs(5));
    for client in &mut clients {
        assert_eq!(client.heard(), ["ping"]);
        client.end.send(&client::frame(PONG, b""));
    }
    freeze(&mut server, settings.limits.pong_timeout * 2);
    expect_all_open(&clients);
}

#[test]
fn the_rest_of_a_message_that_has_come_counts_as_well() {
    let settings = settings();
    for len in [10, 3_000, 100_000] {
        let mut server = Server::new(&settings);
        let mut clients = crowd(&mut server);
        let text = format!(r#"{{"opcode":"nothing","x":"{}"}}"#, "x".repeat(len));
        let (front, back) = text.as_bytes().split_at(len * 3 / 4);
        for client in &clients {
            client.end.send(&fragment(false, TEXT, front));
        }
        server.settle();
        for client in &clients {
            client.end.send(&fragment(true, CONTINUATION, back));
        }
        freeze(&mut server, settings.limits.stall_timeout * 2);
        expect_all_open(&clients);
        for client in &mut clients {
            let heard = client.heard();
            assert_eq!(heard.last().map(String::as_str), Some(NEXT), "{len}");
        }
    }
}

#[test]
fn a_request_that_has_come_is_answered() {
    let settings = settings();
    let mut server = Server::new(&settings);
    let ends: Vec<_> = (0..CROWD).map(|_| server.connect("192.0.2.1")).collect();
    server.settle();
    ends.iter()
        .for_each(|end| end.send(&request_to("/web", "")));
    freeze(&mut server, settings.limits.handshake_timeout * 2);
    for end in ends {
        let mut client = Client::new(end);
        assert!(client.heard()[0].starts_with(r#"{"opcode":"ready""#));
        client.say(ECHO);
        server.settle();
        assert_eq!(client.heard(), [NEXT, ECHO]);
    }
}

/// Who takes bytes lives, though it cannot answer a ping that waits behind them.
#[test]
fn whoever_takes_what_waits_for_it_is_not_given_up() {
    let settings = settings();
    let mut server = Server::new(&settings);
    let mut clients: Vec<Client> = (0..CROWD)
        .map(|_| {
            let end = server.connect_with("192.0.2.1", 4096);
            server.open_on(end, "/web", "")
        })
        .collect();
    let speaker = server.open("192.0.2.2");
    speaker.say(&format!(
        r#"{{"opcode":"broadcast","x":"{}"}}"#,
        "x".repeat(50_000)
    ));
    server.advance(settings.limits.ping_interval + Duration::from_secs(5));
    clients.iter_mut().for_each(|client| client.take(4096));
    freeze(&mut server, settings.limits.pong_timeout * 2);
    expect_all_open(&clients);
}

/// Whoever has sent nothing is given up as ever.
#[test]
fn silence_is_no_excuse() {
    let settings = settings();
    let mut server = Server::new(&settings);
    let clients = crowd(&mut server);
    server.advance(settings.limits.ping_interval + Duration::from_secs(5));
    freeze(&mut server, settings.limits.pong_timeout * 2);
    let lost = clients.iter().filter(|c| c.end.closed().is_some()).count();
    assert_eq!(lost, CROWD);
}
