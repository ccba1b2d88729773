//! What a connection keeps while something of a frame or a message is still to come.

use crate::base::time::MonotonicTime;
use crate::protocol::error::Violation;
use crate::protocol::frame::{self, Header, MAX_CONTROL_BYTES, MAX_HEADER_BYTES, Role, Rsv1};
use crate::protocol::mask;
use crate::protocol::message::{Assembler, BLOCK_BYTES};

/// The unfinished rest of what has arrived: at most a part of one header, a part of one frame's
/// payload, and the fragments of one message.
#[derive(Debug)]
pub(super) struct Inbound {
    header: [u8; MAX_HEADER_BYTES],
    header_len: u8,
    /// The frame whose payload is not complete.
    pub(super) frame: Option<PartialFrame>,
    /// The message of which a fragment has begun.
    pub(super) message: Option<Assembler>,
    /// Payload of the unfinished control frame.
    pub(super) control: Vec<u8>,
    /// When progress was last judged, and the bytes that the message has gained since. Control
    /// frames and headers are none: they may go on for ever.
    pub(super) judged: MonotonicTime,
    pub(super) progress: usize,
}

/// A frame whose header is complete and whose payload is not.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartialFrame {
    pub(super) header: Header,
    /// Bytes of payload that have arrived.
    arrived: u64,
}

impl Inbound {
    pub(super) fn new(now: MonotonicTime) -> Self {
        Self {
            header: [0; MAX_HEADER_BYTES],
            header_len: 0,
            frame: None,
            message: None,
            control: Vec::new(),
            judged: now,
            progress: 0,
        }
    }

    /// Whether a header has begun and is not complete.
    pub(super) fn has_kept_header(&self) -> bool {
        self.header_len > 0
    }

    /// Whether nothing is unfinished.
    pub(super) fn is_done(&self) -> bool {
        self.header_len == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// Bytes of memory held.
    pub(super) fn held_bytes(&self) -> usize {
        size_of::<Self>()
            + self.control.capacity()
            + self.message.as_ref().map_or(0, Assembler::held_bytes)
    }

    /// Keeps the start of a header that `input` does not complete.
    pub(super) fn keep_header(&mut self, input: &[u8]) {
        let len = input.len().min(MAX_HEADER_BYTES);
        self.header[..len].copy_from_slice(&input[..len]);
        self.header_len = len as u8;
    }

    /// Completes a kept header with bytes of `input`: the header and how many bytes it took.
    pub(super) fn complete_header(
        &mut self,
        input: &[u8],
        rsv1: Rsv1,
    ) -> Result<Option<(Header, usize)>, Violation> {
        let kept = usize::from(self.header_len);
        let added = input.len().min(MAX_HEADER_BYTES - kept);
        self.header[kept..kept + added].copy_from_slice(&input[..added]);
        match Header::parse(&self.header[..kept + added], Role::Server, rsv1)? {
            Some((header, len)) => {
                self.header_len = 0;
                Ok(Some((header, len.saturating_sub(kept))))
            }
            None => {
                self.header_len = (kept + added) as u8;
                Ok(None)
            }
        }
    }

    /// Begins the payload of a frame.
    pub(super) fn begin(&mut self, header: Header) {
        self.frame = Some(PartialFrame { header, arrived: 0 });
    }

    /// Unmasks and keeps the next bytes of the frame's payload, and returns how many: fewer than
    /// there are only when `inflate_budget_bytes` is spent by inflating a compressed message.
    pub(super) fn push(
        &mut self,
        piece: &mut [u8],
        inflate_budget_bytes: &mut usize,
    ) -> Result<usize, Violation> {
        let Some(frame) = &mut self.frame else {
            return Ok(0);
        };
        let header = frame.header;
        let is_inflating = self.message.as_ref().is_some_and(Assembler::is_inflating);
        let is_inflating = is_inflating && !header.opcode.is_control();
        let block_bytes = if is_inflating {
            INFLATE_BLOCK_BYTES
        } else {
            BLOCK_BYTES
        };
        let mut taken_len = 0;
        for block in piece.chunks_mut(block_bytes) {
            if is_inflating && *inflate_budget_bytes == 0 {
                break;
            }
            mask::apply(header.masking_key, (frame.arrived % 4) as usize, block);
            frame.arrived += block.len() as u64;
            taken_len += block.len();
            if header.opcode.is_control() {
                let free_len = MAX_CONTROL_BYTES.saturating_sub(self.control.len());
                self.control
                    .extend_from_slice(&block[..block.len().min(free_len)]);
            } else if let Some(message) = &mut self.message {
                message.push(block)?;
                self.progress += block.len();
                *inflate_budget_bytes = inflate_budget_bytes.saturating_sub(message.take_effort());
            }
        }
        Ok(taken_len)
    }

    /// Room for the next `len` bytes of the frame's payload, where they will stay: see
    /// [`Assembler::payload_buffer`].
    pub(super) fn payload_buffer(&mut self, len: usize) -> Option<&mut [u8]> {
        self.message.as_mut()?.payload_buffer(len)
    }

    /// As [`push`](Self::push), for the first `len` bytes of that buffer.
    pub(super) fn fill_payload_buffer(&mut self, len: usize) -> Result<Option<Header>, Violation> {
        let (Some(frame), Some(message)) = (&mut self.frame, &mut self.message) else {
            return Ok(None);
        };
        message.fill_payload_buffer(len, |block| {
            mask::apply(
                frame.header.masking_key,
                (frame.arrived % 4) as usize,
                block,
            );
            frame.arrived += block.len() as u64;
        })?;
        self.progress += len;
        Ok(self.ended_frame())
    }

    /// The header of the frame, once its payload is complete.
    pub(super) fn ended_frame(&mut self) -> Option<Header> {
        let is_complete = |frame: &mut PartialFrame| frame.arrived >= frame.header.payload_len;
        self.frame.take_if(is_complete).map(|frame| frame.header)
    }

    /// What the frame that has begun still lacks, or what has to come at least before the payload of
    /// the message's next one does; never 0.
    pub(super) fn wanted_bytes(&self) -> usize {
        if self.frame.is_some() {
            return usize::try_from(self.missing()).unwrap_or(usize::MAX).max(1);
        }
        let kept = &self.header[..usize::from(self.header_len)];
        frame::header_bytes_wanted(kept).max(1)
    }

    /// Bytes of payload that the unfinished frame still lacks.
    pub(super) fn missing(&self) -> u64 {
        self.frame
            .map_or(0, |frame| frame.header.payload_len - frame.arrived)
    }
}

/// Compressed payload is inflated in pieces of this size, which become 264 KB at most (DEFLATE makes
/// no more than 1,032 bytes of one): so finely can a turn's share be kept.
const INFLATE_BLOCK_BYTES: usize = 256;
