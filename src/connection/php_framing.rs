//! The shapes and gaps that deployed PHP clients need to read every frame (protocol.md §6).
//!
//! They read in fixed steps and throw away what lies behind the first frame of a step, so a frame
//! fills its step with blanks after the JSON, and the next one comes a moment later.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::time::MonotonicTime;
use crate::base::{BadRecord, Record, RecordWriter, free};
use crate::protocol::frame::{self, Header, Opcode, Role, Rsv1};

/// How frames to one peer are shaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhpFraming {
    /// Frames follow each other as a stream, as RFC 6455 has it.
    Stream,
    /// protocol.md 6.1, loopback and Unix sockets: the 101 and the first frame fill 1024 bytes each,
    /// later ones multiples of 8192, one write each.
    Padded,
    /// protocol.md 6.3, plain TCP from elsewhere: the 101 and the first frame fill 1024 bytes each,
    /// later ones are sent as they are, one write each.
    Spaced,
    /// protocol.md 6.2, TLS: one record for each.
    Records,
}

/// Frames to a peer that needs them one by one: those that wait for their shape, in which shape
/// the next one leaves, and when.
///
/// They wait as they are and are shaped when their turn comes, so that a queue of small ones does
/// not fill with blanks.
#[derive(Debug)]
pub(super) struct PhpFramer {
    framing: PhpFraming,
    is_opening: bool,
    next_write: Option<MonotonicTime>,
    waiting: VecDeque<WaitingFrame>,
    waiting_bytes: usize,
    /// The next frame that is pushed is the answer to what the client has sent last.
    expects_answer: bool,
    /// The frame that is leaving is such an answer.
    is_answer: bool,
    /// The frame that has left last was one.
    was_answer: bool,
    /// Frames that have left and may not have been read yet.
    unread_count: u32,
}

/// A plain frame that waits for its shape.
#[derive(Debug)]
struct WaitingFrame {
    bytes: Vec<u8>,
    is_answer: bool,
}

impl PhpFramer {
    /// `None` for a peer that reads a stream.
    pub(super) fn new(framing: PhpFraming) -> Option<Box<Self>> {
        (framing != PhpFraming::Stream).then(|| {
            Box::new(Self {
                framing,
                is_opening: true,
                next_write: None,
                waiting: VecDeque::new(),
                waiting_bytes: 0,
                expects_answer: false,
                is_answer: false,
                was_answer: false,
                unread_count: 0,
            })
        })
    }

    /// Length that the 101 is padded to, in bytes.
    pub(super) fn opening_len(&self) -> Option<usize> {
        match self.framing {
            PhpFraming::Stream | PhpFraming::Records => None,
            PhpFraming::Padded | PhpFraming::Spaced => Some(OPENING_STEP),
        }
    }

    /// Takes an unmasked frame that is to leave after those before it.
    pub(super) fn push(&mut self, plain_frame: Vec<u8>) {
        self.waiting_bytes += plain_frame.len();
        self.waiting.push_back(WaitingFrame {
            bytes: plain_frame,
            is_answer: std::mem::take(&mut self.expects_answer),
        });
    }

    /// What is pushed next is what the client waits for: its `ready`, or a message's `next`.
    pub(super) fn expect_answer(&mut self) {
        self.expects_answer = true;
    }

    /// The client has spoken. If nothing but the answer that it had waited for has left since, it
    /// has read that, and the next frame needs no gap (protocol.md 6.1).
    pub(super) fn client_spoke(&mut self) {
        if self.was_answer && self.unread_count <= 1 {
            self.unread_count = 0;
            self.next_write = None;
        }
    }

    /// The next frame, in the shape that the peer needs.
    pub(super) fn next_frame(&mut self) -> Option<Vec<u8>> {
        let WaitingFrame {
            bytes: plain_frame,
            is_answer,
        } = self.waiting.pop_front()?;
        self.is_answer = is_answer;
        self.waiting_bytes -= plain_frame.len();
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        let step = match (self.framing, std::mem::take(&mut self.is_opening)) {
            (PhpFraming::Padded | PhpFraming::Spaced, true) => OPENING_STEP,
            (PhpFraming::Padded, false) => STEP,
            (PhpFraming::Spaced, false) | (PhpFraming::Stream | PhpFraming::Records, _) => 1,
        };
        Some(reshape(plain_frame, step))
    }

    /// Whether the next frame is the first one and may leave together with the 101 (protocol.md 6,
    /// table).
    pub(super) fn joins_opening(&self) -> bool {
        self.is_opening && self.opening_len().is_some()
    }

    /// Bytes of the frames that wait for their shape, and what it costs to keep them apart.
    pub(super) fn weight(&self) -> usize {
        self.waiting_bytes + self.waiting.len() * size_of::<WaitingFrame>()
    }

    /// Bytes of the frames that wait for their shape.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Bytes of heap memory that the frames hold that wait.
    pub(super) fn held_bytes(&self) -> usize {
        self.waiting_bytes + self.waiting.capacity() * size_of::<WaitingFrame>()
    }

    /// Drops the frames that wait.
    pub(super) fn clear(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().for_each(|frame| free(frame.bytes));
        self.waiting_bytes = 0;
    }

    /// Whether the next frame may leave at `now`.
    pub(super) fn is_due(&self, now: MonotonicTime) -> bool {
        self.next_write.is_none_or(|due| due <= now)
    }

    /// When the next frame may leave; `None`: at any time.
    pub(super) fn next_write(&self) -> Option<MonotonicTime> {
        self.next_write
    }

    /// What it knows of what has left, for [`take_over`](Self::take_over). To be called while
    /// nothing waits.
    pub(super) fn hand_over(&self, now: MonotonicTime) -> Vec<u8> {
        let mut record = RecordWriter::default();
        record.put_number(FRAMING, u64::from(number_of(self.framing)));
        record.put_number(IS_OPENING, u64::from(self.is_opening));
        if let Some(next_write) = self.next_write {
            record.put_duration(GAP_LEFT, next_write - now);
        }
        record.put_number(WAS_ANSWER, u64::from(self.was_answer));
        record.put_number(UNREAD_COUNT, u64::from(self.unread_count));
        record.into_bytes()
    }

    /// What another process has handed over.
    pub(super) fn take_over(mut record: Record<'_>, now: MonotonicTime) -> Result<Self, BadRecord> {
        let framing = record.number(FRAMING)?;
        let framer = Self {
            framing: framing_of(framing).ok_or(BadRecord::Value(FRAMING))?,
            is_opening: record.flag(IS_OPENING)?,
            // No gap is longer; whoever says so is not believed.
            next_write: record
                .duration_if(GAP_LEFT)?
                .map(|left| now + left.min(REMOTE_GAP)),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            expects_answer: false,
            is_answer: false,
            was_answer: record.flag(WAS_ANSWER)?,
            unread_count: record.number(UNREAD_COUNT)?,
        };
        record.end()?;
        Ok(framer)
    }

    /// A frame has left as a whole.
    pub(super) fn frame_left(&mut self, now: MonotonicTime) {
        self.was_answer = self.is_answer;
        // What has had its gap has been read, if the client reads at all.
        let is_read = self.next_write.is_some_and(|due| due <= now) && self.unread_count <= 1;
        self.unread_count = if is_read { 1 } else { self.unread_count + 1 };
        let gap = match self.framing {
            PhpFraming::Stream | PhpFraming::Records => return,
            PhpFraming::Padded if self.unread_count <= WINDOW_FRAMES => LOCAL_GAP,
            PhpFraming::Padded => WINDOW_GAP,
            PhpFraming::Spaced => REMOTE_GAP,
        };
        self.next_write = Some(now + gap);
    }
}

/// How a framing is named where it is handed over.
fn number_of(framing: PhpFraming) -> u8 {
    match framing {
        PhpFraming::Stream => 0,
        PhpFraming::Padded => 1,
        PhpFraming::Spaced => 2,
        PhpFraming::Records => 3,
    }
}

fn framing_of(number: u8) -> Option<PhpFraming> {
    let known = [
        PhpFraming::Stream,
        PhpFraming::Padded,
        PhpFraming::Spaced,
        PhpFraming::Records,
    ];
    known
        .into_iter()
        .find(|framing| number_of(*framing) == number)
}

const FRAMING: u8 = 1;
const IS_OPENING: u8 = 2;
const GAP_LEFT: u8 = 3;
const WAS_ANSWER: u8 = 4;
const UNREAD_COUNT: u8 = 5;

impl Drop for PhpFramer {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A text frame filled to a multiple of `step`; any other as it is.
fn reshape(plain_frame: Vec<u8>, step: usize) -> Vec<u8> {
    match Header::parse(&plain_frame, Role::Client, Rsv1::Forbidden) {
        Ok(Some((header, len))) if header.opcode == Opcode::Text && step > 1 => {
            let padded = padded_frame(plain_frame.get(len..).unwrap_or_default(), step);
            free(plain_frame);
            padded
        }
        _ => plain_frame,
    }
}

/// What deployed PHP clients read for the 101 and for `ready`, in bytes (protocol.md §6).
const OPENING_STEP: usize = 1024;

/// What they read for each later frame, in bytes (protocol.md §6).
const STEP: usize = 8192;

/// Least time between two frames on loopback (protocol.md 6.1).
const LOCAL_GAP: Duration = Duration::from_micros(200);

/// As many frames as the kernel's receive window surely takes before the client has read any.
const WINDOW_FRAMES: u32 = 4;

/// Least time between two frames behind those. At 0.2 ms a script that read only after 200 frames
/// had been sent got 27 of them whole: the receive window had not grown with them and cut one; at a
/// millisecond it got all 200.
const WINDOW_GAP: Duration = Duration::from_millis(1);

/// Least time between two frames from elsewhere (protocol.md 6.3).
const REMOTE_GAP: Duration = Duration::from_millis(2);

/// A text frame whose total length is a multiple of `step`, filled with blanks after the text.
fn padded_frame(text: &[u8], step: usize) -> Vec<u8> {
    let mut total = (frame::header_len(text.len()) + text.len()).next_multiple_of(step);
    let payload_len = loop {
        let payload_len = payload_len_of(total);
        if payload_len >= text.len() {
            break payload_len;
        }
        total += step;
    };
    let mut out = Vec::with_capacity(total);
    frame::encode_header(true, Opcode::Text, payload_len, &mut out);
    out.extend_from_slice(text);
    out.resize(total, b' ');
    out
}

/// Payload of an unmasked frame of `total` bytes, for totals over 127.
fn payload_len_of(total: usize) -> usize {
    if total - 4 <= 0xFFFF {
        total - 4
    } else {
        total - 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_fill_whole_steps_and_keep_their_text() {
        for step in [OPENING_STEP, STEP] {
            for len in (0..=300)
                .chain(1010..1030)
                .chain(8180..8200)
                .chain(65_500..65_560)
                .chain([200_000])
            {
                let text = vec![b'x'; len];
                let padded = padded_frame(&text, step);
                assert_eq!(padded.len() % step, 0, "{len} to {step}");
                assert!(padded.len() < len + 10 + 2 * step);
                let (header, start) = Header::parse(&padded, Role::Client, Rsv1::Forbidden)
                    .unwrap()
                    .unwrap();
                assert_eq!(header.payload_len as usize, padded.len() - start);
                assert_eq!(&padded[start..start + len], text);
                assert!(padded[start + len..].iter().all(|byte| *byte == b' '));
            }
        }
    }

    #[test]
    fn the_first_frame_fills_the_first_step_and_later_ones_the_next() {
        let mut plain = Vec::new();
        frame::encode(Opcode::Text, b"{}", &mut plain);
        let mut pace = PhpFramer::new(PhpFraming::Padded).unwrap();
        assert_eq!(pace.opening_len(), Some(1024));
        assert!(pace.joins_opening());
        (0..2).for_each(|_| pace.push(plain.clone()));
        assert_eq!(pace.next_frame().map(|frame| frame.len()), Some(1024));
        assert!(!pace.joins_opening());
        assert_eq!(pace.next_frame().map(|frame| frame.len()), Some(8192));
        assert_eq!(pace.next_frame(), None);

        let mut spaced = PhpFramer::new(PhpFraming::Spaced).unwrap();
        (0..2).for_each(|_| spaced.push(plain.clone()));
        assert_eq!(spaced.next_frame().map(|frame| frame.len()), Some(1024));
        assert_eq!(spaced.next_frame(), Some(plain));
    }

    #[test]
    fn binary_frames_are_never_padded() {
        let mut plain = Vec::new();
        frame::encode(Opcode::Binary, b"\0\x01", &mut plain);
        let mut pace = PhpFramer::new(PhpFraming::Padded).unwrap();
        pace.push(plain.clone());
        assert_eq!(pace.next_frame(), Some(plain));
    }

    #[test]
    fn waiting_frames_count_as_they_are() {
        let mut plain = Vec::new();
        frame::encode(Opcode::Text, b"{}", &mut plain);
        let mut pace = PhpFramer::new(PhpFraming::Padded).unwrap();
        (0..100).for_each(|_| pace.push(plain.clone()));
        assert_eq!(pace.waiting_bytes(), 100 * plain.len());
        assert!(pace.weight() < 100 * 64, "{}", pace.weight());
        while pace.next_frame().is_some() {}
        assert_eq!((pace.waiting_bytes(), pace.weight()), (0, 0));
        assert_eq!(pace.held_bytes(), 0);
    }

    #[test]
    fn a_frame_waits_for_the_gap() {
        let now = MonotonicTime::START;
        let mut pace = PhpFramer::new(PhpFraming::Padded).unwrap();
        assert!(pace.is_due(now));
        pace.frame_left(now);
        assert!(!pace.is_due(now + Duration::from_micros(199)));
        assert!(pace.is_due(now + Duration::from_micros(200)));
    }
}
