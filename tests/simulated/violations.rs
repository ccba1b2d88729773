//! Each rule that a peer can break: one close frame, and then deaf (RFC 6455 §7.1.7).

use websock::connection::Limits;
use websock::protocol::error::Violation;

use crate::client::{
    self, BINARY, CLOSE, CONTINUATION, MASK, PING, PONG, TEXT, fragment, frame, frame_with, promise,
};
use crate::host::{Host, Seen};

/// Small enough for every limit to be met.
fn limits() -> Limits {
    Limits {
        max_message_bytes: 1000,
        max_web_message_bytes: 1000,
        max_fragments: 4,
        max_control_frames_per_second: 5,
        max_messages_per_second: 8,
        ..Limits::default()
    }
}

type Case = (Violation, u16, Vec<u8>);

fn cases() -> Vec<Case> {
    use Violation as V;
    let mut cases: Vec<Case> = [0xC1, 0xA1, 0x91, 0xF2, 0xC9, 0x90, 0xC0]
        .map(|first| (V::ReservedBits, 1002, frame_with(first, MASK, b"x")))
        .into();
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        cases.push((V::ReservedOpcode, 1002, frame(opcode, b"")));
        cases.push((V::ReservedOpcode, 1002, fragment(false, opcode, b"x")));
    }
    for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
        cases.push((V::Unmasked, 1002, client::server_frame(opcode, b"")));
        cases.push((V::Unmasked, 1002, client::server_frame(opcode, b"x")));
    }
    for opcode in [CLOSE, PING, PONG] {
        cases.push((V::FragmentedControl, 1002, fragment(false, opcode, b"")));
        cases.push((V::LongControl, 1002, frame(opcode, &[b'x'; 126])));
        cases.push((V::LongControl, 1002, promise(0x80 | opcode, 1 << 20)));
    }
    let length = |bytes: &[u8]| [&[0x82], bytes, &MASK, &[0; 600]].concat();
    cases.extend([
        (V::NonMinimalLength, 1002, length(&[0xFE, 0, 0])),
        (V::NonMinimalLength, 1002, length(&[0xFE, 0, 125])),
        (
            V::NonMinimalLength,
            1002,
            length(&[0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]),
        ),
        (
            V::NonMinimalLength,
            1002,
            length(&[0xFF, 0, 0, 0, 0, 0, 0, 0, 0]),
        ),
        (
            V::LengthTopBit,
            1002,
            length(&[0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0]),
        ),
        (V::LengthTopBit, 1002, length(&[0xFF; 9])),
        (V::UnexpectedContinuation, 1002, frame(CONTINUATION, b"x")),
        (
            V::UnexpectedContinuation,
            1002,
            fragment(false, CONTINUATION, b""),
        ),
        (V::ShortClosePayload, 1002, frame(CLOSE, b"\x03")),
        (V::InvalidUtf8, 1007, frame(CLOSE, b"\x03\xE8\xFF")),
        (V::InvalidUtf8, 1007, frame(CLOSE, b"\x03\xE8\xE2\x82")),
        (V::MessageTooBig, 1009, frame(TEXT, &[b'x'; 1001])),
        (V::MessageTooBig, 1009, promise(0x82, 1001)),
        (V::MessageTooBig, 1009, promise(0x02, u64::MAX >> 1)),
    ]);
    for opcode in [TEXT, BINARY] {
        let input = [fragment(false, BINARY, b"x"), fragment(true, opcode, b"y")].concat();
        cases.push((V::UnfinishedMessage, 1002, input));
    }
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2999, 5000, 65_535,
    ] {
        cases.push((V::InvalidCloseCode, 1002, client::close(code, "x")));
    }
    for bad in [
        &b"\xFF"[..],
        b"\xC0\x80",
        b"\xED\xA0\x80",
        b"\xF4\x90\x80\x80",
        b"a\xE2\x82",
    ] {
        cases.push((V::InvalidUtf8, 1007, frame(TEXT, bad)));
        let input = [fragment(false, TEXT, bad), frame(CONTINUATION, b"")].concat();
        cases.push((V::InvalidUtf8, 1007, input));
    }
    cases.extend(sums());
    cases
}

/// Rules that it takes several frames to break.
fn sums() -> Vec<Case> {
    use Violation as V;
    let more = |len| fragment(false, CONTINUATION, &vec![b'x'; len]);
    let start = |len| fragment(false, TEXT, &vec![b'x'; len]);
    vec![
        (V::MessageTooBig, 1009, [start(600), more(401)].concat()),
        (
            V::MessageTooBig,
            1009,
            [start(1000), more(0), more(1)].concat(),
        ),
        (
            V::TooManyFragments,
            1009,
            [start(1), more(0), more(0), more(0), more(0)].concat(),
        ),
        (V::TooManyControlFrames, 1008, frame(PING, b"").repeat(6)),
        (V::TooManyControlFrames, 1008, frame(PONG, b"x").repeat(6)),
        (V::TooManyMessages, 1008, client::text("").repeat(9)),
    ]
}

#[test]
fn every_broken_rule_is_answered_with_its_close_code_and_then_nothing_is_heard() {
    for (violation, code, input) in cases() {
        let mut whole = Host::open_with(limits());
        whole.feed(&input);
        let name = format!("{violation:?} {:02x?}", &input[..input.len().min(20)]);
        assert_eq!(whole.seen.last(), Some(&Seen::Failed(violation)), "{name}");
        let said = whole.said();
        assert_eq!(said.close(), (Some(code), violation.reason()), "{name}");
        assert_eq!(violation.close_code().as_u16(), code, "{name}");

        for step in [1, 2, 3, 7] {
            let mut split = Host::open_with(limits());
            split.feed_all(input.chunks(step));
            assert_eq!(split.seen, whole.seen, "{name} in steps of {step}");
            assert_eq!(split.said(), whole.said(), "{name} in steps of {step}");
        }
        expect_deaf(&mut whole);
    }
}

/// Nothing that comes now is heard or answered; the sending side ends, and then all of it.
fn expect_deaf(host: &mut Host) {
    assert!(host.connection.is_drained() && !host.connection.is_open());
    let (seen, said) = (host.seen.clone(), host.said());
    for late in [
        client::text("late"),
        frame(PING, b""),
        client::close(1000, ""),
        vec![0xFF; 99],
    ] {
        host.feed(&late);
        host.expect_idle();
    }
    assert_eq!((host.seen.clone(), host.said()), (seen, said));
    assert_eq!(host.due_in(), Some(host.context.limits.close_timeout));
    assert_eq!(
        host.advance(host.context.limits.close_timeout),
        Some(Seen::Lost)
    );
    assert!(host.connection.is_finished());
}

#[test]
fn a_close_frame_that_has_not_left_is_not_said() {
    let mut host = Host::open();
    host.feed(&frame(0x3, b""));
    assert!(!host.connection.is_drained());
    while host.connection.output_len() > 1 {
        host.write(1);
        assert!(!host.connection.is_drained());
    }
    host.write(1);
    assert!(host.connection.is_drained() && !host.connection.is_finished());
    host.eof();
    assert!(host.connection.is_finished());
}

#[test]
fn a_rule_is_reported_with_the_first_byte_that_breaks_it() {
    let first_byte = [0x83, 0xC1, 0x0B, 0x09, 0xF0];
    for byte in first_byte {
        let mut host = Host::open();
        host.feed(&[byte]);
        assert!(matches!(host.seen[..], [Seen::Failed(_)]), "{byte:#x}");
    }
    for (input, needed) in [
        (frame(PING, &[0; 126]), 2),
        (vec![0x81, 0x05], 2),
        (vec![0x82, 0xFF, 0x80], 3),
        (vec![0x82, 0xFE, 0, 125], 4),
        (promise(0x82, 1 << 40), 14),
        ([promise(0x81, 1000), vec![0xFF ^ MASK[0]]].concat(), 9),
    ] {
        let mut host = Host::open();
        host.feed_all(input[..needed - 1].chunks(1));
        assert_eq!(host.seen, [], "{input:02x?}");
        host.feed(&input[needed - 1..needed]);
        assert!(matches!(host.seen[..], [Seen::Failed(_)]), "{input:02x?}");
    }
}

#[test]
fn messages_before_the_fault_are_still_heard_and_answered() {
    let mut host = Host::open();
    host.feed(
        &[
            client::text("one"),
            frame(PING, b"p"),
            frame(0xF, b""),
            client::text("two"),
        ]
        .concat(),
    );
    assert_eq!(
        host.seen,
        [
            Seen::Text("one".into()),
            Seen::Failed(Violation::ReservedOpcode)
        ]
    );
    let opcodes: Vec<u8> = host
        .said()
        .frames
        .iter()
        .map(|frame| frame.opcode)
        .collect();
    assert_eq!(opcodes, [TEXT, PONG, CLOSE]);
}

#[test]
fn a_limit_is_passed_by_one_and_not_before() {
    let mut host = Host::open_with(limits());
    host.feed(&frame(TEXT, &[b'x'; 1000]));
    host.feed(
        &[
            fragment(false, TEXT, &[b'x'; 999]),
            frame(CONTINUATION, b"x"),
        ]
        .concat(),
    );
    let four = [
        fragment(false, BINARY, b""),
        fragment(false, CONTINUATION, b""),
        fragment(false, CONTINUATION, b""),
        fragment(true, CONTINUATION, b""),
    ];
    host.feed(&four.concat());
    host.feed(&frame(PING, &[0; 125]).repeat(5));
    assert_eq!(host.seen.len(), 3);
    assert!(host.connection.is_open());
}
