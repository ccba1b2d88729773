//! Own pings, by the clock that the test moves (RFC 6455 §5.5.2; protocol.md 5.2).

use std::time::Duration;

use websock::connection::{Keepalive, Limits, PhpFraming};

use crate::client::{self, BINARY, CONTINUATION, PING, PONG, TEXT, fragment, frame};
use crate::host::{Host, Seen};

const MOMENT: Duration = Duration::from_millis(1);

fn pings(host: &mut Host) -> usize {
    let said = host.said();
    let pings = said.payloads(PING);
    assert!(pings.iter().all(|ping| ping == br#"{"opcode":"PING"}"#));
    pings.len()
}

#[test]
fn a_quiet_peer_is_pinged_after_the_interval_and_not_before() {
    let mut host = Host::open();
    let interval = host.context.limits.ping_interval;
    assert_eq!(host.due_in(), Some(interval));
    assert_eq!(host.advance(interval - MOMENT), None);
    assert_eq!(pings(&mut host), 0);
    assert_eq!(host.advance(MOMENT), None);
    assert_eq!(pings(&mut host), 1);
}

#[test]
fn a_peer_that_answers_is_pinged_again_and_again() {
    let mut host = Host::open();
    for round in 1..=50 {
        host.advance(host.context.limits.ping_interval);
        assert_eq!(pings(&mut host), round);
        host.advance(host.context.limits.pong_timeout - MOMENT);
        host.feed(&frame(PONG, br#"{"opcode":"PING"}"#));
        assert_eq!(host.due_in(), Some(host.context.limits.ping_interval));
    }
    assert_eq!(host.seen, []);
    host.expect_idle();
}

#[test]
fn a_peer_just_heard_is_not_pinged() {
    let signs: [(&str, Vec<u8>); 5] = [
        ("message", client::text("x")),
        ("ping", frame(PING, b"")),
        ("pong", frame(PONG, b"")),
        ("fragment", fragment(false, BINARY, b"x")),
        ("a byte of a header", vec![0x81]),
    ];
    for (name, sign) in signs {
        let mut host = Host::open();
        host.advance(host.context.limits.ping_interval - MOMENT);
        host.feed(&sign);
        host.advance(MOMENT);
        assert_eq!(pings(&mut host), 0, "{name}");
        host.context.limits.stall_timeout = host.context.limits.ping_interval * 2;
        host.advance(host.context.limits.ping_interval - MOMENT * 2);
        assert_eq!(pings(&mut host), 0, "{name}");
        host.advance(MOMENT);
        assert_eq!(pings(&mut host), 1, "{name}");
    }
}

#[test]
fn a_peer_that_talks_all_the_time_is_never_pinged() {
    let mut host = Host::open();
    host.feed(&fragment(false, TEXT, b""));
    for _ in 0..1000 {
        host.feed(&fragment(false, CONTINUATION, &[b'x'; 100]));
        host.advance(Duration::from_secs(1));
    }
    assert_eq!(pings(&mut host), 0);
    assert_eq!(host.seen, []);
}

#[test]
fn an_overdue_pong_ends_the_connection_without_a_frame() {
    let mut host = Host::open();
    host.advance(host.context.limits.ping_interval);
    host.drain();
    assert_eq!(host.due_in(), Some(host.context.limits.pong_timeout));
    assert_eq!(
        host.advance(host.context.limits.pong_timeout - MOMENT),
        None
    );
    assert!(host.connection.is_open());
    assert_eq!(host.advance(MOMENT), Some(Seen::Lost));
    assert!(host.connection.is_finished());
    assert_eq!(host.said().frames.len(), 1, "the ping and nothing else");
    assert_eq!(host.due_in(), None);
    host.expect_idle();
}

#[test]
fn one_ping_waits_for_its_pong_and_no_second_is_sent() {
    let limits = Limits {
        ping_interval: Duration::from_secs(1),
        pong_timeout: Duration::from_secs(60),
        ..Limits::default()
    };
    let mut host = Host::open_with(limits);
    for _ in 0..60 {
        assert_eq!(host.advance(Duration::from_secs(1)), None);
    }
    assert_eq!(pings(&mut host), 1);
    assert_eq!(host.advance(Duration::from_secs(1)), Some(Seen::Lost));
}

#[test]
fn a_message_is_a_sign_of_life_while_a_pong_is_due() {
    let mut host = Host::open();
    host.advance(host.context.limits.ping_interval);
    host.feed(&client::text("busy"));
    assert_eq!(host.advance(host.context.limits.pong_timeout), None);
    assert!(host.connection.is_open());
}

#[test]
fn a_peer_that_takes_what_waits_before_the_ping_is_not_given_up() {
    let mut host = Host::open();
    host.send(BINARY, &[0; 100_000]).unwrap();
    host.advance(host.context.limits.ping_interval);
    for _ in 0..20 {
        host.advance(host.context.limits.pong_timeout - MOMENT);
        assert_eq!(host.write(1000), 1000);
    }
    assert!(host.connection.is_open());
    assert_eq!(
        host.advance(host.context.limits.pong_timeout),
        Some(Seen::Lost)
    );
    host.expect_idle();
}

#[test]
fn a_peer_that_cannot_answer_while_it_works_is_never_pinged() {
    for framing in [
        PhpFraming::Stream,
        PhpFraming::Padded,
        PhpFraming::Spaced,
        PhpFraming::Records,
    ] {
        let mut host = Host::new(Limits::default());
        (host.keepalive, host.framing) = (Keepalive::None, framing);
        let mut host = host.opened();
        assert_eq!(host.due_in(), None);
        assert_eq!(host.advance(Duration::from_secs(1_000_000)), None);
        assert!(host.connection.is_open());
        assert_eq!(host.said().frames, []);
    }
}

#[test]
fn an_interval_of_zero_switches_pings_off() {
    let mut host = Host::open_with(Limits {
        ping_interval: Duration::ZERO,
        ..Limits::default()
    });
    assert_eq!(host.due_in(), None);
    assert_eq!(host.advance(Duration::from_secs(1_000_000)), None);
    assert!(host.connection.is_open());
}

#[test]
fn an_early_call_does_nothing() {
    let mut host = Host::open();
    for _ in 0..100 {
        host.context.now += host.context.limits.ping_interval / 101;
        let event = host.call(|connection, turn| connection.handle_timeout(turn).is_some());
        assert!(!event);
    }
    assert_eq!(pings(&mut host), 0);
}
