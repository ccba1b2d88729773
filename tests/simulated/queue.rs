//! What waits for a peer: its order, its limit, its memory; bytes that several connections send.

use std::rc::Rc;

use websock::connection::{Limits, Outgoing, PhpFraming, SendError};

use crate::client::{self, BINARY, PING, PONG, TEXT, server_frame};
use crate::host::{Host, Seen};
use crate::random::Random;

const QUEUE: usize = 10_000;

fn limited() -> Host {
    Host::open_with(Limits {
        max_queue_bytes: QUEUE,
        ..Limits::default()
    })
}

#[test]
fn a_queue_is_full_past_its_limit_and_not_before() {
    // With 4 bytes of header.
    for (first, expected) in [
        (9995, Ok(())),
        (9996, Ok(())),
        (9997, Err(SendError::QueueFull)),
    ] {
        let mut host = limited();
        host.send(BINARY, &vec![0; first]).unwrap();
        assert_eq!(host.send(BINARY, &[0; 5000]), expected, "{first}");
        assert_eq!(host.connection.output_len() > 10_001, expected.is_ok());
        assert!(host.connection.is_open());
        let expected_count = 1 + usize::from(expected.is_ok());
        assert_eq!(host.said().frames.len(), expected_count);
    }
}

#[test]
fn one_message_longer_than_the_queue_is_taken_and_no_second() {
    let mut host = limited();
    host.send(TEXT, b"next").unwrap();
    host.send(BINARY, &[1; 50_000]).unwrap();
    assert_eq!(host.send(TEXT, b"x"), Err(SendError::QueueFull));
    assert_eq!(host.said().frames[1].payload.len(), 50_000);
    host.send(TEXT, b"x").unwrap();
}

#[test]
fn shared_frames_count_against_the_queue_as_well() {
    let shared = Rc::new(server_frame(BINARY, &[7; 3996]).into());
    let mut host = limited();
    let outgoing = Outgoing::Shared(&shared, 0..4000);
    (0..3).for_each(|_| host.send_frame(&outgoing).unwrap());
    assert_eq!(host.send_frame(&outgoing), Err(SendError::QueueFull));
    assert_eq!(host.connection.output_len(), 12_000);
}

#[test]
fn a_full_queue_can_still_be_closed_with_a_reason() {
    let mut host = limited();
    while host.send(TEXT, &[b'x'; 100]).is_ok() {}
    host.close(
        websock::protocol::close_code::CloseCode::POLICY_VIOLATION,
        "output over maxQueue",
    );
    assert_eq!(host.said().close(), (Some(1008), "output over maxQueue"));
}

#[test]
fn a_peer_that_pings_and_never_reads_holds_no_more_than_the_queue() {
    for framing in [
        PhpFraming::Stream,
        PhpFraming::Padded,
        PhpFraming::Spaced,
        PhpFraming::Records,
    ] {
        for len in [0, 125] {
            let mut host = Host::new(Limits {
                max_queue_bytes: QUEUE,
                max_control_frames_per_second: 1_000_000,
                ..Limits::default()
            });
            host.framing = framing;
            let mut host = host.opened();
            for _ in 0..100 {
                host.feed(&client::frame(PING, &vec![0; len]).repeat(100));
            }
            assert!(host.connection.output_len() <= QUEUE + 127);
            let held = host.connection.held_bytes();
            assert!(held <= 3 * QUEUE, "{framing:?} {len}: {held} bytes held");
        }
    }
}

#[test]
fn neighbouring_broadcasts_leave_as_one_piece_and_are_not_copied() {
    let frames: Vec<Vec<u8>> = (0..50_u8)
        .map(|n| server_frame(TEXT, &[b'a'; 60][..n as usize]))
        .collect();
    let shared = Rc::new(frames.concat().into());
    let mut hosts: Vec<Host> = (0..10).map(|_| Host::open()).collect();
    for host in &mut hosts {
        let mut start = 0;
        for frame in &frames {
            let range = start..start + frame.len();
            host.send_frame(&Outgoing::Shared(&shared, range)).unwrap();
            start += frame.len();
        }
        let held = host.connection.held_bytes();
        assert!(held < shared.len() / 10, "shared bytes were copied: {held}");
    }
    assert_eq!(Rc::strong_count(&shared), 11, "one reference each");
    for host in &mut hosts {
        let before = host.wire.len();
        assert_eq!(host.write(usize::MAX), shared.len(), "not in one piece");
        assert_eq!(host.wire[before..], shared[..]);
        host.expect_idle();
    }
    assert_eq!(Rc::strong_count(&shared), 1, "still referred to");
}

#[test]
fn ranges_that_meet_in_different_broadcasts_are_not_joined() {
    let first = Rc::new(
        [server_frame(TEXT, b"one"), server_frame(TEXT, b"bad")]
            .concat()
            .into(),
    );
    let second = Rc::new(
        [server_frame(TEXT, b"bad"), server_frame(TEXT, b"two")]
            .concat()
            .into(),
    );
    let mut host = Host::open();
    host.send_frame(&Outgoing::Shared(&first, 0..5)).unwrap();
    host.send_frame(&Outgoing::Shared(&second, 5..10)).unwrap();
    assert_eq!(host.said().payloads(TEXT), [b"one", b"two"]);
}

#[test]
fn own_and_shared_frames_keep_their_order_however_little_the_peer_takes() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut host = Host::open();
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for n in 0..100 {
            let payload = format!("{n} {}", "x".repeat(random.below(300))).into_bytes();
            let frame = server_frame(TEXT, &payload);
            match random.below(3) {
                0 => host.send_frame(&Outgoing::Copied(&frame)).unwrap(),
                1 => reply(&mut host, &frame),
                _ => {
                    // The same frame twice; the second follows at once or after own bytes.
                    let (len, shared) = (frame.len(), Rc::new(frame.repeat(2).into()));
                    host.send_frame(&Outgoing::Shared(&shared, 0..len)).unwrap();
                    host.write(random.below(200));
                    if random.chance(50) {
                        reply(&mut host, &server_frame(PONG, b"between"));
                    }
                    let second = Outgoing::Shared(&shared, len..2 * len);
                    host.send_frame(&second).unwrap();
                    expected.push(payload.clone());
                }
            }
            expected.push(payload);
            host.write(random.below(400));
            if random.chance(20) {
                host.call(|connection, turn| connection.shrink_output(&mut turn.pool));
            }
        }
        assert_eq!(host.said().payloads(TEXT), expected, "seed {seed}");
        host.expect_idle();
    }
}

fn reply(host: &mut Host, frame: &[u8]) {
    let mut frames = frame.to_vec();
    host.call(|connection, turn| connection.reply(&mut frames, turn))
        .unwrap();
    assert!(frames.is_empty());
}

#[test]
fn an_echo_leaves_no_memory_behind() {
    let mut host = Host::open();
    for len in [1, 1000, 100_000] {
        host.feed_all(client::text(&"x".repeat(len)).chunks(777));
        host.drain();
        host.expect_idle();
    }
    assert_eq!(host.seen.len(), 3);
}

#[test]
fn a_reader_that_never_catches_up_does_not_keep_what_it_has_read() {
    let mut host = Host::open();
    host.send(BINARY, &[0; 1000]).unwrap();
    for _ in 0..10_000 {
        host.send(BINARY, &[0; 1000]).unwrap();
        host.write(1004);
        host.call(|connection, turn| connection.shrink_output(&mut turn.pool));
        assert!(host.connection.held_bytes() <= 10_000);
    }
}

#[test]
fn short_frames_between_broadcasts_do_not_hoard_spare_buffers() {
    let shared = Rc::new(server_frame(TEXT, b"broadcast").into());
    for capacity in [1 << 20, 4096, 1024] {
        let mut host = Host::open();
        for _ in 0..100 {
            // Somebody's message has come and gone: its buffer is spare.
            host.context.pool.give(Vec::with_capacity(capacity));
            host.send(TEXT, b"own").unwrap();
            let outgoing = Outgoing::Shared(&shared, 0..shared.len());
            host.send_frame(&outgoing).unwrap();
            host.call(|connection, turn| connection.shrink_output(&mut turn.pool));
        }
        let (held, waiting) = (host.connection.held_bytes(), host.connection.output_len());
        assert!(held < 20_000, "{held} bytes held for {waiting} that wait");
    }
}

#[test]
fn what_is_not_open_takes_no_frames() {
    let mut host = Host::new(Limits::default());
    assert_eq!(host.send(TEXT, b"x"), Err(SendError::NotOpen));
    host.feed(b"GET /");
    assert_eq!(host.send(TEXT, b"x"), Err(SendError::NotOpen));
    let replied = host.call(|c, turn| c.reply(&mut server_frame(TEXT, b"x"), turn));
    assert_eq!(replied, Err(SendError::NotOpen));
    host.eof();
    assert_eq!(host.send(TEXT, b"x"), Err(SendError::NotOpen));
    assert_eq!(host.seen, Vec::<Seen>::new());
    assert_eq!(host.said().rest, 0);
}
