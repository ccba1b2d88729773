//! What waits to leave: queued, shaped, lent, written and counted.

use std::io::IoSlice;

use super::connection::Connection;
use super::event::{Outgoing, SendError};
use super::limits::{Limits, TurnContext};
use super::output::BufferPool;
use super::state::{Liveness, State};
use crate::base::time::MonotonicTime;
use crate::protocol::close;
use crate::protocol::close_code::CloseCode;
use crate::protocol::frame::{self, Opcode};
use crate::protocol::message::AssembledMessage;

impl Connection {
    /// Queues a frame as it is. A compressed one must be for a peer whose
    /// [`window_bits`](Self::window_bits) are no fewer, and must not refer to messages before it.
    pub fn send(
        &mut self,
        outgoing: &Outgoing<'_>,
        context: &mut TurnContext,
    ) -> Result<(), SendError> {
        if let Some(compression) = &mut self.compression
            && frame::is_compressed(outgoing.frame())
        {
            compression.forget_context();
        }
        self.queue(outgoing, context)
    }

    /// Queues a frame for this peer alone: compressed if that was agreed on, if the message is not
    /// below the threshold, and if it gets shorter; else as it is.
    pub fn send_deflated(
        &mut self,
        outgoing: &Outgoing<'_>,
        context: &mut TurnContext,
    ) -> Result<(), SendError> {
        let is_open = self.is_open();
        let compression = self.compression.as_mut().filter(|_| is_open);
        let Some(compression) =
            compression.filter(|compression| compression.is_worthwhile(outgoing.frame()))
        else {
            return self.queue(outgoing, context);
        };
        let mut deflated = context.pool.take();
        if !compression.deflate_frame(outgoing.frame(), &mut context.pool, &mut deflated) {
            context.pool.give(deflated);
            return self.queue(outgoing, context);
        }
        let queued = self.queue(&Outgoing::Copied(&deflated), context);
        if let (Err(_), Some(compression)) = (queued, &mut self.compression) {
            compression.forget_context();
        }
        context.pool.give(deflated);
        queued
    }

    fn queue(
        &mut self,
        outgoing: &Outgoing<'_>,
        context: &mut TurnContext,
    ) -> Result<(), SendError> {
        if !self.is_open() {
            return Err(SendError::NotOpen);
        }
        if self.output_weight() > context.limits.max_queue_bytes {
            return Err(SendError::QueueFull);
        }
        if let State::Streaming { event_ids, .. } = self.state {
            return self.push_event(outgoing, event_ids, &mut context.pool);
        }
        if self.php_framer.is_some() {
            self.push_shaped(outgoing.frame().to_vec(), &mut context.pool);
            return Ok(());
        }
        self.push_outgoing(outgoing, context);
        Ok(())
    }

    fn push_outgoing(&mut self, outgoing: &Outgoing<'_>, context: &mut TurnContext) {
        match outgoing {
            Outgoing::Copied(frame) => {
                self.output
                    .append(&mut context.pool, |out| out.extend_from_slice(frame));
            }
            Outgoing::Shared(bytes, range) => {
                self.output
                    .push_shared(bytes, range.clone(), &mut context.pool);
            }
        }
    }

    /// Queues one more frame of this server's answer, which others may send, too: as
    /// [`send`](Self::send), but for the limit, which is the same as of [`reply`](Self::reply).
    ///
    /// # Errors
    /// As `send`.
    pub fn reply_frame(
        &mut self,
        outgoing: &Outgoing<'_>,
        context: &mut TurnContext,
    ) -> Result<(), SendError> {
        if !self.is_open() {
            return Err(SendError::NotOpen);
        }
        if self.php_framer.is_some() {
            self.push_shaped(outgoing.frame().to_vec(), &mut context.pool);
            return Ok(());
        }
        if let State::Streaming { event_ids, .. } = self.state {
            return self.push_event(outgoing, event_ids, &mut context.pool);
        }
        if let Some(compression) = &mut self.compression
            && frame::is_compressed(outgoing.frame())
        {
            compression.forget_context();
        }
        self.push_outgoing(outgoing, context);
        Ok(())
    }

    /// Queues this server's answer to what the peer has sent: whole frames without masks, one
    /// behind the other, which are taken out of `frames`. The first one is what the peer waits for.
    ///
    /// They go as they are, and by ownership where nothing else waits; a peer that needs each frame
    /// by itself gets them as [`send_deflated`](Self::send_deflated) has it.
    ///
    /// # Errors
    /// As `send_deflated`, for the first frame that it does not take. What goes as it is has no
    /// limit here: whoever reads the peer stops when [`is_congested`](Self::is_congested) says so.
    pub fn reply(
        &mut self,
        frames: &mut Vec<u8>,
        context: &mut TurnContext,
    ) -> Result<(), SendError> {
        if frames.is_empty() {
            return Ok(());
        }
        if !self.is_open() {
            frames.clear();
            return Err(SendError::NotOpen);
        }
        if let State::Streaming { event_ids, .. } = self.state {
            self.push_events(frames, event_ids, &mut context.pool);
            frames.clear();
            return Ok(());
        }
        if self.php_framer.is_some() || self.compression.is_some() {
            let replied = self.reply_each(frames, context);
            frames.clear();
            return replied;
        }
        if self.output.is_empty() {
            let frames = std::mem::replace(frames, context.pool.take());
            self.output.push_segment(frames, &mut context.pool);
        } else {
            self.output
                .append(&mut context.pool, |out| out.extend_from_slice(frames));
            frames.clear();
        }
        Ok(())
    }

    /// Queues a message that goes back to the peer which has sent it, in the buffer that it was
    /// gathered in: nothing is copied where it can go as it is. `frames` leaves before it, as by
    /// [`reply`](Self::reply).
    ///
    /// # Errors
    /// As `reply`.
    pub fn reply_message(
        &mut self,
        frames: &mut Vec<u8>,
        message: AssembledMessage,
        context: &mut TurnContext,
    ) -> Result<(), SendError> {
        let opcode = message.kind().opcode();
        let payload = message.into_bytes();
        if self.php_framer.is_some() || self.compression.is_some() {
            frame::encode(opcode, &payload, frames);
            context.pool.give(payload);
            return self.reply(frames, context);
        }
        frame::encode_header(true, opcode, payload.len(), frames);
        let replied = self.reply(frames, context);
        match replied {
            Ok(()) => self.output.push_buffer(payload, &mut context.pool),
            Err(_) => context.pool.give(payload),
        }
        replied
    }

    fn reply_each(&mut self, frames: &[u8], context: &mut TurnContext) -> Result<(), SendError> {
        if let Some(framer) = &mut self.php_framer {
            framer.expect_answer();
        }
        for frame in frame::split(frames) {
            self.send_deflated(&Outgoing::Copied(frame), context)?;
        }
        Ok(())
    }

    /// Bytes that may leave now, in at most `slices.len()` pieces; returns how many pieces.
    pub fn output<'a>(&'a self, slices: &mut [IoSlice<'a>], now: MonotonicTime) -> usize {
        let is_due = self
            .php_framer
            .as_ref()
            .is_none_or(|php_framer| php_framer.is_due(now));
        if self.output.is_empty() || !is_due {
            return 0;
        }
        if self.output.is_one_piece() {
            slices[0] = IoSlice::new(self.output.front());
            return 1;
        }
        self.output.fill_slices(slices)
    }

    /// Whether [`output`](Self::output) is one frame, which the peer has to get in one piece
    /// (protocol.md 6.1 to 6.3).
    pub fn keeps_frames_whole(&self) -> bool {
        self.php_framer.is_some()
    }

    /// Removes bytes that have left at `now`.
    ///
    /// While more waits behind them, a peer that takes bytes shows that it lives: it cannot answer
    /// a ping that it has not reached yet.
    pub fn consume_output(&mut self, byte_count: usize, now: MonotonicTime, pool: &mut BufferPool) {
        if let State::Open {
            liveness: Liveness::Pinged(at),
            ..
        } = &mut self.state
            && byte_count < self.output.len()
        {
            *at = now;
        }
        self.output.consume(byte_count, pool);
        if let Some(php_framer) = &mut self.php_framer
            && self.output.is_empty()
        {
            php_framer.frame_left(now);
            self.shape_next(pool);
        }
    }

    /// Gives back memory that is not needed while the peer does not read.
    pub fn shrink_output(&mut self, pool: &mut BufferPool) {
        self.output.shrink(pool);
    }

    /// When output that is held back for a moment may leave (protocol.md 6.1, 6.3).
    pub fn next_write(&self) -> Option<MonotonicTime> {
        let php_framer = self.php_framer.as_ref().filter(|_| !self.output.is_empty());
        php_framer.and_then(|php_framer| php_framer.next_write())
    }

    /// Bytes that wait to leave.
    pub fn output_len(&self) -> usize {
        let waiting = self
            .php_framer
            .as_ref()
            .map_or(0, |php_framer| php_framer.waiting_bytes());
        self.output.len() + waiting
    }

    /// Bytes that wait to leave, and what it costs to keep them in pieces: what `maxQueue` counts.
    pub(super) fn output_weight(&self) -> usize {
        let waiting = self
            .php_framer
            .as_ref()
            .map_or(0, |php_framer| php_framer.weight());
        self.output.weight() + waiting
    }

    /// Whether so much waits to leave that the peer is not to be read until it has taken some of it
    /// (back-pressure on echo loops).
    pub fn is_congested(&self, limits: &Limits) -> bool {
        self.output_weight() > limits.max_queue_bytes / 2
    }

    pub(super) fn push_close(
        &mut self,
        payload: Option<(CloseCode, &str)>,
        context: &mut TurnContext,
    ) {
        if let (State::Streaming { .. }, Some((code, reason))) = (&self.state, payload) {
            return self.push_last_event(code, reason, &mut context.pool);
        }
        let mut bytes = Vec::new();
        if let Some((code, reason)) = payload {
            close::write(code, reason, &mut bytes);
        }
        self.push_control(Opcode::Close, &bytes, context);
    }

    pub(super) fn push_control(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        context: &mut TurnContext,
    ) {
        let TurnContext { pool, traffic, .. } = context;
        traffic.sent.add_frame(opcode);
        if self.php_framer.is_some() {
            let mut bytes = Vec::new();
            frame::encode(opcode, payload, &mut bytes);
            self.push_shaped(bytes, pool);
        } else {
            self.output
                .append(pool, |out| frame::encode(opcode, payload, out));
        }
    }

    fn push_shaped(&mut self, plain_frame: Vec<u8>, pool: &mut BufferPool) {
        if let Some(php_framer) = &mut self.php_framer {
            php_framer.push(plain_frame);
        }
        self.shape_next(pool);
    }

    /// Shapes the next frame unless another is on its way: `output` holds one at a time.
    fn shape_next(&mut self, pool: &mut BufferPool) {
        let Some(php_framer) = &mut self.php_framer else {
            return;
        };
        if !self.output.is_empty() && !php_framer.joins_opening() {
            return;
        }
        match php_framer.next_frame() {
            Some(frame) if self.output.is_empty() => self.output.push_segment(frame, pool),
            Some(frame) => self
                .output
                .append(pool, |out| out.extend_from_slice(&frame)),
            None => {}
        }
    }
}
