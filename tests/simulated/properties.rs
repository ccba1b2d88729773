//! Properties of whole connections and of the frame codec, for generated input (proptest).

use proptest::collection::vec;
use proptest::prelude::*;
use websock::connection::{Keepalive, Limits, PhpFraming};
use websock::protocol::close;
use websock::protocol::close_code::CloseCode;
use websock::protocol::frame::{self, Header, Opcode, Role, Rsv1};
use websock::protocol::mask;

use crate::client::{self, Said, read_server};
use crate::host::{Host, Seen};

/// Low enough for generated input to pass some of them.
fn limits() -> Limits {
    Limits {
        max_message_bytes: 300,
        max_web_message_bytes: 300,
        max_fragments: 6,
        max_control_frames_per_second: 8,
        max_messages_per_second: 12,
        ..Limits::default()
    }
}

/// One frame, or bytes that are none; most are legal where they stand.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        3 => "[a-zä€😀]{0,40}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..140),
    ];
    let first = prop_oneof![
        4 => Just(0x81_u8),
        2 => Just(0x82),
        3 => Just(0x01),
        4 => Just(0x00),
        4 => Just(0x80),
        3 => Just(0x89),
        1 => Just(0x8A),
        1 => any::<u8>(),
    ];
    let legal = (first, any::<[u8; 4]>(), payload)
        .prop_map(|(first, key, payload)| client::frame_with(first, key, &payload));
    prop_oneof![
        20 => legal,
        1 => (any::<u16>(), "[a-zä]{0,20}").prop_map(|(code, reason)| client::close(code, &reason)),
        1 => (1000_u16..1015, ".{0,8}").prop_map(|(code, reason)| client::close(code, &reason)),
        1 => vec(any::<u8>(), 0..20),
        1 => (any::<u8>(), any::<u64>()).prop_map(|(first, len)| client::promise(first, len)),
    ]
}

fn head() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        20 => Just(client::request("")),
        3 => (180_usize..8300).prop_map(client::request_of),
        1 => vec(any::<u8>(), 0..300),
        1 => "GET / HTTP/1.[01]\r?\n(H[a-z]{0,5}: ?[a-z]{0,9}\r?\n){0,4}\r?\n".prop_map(String::into_bytes),
    ]
}

/// A peer's whole input.
fn script() -> impl Strategy<Value = Vec<u8>> {
    (head(), vec(piece(), 0..20)).prop_map(|(head, pieces)| [head, pieces.concat()].concat())
}

fn framing() -> impl Strategy<Value = PhpFraming> {
    prop_oneof![
        Just(PhpFraming::Stream),
        Just(PhpFraming::Padded),
        Just(PhpFraming::Spaced),
        Just(PhpFraming::Records),
    ]
}

/// All that can be observed of a connection.
#[derive(Debug, PartialEq)]
struct Outcome {
    seen: Vec<Seen>,
    said: Said,
    is_open: bool,
    is_drained: bool,
    is_finished: bool,
    held_bytes: usize,
}

fn outcome<'a>(framing: PhpFraming, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut host = Host::new(limits());
    (host.framing, host.keepalive) = (framing, Keepalive::Pings);
    host.feed_all(pieces);
    host.drain_with_time();
    Outcome {
        said: read_server(&host.wire),
        is_open: host.connection.is_open(),
        is_drained: host.connection.is_drained(),
        is_finished: host.connection.is_finished(),
        // How a message is held depends on how it came; whether nothing is, does not.
        held_bytes: host.connection.held_bytes().min(1),
        seen: host.seen,
    }
}

/// `input` cut at the given places, which are taken modulo its length.
fn cut<'a>(input: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places
        .iter()
        .map(|place| place % (input.len() + 1))
        .collect();
    places.extend([0, input.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|two| &input[two[0]..two[1]])
        .collect()
}

proptest! {
    #[test]
    fn a_connection_split_anywhere_equals_one_that_is_whole(
        input in script(),
        places in vec(any::<usize>(), 0..30),
        framing in framing(),
    ) {
        let whole = outcome(framing, [input.as_slice()]);
        prop_assert_eq!(&outcome(framing, cut(&input, &places)), &whole);
        prop_assert_eq!(&outcome(framing, input.chunks(1)), &whole);
    }

    #[test]
    fn any_bytes_at_all_end_in_a_legal_stream(
        head in any::<bool>(),
        bytes in vec(any::<u8>(), 0..300),
    ) {
        let mut host = Host::new(limits());
        if head {
            host.feed(&client::request(""));
        }
        host.feed(&bytes);
        host.said();
        host.eof();
        host.drain();
        prop_assert!(host.connection.is_finished());
        host.expect_idle();
    }

    #[test]
    fn a_valid_message_comes_back_as_it_was(
        text in ".{0,300}",
        places in vec(any::<usize>(), 0..6),
        reads in vec(any::<usize>(), 0..30),
        keys in vec(any::<[u8; 4]>(), 8),
    ) {
        let fragments = cut(text.as_bytes(), &places);
        let last = fragments.len() - 1;
        let mut input = Vec::new();
        for (at, fragment) in fragments.iter().enumerate() {
            let first = u8::from(at == last) << 7 | u8::from(at == 0);
            input.extend(client::frame_with(first, keys[at], fragment));
            input.extend(client::frame_with(0x89, keys[at], b""));
        }
        let mut host = Host::open();
        host.feed_all(cut(&input, &reads));
        prop_assert_eq!(&host.seen, &[Seen::Text(text.clone())]);
        let said = host.said();
        prop_assert_eq!(said.payloads(client::TEXT), [text.as_bytes()]);
        host.expect_idle();
    }

    #[test]
    fn text_is_refused_exactly_if_it_is_not_utf8(
        bytes in vec(prop_oneof![any::<u8>(), Just(0xE2), Just(0x82), Just(0xAC)], 0..12),
        places in vec(any::<usize>(), 0..4),
    ) {
        let input = client::frame(client::TEXT, &bytes);
        let mut host = Host::open();
        host.feed_all(cut(&input, &places));
        prop_assert_eq!(host.connection.is_open(), std::str::from_utf8(&bytes).is_ok());
    }

    #[test]
    fn a_masked_frame_decodes_to_what_was_encoded(
        opcode in opcode(),
        key in any::<[u8; 4]>(),
        payload in payload(),
        place in any::<usize>(),
    ) {
        let payload = shortened(opcode, payload);
        let mut wire = Vec::new();
        frame::encode_masked(opcode, key, &payload, &mut wire);
        prop_assert_eq!(&wire, &client::frame_with(0x80 | opcode as u8, key, &payload));

        let (header, len) = Header::parse(&wire, Role::Server, Rsv1::Forbidden).unwrap().unwrap();
        prop_assert_eq!((header.opcode, header.fin, header.masking_key), (opcode, true, key));
        prop_assert_eq!(header.payload_len as usize, payload.len());
        let (front, back) = wire[len..].split_at_mut(place % (payload.len() + 1));
        mask::apply(key, 0, front);
        mask::apply(key, front.len(), back);
        prop_assert_eq!(&wire[len..], &payload[..]);
        for short in 0..len {
            let parsed = Header::parse(&wire[..short], Role::Server, Rsv1::Forbidden);
            prop_assert_eq!(parsed, Ok(None));
        }
    }

    #[test]
    fn a_servers_frame_decodes_to_what_was_encoded(
        opcode in opcode(),
        payload in payload(),
    ) {
        let payload = shortened(opcode, payload);
        let mut wire = Vec::new();
        frame::encode(opcode, &payload, &mut wire);
        prop_assert_eq!(&wire, &client::server_frame(opcode as u8, &payload));
        prop_assert_eq!(wire.len(), frame::header_len(payload.len()) + payload.len());
        let parsed = Header::parse(&wire, Role::Client, Rsv1::Forbidden).unwrap().unwrap();
        prop_assert_eq!(parsed.0.payload_len as usize, wire.len() - parsed.1);
    }

    #[test]
    fn no_header_takes_more_than_there_is(bytes in vec(any::<u8>(), 0..20)) {
        for role in [Role::Server, Role::Client] {
            for rsv1 in [Rsv1::Forbidden, Rsv1::MarksCompressed] {
                if let Ok(Some((_, len))) = Header::parse(&bytes, role, rsv1) {
                    prop_assert!((2..=bytes.len()).contains(&len));
                }
            }
        }
    }

    #[test]
    fn a_close_payload_decodes_to_what_was_encoded(code in any::<u16>(), reason in ".{0,60}") {
        if let Some(code) = CloseCode::from_wire(code) {
            let mut payload = Vec::new();
            close::write(code, &reason, &mut payload);
            prop_assert!(payload.len() <= 125);
            let (read, text) = close::parse(&payload).unwrap().unwrap();
            prop_assert_eq!(read, code);
            prop_assert!(reason.starts_with(text));
            prop_assert!(text.len() == reason.len() || text.len() > 119);
        }
    }
}

/// Payloads about every form of length.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![0..126_usize, 120..140_usize, 65_530..65_540_usize];
    len.prop_flat_map(|len| vec(any::<u8>(), len))
}

fn opcode() -> impl Strategy<Value = Opcode> {
    prop_oneof![
        Just(Opcode::Continuation),
        Just(Opcode::Text),
        Just(Opcode::Binary),
        Just(Opcode::Close),
        Just(Opcode::Ping),
        Just(Opcode::Pong),
    ]
}

/// Control frames carry 125 bytes at most.
fn shortened(opcode: Opcode, mut payload: Vec<u8>) -> Vec<u8> {
    if opcode.is_control() {
        payload.truncate(125);
    }
    payload
}
