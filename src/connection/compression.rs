//! What a connection does about compression: which inflater and which deflater take its messages.
//!
//! Without context every message is taken by spare ones that all connections share, and only a
//! compressed message that does not arrive at once holds an inflater until it ends. Where the
//! client keeps its context, the end of its messages is kept for it; where the server does, the
//! connection owns a deflater. Both from the first message on that needs them.

use super::output::BufferPool;
use crate::base::{BadRecord, Record, RecordWriter};
use crate::protocol::deflate::{Deflater, History, Inflater};
use crate::protocol::extension::{Agreed, Context};
use crate::protocol::frame;

/// What was agreed with one peer, and what has to be remembered for it.
#[derive(Debug)]
pub(super) struct Compression {
    agreed: Agreed,
    /// What the client's messages may refer to, but for the one that has begun.
    history: History,
    deflater: Option<Box<Deflater>>,
}

impl Compression {
    pub(super) fn new(agreed: Agreed) -> Self {
        Self {
            agreed,
            history: History::default(),
            deflater: None,
        }
    }

    /// Base-2 logarithm of the window that messages to the peer may use.
    pub(super) fn window_bits(&self) -> u8 {
        self.agreed.server_window_bits
    }

    /// An inflater for the message that begins, until [`give_inflater`](Self::give_inflater).
    pub(super) fn take_inflater(&mut self, pool: &mut BufferPool) -> Box<Inflater> {
        let mut inflater = pool.take_inflater();
        if self.agreed.client_context == Context::Kept {
            inflater.recall(std::mem::take(&mut self.history));
        }
        inflater
    }

    /// Takes back the inflater of a message that has ended.
    pub(super) fn give_inflater(&mut self, mut inflater: Box<Inflater>, pool: &mut BufferPool) {
        self.history = inflater.take_history();
        pool.give_inflater(inflater);
    }

    /// Whether a message is long enough to be compressed.
    pub(super) fn is_worthwhile(&self, plain_frame: &[u8]) -> bool {
        plain_frame.len() >= frame::frame_len(self.agreed.threshold_bytes)
    }

    /// Appends the frame compressed; `false`, and nothing is appended, if it gets no shorter.
    pub(super) fn deflate_frame(
        &mut self,
        plain_frame: &[u8],
        pool: &mut BufferPool,
        out: &mut Vec<u8>,
    ) -> bool {
        let (bits, level) = (self.agreed.server_window_bits, self.agreed.level);
        let deflater = match self.agreed.server_context {
            Context::Dropped => pool.deflater(bits, level),
            Context::Kept => self
                .deflater
                .get_or_insert_with(|| Box::new(Deflater::new(bits, level, Context::Kept))),
        };
        deflater.deflate_frame(plain_frame, out)
    }

    /// The peer gets a compressed message that the own deflater does not know of, or does not get
    /// one that it does.
    pub(super) fn forget_context(&mut self) {
        if let Some(deflater) = &mut self.deflater {
            deflater.forget();
        }
    }

    /// What was agreed and what the client's next message may refer to, for
    /// [`take_over`](Self::take_over). To be called between messages.
    pub(super) fn hand_over(&self) -> Vec<u8> {
        let mut record = RecordWriter::default();
        record.put(AGREED, &self.agreed.hand_over());
        record.put(HISTORY, self.history.as_bytes());
        record.into_bytes()
    }

    /// What another process has handed over.
    pub(super) fn take_over(mut record: Record<'_>) -> Result<Self, BadRecord> {
        let mut compression = Self::new(Agreed::take_over(record.record(AGREED)?)?);
        compression.history = History::from_bytes(record.bytes(HISTORY)?);
        record.end()?;
        Ok(compression)
    }

    /// Bytes of memory held.
    pub(super) fn held_bytes(&self) -> usize {
        let deflater = self.deflater.as_ref().map_or(0, |d| d.held_bytes());
        size_of::<Self>() + self.history.held_bytes() + deflater
    }
}

const AGREED: u8 = 1;
const HISTORY: u8 = 2;

#[cfg(test)]
mod tests {
    use crate::base::time::MonotonicTime;
    use std::rc::Rc;

    use super::super::{
        Connection, Event, Keepalive, Limits, Message, Outgoing, PhpFraming, SendError, TurnContext,
    };
    use super::*;
    use crate::protocol::close_code::CloseCode;
    use crate::protocol::error::Violation;
    use crate::protocol::extension::CompressionSettings;
    use crate::protocol::frame::{Header, Opcode, Role, Rsv1};
    use crate::protocol::handshake::Upgrade;
    use crate::protocol::http::Request;

    const ON: CompressionSettings = CompressionSettings {
        is_on: true,
        threshold_bytes: 100,
        keeps_context: false,
        level: 6,
    };

    const KEEPING: CompressionSettings = CompressionSettings {
        keeps_context: true,
        ..ON
    };

    const NEVER: CompressionSettings = CompressionSettings { is_on: false, ..ON };

    /// A connection with all that its calls need.
    struct Server {
        connection: Connection,
        context: TurnContext,
    }

    /// What came of some input.
    #[derive(Debug, PartialEq, Eq)]
    enum Seen {
        Text(String),
        Binary(Vec<u8>),
        Closed,
        Failed(Violation),
    }

    impl Server {
        /// A connection that has answered this offer.
        fn open(parameters: &str, compression: &CompressionSettings) -> Self {
            let head = format!(
                "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Extensions: permessage-deflate{parameters}\r\n\r\n"
            );
            let request = Request::parse(head.as_bytes()).unwrap();
            let upgrade = Upgrade::check(&request).unwrap();
            let upgrade = upgrade.negotiate(&request, compression);
            let mut context = TurnContext::new(MonotonicTime::START, Limits::default());
            let mut connection = Connection::new(&context);
            let mut bytes = head.clone().into_bytes();
            let event = connection.receive(&mut bytes.as_mut_slice(), &mut context);
            assert!(matches!(event, Some(Event::Head(_))));
            connection.accept(&upgrade, PhpFraming::Stream, Keepalive::None, &mut context);
            let mut server = Self {
                connection,
                context,
            };
            assert!(server.take_output().starts_with(b"HTTP/1.1 101 "));
            server.context.pool.trim();
            server
        }

        fn with<T>(&mut self, call: impl FnOnce(&mut Connection, &mut TurnContext) -> T) -> T {
            call(&mut self.connection, &mut self.context)
        }

        /// Feeds bytes, cut at the places given.
        fn receive(&mut self, bytes: &[u8], cuts: &[usize]) -> Vec<Seen> {
            let mut seen = Vec::new();
            let mut start = 0;
            for end in cuts.iter().copied().chain([bytes.len()]) {
                let mut piece = bytes[start..end].to_vec();
                let mut input = piece.as_mut_slice();
                while let Some(event) = self.with(|connection, context| {
                    let event = connection.receive(&mut input, context)?;
                    Some(match event {
                        Event::Message(_) | Event::AssembledMessage(_) => match event.message()? {
                            Message::Text(text) => Seen::Text(text.as_str().to_owned()),
                            Message::Binary(bytes) => Seen::Binary(bytes.to_owned()),
                        },
                        Event::Closed(_) => Seen::Closed,
                        Event::Failed(violation) => Seen::Failed(violation),
                        Event::Head(_)
                        | Event::Body(_)
                        | Event::Refused(_)
                        | Event::Lost
                        | Event::TimedOut(_)
                        | Event::PingSent => panic!("{event:?}"),
                    })
                }) {
                    seen.push(event);
                }
                start = end;
            }
            seen
        }

        fn take_output(&mut self) -> Vec<u8> {
            let mut all = Vec::new();
            while self.connection.output_len() > 0 {
                let mut slices = [std::io::IoSlice::new(&[]); 4];
                let count = self.connection.output(&mut slices, self.context.now);
                let bytes: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
                self.connection.consume_output(
                    bytes.len(),
                    self.context.now,
                    &mut self.context.pool,
                );
                all.extend(bytes);
            }
            all
        }

        /// Sends a text through the connection's own deflater; whether it left compressed, and its
        /// payload.
        fn send(&mut self, text: &str) -> (bool, Vec<u8>) {
            let mut plain = Vec::new();
            frame::encode(Opcode::Text, text.as_bytes(), &mut plain);
            let sent = self.with(|c, context| c.send_deflated(&Outgoing::Copied(&plain), context));
            assert_eq!(sent, Ok(()));
            let bytes = self.take_output();
            let parsed = Header::parse(&bytes, Role::Client, Rsv1::MarksCompressed);
            let (header, payload_at) = parsed.unwrap().unwrap();
            assert_eq!(
                header.payload_len,
                (bytes.len() - payload_at) as u64,
                "one frame"
            );
            (header.rsv1, bytes[payload_at..].to_vec())
        }
    }

    /// The client's end.
    struct Client {
        inflater: Inflater,
        deflater: Deflater,
    }

    impl Client {
        fn new(context: Context) -> Self {
            Self {
                inflater: Inflater::new(context),
                deflater: Deflater::new(15, 6, context),
            }
        }

        fn deflate(&mut self, message: &str) -> Vec<u8> {
            let mut out = Vec::new();
            assert!(self.deflater.deflate(message.as_bytes(), &mut out));
            out
        }

        fn inflate(&mut self, payload: &[u8]) -> Result<String, Violation> {
            let (mut input, mut out) = (payload, Vec::new());
            while self.inflater.inflate(&mut input, 1 << 20, &mut out)? {}
            self.inflater.end_message(1 << 20, &mut out)?;
            Ok(String::from_utf8(out).unwrap())
        }
    }

    /// A masked frame with this first byte.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame::encode_masked(Opcode::Text, [1, 2, 3, 4], payload, &mut out);
        out[0] = first;
        out
    }

    /// FIN, RSV1 and opcodes.
    const FIN: u8 = 0x80;
    const TEXT: u8 = 0x41;
    const BINARY: u8 = 0x42;
    const CONTINUATION: u8 = 0x00;

    fn text(len: usize) -> String {
        let words = (0..).map(|i| format!("größe {} ", i % 37));
        words
            .flat_map(|word| word.chars().collect::<Vec<_>>())
            .take(len)
            .collect()
    }

    #[test]
    fn compressed_messages_arrive_whole_and_cut_anywhere() {
        for compression in [ON, KEEPING] {
            let mut client = Client::new(Context::Kept);
            let (first, second) = (client.deflate(&text(60)), client.deflate(&text(50)));
            let (a, b) = second.split_at(second.len() / 2);
            let bytes = [
                masked(FIN | TEXT, &first),
                masked(TEXT, a),
                masked(0x89, b"ping"),
                masked(CONTINUATION, b""),
                masked(FIN | CONTINUATION, b),
                // Not every message has to be compressed.
                masked(0x81, b"plain"),
                masked(FIN | BINARY, b"\x00"),
                masked(FIN | TEXT, b""),
            ]
            .concat();
            let expected = [
                Seen::Text(text(60)),
                Seen::Text(text(50)),
                Seen::Text("plain".into()),
                Seen::Binary(vec![]),
                Seen::Text(String::new()),
            ];
            let whole = Server::open("", &compression).receive(&bytes, &[]);
            assert_eq!(whole, expected);
            for cut in 0..bytes.len() {
                let mut server = Server::open("", &compression);
                assert_eq!(server.receive(&bytes, &[cut]), expected, "{cut}");
            }
            let mut server = Server::open("", &compression);
            let every: Vec<usize> = (0..bytes.len()).collect();
            assert_eq!(server.receive(&bytes, &every), expected);
            assert_eq!(server.take_output(), b"\x8a\x04ping");
        }
    }

    #[test]
    fn fragments_may_be_cut_anywhere() {
        let payload = Client::new(Context::Dropped).deflate(&text(80));
        for a in 0..=payload.len() {
            for b in a..=payload.len() {
                let frames = [
                    masked(TEXT, &payload[..a]),
                    masked(CONTINUATION, &payload[a..b]),
                    masked(FIN | CONTINUATION, &payload[b..]),
                ];
                let mut server = Server::open("", &ON);
                let seen = server.receive(&frames.concat(), &[]);
                assert_eq!(seen, [Seen::Text(text(80))], "{a} {b}");
            }
        }
    }

    #[test]
    fn rsv1_is_for_the_first_frame_of_a_message_where_it_was_agreed_on() {
        let payload = Client::new(Context::Dropped).deflate(&text(80));
        let begun = masked(TEXT, &payload);
        let cases = [
            ("not agreed", &NEVER, masked(FIN | TEXT, &payload)),
            ("ping", &ON, masked(0xC9, b"")),
            ("close", &ON, masked(0xC8, b"")),
            ("continuation", &ON, [begun, masked(0xC0, b"")].concat()),
            (
                "continuation of a plain message",
                &ON,
                [masked(0x01, b"a"), masked(0xC0, b"")].concat(),
            ),
        ];
        for (name, compression, bytes) in cases {
            let mut server = Server::open("", compression);
            let expected = [Seen::Failed(Violation::ReservedBits)];
            assert_eq!(server.receive(&bytes, &[]), expected, "{name}");
            assert_eq!(server.take_output()[2..4], 1002_u16.to_be_bytes());
        }
    }

    #[test]
    fn a_compressed_message_that_cannot_be_taken_is_closed_with_its_code() {
        let bomb = Client::new(Context::Dropped).deflate(&"0".repeat(10_000));
        assert!(bomb.len() < 100);
        let long = "é".repeat(200);
        let bad_text = {
            let mut out = Vec::new();
            let bytes = &long.as_bytes()[1..];
            assert!(Deflater::new(15, 6, Context::Dropped).deflate(bytes, &mut out));
            out
        };
        let cases = [
            (
                "bomb",
                masked(FIN | TEXT, &bomb),
                Violation::MessageTooBig,
                1009_u16,
            ),
            (
                "bomb in pieces",
                masked(TEXT, &bomb),
                Violation::MessageTooBig,
                1009,
            ),
            (
                "long",
                masked(FIN | BINARY, &[0; 1001]),
                Violation::MessageTooBig,
                1009,
            ),
            (
                "no deflate",
                masked(FIN | TEXT, b"Hello"),
                Violation::CorruptDeflate,
                1007,
            ),
            (
                "cut",
                masked(FIN | TEXT, &bomb[..bomb.len() - 3]),
                Violation::MessageTooBig,
                1009,
            ),
            (
                "no UTF-8",
                masked(FIN | TEXT, &bad_text),
                Violation::InvalidUtf8,
                1007,
            ),
        ];
        for (name, bytes, violation, code) in cases {
            for cuts in [vec![], (0..bytes.len()).collect()] {
                let mut server = Server::open("", &KEEPING);
                server.context.limits.max_message_bytes = 1000;
                assert_eq!(
                    server.receive(&bytes, &cuts),
                    [Seen::Failed(violation)],
                    "{name}"
                );
                assert_eq!(server.take_output()[2..4], code.to_be_bytes(), "{name}");
                assert_eq!(server.connection.held_bytes(), 0, "{name}");
            }
        }
    }

    #[test]
    fn messages_are_compressed_from_the_threshold_on_if_they_get_shorter() {
        for (compression, context) in [(ON, Context::Dropped), (KEEPING, Context::Kept)] {
            let mut server = Server::open("", &compression);
            let mut client = Client::new(context);
            for (message, expected) in [
                ("x".repeat(99), false),
                ("x".repeat(100), true),
                ("x".repeat(101), true),
                (text(5000), true),
                (String::new(), false),
            ] {
                let (is_compressed, payload) = server.send(&message);
                assert_eq!(is_compressed, expected, "{}", message.len());
                if is_compressed {
                    assert_eq!(client.inflate(&payload), Ok(message));
                } else {
                    assert_eq!(payload, message.as_bytes());
                }
            }
            let mut state = 1_u32;
            let next = || {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                char::from(33 + (state % 94) as u8)
            };
            let noise: String = std::iter::repeat_with(next).take(150).collect();
            assert_eq!(server.send(&noise), (false, noise.clone().into_bytes()));
            let (is_compressed, payload) = server.send(&text(200));
            assert!(is_compressed);
            assert_eq!(client.inflate(&payload), Ok(text(200)));
        }
        let mut server = Server::open("", &NEVER);
        assert_eq!(server.send(&text(200)), (false, text(200).into_bytes()));
    }

    #[test]
    fn a_shared_message_makes_the_context_begin_anew() {
        let mut shared = Vec::new();
        let mut plain = Vec::new();
        frame::encode(Opcode::Text, text(3000).as_bytes(), &mut plain);
        assert!(Deflater::new(12, 6, Context::Dropped).deflate_frame(&plain, &mut shared));
        let shared = Rc::new(shared.into());

        let mut server = Server::open("; server_max_window_bits=13", &KEEPING);
        assert_eq!(server.connection.window_bits(), Some(12));
        let mut client = Client::new(Context::Kept);
        let message = text(200).split_off(100);
        let (_, first) = server.send(&message);
        let (_, second) = server.send(&message);
        assert!(second.len() < first.len() / 2, "the context is used");
        for payload in [first, second] {
            assert_eq!(client.inflate(&payload).as_ref(), Ok(&message));
        }

        let outgoing = Outgoing::Shared(&shared, 0..shared.len());
        assert_eq!(server.with(|c, context| c.send(&outgoing, context)), Ok(()));
        let bytes = server.take_output();
        assert_eq!(bytes, **shared);
        let parsed = Header::parse(&bytes, Role::Client, Rsv1::MarksCompressed);
        let payload_at = parsed.unwrap().unwrap().1;
        assert_eq!(client.inflate(&bytes[payload_at..]), Ok(text(3000)));
        for _ in 0..2 {
            let (_, payload) = server.send(&message);
            assert_eq!(client.inflate(&payload).as_ref(), Ok(&message));
        }
    }

    #[test]
    fn memory_is_counted_where_it_is_held() {
        let compression = size_of::<Compression>();
        let payload = Client::new(Context::Kept).deflate(&text(300));
        let part = masked(TEXT, &payload[..20]);
        let rest = masked(FIN | CONTINUATION, &payload[20..]);

        let without_context = "; client_no_context_takeover";
        let mut server = Server::open(without_context, &ON);
        assert_eq!(server.connection.held_bytes(), compression);
        assert_eq!(server.context.pool.held_bytes(), 0);
        server.send(&text(300));
        let deflater = Deflater::new(12, 6, Context::Dropped).held_bytes();
        let spare = server.context.pool.held_bytes();
        assert!(spare >= deflater && spare < deflater + 10_000, "{spare}");
        assert_eq!(server.connection.held_bytes(), compression);
        assert_eq!(server.receive(&part, &[]), []);
        let held = server.connection.held_bytes();
        assert!(held > compression + Inflater::HELD_BYTES, "{held}");
        assert_eq!(server.receive(&rest, &[]), [Seen::Text(text(300))]);
        assert_eq!(server.connection.held_bytes(), compression);
        assert!(server.context.pool.held_bytes() >= deflater + Inflater::HELD_BYTES);
        server.context.pool.trim();
        assert_eq!(server.context.pool.held_bytes(), 0);

        let mut server = Server::open("", &KEEPING);
        assert_eq!(server.connection.held_bytes(), compression);
        server.send(&text(300));
        let deflater = Deflater::new(12, 6, Context::Kept).held_bytes();
        assert_eq!(server.connection.held_bytes(), compression + deflater);
        // Of the client's messages no more is kept than they said.
        let said = text(300).len();
        server.receive(&part, &[]);
        let held = server.connection.held_bytes();
        assert!(
            held > compression + deflater + Inflater::HELD_BYTES,
            "{held}"
        );
        server.receive(&rest, &[]);
        let held = compression + deflater + said;
        assert_eq!(server.connection.held_bytes(), held);
        let mut client = Client::new(Context::Kept);
        client.deflate(&text(300));
        for _ in 0..30 {
            let payload = client.deflate(&text(5000));
            let seen = server.receive(&masked(FIN | TEXT, &payload), &[]);
            assert_eq!(seen, [Seen::Text(text(5000))]);
        }
        let held = server.connection.held_bytes();
        assert_eq!(held, compression + deflater + (32 << 10));
        assert_eq!(server.receive(&masked(0x88, b""), &[]), [Seen::Closed]);
        server.take_output();
        assert_eq!(server.connection.held_bytes(), 0);
    }

    #[test]
    fn after_our_close_frame_compressed_messages_are_let_pass() {
        let bomb = Client::new(Context::Dropped).deflate(&"0".repeat(100_000));
        let mut server = Server::open("", &ON);
        server.context.limits.max_message_bytes = 1000;
        server.with(|c, context| c.close(CloseCode::GOING_AWAY, "", context));
        let bytes = [
            masked(FIN | TEXT, &bomb),
            masked(TEXT, &bomb),
            masked(FIN | CONTINUATION, b"not deflate"),
            masked(0x88, b""),
        ];
        assert_eq!(server.receive(&bytes.concat(), &[]), [Seen::Closed]);
        assert_eq!(server.context.pool.held_bytes() / Inflater::HELD_BYTES, 0);
    }

    #[test]
    fn a_full_queue_takes_no_compressed_message_either() {
        let mut server = Server::open("", &KEEPING);
        server.context.limits.max_queue_bytes = 10;
        let mut plain = Vec::new();
        frame::encode(Opcode::Text, text(200).as_bytes(), &mut plain);
        let mut send =
            || server.with(|c, context| c.send_deflated(&Outgoing::Copied(&plain), context));
        assert_eq!(send(), Ok(()));
        assert_eq!(send(), Err(SendError::QueueFull));
        // What was not queued is not referred to.
        let mut client = Client::new(Context::Kept);
        let first = server.take_output();
        assert_eq!(client.inflate(&first[2..]).as_ref(), Ok(&text(200)));
        let (_, payload) = server.send(&text(200));
        assert_eq!(client.inflate(&payload).as_ref(), Ok(&text(200)));
    }

    /// A block that is marked as the stream's last one and holds nothing (RFC 7692 §7.2.3.4).
    const LAST_BLOCK: &[u8] = &[0x03, 0x00];

    /// A block with tables of codes of its own, of which it uses only the one for its end, and an
    /// empty one behind it, up to the end of a byte.
    fn block_of_tables() -> Vec<u8> {
        let mut bits = Vec::new();
        let mut put = |value: u32, count: u32| bits.extend((0..count).map(|i| value >> i & 1));
        put(0b100, 3);
        // 257 and 1 codes; 18 lengths of code lengths, of which those for 18 and 1 are 1.
        for (value, count) in [(0, 5), (0, 5), (14, 4)] {
            put(value, count);
        }
        for len in [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] {
            put(len, 3);
        }
        // 256 codes that are not used, and two of length 1; the end; the empty block.
        for (value, count) in [(1, 1), (127, 7), (1, 1), (107, 7), (0, 3), (0, 3)] {
            put(value, count);
        }
        let mut bytes = vec![0; bits.len().div_ceil(8)];
        let set = |(i, bit): (usize, &u32)| bytes[i / 8] |= (*bit as u8) << (i % 8);
        bits.iter().enumerate().for_each(set);
        bytes.extend([0, 0, 0xFF, 0xFF]);
        bytes
    }

    #[test]
    fn blocks_that_become_nothing_take_their_share_of_a_turn_as_well() {
        const SHARE: usize = 64 << 10;
        for parameters in ["", "; client_no_context_takeover"] {
            for (name, blocks, most_bytes) in [
                ("last blocks", LAST_BLOCK.repeat(8_000), 1_000),
                ("tables", block_of_tables().repeat(2_000), 10_000),
            ] {
                let mut server = Server::open(parameters, &ON);
                let mut client = Client::new(Context::Dropped);
                let first = masked(FIN | TEXT, &client.deflate(&text(100)));
                assert_eq!(server.receive(&first, &[]), [Seen::Text(text(100))]);
                let said = client.deflate(&text(50_000));
                // What is said ends without the empty block that it has to end with.
                let payload = [&said, &[0, 0, 0xFF, 0xFF][..], &blocks, &[0]].concat();
                let mut bytes = masked(FIN | BINARY, &payload);
                let mut input = bytes.as_mut_slice();
                let mut shares = Vec::new();
                let message = loop {
                    let before = input.len();
                    server.context.inflate_budget_bytes = SHARE;
                    let event = server.connection.receive(&mut input, &mut server.context);
                    shares.push(before - input.len());
                    if let Some(event) = event {
                        break event.message().map(|message| message.as_bytes().to_vec());
                    }
                    assert!(shares.len() < 1_000, "{name}: it is not gone on with");
                };
                assert_eq!(message.as_deref(), Some(text(50_000).as_bytes()), "{name}");
                let most = shares.into_iter().max().unwrap_or_default();
                assert!(most <= said.len() + most_bytes, "{name}: {most} bytes");
            }
        }
    }
}
