//! Shapes and gaps for deployed PHP clients (protocol.md §6).

use std::time::Duration;

use websock::connection::{Keepalive, Limits, MonotonicTime, PhpFraming};
use websock::protocol::close_code::CloseCode;

use crate::client::{self, BINARY, CLOSE, PING, PONG, TEXT, read_server};
use crate::host::Host;

const READY: &[u8] = br#"{"opcode":"ready","uuid":"00000000-0000-4000-8000-000000000000"}"#;
const NEXT: &[u8] = br#"{"opcode":"next","fyi":""}"#;

/// A script's connection whose head has come, answered, nothing of it having left.
fn host(framing: PhpFraming) -> Host {
    let mut host = Host::new(Limits::default());
    (host.framing, host.keepalive) = (framing, Keepalive::None);
    host.feed(&client::request("Client-Type: php\r\n"));
    host
}

fn ready(framing: PhpFraming) -> Host {
    let mut host = host(framing);
    host.send(TEXT, READY).unwrap();
    host
}

/// The lengths of all writes, and the least time between two of them.
fn writes(host: &mut Host) -> (Vec<usize>, Option<Duration>) {
    host.drain_with_time();
    let lengths = host.writes.iter().map(|(len, _)| *len).collect();
    let times: Vec<MonotonicTime> = host.writes.iter().map(|(_, at)| *at).collect();
    let gap = times.windows(2).map(|two| two[1] - two[0]).min();
    (lengths, gap)
}

#[test]
fn a_stream_is_neither_padded_nor_held_back() {
    let mut host = ready(PhpFraming::Stream);
    host.send(TEXT, NEXT).unwrap();
    let expected = [129, 2 + READY.len(), 2 + NEXT.len()].iter().sum();
    assert_eq!(writes(&mut host), (vec![expected], None));
    assert_eq!(host.connection.next_write(), None);
}

#[test]
fn padded_the_101_and_ready_fill_1024_bytes_each_in_one_write() {
    for framing in [PhpFraming::Padded, PhpFraming::Spaced] {
        let mut host = ready(framing);
        assert_eq!(writes(&mut host).0, [2048], "{framing:?}");
        let said = read_server(&host.wire);
        assert_eq!((said.head.len(), said.frames[0].wire_len), (1024, 1024));
        expect_text(&said.frames[0], READY);
    }
}

#[test]
fn the_101_and_ready_fill_1024_bytes_each_also_if_the_101_has_left() {
    for framing in [PhpFraming::Padded, PhpFraming::Spaced] {
        let mut host = host(framing);
        host.drain();
        host.send(TEXT, READY).unwrap();
        let (lengths, gap) = writes(&mut host);
        assert_eq!(lengths, [1024, 1024]);
        assert!(gap >= Some(Duration::from_micros(200)));
    }
}

#[track_caller]
fn expect_text(frame: &client::Frame, text: &[u8]) {
    assert_eq!(frame.opcode, TEXT);
    let (start, blanks) = frame.payload.split_at(text.len());
    assert_eq!(start, text);
    assert!(blanks.iter().all(|byte| *byte == b' '));
}

#[test]
fn padded_later_frames_fill_steps_of_8192_bytes_a_gap_apart() {
    let lens = [
        0, 1, 26, 8188, 8189, 16_380, 16_381, 65_520, 65_532, 65_533, 100_000,
    ];
    let mut host = ready(PhpFraming::Padded);
    for len in lens {
        host.send(TEXT, &vec![b'x'; len]).unwrap();
    }
    let (lengths, gap) = writes(&mut host);
    assert_eq!(lengths.len(), 1 + lens.len(), "one write each");
    assert!(gap >= Some(Duration::from_micros(200)), "{gap:?}");
    let said = read_server(&host.wire);
    for ((frame, len), written) in said.frames[1..].iter().zip(lens).zip(&lengths[1..]) {
        assert_eq!(frame.wire_len % 8192, 0, "{len}");
        assert!(frame.wire_len < len + 2 * 8192, "{len}");
        assert_eq!(frame.wire_len, *written);
        expect_text(frame, &vec![b'x'; len]);
    }
}

#[test]
fn spaced_later_frames_are_as_they_are_2_ms_apart() {
    let mut host = ready(PhpFraming::Spaced);
    for len in [0, 26, 9000] {
        host.send(TEXT, &vec![b'x'; len]).unwrap();
    }
    let (lengths, gap) = writes(&mut host);
    assert_eq!(lengths, [2048, 2, 28, 9004]);
    assert!(gap >= Some(Duration::from_millis(2)), "{gap:?}");
}

#[test]
fn records_are_whole_frames_without_gaps_or_padding() {
    let mut host = ready(PhpFraming::Records);
    host.send(TEXT, NEXT).unwrap();
    let expected = vec![129, 2 + READY.len(), 2 + NEXT.len()];
    assert_eq!(writes(&mut host), (expected, Some(Duration::ZERO)));
}

#[test]
fn control_and_binary_frames_leave_one_by_one_and_unpadded() {
    for (framing, least) in [
        (PhpFraming::Padded, 200),
        (PhpFraming::Spaced, 2000),
        (PhpFraming::Records, 0),
    ] {
        let mut host = ready(framing);
        host.feed(&client::frame(PING, b"ping"));
        host.send(BINARY, b"\0").unwrap();
        host.close(CloseCode::NORMAL, "");
        let (lengths, gap) = writes(&mut host);
        assert_eq!(lengths[lengths.len() - 3..], [6, 3, 4], "{framing:?}");
        assert!(gap >= Some(Duration::from_micros(least)));
        let opcodes: Vec<u8> = host.said().frames.iter().map(|f| f.opcode).collect();
        assert_eq!(opcodes, [TEXT, PONG, BINARY, CLOSE]);
    }
}

#[test]
fn a_gap_is_kept_also_by_a_frame_that_comes_later() {
    let mut host = ready(PhpFraming::Padded);
    host.drain();
    assert_eq!(host.connection.next_write(), None, "nothing waits");
    host.context.now += Duration::from_micros(199);
    host.send(TEXT, NEXT).unwrap();
    assert_eq!(host.write(usize::MAX), 0);
    assert!(host.connection.next_write().is_some());
    host.context.now += Duration::from_micros(1);
    assert_eq!(host.write(usize::MAX), 8192);

    host.context.now += Duration::from_secs(1);
    host.send(TEXT, NEXT).unwrap();
    assert_eq!(
        host.write(usize::MAX),
        8192,
        "after a pause it leaves at once"
    );
}

#[test]
fn a_frame_that_is_taken_in_parts_goes_on_without_a_gap() {
    let mut host = ready(PhpFraming::Padded);
    host.send(TEXT, NEXT).unwrap();
    assert_eq!(host.write(1500), 1500);
    assert_eq!(
        host.write(5000),
        548,
        "to the end of the frame and not beyond"
    );
    assert_eq!(host.write(5000), 0, "the next one keeps its distance");
    host.context.now += Duration::from_micros(200);
    assert_eq!(host.write(5000), 5000);
    assert_eq!(host.write(5000), 3192);
}

#[test]
fn blanks_do_not_count_against_the_queue() {
    let mut host = ready(PhpFraming::Padded);
    host.context.limits.max_queue_bytes = 50_000;
    let mut count = 0;
    while host.send(TEXT, NEXT).is_ok() {
        count += 1;
    }
    assert!((700..1500).contains(&count), "{count} frames of 28 bytes");
    let held = host.connection.held_bytes();
    assert!(held < 120_000, "{held} bytes held");
}

#[test]
fn a_php_client_echoes_a_message_longer_than_the_queue() {
    let mut host = ready(PhpFraming::Padded);
    host.context.limits.max_queue_bytes = 50_000;
    let long = vec![b'x'; 60_000];
    host.send(TEXT, NEXT).unwrap();
    host.send(TEXT, &long).unwrap();
    host.drain_with_time();
    let said = read_server(&host.wire);
    let texts = said.payloads(TEXT);
    assert!(texts[2].trim_ascii_end() == long, "the echo differs");
}
