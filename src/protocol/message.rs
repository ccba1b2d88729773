//! Fragments → message (RFC 6455 §5.4), under one size limit and one fragment limit.

use super::error::Violation;
use super::frame::{Header, Opcode};
use super::utf8::Validator;

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

/// Limits of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimits {
    /// Longest payload of all fragments together, in bytes.
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
    bytes: Vec<u8>,
    utf8: Validator,
    fragment_count: u32,
}

impl Assembler {
    /// A message of which nothing has arrived yet.
    pub fn new(kind: MessageKind) -> Self {
        Self::with_buffer(kind, Vec::new())
    }

    /// The same, gathered in a buffer that was used before.
    pub fn with_buffer(kind: MessageKind, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self {
            kind,
            bytes: buffer,
            utf8: Validator::default(),
            fragment_count: 0,
        }
    }

    /// Judges the header of the message's next frame by the limits, before any of its payload.
    pub fn begin_fragment(
        &mut self,
        header: &Header,
        limits: MessageLimits,
    ) -> Result<(), Violation> {
        self.fragment_count = self.fragment_count.saturating_add(1);
        if self.fragment_count > limits.max_fragments {
            return Err(Violation::TooManyFragments);
        }
        let room = limits.max_bytes.saturating_sub(self.bytes.len());
        if header.payload_len > room as u64 {
            return Err(Violation::MessageTooBig);
        }
        Ok(())
    }

    /// Adds the next piece of payload, already unmasked.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Violation> {
        if self.kind == MessageKind::Text {
            self.utf8.feed(piece).map_err(|_| Violation::InvalidUtf8)?;
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Moves the message into a buffer of its size, and returns the old one, if that is much larger.
    ///
    /// For a message that has to wait for its next bytes: a buffer that was used before may be large
    /// whatever has arrived.
    pub fn settle(&mut self) -> Option<Vec<u8>> {
        let is_roomy = self.bytes.capacity() / ROOMY > self.bytes.len().max(SETTLE_BYTES);
        is_roomy.then(|| {
            let own = self.bytes.clone();
            std::mem::replace(&mut self.bytes, own)
        })
    }

    /// Ends the message.
    pub fn finish(self) -> Result<(MessageKind, Vec<u8>), Violation> {
        self.utf8.finish().map_err(|_| Violation::InvalidUtf8)?;
        Ok((self.kind, self.bytes))
    }

    /// Bytes of payload gathered so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no payload has arrived yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

/// How many times larger than its message a buffer may be. Large messages come in several reads, and
/// the first of them shall not cost them the buffer that they will fill: with 8 instead, 1 MiB in
/// reads of 256 KiB took a sixth longer, with 32 no longer than without this limit.
const ROOMY: usize = 32;

/// Buffers up to [`ROOMY`] times this size are left as they are.
const SETTLE_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(assembler.finish(), Ok((MessageKind::Text, "€".into())));

        let mut cut = Assembler::new(MessageKind::Text);
        cut.push(b"\xe2\x82").unwrap();
        assert_eq!(cut.finish(), Err(Violation::InvalidUtf8));
        assert_eq!(
            Assembler::new(MessageKind::Text).push(b"\xff"),
            Err(Violation::InvalidUtf8)
        );

        let mut binary = Assembler::new(MessageKind::Binary);
        binary.push(b"\xff\xe2").unwrap();
        assert_eq!(
            binary.finish(),
            Ok((MessageKind::Binary, b"\xff\xe2".to_vec()))
        );
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
                assembler.settle().is_some(),
                expected,
                "{arrived} in {capacity}"
            );
            assert!(assembler.held_bytes() <= 32 * arrived.max(1024));
            assert_eq!(
                assembler.finish(),
                Ok((MessageKind::Binary, vec![7; arrived]))
            );
        }
    }
}
