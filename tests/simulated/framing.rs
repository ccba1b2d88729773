//! Frames, fragments and control frames between them (RFC 6455 §5).

use crate::client::{
    self, BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, fragment, frame, frame_with, text,
};
use crate::host::{Host, Seen};

/// What comes of `input` when it arrives whole: the events and the stream of the answers.
fn outcome(pieces: &[&[u8]]) -> (Vec<Seen>, client::Said) {
    let mut host = Host::open();
    host.feed_all(pieces.iter().copied());
    let said = host.said();
    (host.seen, said)
}

/// A dialogue with every kind of frame and every form of length.
fn dialogue() -> (Vec<u8>, Vec<Seen>) {
    let long = "ä€😀".repeat(20);
    let bytes = vec![0xFF; 300];
    let input = [
        text("one"),
        text(""),
        fragment(false, TEXT, &"ö".as_bytes()[..1]),
        frame(PING, b"between"),
        fragment(false, CONTINUATION, b""),
        fragment(true, CONTINUATION, &"ö".as_bytes()[1..]),
        frame(PONG, b"nobody asked"),
        text(&long),
        frame(BINARY, &bytes),
        frame(PING, b""),
        fragment(false, BINARY, &bytes[..130]),
        fragment(true, CONTINUATION, &bytes[130..]),
        client::close(1000, "bye"),
    ]
    .concat();
    let expected = vec![
        Seen::Text("one".into()),
        Seen::Text(String::new()),
        Seen::Text("ö".into()),
        Seen::Text(long),
        Seen::Binary(bytes.clone()),
        Seen::Binary(bytes),
        Seen::Closed(Some(1000)),
    ];
    (input, expected)
}

#[test]
fn frames_split_at_every_point_give_equal_events() {
    let (input, expected) = dialogue();
    let whole = outcome(&[&input]);
    assert_eq!(whole.0, expected);
    for at in 1..input.len() {
        let split = outcome(&[&input[..at], &input[at..]]);
        assert_eq!(split, whole, "split at {at}");
    }
    let drip: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(outcome(&drip), whole);
}

#[test]
fn frames_split_at_every_two_points_give_equal_events() {
    let input = [
        fragment(false, TEXT, "€".as_bytes()),
        frame(PING, b"p"),
        fragment(true, CONTINUATION, &[b'x'; 126]),
        frame(BINARY, b"\xFF"),
    ]
    .concat();
    let whole = outcome(&[&input]);
    assert_eq!(whole.0.len(), 2);
    for first in 1..input.len() - 1 {
        for second in first + 1..input.len() {
            let pieces = [&input[..first], &input[first..second], &input[second..]];
            assert_eq!(outcome(&pieces), whole, "split at {first} and {second}");
        }
    }
}

#[test]
fn every_form_of_length_is_echoed_in_the_same_form() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 200_000] {
        let mut host = Host::open();
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        host.feed_all(frame(BINARY, &payload).chunks(50_000));
        assert_eq!(host.said().payloads(BINARY), [payload], "{len}");
        host.expect_idle();
    }
}

#[test]
fn any_masking_key_works_and_is_applied_from_each_frames_start() {
    for key in [[0; 4], [0xFF; 4], [1, 2, 3, 4], [0, 0, 0, 0x80]] {
        for first in 1..10 {
            let (one, two) = b"0123456789".split_at(first);
            let input = [frame_with(0x01, key, one), frame_with(0x80, key, two)].concat();
            for step in 1..input.len() {
                let mut host = Host::open();
                host.feed_all(input.chunks(step));
                assert_eq!(host.seen, [Seen::Text("0123456789".into())]);
            }
        }
    }
}

#[test]
fn ping_during_a_fragmented_message_is_answered_before_the_message() {
    let mut host = Host::open();
    host.feed(&fragment(false, TEXT, b"a"));
    for n in 0..5_u8 {
        host.feed(&frame(PING, &[n]));
        host.feed(&fragment(n == 4, CONTINUATION, b"a"));
    }
    let said = host.said();
    let opcodes: Vec<u8> = said.frames.iter().map(|frame| frame.opcode).collect();
    assert_eq!(opcodes, [PONG, PONG, PONG, PONG, PONG, TEXT]);
    assert_eq!(said.payloads(PONG), [[0], [1], [2], [3], [4]]);
    assert_eq!(said.payloads(TEXT), [b"aaaaaa"]);
    host.expect_idle();
}

#[test]
fn a_ping_of_every_length_is_answered_with_its_payload() {
    for len in 0..=125 {
        for step in [1, 2, 6, 200] {
            let payload: Vec<u8> = (0..len).map(|i| 255 - i as u8).collect();
            let mut host = Host::open();
            host.feed_all(frame(PING, &payload).chunks(step));
            assert_eq!(host.said().payloads(PONG), [payload], "{len} by {step}");
            host.expect_idle();
        }
    }
}

#[test]
fn an_unsolicited_pong_is_ignored() {
    let mut host = Host::open();
    host.feed(&[frame(PONG, b""), frame(PONG, &[1; 125])].concat());
    assert_eq!(host.seen, []);
    assert_eq!(host.said().frames, []);
    host.expect_idle();
}

#[test]
fn a_close_frame_inside_a_message_ends_it() {
    let mut host = Host::open();
    host.feed(&fragment(false, TEXT, &[b'a'; 1000]));
    host.feed(&[frame(CLOSE, b""), fragment(true, CONTINUATION, b"b")].concat());
    assert_eq!(host.seen, [Seen::Closed(None)]);
    assert_eq!(host.said().frames.len(), 1);
    host.expect_idle();
}

#[test]
fn a_message_of_many_fragments_is_one_message() {
    let mut host = Host::open();
    host.feed(&fragment(false, TEXT, b"x"));
    for _ in 0..10_000 {
        host.feed(&fragment(false, CONTINUATION, b"x"));
    }
    host.feed(&fragment(true, CONTINUATION, b""));
    assert_eq!(host.seen, [Seen::Text("x".repeat(10_001))]);
}

/// Bytes of room that there are.
fn room(host: &mut Host, least_bytes: usize, most_bytes: usize) -> Option<usize> {
    host.connection
        .payload_buffer(least_bytes, most_bytes)
        .map(|room| room.len())
}

#[test]
fn room_is_what_is_missing_at_most_what_has_come_and_for_payload_only() {
    let mut host = Host::open();
    assert_eq!(room(&mut host, 1, 1000), None);
    let payload = vec![7; 1000];
    let bytes = frame(BINARY, &payload);
    let (begin, rest) = bytes.split_at(bytes.len() - 700);
    host.feed(&begin[..5]);
    assert_eq!(room(&mut host, 0, 1000), None, "in the header");
    host.feed(&begin[5..]);
    assert_eq!(room(&mut host, 300, 1000), Some(300));
    assert_eq!(room(&mut host, 301, 1000), None);
    assert_eq!(room(&mut host, 1, 200), Some(200));

    let (first, second) = rest.split_at(299);
    for (piece, lent_len) in [(first, 300), (second, 401)] {
        let room = host
            .connection
            .payload_buffer(1, 1000)
            .expect("payload is missing");
        assert_eq!(room.len(), lent_len);
        room[..piece.len()].copy_from_slice(piece);
        let event = host.call(|connection, turn| connection.receive_payload(piece.len(), turn));
        host.seen.extend(event.map(Seen::from));
    }
    assert_eq!(host.seen, [Seen::Binary(payload)]);
    assert_eq!(room(&mut host, 0, 1000), None);

    host.feed(&fragment(false, TEXT, b"begun"));
    assert_eq!(room(&mut host, 1, 1000), None, "no frame");
    host.feed(&frame(PING, b"a ping that is cut")[..10]);
    assert_eq!(room(&mut host, 1, 1000), None, "no data");
}
