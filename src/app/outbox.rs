//! Commands that the application leaves for the loop, and the frames they carry.

use std::borrow::Cow;
use std::ops::Range;

use crate::connection::ConnId;
use crate::protocol::close::CloseCode;
use crate::protocol::frame;
use crate::protocol::message::MessageKind;

/// Number of a resource, in the order in which they were added.
pub type ResourceId = u16;

/// Who gets a broadcast. Only open web clients do (contract 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Those of all resources that speak the dialogue.
    Dialogue,
    /// Those of one resource.
    Resource(ResourceId),
}

/// What the loop has to do. A frame is given by its range in the bytes that
/// [`Outbox::take`] hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Send a frame to one connection.
    Send {
        /// The receiver.
        to: ConnId,
        /// The frame.
        frame: Range<usize>,
    },
    /// Send a frame to many.
    Broadcast {
        /// The sender, who does not get it.
        from: ConnId,
        /// The receivers.
        audience: Audience,
        /// The frame.
        frame: Range<usize>,
    },
    /// Begin the close handshake.
    Close {
        /// The connection.
        id: ConnId,
        /// The code.
        code: CloseCode,
        /// The reason; cut to what a close frame holds.
        reason: Cow<'static, str>,
    },
}

/// Collects commands while one connection's message is handled.
///
/// What goes back to that connection itself is encoded straight into the end of its output queue,
/// if the loop has lent it; everything else becomes a [`Command`].
#[derive(Debug, Default)]
pub struct Outbox {
    own: Option<Vec<u8>>,
    frames: Vec<u8>,
    commands: Vec<Command>,
    broadcast_count: usize,
}

impl Outbox {
    /// Takes the end of the output queue of the connection that is about to be handled.
    pub fn lend(&mut self, own: Option<Vec<u8>>) {
        self.own = own;
    }

    /// Gives it back, with what was added.
    pub fn give_back(&mut self) -> Option<Vec<u8>> {
        self.own.take()
    }

    /// Sends a message to the connection that is being handled.
    pub fn reply(&mut self, current: ConnId, kind: MessageKind, payload: &[u8]) {
        match &mut self.own {
            Some(own) => frame::encode(kind.opcode(), payload, own),
            None => self.send(current, kind, payload),
        }
    }

    /// Sends a message to another connection.
    pub fn send(&mut self, to: ConnId, kind: MessageKind, payload: &[u8]) {
        let frame = self.encode(kind, payload);
        self.commands.push(Command::Send { to, frame });
    }

    /// Sends a message to many.
    pub fn broadcast(
        &mut self,
        from: ConnId,
        audience: Audience,
        kind: MessageKind,
        payload: &[u8],
    ) {
        let frame = self.encode(kind, payload);
        self.broadcast_count += 1;
        self.commands.push(Command::Broadcast {
            from,
            audience,
            frame,
        });
    }

    /// Closes a connection, after all that was sent to it before.
    pub fn close(&mut self, id: ConnId, code: CloseCode, reason: Cow<'static, str>) {
        self.commands.push(Command::Close { id, code, reason });
    }

    /// Whether nothing has been asked for.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Bytes of the frames collected.
    pub fn frames_len(&self) -> usize {
        self.frames.len()
    }

    /// Number of broadcasts among the commands.
    pub fn broadcast_count(&self) -> usize {
        self.broadcast_count
    }

    /// Whether a connection is to be closed.
    pub fn closes(&self) -> bool {
        matches!(self.commands.last(), Some(Command::Close { .. }))
    }

    /// Takes all commands and the bytes that hold their frames. Both come back, emptied, with
    /// [`restore`](Self::restore).
    pub fn take(&mut self) -> (Vec<Command>, Vec<u8>) {
        self.broadcast_count = 0;
        (
            std::mem::take(&mut self.commands),
            std::mem::take(&mut self.frames),
        )
    }

    /// Gives memory back, so that it is used again.
    pub fn restore(&mut self, mut commands: Vec<Command>, mut frames: Vec<u8>) {
        commands.clear();
        frames.clear();
        (self.commands, self.frames) = (commands, frames);
    }

    fn encode(&mut self, kind: MessageKind, payload: &[u8]) -> Range<usize> {
        let start = self.frames.len();
        frame::encode(kind.opcode(), payload, &mut self.frames);
        start..self.frames.len()
    }
}
