//! A stream of events in place of frames (protocol.md 9.9): for those who cannot speak WebSocket.
//!
//! The response to a plain GET that does not end. Frames that are queued for the connection become
//! events, so that whoever queues them need not know, and a broadcast is encoded once for all. The
//! end of the response is the end of the connection, in HTTP/1.1 as in 1.0: then events are shared
//! as they are, with nothing between them, and no proxy has chunks to put together. Where the stream
//! was cut is of no meaning: a reader drops an event without its empty line.

use std::ops::Range;

use super::connection::Connection;
use super::event::{Event, Outgoing};
use super::limits::TurnContext;
use super::output::BufferPool;
use super::state::{EventIds, State};
use crate::protocol::close_code::CloseCode;
use crate::protocol::event_stream::{
    COMMENT, DATA, END, cursor_of, encode_binary, encode_close, encode_id, encode_text, is_one_line,
};
use crate::protocol::frame::{Header, Opcode, Role, Rsv1};

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
    /// stream; it counts as one of this connection. `Some`: it must not.
    pub fn count_posted(&mut self, context: &mut TurnContext) -> Option<Event<'static>> {
        if !self.is_open() {
            return None;
        }
        let violation = self.count_message(context).err()?;
        self.break_off(violation, context);
        Some(Event::Failed(violation))
    }

    /// Whether it is a stream of events.
    pub fn is_event_stream(&self) -> bool {
        matches!(self.state, State::Streaming { .. })
    }

    pub(super) fn push_event(
        &mut self,
        outgoing: &Outgoing<'_>,
        event_ids: EventIds,
        pool: &mut BufferPool,
    ) {
        let Some((opcode, payload)) = take_apart(outgoing.frame()) else {
            return debug_assert!(false, "a server's frame is whole and plain");
        };
        let bytes = outgoing.frame().get(payload.clone()).unwrap_or_default();
        if opcode == Opcode::Binary {
            return self.output.append(pool, |out| encode_binary(bytes, out));
        }
        let id = match event_ids {
            EventIds::Cursors => cursor_of(bytes),
            EventIds::None => None,
        };
        match outgoing {
            Outgoing::Shared(shared, range)
                if bytes.len() >= LEAST_SHARED_BYTES && is_one_line(bytes) =>
            {
                let text = range.start + payload.start..range.start + payload.end;
                self.output.append(pool, |out| {
                    encode_id(id, out);
                    out.extend_from_slice(DATA);
                });
                self.output.push_shared(shared, text, pool);
                self.output.append(pool, |out| out.extend_from_slice(END));
            }
            Outgoing::Shared(..) | Outgoing::Copied(_) => {
                self.output.append(pool, |out| encode_text(bytes, id, out));
            }
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

/// Opcode and payload of a whole frame without a mask.
fn take_apart(frame: &[u8]) -> Option<(Opcode, Range<usize>)> {
    let (header, header_len) = Header::parse(frame, Role::Client, Rsv1::Forbidden).ok()??;
    Some((header.opcode, header_len..frame.len()))
}

/// Texts from this size on are shared instead of copied, in bytes: three pieces cost more than a
/// small copy.
const LEAST_SHARED_BYTES: usize = 1 << 10;
