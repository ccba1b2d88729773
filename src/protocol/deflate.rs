//! Messages through DEFLATE and back (RFC 7692 §7.2, RFC 1951).
//!
//! [`Deflater`] and [`Inflater`] take a message in and leave its other form; that each message ends
//! in an empty block whose last four bytes are not sent (§7.2.1) is known here only. Inflating is
//! bounded while it goes on, so that no message costs more memory than its limit. What was
//! negotiated is [`extension`](super::extension)'s.

use std::fmt;

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status};

use super::error::Violation;
use super::extension::{Context, MAX_WINDOW_BITS, MIN_WINDOW_BITS};
use super::frame::{self, Header, Opcode, Role, Rsv1};

/// Inflates one message at a time, in any number of pieces. Takes windows of every size.
pub struct Inflater {
    stream: Inflate,
    /// `None`: each message stands alone.
    history: Option<History>,
    /// Bytes that the message has become so far.
    message_len: usize,
    /// No byte has come since the message, or a stream inside it, began.
    is_fresh: bool,
    /// Work since [`take_effort`](Self::take_effort).
    effort_bytes: usize,
}

/// The end of what a peer's messages said: its next one may refer to that (RFC 7692 §7.2.3.2).
///
/// At most 32 KiB, the largest window, and no more than was said. It is all that has to be kept for
/// a peer between its messages, since each begins at a block of its own (§7.2.1): an inflater serves
/// everybody.
#[derive(Debug, Default)]
pub struct History {
    bytes: Vec<u8>,
}

impl History {
    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// What was said, as far as it is kept.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// One that keeps the end of this.
    pub fn from_bytes(said: &[u8]) -> Self {
        let mut history = Self::default();
        history.push(said);
        history
    }

    fn push(&mut self, message: &[u8]) {
        let message = last(message, MAX_WINDOW_BYTES);
        let kept = last(&self.bytes, MAX_WINDOW_BYTES - message.len()).len();
        self.bytes.drain(..self.bytes.len() - kept);
        let needed = kept + message.len();
        if needed > self.bytes.capacity() {
            let doubled = self.bytes.capacity().saturating_mul(2);
            let capacity = doubled.clamp(needed, MAX_WINDOW_BYTES);
            self.bytes.reserve_exact(capacity - kept);
        }
        self.bytes.extend_from_slice(message);
    }
}

impl Inflater {
    /// Bytes of memory that one holds without a history: measured, 32 KiB of it are the window.
    pub const HELD_BYTES: usize = 47_552 + size_of::<Self>();

    /// For one client whose context is kept, or for messages of any client.
    pub fn new(context: Context) -> Self {
        Self {
            stream: Inflate::new(false, MAX_WINDOW_BITS),
            history: match context {
                Context::Kept => Some(History::default()),
                Context::Dropped => None,
            },
            message_len: 0,
            is_fresh: true,
            effort_bytes: 0,
        }
    }

    /// Work done on the message since the last call, in bytes that take about as long to be
    /// inflated: blocks that become nothing take their time, too.
    pub fn take_effort(&mut self) -> usize {
        std::mem::take(&mut self.effort_bytes)
    }

    /// The next message is from the peer of this history. To be called between messages.
    pub fn recall(&mut self, history: History) {
        debug_assert!(self.message_len == 0 && self.is_fresh, "inside a message");
        self.history = Some(history);
    }

    /// Gives back the history, with the message that has ended, and forgets it.
    pub fn take_history(&mut self) -> History {
        self.history.take().unwrap_or_default()
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        Self::HELD_BYTES + self.history.as_ref().map_or(0, History::held_bytes)
    }

    /// Appends some of what `input`, the next piece of the message's payload, becomes, and takes
    /// what it has used off its front. To be called again as long as it returns `true`.
    ///
    /// `out` ends with what the message has become so far. [`Violation::MessageTooBig`] once it is
    /// longer than `max_bytes`: at most one byte longer, nor is more memory asked for.
    /// [`Violation::CorruptDeflate`] for what is not DEFLATE.
    pub fn inflate(
        &mut self,
        input: &mut &[u8],
        max_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, Violation> {
        if self.is_fresh && !input.is_empty() {
            self.fill_window(out);
        }
        let start = out.len();
        let room = free_capacity(out, input.len(), max_bytes);
        let (in_before, out_before) = (self.stream.total_in(), self.stream.total_out());
        let result = self
            .stream
            .decompress(input, &mut out[start..], InflateFlush::NoFlush);
        let taken = (self.stream.total_in() - in_before) as usize;
        let made = (self.stream.total_out() - out_before) as usize;
        out.truncate(start + made);
        self.message_len += made;
        self.effort_bytes += made.max(taken * LEAST_BYTES_PER_BYTE);
        *input = input.get(taken..).unwrap_or_default();
        self.is_fresh &= taken == 0;
        if out.len() > max_bytes {
            return Err(Violation::MessageTooBig);
        }
        match result.map_err(|_| Violation::CorruptDeflate)? {
            // §7.2.3.4: a block may be marked as the stream's last one; the message goes on.
            Status::StreamEnd => self.restart(),
            Status::Ok | Status::BufError if taken + made == 0 && !input.is_empty() => {
                return Err(Violation::CorruptDeflate);
            }
            Status::Ok | Status::BufError => {}
        }
        Ok(made == room || !input.is_empty())
    }

    /// Ends the message, all of which `out` ends with; the next one may begin. See
    /// [`inflate`](Self::inflate). A message that ends inside a block is
    /// [`Violation::CorruptDeflate`].
    pub fn end_message(&mut self, max_bytes: usize, out: &mut Vec<u8>) -> Result<(), Violation> {
        if !self.is_fresh {
            let mut tail = TAIL;
            while self.inflate(&mut tail, max_bytes, out)? {}
        }
        self.check_end()?;
        self.restart();
        self.effort_bytes = 0;
        let message = last(out, std::mem::take(&mut self.message_len));
        if let Some(history) = &mut self.history {
            history.push(message);
        }
        Ok(())
    }

    /// Between blocks, and only there, an empty last block ends the stream.
    fn check_end(&mut self) -> Result<(), Violation> {
        let made_before = self.stream.total_out();
        let mut nothing = [0];
        let result = self
            .stream
            .decompress(EMPTY_LAST_BLOCK, &mut nothing, InflateFlush::NoFlush);
        if result == Ok(Status::StreamEnd) && self.stream.total_out() == made_before {
            Ok(())
        } else {
            Err(Violation::CorruptDeflate)
        }
    }

    fn restart(&mut self) {
        self.stream.reset(false);
        self.is_fresh = true;
    }

    /// Puts into the window what the stream that begins may refer to.
    fn fill_window(&mut self, out: &[u8]) {
        let history = self
            .history
            .as_ref()
            .map_or(&[][..], |history| &history.bytes);
        // No more than fits in: a peer may begin a stream with each few bytes of a long message.
        let message = last(last(out, self.message_len), MAX_WINDOW_BYTES);
        let history = last(history, MAX_WINDOW_BYTES - message.len());
        let result = match (history, message) {
            ([], []) => return,
            (window, []) | ([], window) => self.stream.set_dictionary(window),
            (history, message) => self.stream.set_dictionary(&[history, message].concat()),
        };
        self.effort_bytes += WINDOW_EFFORT_BYTES;
        debug_assert!(result.is_ok(), "only zlib's own format refuses one");
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("keeps_history", &self.history.is_some())
            .finish_non_exhaustive()
    }
}

/// The last `len` bytes, or all.
fn last(bytes: &[u8], len: usize) -> &[u8] {
    &bytes[bytes.len().saturating_sub(len)..]
}

/// Deflates one message at a time, as a whole.
pub struct Deflater {
    stream: Deflate,
    window_bits: u8,
    level: u8,
    context: Context,
    /// What the stream remembers is not what the peer has got.
    is_stale: bool,
}

impl Deflater {
    /// `window_bits`: 9 to 15. `level`: 1 (fast) to 9 (small). Values beyond are taken as the
    /// nearest of these.
    pub fn new(window_bits: u8, level: u8, context: Context) -> Self {
        let window_bits = window_bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS);
        let config = DeflateConfig {
            level: i32::from(level.clamp(1, 9)),
            // Negative: without the header of zlib's own format.
            window_bits: -i32::from(window_bits),
            mem_level: MEM_LEVEL,
            ..DeflateConfig::default()
        };
        Self {
            stream: Deflate::new_with_config(config),
            window_bits,
            level,
            context,
            is_stale: false,
        }
    }

    /// Whether it was made with these values.
    pub fn is_for(&self, window_bits: u8, level: u8) -> bool {
        (self.window_bits, self.level) == (window_bits, level)
    }

    /// Bytes of memory that this one holds: measured, for zlib-rs says nothing of it.
    pub fn held_bytes(&self) -> usize {
        148_608 + (4 << self.window_bits) + size_of::<Self>()
    }

    /// The peer has got a message that this one has not made, so that what is remembered is not
    /// what the peer remembers: the next message will refer to nothing before it.
    pub fn forget(&mut self) {
        self.is_stale = true;
    }

    /// Appends a frame that says the same as `plain_frame`, a whole unmasked data frame, in fewer
    /// bytes of payload. `false`, and nothing is appended, if there is none.
    pub fn deflate_frame(&mut self, plain_frame: &[u8], out: &mut Vec<u8>) -> bool {
        let Ok(Some((header, payload_at))) =
            Header::parse(plain_frame, Role::Client, Rsv1::Forbidden)
        else {
            return false;
        };
        let is_message = header.fin && matches!(header.opcode, Opcode::Text | Opcode::Binary);
        let payload = plain_frame.get(payload_at..).unwrap_or_default();
        let start = out.len();
        if !is_message || !self.deflate(payload, out) {
            return false;
        }
        // The header's length depends on what now lies where it has to be.
        let end = out.len();
        frame::encode_compressed_header(header.opcode, end - start, out);
        let header_len = out.len() - end;
        out[start..].rotate_right(header_len);
        true
    }

    /// Appends what `payload` becomes, if that is shorter; else nothing, and returns `false`.
    pub fn deflate(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        if std::mem::take(&mut self.is_stale) {
            self.stream.reset();
        }
        let start = out.len();
        let is_shorter = self.append_shorter(payload, out);
        if !is_shorter {
            out.truncate(start);
        }
        self.is_stale = !is_shorter || self.context == Context::Dropped;
        is_shorter
    }

    fn append_shorter(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let mut rest = payload;
        loop {
            let at = out.len();
            let room = (rest.len() / 4).clamp(LEAST_ROOM, MOST_ROOM);
            out.resize(at + room, 0);
            let (in_before, out_before) = (self.stream.total_in(), self.stream.total_out());
            let result = self
                .stream
                .compress(rest, &mut out[at..], DeflateFlush::SyncFlush);
            let made = (self.stream.total_out() - out_before) as usize;
            let taken = (self.stream.total_in() - in_before) as usize;
            out.truncate(at + made);
            rest = rest.get(taken..).unwrap_or_default();
            if result.is_err() || out.len() - start >= payload.len() + TAIL.len() {
                return false;
            }
            if made < room {
                break;
            }
        }
        let is_flushed = rest.is_empty() && out.ends_with(TAIL);
        out.truncate(out.len().saturating_sub(TAIL.len()).max(start));
        is_flushed
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater")
            .field("window_bits", &self.window_bits)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

/// Makes room behind what `out` holds: up to one byte beyond the limit, to see that it is passed.
/// The buffer grows by doubling, but not past that either.
fn free_capacity(out: &mut Vec<u8>, input_len: usize, max_bytes: usize) -> usize {
    let most = max_bytes.saturating_add(1).saturating_sub(out.len());
    let room = (input_len.saturating_mul(4))
        .clamp(LEAST_ROOM, MOST_ROOM)
        .min(most);
    if out.capacity() - out.len() < room {
        out.reserve_exact(out.len().max(room).min(most));
    }
    out.resize(out.len() + room, 0);
    room
}

/// Most bytes that a message may refer back to (RFC 7692 §7.1.2).
const MAX_WINDOW_BYTES: usize = 1 << MAX_WINDOW_BITS;

/// End of each message's last, empty block, which is not sent (§7.2.1).
const TAIL: &[u8] = &[0x00, 0x00, 0xFF, 0xFF];

/// A block that becomes nothing may bring tables of codes, which take as long to be made as eight
/// times its bytes to be inflated. JSON becomes four to ten times as long.
const LEAST_BYTES_PER_BYTE: usize = 8;

/// What it takes to fill the window, in the same measure.
const WINDOW_EFFORT_BYTES: usize = 1 << 10;

/// BFINAL, fixed Huffman codes, end of block (RFC 1951 §3.2.6).
const EMPTY_LAST_BLOCK: &[u8] = &[0x03, 0x00];

/// Steps in which output is made: what a short message needs, and what stays in the cache while it
/// is looked at.
const LEAST_ROOM: usize = 512;
const MOST_ROOM: usize = 32 << 10;

/// zlib's memLevel. Measured against its default of 8: 100 KB less for each compressor, and nothing
/// lost in size or time.
const MEM_LEVEL: i32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    /// Text as a page sends it: repetitive, but not too much.
    fn json(len: usize) -> Vec<u8> {
        let item = |i: usize| format!(r#"{{"id":{i},"price":{}}},"#, i * 7919 % 10_007);
        let items = (0..).flat_map(|i| item(i).into_bytes());
        items.take(len).collect()
    }

    /// Bytes that do not get shorter.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    fn deflated(bits: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(Deflater::new(bits, 6, Context::Dropped).deflate(payload, &mut out));
        out
    }

    /// Feeds one message in these pieces.
    fn inflate(
        inflater: &mut Inflater,
        pieces: &[&[u8]],
        max_bytes: usize,
    ) -> Result<Vec<u8>, Violation> {
        let mut out = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while inflater.inflate(&mut input, max_bytes, &mut out)? {}
            assert!(input.is_empty());
        }
        inflater.end_message(max_bytes, &mut out)?;
        Ok(out)
    }

    fn inflate_whole(payload: &[u8]) -> Result<Vec<u8>, Violation> {
        inflate(&mut Inflater::new(Context::Dropped), &[payload], LIMIT)
    }

    #[test]
    fn the_examples_of_rfc_7692_7_2_3() {
        let mut inflater = Inflater::new(Context::Kept);
        let cases: [(&str, &[u8], &[u8]); 8] = [
            ("one block", b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"Hello"),
            (
                "with the context of the first",
                b"\xf2\x00\x11\x00\x00",
                b"Hello",
            ),
            (
                "a stored block",
                b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
                b"Hello",
            ),
            (
                "a block marked as the last",
                b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
                b"Hello",
            ),
            (
                "two blocks",
                b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
                b"Hello",
            ),
            ("an empty message", b"\x00", b""),
            ("a message of no bytes", b"", b""),
            (
                "a last block and nothing behind it",
                b"\xf3\x48\xcd\xc9\xc9\x07\x00",
                b"Hello",
            ),
        ];
        for (name, payload, expected) in cases {
            assert_eq!(
                inflate(&mut inflater, &[payload], LIMIT).as_deref(),
                Ok(expected),
                "{name}"
            );
        }
        let without = inflate_whole(b"\xf2\x00\x11\x00\x00");
        assert_eq!(without, Err(Violation::CorruptDeflate), "no context");
    }

    #[test]
    fn one_inflater_serves_peers_that_each_keep_their_context() {
        let mut shared = Inflater::new(Context::Dropped);
        let mut peers: Vec<_> = [9, 12, 15]
            .map(|bits| (Deflater::new(bits, 6, Context::Kept), History::default()))
            .into();
        let lens = [300, 40, 5000, 33_000, 100_000, 32_768, 70, 32_767, 1];
        for (round, len) in lens.iter().cycle().take(27).enumerate() {
            for (index, (deflater, history)) in peers.iter_mut().enumerate() {
                let message = json(len + 50 * index).split_off(index);
                let mut payload = Vec::new();
                if !deflater.deflate(&message, &mut payload) {
                    continue;
                }
                shared.recall(std::mem::take(history));
                let (left, right) = payload.split_at(payload.len() / 2);
                let back = inflate(&mut shared, &[left, right], LIMIT);
                assert!(back.as_ref() == Ok(&message), "{round}: {index}");
                *history = shared.take_history();
                assert!(history.held_bytes() <= MAX_WINDOW_BYTES);
            }
        }
        // Nobody else's messages are referred to.
        let (deflater, _) = &mut peers[0];
        let mut payload = Vec::new();
        for _ in 0..2 {
            payload.clear();
            assert!(deflater.deflate(&json(300), &mut payload));
        }
        let without = inflate(&mut shared, &[&payload], LIMIT);
        assert_eq!(without, Err(Violation::CorruptDeflate));
    }

    #[test]
    fn a_history_holds_no_more_than_was_said_and_no_more_than_a_window() {
        let mut history = History::default();
        let mut all = Vec::new();
        for len in [0, 10, 100, 0, 20_000, 20_000, 5, 32_768, 7, 40_000, 32_760] {
            let message = noise(len);
            all.extend_from_slice(&message);
            history.push(&message);
            assert_eq!(history.bytes, last(&all, MAX_WINDOW_BYTES));
            let most = (2 * all.len()).min(MAX_WINDOW_BYTES);
            assert!(
                history.held_bytes() <= most,
                "{len}: {}",
                history.held_bytes()
            );
        }
    }

    #[test]
    fn a_block_that_is_marked_as_the_last_ends_no_context() {
        // "Hello" in a last block, then a reference to it, in the same message and in the next.
        let hello = b"\xf3\x48\xcd\xc9\xc9\x07\x00";
        let again = b"\xf2\x00\x11\x00\x00";
        for context in [Context::Kept, Context::Dropped] {
            let mut inflater = Inflater::new(context);
            let message = [&hello[..], again].concat();
            for cut in 0..=message.len() {
                let (left, right) = message.split_at(cut);
                let back = inflate(&mut inflater, &[left, right], LIMIT);
                assert_eq!(back.as_deref(), Ok(&b"HelloHello"[..]), "{cut}");
            }
        }
        let mut inflater = Inflater::new(Context::Kept);
        for payload in [&hello[..], again] {
            let back = inflate(&mut inflater, &[payload], LIMIT);
            assert_eq!(back.as_deref(), Ok(&b"Hello"[..]));
        }
    }

    #[test]
    fn a_message_that_ends_inside_a_block_is_corrupt_at_once() {
        let payload = deflated(15, &json(500));
        for context in [Context::Kept, Context::Dropped] {
            let mut inflater = Inflater::new(context);
            let cut = &payload[..payload.len() - 2];
            let result = inflate(&mut inflater, &[cut], LIMIT);
            assert_eq!(result, Err(Violation::CorruptDeflate), "{context:?}");
        }
    }

    #[test]
    fn messages_come_back_at_every_window_and_level() {
        let messages = [json(20), json(1000), json(100_000), vec![0; 40_000]];
        for bits in MIN_WINDOW_BITS..=MAX_WINDOW_BITS {
            for level in [1, 2, 6, 9] {
                for context in [Context::Kept, Context::Dropped] {
                    let mut deflater = Deflater::new(bits, level, context);
                    let mut inflater = Inflater::new(context);
                    for message in messages.iter().chain(&messages) {
                        let mut out = b"before".to_vec();
                        let is_shorter = deflater.deflate(message, &mut out);
                        assert_eq!(is_shorter, out.len() > 6, "{bits} {level} {context:?}");
                        let Some(payload) = out.get(6..).filter(|_| is_shorter) else {
                            continue;
                        };
                        let back = inflate(&mut inflater, &[payload], LIMIT);
                        assert!(
                            back.as_ref() == Ok(message),
                            "{bits} {level} {context:?} {}",
                            message.len()
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_small_window_is_kept_to() {
        // Repeats at a distance of 600 bytes, which a window of 512 does not reach.
        let message = noise(600).repeat(10);
        let mut out = Vec::new();
        assert!(!Deflater::new(9, 9, Context::Dropped).deflate(&message, &mut out));
        assert!(out.is_empty());
        let len = deflated(10, &message).len();
        assert!(len < 2000, "{len}");
    }

    #[test]
    fn context_makes_the_second_of_equal_messages_short() {
        let message = json(300);
        for (context, expected) in [(Context::Kept, 1..30), (Context::Dropped, 60..300)] {
            let mut deflater = Deflater::new(12, 2, context);
            let (mut first, mut second) = (Vec::new(), Vec::new());
            assert!(deflater.deflate(&message, &mut first));
            assert!(deflater.deflate(&message, &mut second));
            assert!(expected.contains(&second.len()), "{}", second.len());
        }
    }

    #[test]
    fn pieces_equal_the_whole_at_every_split() {
        let message = json(500);
        let payload = deflated(12, &message);
        for a in 0..=payload.len() {
            for b in [a, (a + payload.len()) / 2, payload.len()] {
                let pieces = [&payload[..a], &payload[a..b], &payload[b..]];
                for context in [Context::Kept, Context::Dropped] {
                    let mut inflater = Inflater::new(context);
                    let back = inflate(&mut inflater, &pieces, LIMIT);
                    assert_eq!(back.as_ref(), Ok(&message), "{a} {b}");
                }
            }
        }
        let bytes: Vec<&[u8]> = payload.chunks(1).collect();
        let mut inflater = Inflater::new(Context::Dropped);
        assert_eq!(inflate(&mut inflater, &bytes, LIMIT), Ok(message));
    }

    #[test]
    fn the_limit_counts_what_comes_out() {
        for len in [1000, MOST_ROOM, LIMIT] {
            let message = json(len);
            let payload = deflated(15, &message);
            for (max_bytes, expected) in [
                (len - 1, Err(Violation::MessageTooBig)),
                (len, Ok(message.clone())),
                (len + 1, Ok(message.clone())),
            ] {
                let mut inflater = Inflater::new(Context::Dropped);
                let back = inflate(&mut inflater, &[&payload], max_bytes);
                assert!(back == expected, "{len} of {max_bytes}");
            }
        }
    }

    #[test]
    fn a_bomb_costs_no_more_memory_than_the_limit() {
        let bomb = deflated(15, &vec![0; 20 << 20]);
        assert!(bomb.len() < 22_000, "{}", bomb.len());
        for max_bytes in [0, 1, 1000, 100_000, 16 << 20] {
            for piece_len in [bomb.len(), 1000] {
                let mut inflater = Inflater::new(Context::Dropped);
                let mut out = Vec::new();
                let fed = bomb.chunks(piece_len).try_for_each(|mut piece| {
                    while inflater.inflate(&mut piece, max_bytes, &mut out)? {}
                    Ok(())
                });
                assert_eq!(fed, Err(Violation::MessageTooBig));
                assert_eq!(out.len(), max_bytes + 1);
                assert!(out.capacity() <= max_bytes + 1, "{}", out.capacity());
            }
        }
    }

    #[test]
    fn what_is_not_deflate_is_told() {
        let whole = deflated(15, &json(1000));
        let mut cases: Vec<(String, Vec<u8>)> = vec![
            ("a reserved block type".into(), b"\x07".to_vec()),
            (
                "lengths that differ".into(),
                b"\x00\x01\x00\x00\x00a".to_vec(),
            ),
            (
                "a stored block cut".into(),
                b"\x00\x05\x00\xfa\xffHel".to_vec(),
            ),
            (
                "a distance before the start".into(),
                b"\x62\x04\x22\x00\x00".to_vec(),
            ),
            ("zlib's header".into(), [b"\x78\x9c", &*whole].concat()),
            ("text".into(), b"{\"opcode\":\"echo\"}".to_vec()),
            ("noise behind the end".into(), [&*whole, b"\x06"].concat()),
        ];
        // Without its last byte, which holds nothing but the start of the empty block, a message
        // may still be one.
        cases
            .extend((1..whole.len() - 2).map(|len| (format!("cut at {len}"), whole[..len].into())));
        for (name, payload) in cases {
            assert_eq!(
                inflate_whole(&payload),
                Err(Violation::CorruptDeflate),
                "{name}"
            );
        }
    }

    #[test]
    fn every_flipped_bit_ends_in_a_verdict() {
        let message = json(200);
        let payload = deflated(15, &message);
        for bit in 0..payload.len() * 8 {
            let mut bad = payload.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            match inflate(&mut Inflater::new(Context::Dropped), &[&bad], 10_000) {
                Ok(out) => assert!(out.len() <= 10_000),
                Err(Violation::CorruptDeflate | Violation::MessageTooBig) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn an_inflater_without_context_forgets_a_message() {
        let mut inflater = Inflater::new(Context::Dropped);
        let payload = deflated(15, &json(300));
        for _ in 0..3 {
            assert_eq!(inflate(&mut inflater, &[&payload], LIMIT), Ok(json(300)));
        }
        let refers_back = b"\xf2\x00\x11\x00\x00";
        let result = inflate(&mut inflater, &[refers_back], LIMIT);
        assert_eq!(result, Err(Violation::CorruptDeflate));
    }

    #[test]
    fn what_does_not_get_shorter_is_not_deflated() {
        for context in [Context::Kept, Context::Dropped] {
            let mut deflater = Deflater::new(15, 6, context);
            let mut inflater = Inflater::new(context);
            for message in [
                vec![],
                b"x".to_vec(),
                noise(2000).split_off(1000),
                noise(100_000).split_off(2000),
            ] {
                let mut out = b"before".to_vec();
                assert!(!deflater.deflate(&message, &mut out), "{}", message.len());
                assert_eq!(out, b"before");
                // What was tried in vain is not referred to.
                let message = [&*noise(1000), &*json(1000)].concat();
                assert!(deflater.deflate(&message, &mut out));
                let back = inflate(&mut inflater, &[&out[6..]], LIMIT);
                assert_eq!(back, Ok(message));
            }
        }
    }

    #[test]
    fn a_deflater_that_forgets_refers_to_nothing_before() {
        let message = json(300);
        let mut deflater = Deflater::new(12, 2, Context::Kept);
        let mut out = Vec::new();
        assert!(deflater.deflate(&message, &mut out));
        deflater.forget();
        out.clear();
        assert!(deflater.deflate(&message, &mut out));
        assert_eq!(inflate_whole(&out), Ok(message));
    }

    #[test]
    fn frames_keep_their_opcode_and_get_a_header_that_fits() {
        for (opcode, len) in [
            (Opcode::Text, 200),
            (Opcode::Binary, 1000),
            (Opcode::Text, 70_000),
            (Opcode::Binary, 1_000_000),
        ] {
            let message = json(len);
            let (mut plain, mut out) = (Vec::new(), b"before".to_vec());
            frame::encode(opcode, &message, &mut plain);
            assert!(Deflater::new(15, 2, Context::Dropped).deflate_frame(&plain, &mut out));
            let (header, payload_at) =
                Header::parse(&out[6..], Role::Client, Rsv1::MarksCompressed)
                    .unwrap()
                    .unwrap();
            let payload = &out[6 + payload_at..];
            assert_eq!(
                (header.fin, header.rsv1, header.opcode),
                (true, true, opcode)
            );
            assert_eq!(header.payload_len, payload.len() as u64);
            assert!(inflate_whole(payload) == Ok(message));
        }
        let mut ping = Vec::new();
        frame::encode(Opcode::Ping, &[0; 100], &mut ping);
        let mut out = Vec::new();
        assert!(!Deflater::new(15, 2, Context::Dropped).deflate_frame(&ping, &mut out));
        assert!(!Deflater::new(15, 2, Context::Dropped).deflate_frame(b"", &mut out));
        assert!(out.is_empty());
    }

    #[test]
    fn a_stream_that_begins_inside_a_message_refers_to_all_that_the_window_holds() {
        let (mut deflater, noise) = (Deflater::new(15, 6, Context::Kept), noise(50_000));
        let (said, begun) = noise.split_at(30_000);
        let rest = [&said[20_000..], begun].concat();
        let mut payload_of = |message: &[u8]| {
            let mut out = Vec::new();
            // What does not get shorter by itself.
            let padded = [message, &[b' '; 1_000]].concat();
            assert!(deflater.deflate(&padded, &mut out));
            (padded, out)
        };
        let (said, first) = payload_of(said);
        let (begun, begin) = payload_of(begun);
        let (rest, end) = payload_of(&rest);
        assert!(end.len() < 1_000, "it refers to both");
        let second = [&begin, TAIL, EMPTY_LAST_BLOCK, &end].concat();
        let second_message = [begun, rest].concat();
        for len in [1, 100, 70_000] {
            let mut inflater = Inflater::new(Context::Kept);
            assert_eq!(inflate(&mut inflater, &[&first], LIMIT), Ok(said.clone()));
            let pieces: Vec<&[u8]> = second.chunks(len).collect();
            assert!(inflate(&mut inflater, &pieces, LIMIT).as_ref() == Ok(&second_message));
        }
    }
}
