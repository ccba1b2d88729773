//! Whatever bytes come: a legal stream goes out, and memory stays within the limits.

use std::time::Duration;

use websock::connection::{Limits, PhpFraming};

use crate::client::{self, read_server};
use crate::host::{Host, Service};
use crate::random::Random;

const LIMITS: Limits = Limits {
    max_message_bytes: 20_000,
    max_web_message_bytes: 20_000,
    max_fragments: 50,
    max_queue_bytes: 10_000,
    max_control_frames_per_second: 50,
    max_messages_per_second: 0,
    handshake_timeout: Duration::from_secs(10),
    keep_alive_timeout: Duration::from_secs(60),
    ping_interval: Duration::from_secs(30),
    pong_timeout: Duration::from_secs(20),
    close_timeout: Duration::from_secs(5),
    stall_timeout: Duration::from_secs(30),
    min_progress_bytes: 1024,
};

/// What one connection may hold: the message that comes in, the queue in a buffer that has grown by
/// doubling, and what is small (a frame's state, a control frame, one step of padding).
const MOST_BYTES: usize = LIMITS.max_message_bytes + 2 * LIMITS.max_queue_bytes + 18_000;

/// Bytes as an attacker sends them: mostly headers that are legal, with lengths that are not kept.
fn attack(random: &mut Random) -> Vec<u8> {
    let len = match random.below(6) {
        0 => 0,
        1 => random.below(126),
        2 => random.below(3000),
        3 => random.below(LIMITS.max_message_bytes + 2),
        _ => random.below(20),
    };
    let first = match random.below(20) {
        0 => random.next() as u8,
        1 | 2 => 0x89,
        3 => 0x8A,
        4 => 0x88,
        5..=9 => random.pick(&[0x01, 0x02]),
        10..=15 => 0x00,
        16 => 0x80,
        _ => random.pick(&[0x81, 0x82]),
    };
    let fill = random.pick(&[b'a', b'a', b'a', 0xC3, 0xFF]);
    let payload = vec![fill; len];
    let mut bytes = client::frame_with(first, random.key(), &payload);
    match random.below(12) {
        0 => bytes = client::promise(first, random.next() >> random.below(60)),
        1 => bytes.truncate(random.below(bytes.len() + 1)),
        2 => {
            let at = random.below(bytes.len().min(14));
            bytes[at] ^= 1 << random.below(8);
        }
        3 => bytes = random.bytes(len),
        _ => {}
    }
    bytes
}

fn attacked(seed: u64) -> Host {
    let mut random = Random::new(seed);
    let mut host = Host::new(LIMITS);
    host.service = Service::Listen;
    host.framing = random.pick(&[
        PhpFraming::Stream,
        PhpFraming::Stream,
        PhpFraming::Padded,
        PhpFraming::Spaced,
        PhpFraming::Records,
    ]);
    if random.chance(5) {
        host.feed(&attack(&mut random));
    }
    if random.chance(95) {
        host.feed(&client::request(""));
    }
    for _ in 0..60 {
        let bytes = attack(&mut random);
        for piece in random.split(&bytes, 3) {
            host.feed(&piece);
            if host.connection.is_open() {
                let _ = host.send(client::TEXT, &vec![b'x'; random.below(500)]);
            }
            let held = host.connection.held_bytes();
            assert!(held <= MOST_BYTES, "seed {seed}: {held} bytes held");
        }
        if random.chance(30) {
            host.write(random.below(5000));
            host.call(|connection, turn| connection.shrink_output(&mut turn.pool));
        }
        let millis = random.pick(&[0, 0, 1, 100, 3000]);
        host.advance(Duration::from_millis(millis));
    }
    host
}

#[test]
fn any_bytes_leave_a_legal_stream_and_bounded_memory() {
    for seed in 0..1000 {
        let mut host = attacked(seed);
        host.drain_with_time();
        read_server(&host.wire);
        host.eof();
        host.drain_with_time();
        assert!(host.connection.is_finished(), "seed {seed}");
        host.expect_idle();
        assert!(host.context.pool.held_bytes() <= 4 << 20);
    }
}

#[test]
fn what_a_header_promises_is_not_allocated() {
    let mut host = Host::open();
    host.context.limits.max_message_bytes = usize::MAX >> 1;
    host.context.limits.max_web_message_bytes = usize::MAX >> 1;
    host.feed(&client::promise(0x82, u64::MAX >> 2));
    host.feed(b"some");
    assert!(host.connection.held_bytes() < 1000);
}

#[test]
fn a_message_that_grows_to_its_limit_holds_no_more_than_the_limit() {
    for limit in [5_000_000, 1 << 20, 100_001] {
        let mut host = Host::open();
        host.service = Service::Listen;
        host.context.limits.max_message_bytes = limit;
        host.context.limits.max_web_message_bytes = limit;
        host.feed(&client::promise(0x82, limit as u64));
        for piece in vec![7; limit - 1].chunks(1000) {
            host.feed(piece);
            let held = host.connection.held_bytes();
            assert!(
                held <= limit + 500,
                "{held} bytes held under a limit of {limit}"
            );
        }
        host.feed(&[7]);
        assert_eq!(host.seen.len(), 1);
        host.expect_idle();
    }
}
