//! What comes out of a connection, and what goes into it to be sent.

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

use crate::protocol::close::CloseCode;
use crate::protocol::error::{Rejection, Violation};
use crate::protocol::message::MessageKind;

/// A complete data message. Its text has been checked.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// UTF-8 text.
    Text(Cow<'a, str>),
    /// Any bytes.
    Binary(Cow<'a, [u8]>),
}

impl Message<'_> {
    /// The payload.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The buffer it was gathered in, if it was: all of its payload and nothing else.
    pub fn buffer(&self) -> Option<&[u8]> {
        match self {
            Self::Text(Cow::Owned(text)) => Some(text.as_bytes()),
            Self::Binary(Cow::Owned(bytes)) => Some(bytes),
            Self::Text(Cow::Borrowed(_)) | Self::Binary(Cow::Borrowed(_)) => None,
        }
    }

    /// The buffer it was gathered in, if it was, to be used again.
    pub fn into_buffer(self) -> Option<Vec<u8>> {
        match self {
            Self::Text(Cow::Owned(text)) => Some(text.into_bytes()),
            Self::Binary(Cow::Owned(bytes)) => Some(bytes),
            Self::Text(Cow::Borrowed(_)) | Self::Binary(Cow::Borrowed(_)) => None,
        }
    }

    /// What it carries.
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
        }
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
    /// A message.
    Message(Message<'a>),
    /// The peer's close frame came, with its code if it gave one. It has been answered.
    Closed(Option<CloseCode>),
    /// The peer broke a rule; the close frame that says so is on its way.
    Failed(Violation),
    /// The peer is gone without a close frame, or did not answer in time (recorded as 1006).
    Lost,
}

/// A frame to send, encoded without mask: the whole frame, and the length of its header.
#[derive(Clone, Debug)]
pub enum Outgoing<'a> {
    /// Bytes that are copied.
    Copied(&'a [u8]),
    /// A range of bytes that several connections send.
    Shared(&'a Rc<Vec<u8>>, Range<usize>),
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
}
