//! A loop that has nothing to do sleeps until something is due.

use std::time::Duration;

use crate::client::{self, PONG};
use crate::server::{Server, settings};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn with_nothing_due_the_loop_waits_for_ever() {
    let mut server = Server::new(&settings());
    assert_eq!(server.event_loop.next_wait(), None);
    let script = server.open_php("a", "127.0.0.1");
    // The handshake's deadline is found to be none any more, once.
    server.advance(20 * SECOND);
    assert_eq!(server.event_loop.next_wait(), None);
    assert!(script.end.is_kept_alive(), "its network may die");
    script.end.reset();
    server.settle();
    assert_eq!(server.event_loop.link_count(), 0);
    assert_eq!(server.event_loop.next_wait(), None);
}

#[test]
fn large_buffers_are_freed_soon_after_the_last_long_message_and_then_the_loop_sleeps() {
    let mut server = Server::new(&settings());
    let mut client = server.open_at("/echo", "", "192.0.2.1");
    let long = "x".repeat(300 << 10);
    client.say(&long);
    server.settle();
    assert!(client.heard() == [long]);
    client.end.reset();
    server.settle();
    let wait = server.event_loop.next_wait();
    assert!(wait <= Some(6 * SECOND) && wait.is_some(), "{wait:?}");
    server.advance(11 * SECOND);
    // The wheel forgets the deadlines of the connection.
    server.advance(60 * SECOND);
    assert_eq!(server.event_loop.next_wait(), None);
}

#[test]
fn who_says_nothing_is_waited_for_until_its_deadline() {
    let mut server = Server::new(&settings());
    let end = server.connect("192.0.2.1");
    server.settle();
    let wait = server.event_loop.next_wait().unwrap();
    assert!(wait >= 10 * SECOND && wait < 12 * SECOND, "{wait:?}");
    server.advance(9 * SECOND);
    assert_eq!(end.waiting_len(), 0);
    server.advance(10 * SECOND);
    let response = String::from_utf8(end.take(usize::MAX)).unwrap();
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
    assert_eq!(server.event_loop.link_count(), 0);
}

#[test]
fn an_hour_of_pings_takes_a_few_turns_each() {
    let mut server = Server::new(&settings());
    let mut clients: Vec<_> = (0..10).map(|_| server.open("192.0.2.1")).collect();
    server.system.take_waits();
    let mut pings = 0;
    for _ in 0..360 {
        server.advance(10 * SECOND);
        for client in &mut clients {
            for heard in client.heard() {
                assert_eq!(heard, "ping");
                pings += 1;
                let payload = br#"{"opcode":"PING"}"#;
                client.end.send(&client::frame(PONG, payload));
            }
        }
    }
    assert!(pings > 10 * 80, "{pings}");
    let waits = server.system.take_waits();
    assert!(waits.len() < 10 * 120 * 4, "{} turns", waits.len());
    let is_busy = |wait: &&_| {
        let crate::system::Wait { timeout, was_ready } = **wait;
        timeout == Some(Duration::ZERO) && !was_ready
    };
    let busy = waits.iter().filter(is_busy).count();
    assert_eq!(busy, 0, "a wait of no length, with nothing to do");
}

#[test]
fn a_client_that_answers_no_ping_is_given_up_and_nothing_of_it_is_left() {
    let mut server = Server::new(&settings());
    let client = server.open("192.0.2.1");
    server.advance(40 * SECOND);
    assert_eq!(server.event_loop.link_count(), 1);
    server.advance(30 * SECOND);
    assert!(client.end.closed().is_some());
    assert_eq!(server.event_loop.link_count(), 0);
    assert_eq!(server.event_loop.held_bytes(), 0);
}
