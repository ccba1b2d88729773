//! Long messages whose bytes arrive where they stay: the fast way beside
//! [`receive`](Connection::receive), which copies what it cannot hand on at once.

use super::connection::Connection;
use super::event::Event;
use super::limits::TurnContext;
use super::output::BufferPool;
use super::state::{Liveness, State};
use crate::protocol::message::Assembler;

impl Connection {
    /// Room for payload that is still to come, where it will stay: bytes that arrive next may be
    /// put at its front, and told by [`receive_payload`](Self::receive_payload), which has to follow,
    /// instead of being given to [`receive`](Self::receive). What is in it is of no meaning.
    ///
    /// It has at most `most_bytes`, no more than the frame lacks, and no more than have been
    /// gathered already, so that memory follows what arrives. `None` if that makes fewer than
    /// `least_bytes`, or if what arrives next is no payload of an uncompressed message.
    pub fn payload_buffer(&mut self, least_bytes: usize, most_bytes: usize) -> Option<&mut [u8]> {
        if !self.is_open() {
            return None;
        }
        let inbound = self.inbound.as_mut()?;
        let frame = inbound.frame.as_ref()?;
        let gathered = inbound.message.as_ref()?.len();
        let missing = inbound.missing().min(most_bytes.min(gathered) as u64);
        let is_worthwhile = missing >= least_bytes.max(1) as u64;
        if frame.header.opcode.is_control() || !is_worthwhile {
            return None;
        }
        inbound.payload_buffer(missing as usize)
    }

    /// Whether what comes next belongs to a message so long that handling it takes longer than small
    /// ones may wait.
    pub fn is_within_long_message(&self) -> bool {
        let Some(inbound) = &self.inbound else {
            return false;
        };
        let Some(message) = &inbound.message else {
            return false;
        };
        let len = message.len() as u64 + inbound.missing();
        len > LONG_MESSAGE_BYTES || message.is_inflating()
    }

    /// Takes in the first `byte_count` bytes of that buffer, at most all of it; none if nothing has
    /// come.
    pub fn receive_payload(
        &mut self,
        byte_count: usize,
        context: &mut TurnContext,
    ) -> Option<Event<'static>> {
        if let State::Open { liveness, .. } = &mut self.state
            && byte_count > 0
        {
            *liveness = Liveness::Heard(context.now);
        }
        let filled = match &mut self.inbound {
            Some(inbound) => inbound.fill_payload_buffer(byte_count),
            None => Ok(None),
        };
        let event = filled.and_then(|ended| match ended {
            Some(header) => self.end_frame(header, context),
            None => Ok(None),
        });
        event.unwrap_or_else(|violation| self.fail(violation, &mut Default::default(), context))
    }

    /// Gives back memory that an unfinished message does not need while it waits for the peer: to
    /// be called when nothing more has come. Whether there was any.
    pub fn shrink_input(&mut self, pool: &mut BufferPool) -> bool {
        let message = self.inbound.as_mut().and_then(|i| i.message.as_mut());
        let buffer = message.and_then(Assembler::shrink);
        let has_shrunk = buffer.is_some();
        pool.give(buffer.unwrap_or_default());
        has_shrunk
    }
}

/// From this length on a message is long, in bytes: unmasking, checking, handing over and sending
/// back so many takes some ten microseconds.
const LONG_MESSAGE_BYTES: u64 = 64 << 10;
