//! Limits in time: stalled messages, control frames and messages per second.

use std::time::Duration;

use websock::connection::{Keepalive, Limits};
use websock::protocol::error::Violation;

use crate::client::{self, BINARY, CONTINUATION, PING, PONG, TEXT, fragment, frame, promise};
use crate::host::{Host, Seen};

const MOMENT: Duration = Duration::from_millis(1);
const STALLED: Seen = Seen::Failed(Violation::MessageStalled);

/// A connection on which nothing but the stall rule is in force.
fn unpinged() -> Host {
    let mut host = Host::new(Limits::default());
    host.keepalive = Keepalive::None;
    host.opened()
}

#[test]
fn whatever_is_begun_and_does_not_advance_is_cut() {
    let begun: [(&str, Vec<u8>); 7] = [
        ("a byte of a header", vec![0x81]),
        (
            "13 bytes of a header",
            promise(0x82, 1 << 20)[..13].to_vec(),
        ),
        ("a header", promise(0x82, 100)),
        (
            "some payload",
            [promise(0x82, 5000), vec![0; 1000]].concat(),
        ),
        ("a fragment", fragment(false, TEXT, b"x")),
        ("a ping", promise(0x89, 5)),
        (
            "a ping between fragments",
            [fragment(false, TEXT, b"x"), promise(0x89, 5)].concat(),
        ),
    ];
    for (name, input) in begun {
        let mut host = unpinged();
        host.feed(&input);
        let timeout = host.context.limits.stall_timeout;
        assert_eq!(host.due_in(), Some(timeout), "{name}");
        assert_eq!(host.advance(timeout - MOMENT), None, "{name}");
        assert_eq!(host.advance(MOMENT), Some(STALLED), "{name}");
        assert_eq!(host.said().close().0, Some(1008), "{name}");
        assert!(host.connection.is_drained());
        host.expect_idle();
    }
}

#[test]
fn a_message_that_gains_enough_in_each_span_lives_and_one_byte_less_does_not() {
    for (gain, lives) in [(1023, false), (1024, true), (1025, true)] {
        let mut host = unpinged();
        host.feed(&promise(0x82, 1 << 20));
        for _ in 0..10 {
            if !host.connection.is_open() {
                break;
            }
            for part in [gain / 2, gain - gain / 2] {
                host.advance(host.context.limits.stall_timeout / 2 - MOMENT);
                host.feed(&vec![0; part]);
            }
            host.advance(MOMENT * 2);
        }
        assert_eq!(host.connection.is_open(), lives, "{gain}");
        assert_eq!(host.seen == [STALLED], !lives, "{gain}");
    }
}

#[test]
fn bytes_of_one_span_do_not_help_in_the_next() {
    let mut host = unpinged();
    host.feed(&[promise(0x82, 1 << 20), vec![0; 500_000]].concat());
    assert_eq!(host.advance(host.context.limits.stall_timeout), None);
    assert_eq!(
        host.advance(host.context.limits.stall_timeout),
        Some(STALLED)
    );
}

#[test]
fn control_frames_are_no_progress_of_the_message_between_them() {
    let mut host = unpinged();
    host.feed(&fragment(false, TEXT, &[b'x'; 100]));
    for _ in 0..30 {
        host.feed(&frame(PING, &[0; 125]));
        host.feed(&frame(PONG, &[0; 125]));
        host.advance(host.context.limits.stall_timeout / 30);
    }
    assert_eq!(host.seen, [STALLED]);
}

#[test]
fn empty_fragments_are_no_progress() {
    let mut host = unpinged();
    host.feed(&fragment(false, TEXT, &[b'x'; 100]));
    for _ in 0..30 {
        host.feed(&fragment(false, CONTINUATION, b"").repeat(20));
        host.advance(host.context.limits.stall_timeout / 30);
    }
    assert_eq!(host.seen, [STALLED]);
}

#[test]
fn a_message_that_is_not_read_for_its_senders_full_queue_is_not_stalled() {
    let mut host = unpinged();
    host.context.limits.max_queue_bytes = 10_000;
    host.feed(&fragment(false, TEXT, b"x"));
    host.send(BINARY, &[0; 5000]).unwrap();
    assert!(host.connection.is_congested(&host.context.limits));
    for _ in 0..5 {
        assert_eq!(host.advance(host.context.limits.stall_timeout), None);
    }
    host.drain();
    assert!(!host.connection.is_congested(&host.context.limits));
    assert_eq!(
        host.advance(host.context.limits.stall_timeout),
        Some(STALLED)
    );
}

#[test]
fn a_finished_message_is_not_held_against_the_next() {
    let mut host = unpinged();
    for _ in 0..10 {
        host.feed(&fragment(false, TEXT, b"x"));
        assert_eq!(host.due_in(), Some(host.context.limits.stall_timeout));
        host.advance(host.context.limits.stall_timeout - MOMENT);
        host.feed(&frame(CONTINUATION, b"y"));
        assert_eq!(host.due_in(), None);
        host.expect_nothing_unfinished();
    }
    assert_eq!(host.seen.len(), 10);
}

#[test]
fn stalled_messages_and_pings_are_due_each_at_its_time() {
    let mut host = Host::open_with(Limits {
        ping_interval: Duration::from_secs(10),
        pong_timeout: Duration::from_secs(100),
        stall_timeout: Duration::from_secs(30),
        ..Limits::default()
    });
    host.feed(&fragment(false, TEXT, b"x"));
    assert_eq!(host.advance(Duration::from_secs(10)), None);
    assert_eq!(host.said().payloads(PING).len(), 1);
    assert_eq!(host.advance(Duration::from_secs(20)), Some(STALLED));
}

/// Sends `input` until the connection fails or a hundred have passed; how many were taken.
fn taken(host: &mut Host, input: &[u8]) -> usize {
    for count in 0..100 {
        host.feed(input);
        if !host.connection.is_open() {
            return count;
        }
    }
    100
}

fn rated() -> Limits {
    Limits {
        max_control_frames_per_second: 10,
        max_messages_per_second: 20,
        ..Limits::default()
    }
}

#[test]
fn control_frames_have_their_number_per_second() {
    for input in [frame(PING, b""), frame(PONG, b"x")] {
        let mut host = Host::open_with(rated());
        assert_eq!(taken(&mut host, &input), 10);
        assert_eq!(host.seen, [Seen::Failed(Violation::TooManyControlFrames)]);
        assert_eq!(host.said().close().0, Some(1008));
    }
}

#[test]
fn messages_have_their_number_per_second_and_fragments_are_not_messages() {
    let mut host = Host::open_with(rated());
    assert_eq!(taken(&mut host, &client::text("x")), 20);
    assert_eq!(
        host.seen.last(),
        Some(&Seen::Failed(Violation::TooManyMessages))
    );
    assert_eq!(host.said().close().0, Some(1008));

    let mut host = Host::open_with(rated());
    host.feed(&fragment(false, BINARY, b"x"));
    assert_eq!(taken(&mut host, &fragment(false, CONTINUATION, b"x")), 100);
}

#[test]
fn a_rate_comes_back_with_time_and_no_more_than_a_second_of_it() {
    let mut host = Host::open_with(rated());
    for _ in 0..100 {
        host.feed(&frame(PING, b"").repeat(10));
        host.feed(&client::text("x").repeat(20));
        assert!(host.connection.is_open());
        host.context.now += Duration::from_secs(1);
    }
    host.feed(&frame(PING, b"").repeat(10));
    host.context.now += Duration::from_millis(100);
    assert_eq!(taken(&mut host, &frame(PING, b"")), 1);

    let mut rested = Host::open_with(rated());
    rested.context.now += Duration::from_secs(20);
    assert_eq!(taken(&mut rested, &frame(PING, b"")), 10);
}

#[test]
fn messages_are_not_counted_where_the_limit_is_off() {
    let mut host = Host::open();
    host.feed(&client::text("").repeat(50_000));
    assert_eq!(host.seen.len(), 50_000);
}
