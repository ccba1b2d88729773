//! A stream of events in place of frames (protocol.md 9.9): for those who cannot speak WebSocket.
//!
//! The response to a plain GET that does not end. Frames that are queued for the connection become
//! events, so that whoever queues them need not know, and a broadcast is encoded once for all. The
//! end of the response is the end of the connection, in HTTP/1.1 as in 1.0: then events are shared
//! as they are, with nothing between them, and no proxy has chunks to put together. Where the stream
//! was cut is of no meaning: a reader drops an event without its empty line.

use std::ops::Range;
use std::rc::Rc;

use super::connection::Connection;
use super::event::{Outgoing, SendError};
use super::limits::TurnContext;
use super::output::BufferPool;
use super::state::{EventIds, State};
use crate::base::SharedBytes;
use crate::protocol::close_code::CloseCode;
use crate::protocol::error::Violation;
use crate::protocol::event_stream::{
    COMMENT, DATA, END, cursor_of, encode_binary, encode_close, encode_id, encode_text, is_one_line,
};
use crate::protocol::frame::{self, Header, Opcode, Role, Rsv1};

impl Connection {
    /// Answers a head with a response that begins with `head` and goes on with events. From now on
    /// the connection is open.
    pub fn stream_events(&mut self, head: &[u8], event_ids: EventIds, context: &mut TurnContext) {
        debug_assert!(matches!(self.state, State::AwaitingDecision { .. }));
        self.output
            .append(&mut context.pool, |out| out.extend_from_slice(head));
        self.state = State::Streaming {
            last_comment: context.now,
            event_ids,
        };
    }

    /// A message has come for the application by a request of its own, from whoever reads this
    /// stream; it counts as one of this connection.
    ///
    /// # Errors
    /// It must not be handled: its sender has to be closed for not reading what comes back, or has
    /// been for sending too many.
    pub fn count_posted(&mut self, context: &mut TurnContext) -> Result<(), PostError> {
        if !self.is_event_stream() {
            return Err(PostError::Send(SendError::NotOpen));
        }
        // What a WebSocket's sender does not read keeps it from being read.
        if self.output_weight() > context.limits.max_queue_bytes {
            return Err(PostError::Send(SendError::QueueFull));
        }
        self.count_message(context).map_err(|violation| {
            self.break_off(violation, context);
            PostError::Violation(violation)
        })
    }

    /// Whether it is a stream of events.
    pub fn is_event_stream(&self) -> bool {
        matches!(self.state, State::Streaming { .. })
    }

    /// Queues an event that several connections send, made by [`event_of`] of this frame.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_event(
        &mut self,
        event: &Rc<SharedBytes>,
        frame: &[u8],
        context: &mut TurnContext,
    ) -> Result<(), SendError> {
        if self.output_weight() > context.limits.max_queue_bytes {
            return Err(SendError::QueueFull);
        }
        self.reply_event(event, frame, context)
    }

    /// The same as a part of an answer, which has no limit here.
    ///
    /// # Errors
    /// It is no stream of events.
    pub fn reply_event(
        &mut self,
        event: &Rc<SharedBytes>,
        frame: &[u8],
        context: &mut TurnContext,
    ) -> Result<(), SendError> {
        let State::Streaming { event_ids, .. } = self.state else {
            return Err(SendError::NotOpen);
        };
        if let Some((Opcode::Text, payload)) = take_apart(frame)
            && let Some(id) = event_ids.of(frame.get(payload).unwrap_or_default())
        {
            self.output
                .append(&mut context.pool, |out| encode_id(Some(id), out));
        }
        self.output
            .push_shared(event, 0..event.len(), &mut context.pool);
        Ok(())
    }

    pub(super) fn push_event(
        &mut self,
        outgoing: &Outgoing<'_>,
        event_ids: EventIds,
        pool: &mut BufferPool,
    ) -> Result<(), SendError> {
        let frame = outgoing.frame();
        let Some((opcode, payload)) = take_apart(frame) else {
            debug_assert!(false, "a server's frame is whole and plain");
            return Ok(());
        };
        let text = frame.get(payload.clone()).unwrap_or_default();
        let id = match opcode {
            Opcode::Text => event_ids.of(text),
            _ => None,
        };
        match outgoing {
            Outgoing::Shared(shared, range) if text.len() >= LEAST_SHARED_BYTES => {
                if opcode != Opcode::Text || !is_one_line(text) {
                    return Err(SendError::EventWanted);
                }
                let text = range.start + payload.start..range.start + payload.end;
                self.output.append(pool, |out| {
                    encode_id(id, out);
                    out.extend_from_slice(DATA);
                });
                self.output.push_shared(shared, text, pool);
                self.output.append(pool, |out| out.extend_from_slice(END));
            }
            Outgoing::Shared(..) | Outgoing::Copied(_) => {
                self.output.append(pool, |out| {
                    encode_id(id, out);
                    event_of(frame, out);
                });
            }
        }
        Ok(())
    }

    /// The same for several, which go as they are.
    pub(super) fn push_events(
        &mut self,
        frames: &[u8],
        event_ids: EventIds,
        pool: &mut BufferPool,
    ) {
        for frame in frame::split(frames) {
            let pushed = self.push_event(&Outgoing::Copied(frame), event_ids, pool);
            debug_assert_eq!(pushed, Ok(()), "nothing is shared");
        }
    }

    pub(super) fn push_last_event(&mut self, code: CloseCode, reason: &str, pool: &mut BufferPool) {
        self.output
            .append(pool, |out| encode_close(code, reason, out));
    }

    /// Keeps proxies from taking the connection for dead. Whoever does not take what waits already
    /// gets no more of them.
    pub(super) fn comment(&mut self, context: &mut TurnContext) {
        if let State::Streaming { last_comment, .. } = &mut self.state {
            *last_comment = context.now;
            if self.output.is_empty() {
                self.output
                    .append(&mut context.pool, |out| out.extend_from_slice(COMMENT));
            }
        }
    }
}

/// Why a message that was sent for a stream is not handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostError {
    /// What comes back would not be taken.
    Send(SendError),
    /// It is one too many.
    Violation(Violation),
}

/// Appends the event, without an id, for a whole frame without a mask.
pub fn event_of(frame: &[u8], out: &mut Vec<u8>) {
    if let Some((opcode, payload)) = take_apart(frame) {
        let payload = frame.get(payload).unwrap_or_default();
        match opcode {
            Opcode::Text => encode_text(payload, out),
            _ => encode_binary(payload, out),
        }
    }
}

impl EventIds {
    /// The id of the event for this text.
    fn of(self, text: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Cursors => cursor_of(text),
            Self::None => None,
        }
    }
}

/// Opcode and payload of a whole frame without a mask.
fn take_apart(frame: &[u8]) -> Option<(Opcode, Range<usize>)> {
    let (header, header_len) = Header::parse(frame, Role::Client, Rsv1::Forbidden).ok()??;
    Some((header.opcode, header_len..frame.len()))
}

/// Texts from this size on are shared instead of copied, in bytes: three pieces cost more than a
/// small copy.
const LEAST_SHARED_BYTES: usize = 1 << 10;
