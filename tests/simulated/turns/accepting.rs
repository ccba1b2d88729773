//! Who is let in: `maxPending`, and what the system has run out of.

use std::time::Duration;

use crate::client;
use crate::server::{NEXT, Server, settings};
use crate::system::{ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM, FarEnd};

const GET: &[u8] = b"GET /websock.js HTTP/1.1\r\nHost: a\r\n\r\n";

fn status(end: &FarEnd) -> String {
    let response = String::from_utf8_lossy(&end.take(usize::MAX)).into_owned();
    response.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn expect_served(server: &mut Server, ip: &str) {
    let mut client = server.open(ip);
    client.say(r#"{"opcode":"none"}"#);
    server.settle();
    assert_eq!(client.heard(), [NEXT]);
}

// ---- maxPending

fn small_server() -> Server {
    let mut settings = settings();
    settings.max_pending = 20;
    Server::new(&settings)
}

#[test]
fn connections_that_rest_make_room_the_idlest_first() {
    let mut server = small_server();
    let resting: Vec<FarEnd> = (0..20)
        .map(|at| {
            let end = server.connect(if at < 15 { "192.0.2.9" } else { "192.0.2.8" });
            end.send(GET);
            server.settle();
            assert_eq!(status(&end), "200");
            end
        })
        .collect();
    // The first one asks again: it is no longer the idlest.
    resting[0].send(GET);
    server.settle();
    assert_eq!(status(&resting[0]), "200");
    for count in 1..=5 {
        let newcomer = server.connect("192.0.2.1");
        server.settle();
        assert!(newcomer.closed().is_none());
        let gone: Vec<usize> = (0..20)
            .filter(|at| resting[*at].closed().is_some())
            .collect();
        assert_eq!(gone, (1..=count).collect::<Vec<_>>());
    }
    expect_served(&mut server, "192.0.2.2");
}

#[test]
fn one_address_with_all_pending_connections_keeps_nobody_else_out() {
    let mut server = small_server();
    let hoard: Vec<FarEnd> = (0..20).map(|_| server.connect("192.0.2.9")).collect();
    server.settle();
    let more = server.connect("192.0.2.9");
    server.settle();
    assert_eq!(status(&more), "503", "it has its share");
    for _ in 0..5 {
        expect_served(&mut server, "192.0.2.1");
    }
    let newcomers: Vec<FarEnd> = (0..8).map(|_| server.connect("192.0.2.2")).collect();
    server.settle();
    assert!(newcomers.iter().all(|end| end.closed().is_none()));
    let gone = hoard.iter().filter(|end| end.closed().is_some()).count();
    assert!(gone <= 9, "{gone} were cut for 9 others");
    assert!(hoard[19].closed().is_none(), "the oldest goes first");
}

#[test]
fn clients_that_are_open_do_not_count_as_pending() {
    let mut server = small_server();
    let clients: Vec<_> = (0..50).map(|_| server.open("192.0.2.1")).collect();
    assert!(clients.iter().all(|client| client.end.closed().is_none()));
}

#[test]
fn who_was_cut_to_make_room_leaves_nothing_behind() {
    let mut server = small_server();
    let _clients: Vec<_> = (0..200)
        .map(|at| {
            let end = server.connect(&format!("192.0.2.{}", at % 7));
            end.send(&GET[..at % GET.len()]);
            server.settle();
            end
        })
        .collect();
    assert_eq!(server.event_loop.link_count(), 20);
    server.advance(Duration::from_secs(20));
    assert_eq!(server.event_loop.link_count(), 0);
    assert_eq!(server.event_loop.held_bytes(), 0);
}

// ---- what the system has run out of

#[test]
fn accepting_rests_when_the_system_has_run_out_of_something_and_goes_on_by_itself() {
    for number in [EMFILE, ENFILE, EPERM, ENOMEM, ENOBUFS] {
        let mut server = Server::new(&settings());
        let mut client = server.open("192.0.2.1");
        server.system.take_waits();
        server.system.fail_accepts(0, &[number; 40]);
        let end = server.connect("192.0.2.2");
        server.settle();
        let wait = server.event_loop.next_wait().unwrap();
        let is_short = wait <= Duration::from_millis(150);
        assert!(
            is_short && wait >= Duration::from_millis(50),
            "{number}: {wait:?}"
        );
        let mut request = crate::server::request_to("/web", "");
        for _ in 0..50 {
            server.advance(Duration::from_millis(100));
            client.say(r#"{"opcode":"none"}"#);
            server.settle();
            assert_eq!(client.heard(), [NEXT], "others are served meanwhile");
        }
        let waits = server.system.take_waits();
        let busy = waits.iter().filter(|wait| {
            wait.timeout.is_some_and(|t| t < Duration::from_millis(10)) && !wait.was_ready
        });
        assert!(busy.count() <= 60, "{number} keeps the loop busy");
        assert!(waits.len() < 200, "{number}: {} turns", waits.len());
        // It was never told again that somebody waits.
        end.send(&std::mem::take(&mut request));
        server.settle();
        assert!(status(&end) == "101", "{number}");
    }
}

#[test]
fn without_descriptors_those_who_wait_are_refused() {
    for number in [EMFILE, ENFILE] {
        let mut server = Server::new(&settings());
        let ends: Vec<FarEnd> = (0..3).map(|_| server.connect("192.0.2.2")).collect();
        server.system.fail_accepts(0, &[number]);
        server.settle();
        for end in &ends {
            assert_eq!(status(end), "503");
            assert!(end.closed().is_some());
        }
        server.advance(Duration::from_millis(200));
        expect_served(&mut server, "192.0.2.2");
    }
}

#[test]
fn a_connection_that_is_gone_before_it_is_taken_stops_nobody() {
    let mut server = Server::new(&settings());
    let ends: Vec<FarEnd> = (0..5).map(|_| server.connect("192.0.2.2")).collect();
    server.system.fail_accepts(0, &[ECONNABORTED; 2]);
    server.turn();
    assert_eq!(server.event_loop.link_count(), 3);
    ends[4].send(&client::request(""));
    server.settle();
    assert_eq!(status(&ends[4]), "101");
}

#[test]
fn a_crowd_that_comes_at_once_is_taken_over_several_turns() {
    let mut server = Server::new(&settings());
    let ends: Vec<FarEnd> = (0..1000).map(|_| server.connect("192.0.2.2")).collect();
    let mut counts = Vec::new();
    while server.event_loop.link_count() < 1000 {
        server.turn();
        counts.push(server.event_loop.link_count());
        assert!(counts.len() < 10, "{counts:?}");
    }
    assert!(counts.len() > 1, "others have to be heard in between");
    ends[999].send(GET);
    server.settle();
    assert_eq!(status(&ends[999]), "200");
}
