//! What comes out of a connection, and what goes into it to be sent.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use crate::base::SharedBytes;
use crate::protocol::close_code::CloseCode;
use crate::protocol::error::{Rejection, Violation};
use crate::protocol::message::{AssembledMessage, MessageKind};
use crate::protocol::packet::Outline;
use crate::protocol::utf8;

/// A complete data message. Its text has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// UTF-8 text.
    Text(Text<'a>),
    /// Any bytes.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The payload.
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// What it carries.
    pub fn kind(self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
        }
    }
}

impl<'a> From<&'a AssembledMessage> for Message<'a> {
    fn from(gathered: &'a AssembledMessage) -> Self {
        let bytes = gathered.as_bytes();
        match gathered.kind() {
            MessageKind::Text => Self::Text(Text(Checked::InPieces(bytes, gathered.outline()))),
            MessageKind::Binary => Self::Binary(bytes),
        }
    }
}

/// The text of a message. It has been checked, as a whole or piece by piece.
///
/// A text that came in pieces becomes a `&str` in no way but by being checked as a whole, since
/// this is a program without unsafe code: [`as_str`](Self::as_str) does so each time. Who passes it
/// on needs only its bytes.
#[derive(Clone, Copy)]
pub struct Text<'a>(Checked<'a>);

#[derive(Clone, Copy)]
enum Checked<'a> {
    Whole(&'a str),
    InPieces(&'a [u8], Option<&'a Outline>),
}

impl<'a> Text<'a> {
    /// The text.
    pub fn as_str(self) -> &'a str {
        match self.0 {
            Checked::Whole(text) => text,
            Checked::InPieces(bytes, _) => {
                let text = utf8::check(bytes);
                debug_assert!(text.is_some(), "its pieces were checked");
                text.unwrap_or_default()
            }
        }
    }

    /// Its UTF-8.
    pub fn as_bytes(self) -> &'a [u8] {
        match self.0 {
            Checked::Whole(text) => text.as_bytes(),
            Checked::InPieces(bytes, _) => bytes,
        }
    }

    /// What was found out about it while it arrived, if it is a long packet.
    pub fn outline(self) -> Option<&'a Outline> {
        match self.0 {
            Checked::Whole(_) => None,
            Checked::InPieces(_, outline) => outline,
        }
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Checked::Whole(text))
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text<'_> {}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// What an arrival has brought about.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole request head: [`accept`](super::Connection::accept),
    /// [`reject`](super::Connection::reject), [`respond`](super::Connection::respond) or
    /// [`expect_body`](super::Connection::expect_body) has to follow before anything else is received.
    Head(Cow<'a, [u8]>),
    /// The whole body of a plain HTTP request: [`Connection::respond`](super::Connection::respond)
    /// has to follow before anything else is received.
    Body(Vec<u8>),
    /// The request was refused here; the answer is on its way.
    Refused(Rejection),
    /// A message that has arrived in one piece.
    Message(Message<'a>),
    /// A message that has arrived in several, in a buffer of its own.
    AssembledMessage(AssembledMessage),
    /// The peer's close frame came, with its code if it gave one. It has been answered.
    Closed(Option<CloseCode>),
    /// The peer broke a rule; the close frame that says so is on its way.
    Failed(Violation),
    /// The peer is gone without a close frame (recorded as 1006).
    Lost,
    /// The peer did not do in time what it had to, and the connection is aborted.
    TimedOut(TimedOut),
    /// The peer was silent, and a ping is on its way to it.
    PingSent,
}

/// What a peer did not do in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimedOut {
    /// Answer a ping (`pongTimeout`).
    Pong,
    /// End the connection after the last word of ours (`closeTimeout`).
    Close {
        /// Bytes that it has not taken.
        unsent_bytes: usize,
    },
}

impl Event<'_> {
    /// The message, if it is one, however it has arrived.
    pub fn message(&self) -> Option<Message<'_>> {
        match self {
            Self::Message(message) => Some(*message),
            Self::AssembledMessage(gathered) => Some(gathered.into()),
            Self::Head(_)
            | Self::Body(_)
            | Self::Refused(_)
            | Self::Closed(_)
            | Self::Failed(_)
            | Self::Lost
            | Self::TimedOut(_)
            | Self::PingSent => None,
        }
    }

    /// Bytes of a message's payload; 0 for everything else.
    pub fn message_len(&self) -> usize {
        match self {
            Self::Message(message) => message.as_bytes().len(),
            Self::AssembledMessage(gathered) => gathered.as_bytes().len(),
            Self::Head(_)
            | Self::Body(_)
            | Self::Refused(_)
            | Self::Closed(_)
            | Self::Failed(_)
            | Self::Lost
            | Self::TimedOut(_)
            | Self::PingSent => 0,
        }
    }
}

/// A frame to send, encoded without mask: the whole frame, and the length of its header.
#[derive(Clone, Debug)]
pub enum Outgoing<'a> {
    /// Bytes that are copied.
    Copied(&'a [u8]),
    /// A range of bytes that several connections send.
    Shared(&'a Rc<SharedBytes>, Range<usize>),
}

impl Outgoing<'_> {
    pub(super) fn frame(&self) -> &[u8] {
        match self {
            Self::Copied(frame) => frame,
            Self::Shared(bytes, range) => bytes.get(range.clone()).unwrap_or_default(),
        }
    }
}

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The connection is not open.
    NotOpen,
    /// The queue is at its limit (`maxQueue`).
    QueueFull,
    /// A stream of events cannot share these bytes as they are: they are to be made an event first,
    /// once for all ([`send_event`](super::Connection::send_event)).
    EventWanted,
}
