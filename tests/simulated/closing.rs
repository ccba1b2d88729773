//! The close handshake, begun by either end (RFC 6455 §5.5.1, §7).

use std::time::Duration;

use websock::api::Response;
use websock::connection::{Limits, SendError};
use websock::protocol::close_code::CloseCode;

use crate::client::{self, CLOSE, PING, TEXT, frame};
use crate::host::{Host, Seen, Service};

const MOMENT: Duration = Duration::from_millis(1);

/// Every code that may stand on the wire, by its ends.
const LEGAL: [u16; 10] = [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4999];

#[test]
fn a_close_frame_is_answered_with_the_same_code_and_ends_it() {
    for code in LEGAL {
        for reason in ["", "good-bye", &"ä".repeat(61)] {
            for step in [1, 3, 200] {
                let mut host = Host::open();
                host.feed_all(client::close(code, reason).chunks(step));
                assert_eq!(host.seen, [Seen::Closed(Some(code))]);
                assert!(!host.connection.is_open() && !host.connection.is_finished());
                assert_eq!(host.said().close(), (Some(code), ""));
                // The server is the first to end TCP (§7.1.1).
                assert!(host.connection.is_finished());
                host.expect_idle();
            }
        }
    }
}

#[test]
fn an_empty_close_frame_is_answered_with_an_empty_one() {
    let mut host = Host::open();
    host.feed(&frame(CLOSE, b""));
    assert_eq!(host.seen, [Seen::Closed(None)]);
    assert_eq!(host.said().frames[0].payload, b"");
    assert!(host.connection.is_finished());
}

#[test]
fn what_was_queued_before_the_peers_close_still_leaves_and_nothing_after_it() {
    let mut host = Host::open();
    host.feed(&client::text("one"));
    host.feed(
        &[
            client::text("two"),
            client::close(1000, ""),
            client::text("three"),
        ]
        .concat(),
    );
    host.feed(&frame(PING, b"late"));
    assert_eq!(host.send(TEXT, b"late"), Err(SendError::NotOpen));
    host.close(CloseCode::GOING_AWAY, "late");
    let said = host.said();
    assert_eq!(said.payloads(TEXT), [b"one", b"two"]);
    assert_eq!((said.frames.len(), said.close()), (3, (Some(1000), "")));
    assert_eq!(host.seen.last(), Some(&Seen::Closed(Some(1000))));
}

#[test]
fn our_close_waits_for_the_peers_and_ends_with_it() {
    for answer in [
        client::close(1000, ""),
        client::close(1001, "x"),
        frame(CLOSE, b""),
    ] {
        let mut host = Host::open();
        host.close(CloseCode::GOING_AWAY, "shutdown");
        assert_eq!(host.said().close(), (Some(1001), "shutdown"));
        assert!(!host.connection.is_finished() && !host.connection.is_drained());
        host.feed(&answer);
        assert!(matches!(host.seen[..], [Seen::Closed(_)]));
        assert!(host.connection.is_finished());
        assert_eq!(host.said().frames.len(), 1, "one close frame is enough");
        host.expect_idle();
    }
}

#[test]
fn messages_that_cross_our_close_are_swallowed_and_pings_not_answered() {
    let mut host = Host::open();
    host.close(CloseCode::NORMAL, "");
    for step in [1, 5, 1000] {
        let input = [
            client::text("late"),
            client::fragment(false, TEXT, &[b'x'; 500]),
            frame(PING, b"late"),
            client::fragment(true, client::CONTINUATION, b"y"),
        ];
        host.feed_all(input.concat().chunks(step));
    }
    assert_eq!(host.seen, []);
    host.feed(&client::close(1000, ""));
    assert_eq!(host.seen, [Seen::Closed(Some(1000))]);
    assert_eq!(host.said().frames.len(), 1);
}

#[test]
fn a_broken_rule_after_our_close_is_not_answered_and_ends_it() {
    let mut host = Host::open();
    host.close(CloseCode::NORMAL, "");
    host.drain();
    host.feed(&[0xFF, 0xFF, 0xFF]);
    assert_eq!(host.seen, []);
    assert_eq!(host.said().frames.len(), 1);
    assert!(host.connection.is_drained());
    host.eof();
    assert!(host.connection.is_finished());
}

#[test]
fn an_unanswered_close_ends_at_its_deadline() {
    let mut host = Host::open();
    host.close(CloseCode::NORMAL, "");
    host.drain();
    assert_eq!(host.due_in(), Some(host.context.limits.close_timeout));
    assert_eq!(
        host.advance(host.context.limits.close_timeout - MOMENT),
        None
    );
    // Other frames do not put it off.
    host.feed(&client::text("still here"));
    assert!(!host.connection.is_finished());
    assert_eq!(host.advance(MOMENT), Some(Seen::Lost));
    assert!(host.connection.is_finished());
    host.expect_idle();
}

#[test]
fn an_answer_that_nobody_takes_is_dropped_at_the_deadline() {
    let mut host = Host::open();
    host.feed(&[client::text("x"), client::close(1000, "")].concat());
    assert!(!host.connection.is_finished());
    assert_eq!(
        host.advance(host.context.limits.close_timeout),
        Some(Seen::Lost)
    );
    assert!(host.connection.is_finished());
    host.expect_idle();
}

#[test]
fn only_the_first_close_counts() {
    let mut host = Host::open();
    host.close(CloseCode::POLICY_VIOLATION, "first");
    host.advance(host.context.limits.close_timeout - MOMENT);
    host.close(CloseCode::NORMAL, "second");
    assert_eq!(host.due_in(), Some(MOMENT));
    assert_eq!(host.said().close(), (Some(1008), "first"));
}

#[test]
fn a_long_reason_is_cut_so_that_the_frame_stays_legal() {
    for reason in [
        "ä".repeat(100),
        "😀".repeat(50),
        "x".repeat(124),
        "x".repeat(123),
    ] {
        let mut host = Host::open();
        host.close(CloseCode::NORMAL, &reason);
        let said = host.said();
        assert!(reason.starts_with(said.close().1) && said.close().1.len() > 119);
    }
}

#[test]
fn the_peers_end_without_a_close_frame_is_a_loss() {
    let mut host = Host::open();
    host.feed(&client::text("x"));
    host.feed(&client::fragment(false, TEXT, b"unfinished"));
    host.eof();
    assert_eq!(host.seen, [Seen::Text("x".into()), Seen::Lost]);
    assert!(!host.connection.is_finished(), "the echo still waits");
    assert_eq!(host.said().payloads(TEXT), [b"x"]);
    assert!(host.connection.is_finished());
    host.expect_idle();
}

#[test]
fn an_end_of_input_does_not_put_the_end_off_twice() {
    let mut host = Host::open();
    host.send(TEXT, b"x").unwrap();
    host.eof();
    host.advance(host.context.limits.close_timeout - MOMENT);
    host.eof();
    assert_eq!(host.advance(MOMENT), Some(Seen::Lost));
    assert!(host.connection.is_finished());
}

#[test]
fn an_end_in_the_close_handshake_is_no_loss() {
    let mut host = Host::open();
    host.close(CloseCode::NORMAL, "");
    host.eof();
    assert_eq!(host.seen, []);
    assert_eq!(host.said().close(), (Some(1000), ""));
    assert!(host.connection.is_finished());
}

#[test]
fn an_aborted_connection_has_nothing_left() {
    let mut host = Host::open();
    host.send(TEXT, &[b'x'; 1000]).unwrap();
    host.feed(&client::fragment(false, TEXT, b"x"));
    host.connection.abort();
    assert!(host.connection.is_finished());
    assert_eq!((host.due_in(), host.write(100)), (None, 0));
    host.feed(&client::text("x"));
    assert_eq!(host.seen, []);
    host.expect_idle();
}

#[test]
fn a_response_that_comes_after_the_end_does_not_revive_the_connection() {
    let mut host = Host::new(Limits::default());
    host.service = Service::Requests;
    host.feed(b"POST /push HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}");
    assert!(host.body.is_some());
    // The server stops while the push is under way.
    host.eof();
    host.respond(&Response::empty(204));
    assert!(host.connection.is_finished());
    host.expect_idle();
}
