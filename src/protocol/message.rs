//! Fragments → message (RFC 6455 §5.4), under one size limit and one fragment limit; compressed
//! ones are inflated as they arrive (RFC 7692 §6.2).

use super::deflate::Inflater;
use super::error::Violation;
use super::frame::{Header, Opcode};
use super::packet::{Outline, OutlineScanner};
use super::utf8::Validator;
use crate::base::free;

/// What a data message carries (§5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}

impl MessageKind {
    /// The opcode of the first frame of such a message.
    pub const fn opcode(self) -> Opcode {
        match self {
            Self::Text => Opcode::Text,
            Self::Binary => Opcode::Binary,
        }
    }
}

/// Whether a frame may follow what came before it (RFC 6455 §5.4): of a message the first frame and no
/// other has its kind as opcode.
pub fn check_order(opcode: Opcode, is_message_begun: bool) -> Result<(), Violation> {
    match (opcode, is_message_begun) {
        (Opcode::Continuation, false) => Err(Violation::UnexpectedContinuation),
        (Opcode::Text | Opcode::Binary, true) => Err(Violation::UnfinishedMessage),
        (Opcode::Continuation, true)
        | (Opcode::Text | Opcode::Binary, false)
        | (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => Ok(()),
    }
}

/// A whole message, in the buffer it was gathered in. A text has been checked, piece by piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssembledMessage {
    kind: MessageKind,
    bytes: Vec<u8>,
    outline: Option<Box<Outline>>,
}

impl AssembledMessage {
    /// What it carries.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The payload.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What was found out about it while it arrived, if it is a long object and that was wanted.
    pub fn outline(&self) -> Option<&Outline> {
        self.outline.as_deref()
    }

    /// The payload, in its buffer.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Limits of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimits {
    /// Longest payload of all fragments together, in bytes: as it arrives, and inflated.
    pub max_bytes: usize,
    /// Most frames.
    pub max_fragments: u32,
}

/// Gathers a message that does not arrive whole.
///
/// Memory grows with the bytes that have arrived, never with what a header promises.
#[derive(Debug)]
pub struct Assembler {
    kind: MessageKind,
    /// What has arrived, `len` bytes of it; behind them what an earlier message has left.
    bytes: Vec<u8>,
    len: usize,
    /// How many of the latter have been lent to be written over.
    lent_len: usize,
    /// Of a text, how far it has been checked.
    utf8: Validator,
    fragment_count: u32,
    /// What the buffer may grow to: the limit that the last header was judged by.
    max_bytes: usize,
    /// Length of the message when all that has been announced of it has arrived.
    announced_len: usize,
    inflating: Option<Inflating>,
    outline: OutlineWanted,
}

/// Whether texts are looked through as packets while they arrive.
#[derive(Debug)]
enum OutlineWanted {
    No,
    /// If they get long.
    IfLong,
    Yes(Box<OutlineScanner>),
}

/// What a compressed message needs besides.
#[derive(Debug)]
struct Inflating {
    inflater: Box<Inflater>,
    /// Bytes of payload that the headers so far have announced.
    wire_bytes: usize,
}

impl Assembler {
    /// A message of which nothing has arrived yet.
    pub fn new(kind: MessageKind) -> Self {
        Self::with_buffer(kind, Vec::new())
    }

    /// The same, gathered in a buffer that was used before. What is in it is written over: bytes
    /// that are there already need not be cleared to be [`payload_buffer`](Self::payload_buffer).
    pub fn with_buffer(kind: MessageKind, buffer: Vec<u8>) -> Self {
        Self {
            kind,
            bytes: buffer,
            len: 0,
            lent_len: 0,
            utf8: Validator::default(),
            fragment_count: 0,
            max_bytes: usize::MAX,
            announced_len: usize::MAX,
            inflating: None,
            outline: OutlineWanted::No,
        }
    }

    /// Has a long text looked through as a packet while it arrives.
    pub fn want_outline(&mut self) {
        if self.kind == MessageKind::Text {
            self.outline = OutlineWanted::IfLong;
        }
    }

    /// A compressed message, gathered as what it says.
    pub fn with_inflater(kind: MessageKind, buffer: Vec<u8>, inflater: Box<Inflater>) -> Self {
        let mut assembler = Self::with_buffer(kind, buffer);
        assembler.inflating = Some(Inflating {
            inflater,
            wire_bytes: 0,
        });
        assembler
    }

    /// Judges the header of the message's next frame by the limits, before any of its payload.
    pub fn begin_fragment(
        &mut self,
        header: &Header,
        limits: MessageLimits,
    ) -> Result<(), Violation> {
        self.max_bytes = limits.max_bytes;
        self.fragment_count = self.fragment_count.saturating_add(1);
        if self.fragment_count > limits.max_fragments {
            return Err(Violation::TooManyFragments);
        }
        let arrived = match &self.inflating {
            Some(inflating) => inflating.wire_bytes,
            None => self.len(),
        };
        let free_bytes = limits.max_bytes.saturating_sub(arrived);
        if header.payload_len > free_bytes as u64 {
            return Err(Violation::MessageTooBig);
        }
        let payload_len = header.payload_len as usize;
        match &mut self.inflating {
            Some(inflating) => inflating.wire_bytes += payload_len,
            None => self.announced_len = self.len + payload_len,
        }
        Ok(())
    }

    /// Adds the next piece of payload, already unmasked. What it is inflated to counts against the
    /// limit, and is checked, step by step.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Violation> {
        let Some(inflating) = &mut self.inflating else {
            check(self.kind, &mut self.utf8, piece)?;
            self.append(piece);
            let arrived = self.bytes.get(..self.len).unwrap_or_default();
            self.outline.advance(arrived);
            return Ok(());
        };
        let mut rest = piece;
        self.bytes.truncate(self.len);
        loop {
            let start = self.len;
            let inflater = &mut inflating.inflater;
            let result = inflater.inflate(&mut rest, self.max_bytes, &mut self.bytes);
            self.len = self.bytes.len();
            // What came out before a fault is judged first, as if it had come alone.
            check(self.kind, &mut self.utf8, &self.bytes[start..])?;
            self.outline.advance(&self.bytes);
            if !result? {
                return Ok(());
            }
        }
    }

    /// Room for the next `len` bytes of payload behind what has arrived, so that they need not be
    /// copied there; its bytes may be any. `None` if what arrives is not what is kept.
    pub fn payload_buffer(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.inflating.is_some() {
            return None;
        }
        let end = self.len.saturating_add(len);
        self.lent_len = len;
        if end > self.bytes.len() {
            self.reserve(len);
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(self.len..end)
    }

    /// Takes in the first `len` bytes of that buffer, as [`push`](Self::push) does, after `unmask`
    /// has seen them, in order.
    pub fn fill_payload_buffer(
        &mut self,
        len: usize,
        mut unmask: impl FnMut(&mut [u8]),
    ) -> Result<(), Violation> {
        let mut start = self.len;
        debug_assert!(len <= self.lent_len);
        self.len += len.min(std::mem::take(&mut self.lent_len));
        // In blocks that are still in the first cache when they are checked.
        while start < self.len {
            let end = self.len.min(start + BLOCK_BYTES);
            let block = self.bytes.get_mut(start..end).unwrap_or_default();
            unmask(block);
            check(self.kind, &mut self.utf8, block)?;
            let arrived = self.bytes.get(..end).unwrap_or_default();
            self.outline.advance(arrived);
            start = end;
        }
        Ok(())
    }

    /// Ends a compressed message and gives its inflater back; `None` if it is not compressed.
    /// Nothing may be pushed after it.
    pub fn end_inflating(&mut self) -> Result<Option<Box<Inflater>>, Violation> {
        let Some(mut inflating) = self.inflating.take() else {
            return Ok(None);
        };
        let start = self.len;
        self.bytes.truncate(start);
        let inflater = &mut inflating.inflater;
        let result = inflater.end_message(self.max_bytes, &mut self.bytes);
        self.len = self.bytes.len();
        check(self.kind, &mut self.utf8, &self.bytes[start..])?;
        self.outline.advance(&self.bytes);
        result?;
        Ok(Some(inflating.inflater))
    }

    /// Moves the message into a buffer of its size, and returns the old one, if that is much larger.
    ///
    /// For a message that has to wait for its next bytes: a buffer that was used before may be large
    /// whatever has arrived.
    pub fn shrink(&mut self) -> Option<Vec<u8>> {
        if self.bytes.capacity() / ROOMY <= self.len().max(SHRINK_BYTES) {
            return None;
        }
        let bytes = self.bytes.get(..self.len).unwrap_or_default().to_vec();
        Some(std::mem::replace(&mut self.bytes, bytes))
    }

    /// Ends the message.
    pub fn finish(mut self) -> Result<AssembledMessage, Violation> {
        self.end_inflating()?;
        self.utf8.finish().map_err(|_| Violation::InvalidUtf8)?;
        self.bytes.truncate(self.len);
        Ok(AssembledMessage {
            kind: self.kind,
            bytes: std::mem::take(&mut self.bytes),
            outline: std::mem::replace(&mut self.outline, OutlineWanted::No).finish(),
        })
    }

    fn append(&mut self, piece: &[u8]) {
        let end = self.len + piece.len();
        match self.bytes.get_mut(self.len..end) {
            Some(free) => free.copy_from_slice(piece),
            None => {
                self.bytes.truncate(self.len);
                self.reserve(piece.len());
                self.bytes.extend_from_slice(piece);
            }
        }
        self.len = end;
    }

    /// Sees to it that the buffer does not double beyond the longest message there can be, nor beyond
    /// what is announced, when `added` bytes come to those that have arrived.
    fn reserve(&mut self, added: usize) {
        let needed = self.len.saturating_add(added);
        let doubled = self.bytes.capacity().saturating_mul(2);
        let most = self.max_bytes.min(self.announced_len);
        if needed > self.bytes.capacity() && doubled > most {
            let added = most.max(needed) - self.bytes.len();
            self.bytes.reserve_exact(added);
        }
    }

    /// Whether it is inflated as it arrives.
    pub fn is_inflating(&self) -> bool {
        self.inflating.is_some()
    }

    /// What inflating has cost since the last call: see [`Inflater::take_effort`].
    pub fn take_effort(&mut self) -> usize {
        let inflating = self.inflating.as_mut();
        inflating.map_or(0, |inflating| inflating.inflater.take_effort())
    }

    /// Bytes of payload gathered so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no payload has arrived yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        let inflater = self.inflating.as_ref();
        self.bytes.capacity()
            + inflater.map_or(0, |inflating| inflating.inflater.held_bytes())
            + self.outline.held_bytes()
    }
}

impl OutlineWanted {
    /// Looks at what has come; `arrived` is all of it.
    fn advance(&mut self, arrived: &[u8]) {
        if matches!(self, Self::IfLong) && arrived.len() >= LONG_BYTES {
            *self = Self::Yes(Box::default());
        }
        if let Self::Yes(scanner) = self {
            scanner.advance(arrived);
        }
    }

    fn finish(self) -> Option<Box<Outline>> {
        match self {
            Self::No | Self::IfLong => None,
            Self::Yes(scanner) => scanner.finish().map(Box::new),
        }
    }

    fn held_bytes(&self) -> usize {
        match self {
            Self::No | Self::IfLong => 0,
            Self::Yes(_) => size_of::<OutlineScanner>(),
        }
    }
}

impl Drop for Assembler {
    fn drop(&mut self) {
        free(std::mem::take(&mut self.bytes));
    }
}

/// The next piece of a text must be UTF-8.
fn check(kind: MessageKind, utf8: &mut Validator, piece: &[u8]) -> Result<(), Violation> {
    match kind {
        MessageKind::Text => utf8.feed(piece).map_err(|_| Violation::InvalidUtf8),
        MessageKind::Binary => Ok(()),
    }
}

/// Long messages are unmasked, checked and kept in pieces of this size, which stay in the first
/// cache from one pass to the next.
pub const BLOCK_BYTES: usize = 16 << 10;

/// From this length on it is worth something not to look through a message again at its end, in
/// bytes: that takes a microsecond.
const LONG_BYTES: usize = 16 << 10;

/// How many times larger than its message a buffer may be while the message waits: the first bytes
/// of a large one shall not cost it the buffer that it will fill.
const ROOMY: usize = 32;

/// Buffers up to [`ROOMY`] times this size are left as they are.
const SHRINK_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::deflate::Deflater;
    use crate::protocol::extension::Context;
    use crate::protocol::packet::Packet;

    const LIMITS: MessageLimits = MessageLimits {
        max_bytes: 10,
        max_fragments: 3,
    };

    fn frame(payload_len: u64) -> Header {
        Header {
            fin: false,
            rsv1: false,
            opcode: Opcode::Text,
            masking_key: [0; 4],
            payload_len,
        }
    }

    #[test]
    fn a_message_is_begun_once_and_then_continued() {
        use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
        for (opcode, begun, not_begun) in [
            (Text, Err(Violation::UnfinishedMessage), Ok(())),
            (Binary, Err(Violation::UnfinishedMessage), Ok(())),
            (Continuation, Ok(()), Err(Violation::UnexpectedContinuation)),
            (Ping, Ok(()), Ok(())),
            (Pong, Ok(()), Ok(())),
            (Close, Ok(()), Ok(())),
        ] {
            assert_eq!(check_order(opcode, true), begun, "{opcode:?}");
            assert_eq!(check_order(opcode, false), not_begun, "{opcode:?}");
        }
    }

    #[test]
    fn the_size_limit_holds_for_the_sum_and_is_judged_by_the_header() {
        for (first, second, expected) in [
            (9, 0, Ok(())),
            (10, 0, Ok(())),
            (4, 5, Ok(())),
            (4, 6, Ok(())),
            (4, 7, Err(Violation::MessageTooBig)),
            (11, 0, Err(Violation::MessageTooBig)),
            (u64::MAX >> 1, 0, Err(Violation::MessageTooBig)),
        ] {
            let mut assembler = Assembler::new(MessageKind::Binary);
            let got = assembler
                .begin_fragment(&frame(first), LIMITS)
                .and_then(|()| assembler.push(&vec![0; first as usize]))
                .and_then(|()| assembler.begin_fragment(&frame(second), LIMITS));
            assert_eq!(got, expected, "{first} + {second}");
        }
    }

    #[test]
    fn one_fragment_too_many_is_refused() {
        let mut assembler = Assembler::new(MessageKind::Text);
        for _ in 0..3 {
            assert_eq!(assembler.begin_fragment(&frame(0), LIMITS), Ok(()));
        }
        assert_eq!(
            assembler.begin_fragment(&frame(0), LIMITS),
            Err(Violation::TooManyFragments)
        );
    }

    #[test]
    fn text_is_checked_across_pieces_and_at_its_end() {
        let mut assembler = Assembler::new(MessageKind::Text);
        assembler.push(b"\xe2\x82").unwrap();
        assembler.push(b"\xac").unwrap();
        let gathered = assembler.finish().unwrap();
        assert_eq!(gathered.kind(), MessageKind::Text);
        assert_eq!(gathered.as_bytes(), "€".as_bytes());

        let mut cut = Assembler::new(MessageKind::Text);
        cut.push(b"\xe2\x82").unwrap();
        assert_eq!(cut.finish(), Err(Violation::InvalidUtf8));
        assert_eq!(
            Assembler::new(MessageKind::Text).push(b"\xff"),
            Err(Violation::InvalidUtf8)
        );

        let mut binary = Assembler::new(MessageKind::Binary);
        binary.push(b"\xff\xe2").unwrap();
        let gathered = binary.finish().unwrap();
        assert_eq!(gathered.kind(), MessageKind::Binary);
        assert_eq!(gathered.into_bytes(), b"\xff\xe2");
    }

    /// As they arrive, however they do, long objects are read as they are read whole.
    #[test]
    fn a_long_text_is_read_as_a_packet_while_it_arrives() {
        let pad = r#"words, \u00e4 and \"more\" "#.repeat(1_000);
        let text = format!(r#"{{"opcode":"feedback","x":"{pad}","uuid":"u","ident":[1]}}"#);
        let expected = Packet::parse(&text).unwrap();
        let wanted = |mut assembler: Assembler| {
            assembler.want_outline();
            assembler
        };
        let check = |assembler: Assembler, name: &str| {
            let message = assembler.finish().unwrap();
            let outline = message.outline().unwrap_or_else(|| panic!("{name}"));
            assert_eq!(
                outline.packet(message.as_bytes()).as_ref(),
                Ok(&expected),
                "{name}"
            );
        };
        for len in [1, 1_000, LONG_BYTES - 1, LONG_BYTES, 20_000, text.len()] {
            let mut copied = wanted(Assembler::new(MessageKind::Text));
            let mut in_place = wanted(Assembler::with_buffer(
                MessageKind::Text,
                vec![b'"'; 30_000],
            ));
            for piece in text.as_bytes().chunks(len) {
                copied.push(piece).unwrap();
                in_place.payload_buffer(len).unwrap()[..piece.len()].copy_from_slice(piece);
                in_place.fill_payload_buffer(piece.len(), |_| {}).unwrap();
            }
            check(copied, "copied");
            check(in_place, "in place");
        }
        let mut deflated = Vec::new();
        let mut deflater = Deflater::new(15, 2, Context::Dropped);
        assert!(deflater.deflate(text.as_bytes(), &mut deflated));
        for len in [1, 100, deflated.len()] {
            let inflater = Box::new(Inflater::new(Context::Dropped));
            let mut inflating = wanted(Assembler::with_inflater(
                MessageKind::Text,
                Vec::new(),
                inflater,
            ));
            for piece in deflated.chunks(len) {
                inflating.push(piece).unwrap();
            }
            check(inflating, "inflated");
        }
    }

    #[test]
    fn what_is_short_binary_no_object_or_not_wanted_has_no_outline() {
        let long = format!(r#"{{"a":"{}"}}"#, "b".repeat(LONG_BYTES));
        for (kind, is_wanted, text, has_outline) in [
            (MessageKind::Text, true, &*long, true),
            (MessageKind::Text, true, &long[..LONG_BYTES - 1], false),
            (MessageKind::Text, true, &long[1..], false),
            (MessageKind::Binary, true, &long, false),
            (MessageKind::Text, false, &long, false),
        ] {
            let mut assembler = Assembler::new(kind);
            if is_wanted {
                assembler.want_outline();
            }
            assembler.push(text.as_bytes()).unwrap();
            let message = assembler.finish().unwrap();
            assert_eq!(message.outline().is_some(), has_outline);
        }
    }

    #[test]
    fn a_message_that_waits_does_not_keep_a_large_buffer() {
        for (arrived, capacity, expected) in [
            (0, 32_768, false),
            (0, 33_792, true),
            (2000, 64_000, false),
            (2000, 66_000, true),
        ] {
            let mut assembler =
                Assembler::with_buffer(MessageKind::Binary, Vec::with_capacity(capacity));
            assembler.push(&vec![7; arrived]).unwrap();
            assert_eq!(
                assembler.shrink().is_some(),
                expected,
                "{arrived} in {capacity}"
            );
            assert!(assembler.held_bytes() <= 32 * arrived.max(1024));
            assert_eq!(assembler.finish().unwrap().into_bytes(), vec![7; arrived]);
        }
    }

    /// A compressed message of this payload, whole.
    fn inflate(
        kind: MessageKind,
        payload: &[u8],
        limits: MessageLimits,
    ) -> Result<Vec<u8>, Violation> {
        let inflater = Box::new(Inflater::new(Context::Dropped));
        let mut assembler = Assembler::with_inflater(kind, Vec::new(), inflater);
        assembler.begin_fragment(&frame(payload.len() as u64), limits)?;
        assembler.push(payload)?;
        assert!(assembler.held_bytes() > Inflater::HELD_BYTES);
        assembler.finish().map(AssembledMessage::into_bytes)
    }

    fn deflated(message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(Deflater::new(15, 6, Context::Dropped).deflate(message, &mut out));
        out
    }

    #[test]
    fn a_compressed_message_is_judged_by_what_it_says_and_by_its_own_length() {
        let message = "größer ".repeat(10);
        let payload = deflated(message.as_bytes());
        for (max_bytes, expected) in [
            (message.len(), Ok(message.clone().into_bytes())),
            (message.len() - 1, Err(Violation::MessageTooBig)),
            (payload.len(), Err(Violation::MessageTooBig)),
        ] {
            let limits = MessageLimits {
                max_bytes,
                ..LIMITS
            };
            assert_eq!(inflate(MessageKind::Text, &payload, limits), expected);
        }
        // Empty blocks say nothing and are counted.
        let blocks = [0x00, 0x00, 0x00, 0xFF, 0xFF].repeat(10);
        let empty = &blocks[..46];
        for (max_bytes, expected) in [(46, Ok(vec![])), (45, Err(Violation::MessageTooBig))] {
            let limits = MessageLimits {
                max_bytes,
                ..LIMITS
            };
            assert_eq!(inflate(MessageKind::Text, empty, limits), expected);
        }
    }

    #[test]
    fn a_compressed_text_is_checked_as_soon_as_it_is_certain() {
        let limits = MessageLimits {
            max_bytes: 1000,
            ..LIMITS
        };
        let text = [b"aaaaaaaaaaaaaaaaaaaa\xff".as_slice(), &[b'b'; 500]].concat();
        let payload = deflated(&text);
        assert_eq!(inflate(MessageKind::Binary, &payload, limits), Ok(text));
        let result = inflate(MessageKind::Text, &payload, limits);
        assert_eq!(result, Err(Violation::InvalidUtf8));

        // The text is wrong long before the message is complete, and before what follows it is
        // seen not to be DEFLATE.
        let inflater = Box::new(Inflater::new(Context::Dropped));
        let mut assembler = Assembler::with_inflater(MessageKind::Text, Vec::new(), inflater);
        assembler.begin_fragment(&frame(900), limits).unwrap();
        let stored = b"\x00\x02\x00\xfd\xffa\xff";
        let pushed = stored.map(|byte| assembler.push(&[byte]));
        assert_eq!(pushed[..6], [Ok(()); 6]);
        assert_eq!(pushed[6], Err(Violation::InvalidUtf8));

        let cut = deflated("aaaaaaaaaaaaaaaaaaaaaa€".as_bytes().split_last().unwrap().1);
        let result = inflate(MessageKind::Text, &cut, limits);
        assert_eq!(result, Err(Violation::InvalidUtf8));
    }

    #[test]
    fn of_two_faults_in_a_compressed_text_the_first_is_told_however_it_is_cut() {
        let limits = MessageLimits {
            max_bytes: 30,
            ..LIMITS
        };
        let too_long = deflated(&[b"a\xff".as_slice(), &[b'b'; 50]].concat());
        // A stored block, and a block of a type that does not exist.
        let corrupt = b"\x00\x02\x00\xfd\xffa\xff\x07".to_vec();
        for payload in [too_long, corrupt] {
            for cut in 1..=payload.len() {
                let inflater = Box::new(Inflater::new(Context::Dropped));
                let mut assembler =
                    Assembler::with_inflater(MessageKind::Text, Vec::new(), inflater);
                let (left, right) = payload.split_at(cut);
                assembler.begin_fragment(&frame(9), limits).unwrap();
                let result = assembler.push(left).and_then(|()| assembler.push(right));
                assert_eq!(result, Err(Violation::InvalidUtf8), "{cut}");
            }
        }
    }

    #[test]
    fn an_inflater_comes_back_when_its_message_ends() {
        let payload = deflated(&[7; 100]);
        let limits = MessageLimits {
            max_bytes: 100,
            max_fragments: 100,
        };
        let mut inflater = Box::new(Inflater::new(Context::Dropped));
        for cut in 0..=payload.len() {
            let mut assembler = Assembler::with_inflater(MessageKind::Binary, Vec::new(), inflater);
            for piece in [&payload[..cut], &payload[cut..]] {
                assembler
                    .begin_fragment(&frame(piece.len() as u64), limits)
                    .unwrap();
                assembler.push(piece).unwrap();
            }
            inflater = assembler.end_inflating().unwrap().unwrap();
            assert_eq!(assembler.finish().unwrap().into_bytes(), vec![7; 100]);
        }
    }
}
