//! What waits to leave: queued, shaped, lent, written and counted.

use std::io::IoSlice;

use super::Connection;
use super::event::{Outgoing, SendError};
use super::limits::{Limits, TurnContext};
use super::output::BufferPool;
use super::state::{Asked, State};
use crate::base::time::MonotonicTime;
use crate::protocol::close;
use crate::protocol::close_code::CloseCode;
use crate::protocol::frame::{self, Opcode};

impl Connection {
    /// Queues a frame as it is. A compressed one must be for a peer whose
    /// [`window_bits`](Self::window_bits) are no fewer, and must not refer to messages before it.
    pub fn send(
        &mut self,
        outgoing: &Outgoing<'_>,
        context: &mut TurnContext<'_>,
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
        context: &mut TurnContext<'_>,
    ) -> Result<(), SendError> {
        let is_open = self.is_open();
        let compression = self.compression.as_mut().filter(|_| is_open);
        let Some(compression) =
            compression.filter(|compression| compression.is_worthwhile(outgoing.frame()))
        else {
            return self.queue(outgoing, context);
        };
        let mut deflated = context.pool.take();
        if !compression.deflate_frame(outgoing.frame(), context.pool, &mut deflated) {
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
        context: &mut TurnContext<'_>,
    ) -> Result<(), SendError> {
        if !self.is_open() {
            return Err(SendError::NotOpen);
        }
        if self.output_weight() > context.limits.max_queue_bytes {
            return Err(SendError::QueueFull);
        }
        if self.php_framer.is_some() {
            self.push_shaped(outgoing.frame().to_vec(), context.pool);
            return Ok(());
        }
        match outgoing {
            Outgoing::Copied(frame) => {
                self.output
                    .append(context.pool, |out| out.extend_from_slice(frame));
            }
            Outgoing::Shared(bytes, range) => {
                self.output.push_shared(bytes, range.clone(), context.pool);
            }
        }
        Ok(())
    }

    /// Lends the end of the output queue to whoever encodes frames for this connection, so that no
    /// byte is copied twice. `None` if its frames need a shape of their own, if they may have to be
    /// compressed, or if it is not open;
    /// [`return_output`](Self::return_output) has to follow before any other call.
    pub fn lend_output(&mut self, pool: &mut BufferPool) -> Option<Vec<u8>> {
        let lends = self.is_open() && self.php_framer.is_none() && self.compression.is_none();
        lends.then(|| self.output.take_tail(pool))
    }

    /// See [`lend_output`](Self::lend_output).
    pub fn return_output(&mut self, tail: Vec<u8>, pool: &mut BufferPool) {
        self.output.put_tail(tail, pool);
    }

    /// Appends the payload whose header stands at the end of what was returned, without a copy.
    pub fn follow_output(&mut self, payload: Vec<u8>, pool: &mut BufferPool) {
        self.output.push_buffer(payload, pool);
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

    /// Removes bytes that have left at `now`.
    ///
    /// While more waits behind them, a peer that takes bytes shows that it lives: it cannot answer
    /// a ping that it has not reached yet.
    pub fn consume_output(&mut self, byte_count: usize, now: MonotonicTime, pool: &mut BufferPool) {
        if let State::Open {
            since,
            asked: Asked::Yes,
            ..
        } = &mut self.state
            && byte_count < self.output.len()
        {
            *since = now;
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

    pub(super) fn push_close(&mut self, payload: Option<(CloseCode, &str)>, pool: &mut BufferPool) {
        let mut bytes = Vec::new();
        if let Some((code, reason)) = payload {
            close::write(code, reason, &mut bytes);
        }
        self.push_control(Opcode::Close, &bytes, pool);
    }

    pub(super) fn push_control(&mut self, opcode: Opcode, payload: &[u8], pool: &mut BufferPool) {
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
