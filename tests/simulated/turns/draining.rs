//! SIGTERM and those who have opted in: told one after the other, each once, all by the end of the
//! spread (protocol.md 12.1, 12.2).

use std::time::Duration;

use websock::app::Availability;
use websock::net::ServerSettings;
use websock::ops::signals::Signal;

use crate::client;
use crate::server::{Client, NEXT, Server, push, request_to, settings};

fn settings_with(delay_ms: u64, spread: Option<Duration>) -> ServerSettings {
    let mut settings = settings();
    settings.drain.delay = Duration::from_millis(delay_ms);
    settings.drain.spread = spread;
    settings
}

fn late_handshake() -> String {
    String::from_utf8(request_to("/web?user=1", "")).unwrap()
}

/// `after` of a client that has been told, and has been closed behind it; `None`: not told yet.
#[track_caller]
fn told(client: &mut Client) -> Option<u64> {
    let heard = client.heard();
    let packet = heard.first()?;
    let after = packet.strip_prefix(r#"{"opcode":"restart","after":"#);
    let after = after.and_then(|rest| rest.strip_suffix('}'));
    assert_eq!(heard[1..], ["close 1012"], "{heard:?}");
    // Who has waited for longer than closeTimeout is cut.
    client.end.offer(&client::close(1012, ""));
    Some(after.expect("a restart").parse().expect("a whole number"))
}

#[test]
fn who_has_opted_in_is_told_within_the_spread_and_everybody_else_at_once() {
    let spread = Duration::from_secs(5);
    let mut server = Server::new(&settings_with(0, Some(spread)));
    let words = ["user=1", "resume=1", "a=b&user=1", "resume=1&user=1&c"];
    let mut opted_in: Vec<Client> = (0..1_000)
        .map(|n| server.open_at(&format!("/web?{}", words[n % 4]), "", "192.0.2.1"))
        .collect();
    let mut others = [
        server.open("192.0.2.1"),
        server.open_at("/web?user=10", "", "192.0.2.1"),
        server.open_at("/web?xuser=1", "", "192.0.2.1"),
        server.open_php("a", "127.0.0.1"),
        // What it speaks is its own.
        server.open_at("/echo", "", "192.0.2.1"),
    ];
    server.advance(Duration::from_millis(10));
    server.system.signal(Signal::Stop);
    server.settle();
    for other in &mut others {
        assert_eq!(other.heard(), ["close 1001"]);
        other.end.send(&client::close(1001, ""));
    }
    let mut afters: Vec<Option<u64>> = vec![None; opted_in.len()];
    let mut told_counts = Vec::new();
    for _ in 0..50 {
        assert!(!server.event_loop.is_done());
        for (client, after) in opted_in.iter_mut().zip(&mut afters) {
            match (told(client), *after) {
                (Some(new), None) => *after = Some(new),
                (Some(_), Some(_)) => panic!("told twice"),
                (None, _) => {}
            }
        }
        told_counts.push(afters.iter().flatten().count());
        server.advance(Duration::from_millis(100));
    }
    for (step, count) in told_counts.iter().enumerate() {
        // Twenty in each tenth of a second, give or take a tick of the wheel.
        let expected = step * 20;
        assert!(count.abs_diff(expected) <= 22, "{count} after {step} steps");
    }
    for (client, after) in opted_in.iter_mut().zip(&mut afters) {
        *after = after.or_else(|| told(client));
    }
    server.settle();
    let afters: Vec<u64> = afters.into_iter().map(|a| a.expect("told")).collect();
    assert!(afters.iter().all(|after| *after <= 5_000), "{afters:?}");
    // They do not come back at once: in each of five seconds a fifth of them, within chance.
    for second in 0..5 {
        let range = second * 1_000_u64..(second + 1) * 1_000;
        let count = afters.iter().filter(|after| range.contains(after)).count();
        assert!((140..260).contains(&count), "{count} in second {second}");
    }
    assert!(server.event_loop.is_done());
    // Their places are kept until nobody can come back to them any more (protocol.md 9.2).
    server.advance(Duration::from_secs(121));
    assert_eq!(server.event_loop.held_bytes(), 0);
}

#[test]
fn until_a_client_is_told_everything_goes_on_for_it_and_newcomers_get_503() {
    let mut server = Server::new(&settings_with(0, Some(Duration::from_secs(10))));
    let mut clients = [
        server.open_at("/web?user=1", "", "192.0.2.1"),
        server.open_at("/web?user=1", "", "192.0.2.1"),
    ];
    server.system.signal(Signal::Stop);
    server.settle();
    assert!(told(&mut clients[0]).is_some(), "the first one at once");
    assert_eq!(told(&mut clients[1]), None);
    let late = server.ask(&late_handshake(), "192.0.2.1");
    assert!(
        late.starts_with("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n"),
        "{late}"
    );
    clients[1].say(r#"{"opcode":"echo","message":1}"#);
    let pushed = server.ask(&push(r#"{"opcode":"broadcast","message":2}"#), "127.0.0.1");
    assert!(pushed.contains(r#""delivered":1"#), "{pushed}");
    assert!(
        server
            .ask("GET /health HTTP/1.0\r\n\r\n", "127.0.0.1")
            .contains(" 200 ")
    );
    let heard = clients[1].heard();
    let broadcast = r#"{"opcode":"broadcast","message":2}"#;
    assert_eq!(heard, [NEXT, r#"{"opcode":"echo","message":1}"#, broadcast]);
    server.advance(Duration::from_millis(5_100));
    assert!(told(&mut clients[1]).is_some());
    server.settle();
    assert!(server.event_loop.is_done());
}

#[test]
fn load_balancers_are_told_first_and_nobody_else() {
    let mut server = Server::new(&settings_with(3_000, None));
    let mut clients = [
        server.open("192.0.2.1"),
        server.open_at("/web?user=1", "", "192.0.2.1"),
    ];
    assert_eq!(
        server.event_loop.app_mut().availability(),
        Availability::Serving
    );
    server.system.signal(Signal::Stop);
    server.advance(Duration::from_millis(2_900));
    assert_eq!(
        server.event_loop.app_mut().availability(),
        Availability::Leaving
    );
    let late = server.open("192.0.2.1");
    for client in &mut clients {
        client.say(r#"{"opcode":"unknown"}"#);
        server.settle();
        assert_eq!(client.heard(), [NEXT]);
    }
    server.advance(Duration::from_millis(600));
    assert_eq!(
        server.event_loop.app_mut().availability(),
        Availability::Draining
    );
    let [first, second] = &mut clients;
    assert_eq!(first.heard(), ["close 1001"]);
    assert!(told(second).is_some());
    for client in [first, &mut { late }] {
        client.end.send(&client::close(1001, ""));
    }
    server.settle();
    assert!(server.event_loop.is_done());
}

#[test]
fn a_second_signal_ends_at_once_in_every_phase() {
    for (delay_ms, passed_ms) in [(5_000, 100), (0, 100), (0, 5_500)] {
        let mut server = Server::new(&settings_with(delay_ms, Some(Duration::from_secs(10))));
        let _clients = [
            server.open_at("/web?user=1", "", "192.0.2.1"),
            server.open_at("/web?user=1", "", "192.0.2.1"),
        ];
        server.system.signal(Signal::Stop);
        server.advance(Duration::from_millis(passed_ms));
        assert!(!server.event_loop.is_done(), "{delay_ms} {passed_ms}");
        server.system.signal(Signal::Stop);
        server.turn();
        assert!(server.event_loop.is_done(), "{delay_ms} {passed_ms}");
    }
}

#[test]
fn who_leaves_unasked_is_not_waited_for_beyond_the_spread_and_deaf_ones_not_beyond_the_timeout() {
    let mut server = Server::new(&settings_with(0, Some(Duration::from_secs(10))));
    let mut clients: Vec<Client> = (0..10)
        .map(|_| server.open_at("/web?user=1", "", "192.0.2.1"))
        .collect();
    server.system.signal(Signal::Stop);
    server.settle();
    for client in &clients[1..9] {
        client.end.reset();
    }
    server.advance(Duration::from_millis(9_400));
    assert!(told(&mut clients[0]).is_some() && told(&mut clients[9]).is_some());
    server.settle();
    assert!(server.event_loop.is_done());

    let mut server = Server::new(&settings_with(0, Some(Duration::from_secs(1))));
    let mut deaf = server.open_at("/web?user=1", "", "192.0.2.1");
    server.system.signal(Signal::Stop);
    server.advance(Duration::from_millis(4_500));
    assert!(!server.event_loop.is_done());
    server.advance(Duration::from_millis(800));
    assert!(server.event_loop.is_done());
    assert_eq!(deaf.heard().last().unwrap(), "close 1012");
}

#[test]
fn a_spread_of_nothing_tells_all_at_once_a_share_in_each_turn() {
    let mut server = Server::new(&settings_with(0, Some(Duration::ZERO)));
    let mut clients: Vec<Client> = (0..2_500)
        .map(|_| server.open_at("/web?user=1", "", "192.0.2.1"))
        .collect();
    server.system.signal(Signal::Stop);
    server.turn();
    let told_now = clients.iter_mut().filter_map(told).count();
    assert_eq!(told_now, 1_024);
    server.settle();
    let told_later = clients[1_024..].iter_mut().filter_map(told).count();
    assert_eq!(told_later, 1_476);
    server.settle();
    assert!(server.event_loop.is_done());
}
