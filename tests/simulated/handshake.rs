//! From accept to the 101 or the refusal (RFC 6455 §4.2; protocol.md 1.2 to 1.5).

use std::time::Duration;

use websock::connection::Limits;
use websock::protocol::error::Rejection;

use crate::client::{self, request, request_of};
use crate::host::{Host, Seen};

fn host() -> Host {
    Host::new(Limits::default())
}

const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn a_head_gives_the_same_answer_however_it_is_split() {
    let head = request("");
    let input = [head.as_slice(), &client::text("first")].concat();
    let mut whole = host();
    whole.feed(&input);
    let expected = [Seen::Head(head), Seen::Text("first".into())];
    assert_eq!(whole.seen, expected);
    assert_eq!(whole.said().status(), 101);

    for at in 1..input.len() {
        let mut split = host();
        split.feed_all([&input[..at], &input[at..]]);
        assert_eq!(split.seen, expected, "split at {at}");
        assert_eq!(split.said(), whole.said(), "split at {at}");
    }
    let mut drip = host();
    drip.feed_all(input.chunks(1));
    assert_eq!(drip.seen, expected);
    assert_eq!(drip.said(), whole.said());
    drip.expect_idle();
}

#[test]
fn a_head_of_8191_bytes_is_taken_and_one_of_8192_is_not() {
    for step in [1, 7, 1000, 8190, 8191, 8192, 20_000] {
        for (len, status) in [
            (8190, 101),
            (8191, 101),
            (8192, 431),
            (8193, 431),
            (9999, 431),
        ] {
            let mut host = host();
            host.feed_all(request_of(len).chunks(step));
            assert_eq!(
                host.said().status(),
                status,
                "{len} bytes in steps of {step}"
            );
            assert_eq!(host.connection.is_open(), status == 101);
            assert_eq!(host.connection.is_drained(), status != 101);
            host.expect_idle();
        }
    }
}

#[test]
fn bytes_behind_a_head_do_not_count_as_head() {
    let mut host = host();
    host.feed(&[request_of(8191), client::text(&"x".repeat(9000))].concat());
    assert_eq!(host.seen[1], Seen::Text("x".repeat(9000)));
}

#[test]
fn a_head_that_never_ends_is_refused_and_not_kept() {
    let mut host = host();
    for _ in 0..100 {
        host.feed(&[b'a'; 1000]);
        assert!(host.connection.held_bytes() <= 2 * 8192);
    }
    assert_eq!(host.seen, [Seen::Refused(Rejection::HeadTooLarge)]);
    assert_eq!(host.said().status(), 431);
    host.expect_idle();
}

#[test]
fn a_bad_request_gets_one_whole_response_and_its_frames_are_not_read() {
    let good = String::from_utf8(request("")).unwrap();
    for (from, to, status) in [
        ("GET ", "POST ", 405),
        ("HTTP/1.1", "HTTP/1.0", 400),
        ("Host", "Hast", 400),
        ("websocket", "h2c", 400),
        (": Upgrade", ": close", 400),
        ("Key: dGhl", "Key: ", 400),
        (": 13", ": 12", 426),
    ] {
        let mut host = host();
        let head = good.replacen(from, to, 1).into_bytes();
        host.feed(&[head.as_slice(), &client::text("x")].concat());
        host.feed(&client::text("y"));
        assert_eq!(host.seen, [Seen::Head(head)], "{to}");
        assert!(host.connection.output_len() > 0 && !host.connection.is_drained());
        assert_eq!(host.said().status(), status, "{to}");
        assert!(host.connection.is_drained() && !host.connection.is_finished());
        host.eof();
        assert!(host.connection.is_finished());
    }
}

#[test]
fn the_handshake_times_out_however_its_bytes_drip() {
    let limits = Limits::default();
    let gaps = [
        MOMENT * 2,
        MOMENT * 70,
        limits.handshake_timeout / 3,
        limits.handshake_timeout / 2,
    ];
    for gap in gaps {
        let mut host = host();
        let start = host.context.now;
        while host.seen.is_empty() {
            host.feed(b"a");
            host.advance(gap);
        }
        assert_eq!(host.seen, [Seen::Refused(Rejection::Timeout)]);
        let took = host.context.now - start;
        assert!(took >= limits.handshake_timeout && took < limits.handshake_timeout + gap);
        assert_eq!(host.said().status(), 408);
        host.expect_idle();
    }
}

#[test]
fn the_handshake_may_take_its_time_to_the_last_moment() {
    let mut host = host();
    host.feed(&request("")[..100]);
    assert_eq!(host.due_in(), Some(host.context.limits.handshake_timeout));
    assert_eq!(
        host.advance(host.context.limits.handshake_timeout - MOMENT),
        None
    );
    host.feed(&request("")[100..]);
    assert!(host.connection.is_open());
    assert_eq!(host.advance(MOMENT), None);
    assert!(host.connection.is_open());
}

#[test]
fn a_refused_peer_that_does_not_hang_up_is_dropped_in_time() {
    let mut host = host();
    host.feed(b"GET / HTTP/1.0\r\n\r\n");
    host.drain();
    assert_eq!(host.due_in(), Some(host.context.limits.close_timeout));
    for _ in 0..3 {
        // More input does not put the end off.
        host.advance(host.context.limits.close_timeout / 4);
        host.feed(&[0; 5000]);
        host.expect_idle();
    }
    assert_eq!(
        host.advance(host.context.limits.close_timeout / 4),
        Some(Seen::Lost)
    );
    assert!(host.connection.is_finished());
}

#[test]
fn a_peer_that_leaves_in_the_head_leaves_nothing_behind() {
    for sent in [0, 1, 100] {
        let mut host = host();
        host.feed(&request("")[..sent]);
        host.eof();
        assert_eq!(host.seen, []);
        assert!(host.connection.is_finished());
        host.expect_idle();
    }
}
