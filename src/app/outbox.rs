//! Commands that the application leaves for the loop, and the frames they carry.

use std::borrow::Cow;
use std::ops::Range;

use crate::connection::ConnId;
use crate::protocol::close_code::CloseCode;
use crate::protocol::frame;
use crate::protocol::message::MessageKind;

/// Number of a resource, in the order in which they were added.
pub type ResourceId = u16;

/// Who gets a broadcast. Only open web clients do (protocol.md 2.4).
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
    /// The message that is being handled, if its buffer may follow `own`: address and length.
    lent: Option<(usize, usize)>,
    is_followed: bool,
    frames: Vec<u8>,
    commands: Vec<Command>,
    broadcast_count: usize,
}

impl Outbox {
    /// Takes the end of the output queue of the connection that is about to be handled, and the
    /// message that is, if its buffer can become part of that queue.
    pub fn lend(&mut self, own: Option<Vec<u8>>, message: Option<&[u8]>) {
        self.lent = message.filter(|_| own.is_some()).map(place);
        self.own = own;
    }

    /// Gives it back, with what was added.
    pub fn give_back(&mut self) -> Option<Vec<u8>> {
        self.lent = None;
        self.own.take()
    }

    /// Whether what was given back ends with the header of a frame whose payload is the message that
    /// was lent. Says so once.
    pub fn is_followed(&mut self) -> bool {
        std::mem::take(&mut self.is_followed)
    }

    /// Sends a message to the connection that is being handled. A long one that is the message that
    /// it has sent goes back in its own buffer.
    pub fn reply(&mut self, current: ConnId, kind: MessageKind, payload: &[u8]) {
        match &mut self.own {
            Some(own) if !self.is_followed => {
                if self.lent == Some(place(payload)) {
                    self.is_followed = true;
                    frame::encode_header(true, kind.opcode(), payload.len(), own);
                } else {
                    frame::encode(kind.opcode(), payload, own);
                }
            }
            _ => self.send(current, kind, payload),
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

/// Where bytes lie. As long as they live, nothing else lies there.
fn place(bytes: &[u8]) -> (usize, usize) {
    (bytes.as_ptr().addr(), bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ConnId = ConnId {
        slot: 1,
        generation: 1,
    };

    #[test]
    fn a_lent_message_that_goes_back_is_not_copied_and_nothing_overtakes_it() {
        let mut outbox = Outbox::default();
        let message = vec![b'x'; 70_000];
        outbox.lend(Some(b"before".to_vec()), Some(&message));
        outbox.reply(ID, MessageKind::Text, b"first");
        outbox.reply(ID, MessageKind::Text, &message);
        outbox.reply(ID, MessageKind::Text, &message);
        outbox.reply(ID, MessageKind::Text, b"last");

        let own = outbox.give_back().expect("it was lent");
        assert_eq!(own[..13], *b"before\x81\x05first");
        assert_eq!(own[13..], [0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
        assert!(outbox.is_followed() && !outbox.is_followed());
        let (commands, frames) = outbox.take();
        let frame_lens = commands.iter().map(|command| match command {
            Command::Send { to: ID, frame } => frame.len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(frame_lens.collect::<Vec<_>>(), [70_010, 6]);
        assert!(frames.ends_with(b"\x81\x04last"));
    }

    #[test]
    fn what_is_not_the_whole_message_or_cannot_follow_is_copied() {
        let mut outbox = Outbox::default();
        let message = vec![b'x'; 200];
        for (own, lent) in [
            (Some(Vec::new()), None),
            (Some(Vec::new()), Some(message.get(1..).expect("a part"))),
            (None, Some(&*message)),
        ] {
            let is_own = own.is_some();
            outbox.lend(own, lent);
            outbox.reply(ID, MessageKind::Binary, &message);
            let own = outbox.give_back();
            assert_eq!(own.map(|own| own.len()), is_own.then_some(204));
            assert!(!outbox.is_followed());
        }
    }
}
