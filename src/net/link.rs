//! [`Link`]: one connection with all that the loop knows of it.

use super::proxy_protocol::HeaderReader;
use super::system::Stream;
use super::transport::Transport;
use crate::app::peer::Peer;
use crate::base::MonotonicTime;
use crate::connection::{ConnId, Connection};

/// One connection: its socket, its state machine, and where the loop stands with it.
pub(super) struct Link<S> {
    pub(super) id: ConnId,
    pub(super) connection: Connection,
    pub(super) transport: Transport<S>,
    /// Where it comes from, as far as the socket or, once it is open, a proxy has told.
    pub(super) peer: Peer,
    extras: Option<Box<LinkExtras>>,
    /// The earliest deadline that the timers hold.
    pub(super) armed: Option<MonotonicTime>,
    /// Bytes of memory at the last count.
    pub(super) held_bytes: usize,
    pub(super) reading: Reading,
    pub(super) writing: Writing,
    pub(super) flushing: Flushing,
    pub(super) standing: Standing,
}

/// What few connections have, and not for long.
#[derive(Default)]
struct LinkExtras {
    /// The PROXY header that comes before everything else, until it is whole.
    proxy_header: Option<HeaderReader>,
    /// Input that was read and cannot be taken yet.
    unread: Option<Vec<u8>>,
}

/// What is read next, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The kernel will tell when there is something.
    Waiting,
    /// It stands in the backlog: there is more, and the kernel will not tell again.
    Backlog,
    /// It stands there because what comes next is long work; the kernel tells what comes later.
    PutOff,
    /// It is not read until the peer has taken some of its output.
    Paused,
    /// It is not read until the application has answered a request.
    Awaiting,
}

/// What may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    /// Everything.
    Ready,
    /// Nothing until the kernel tells that the socket takes bytes again.
    Blocked,
    /// Nothing more: the sending side has been shut down.
    ShutDown,
    /// Nothing more: the peer takes none. The connection is gone once all it has sent is read.
    Closed,
}

/// Whether its end counts as that of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// No: it has not become one.
    Pending,
    /// It will.
    Client,
    /// It has been counted.
    Gone,
}

/// When a connection is to be flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushing {
    /// Nothing has been queued since it was.
    Done,
    /// Its socket takes more, or bytes again: behind all short work of a turn.
    PutOff,
    /// At the end of this turn of the loop.
    Now,
}

impl<S: Stream> Link<S> {
    /// A connection that has just been accepted.
    pub(super) fn new(
        id: ConnId,
        connection: Connection,
        transport: Transport<S>,
        peer: Peer,
    ) -> Self {
        Self {
            id,
            connection,
            transport,
            peer,
            extras: None,
            armed: None,
            held_bytes: 0,
            reading: Reading::Waiting,
            writing: Writing::Ready,
            flushing: Flushing::Done,
            standing: Standing::Pending,
        }
    }

    /// The PROXY header that has to come before everything else, until it is whole.
    pub(super) fn proxy_header(&mut self) -> Option<(&mut HeaderReader, &mut Transport<S>)> {
        let reader = self.extras.as_mut()?.proxy_header.as_mut()?;
        Some((reader, &mut self.transport))
    }

    /// Expects such a header.
    pub(super) fn expect_proxy_header(&mut self, reader: HeaderReader) {
        self.extras.get_or_insert_default().proxy_header = Some(reader);
    }

    /// It is whole.
    pub(super) fn end_proxy_header(&mut self) {
        if let Some(extras) = &mut self.extras {
            extras.proxy_header = None;
        }
        self.drop_empty_extras();
    }

    /// Whether such a header is to come of which nothing has.
    pub(super) fn expects_proxy_header(&self) -> bool {
        let reader = self.extras.as_ref().and_then(|e| e.proxy_header.as_ref());
        reader.is_some_and(HeaderReader::is_untouched)
    }

    /// Whether something was read that is not taken yet: input, or a part of such a header.
    pub(super) fn has_begun_input(&self) -> bool {
        let has_begun = |extras: &LinkExtras| {
            let reader = extras.proxy_header.as_ref();
            extras.unread.is_some() || reader.is_some_and(|reader| !reader.is_untouched())
        };
        self.extras.as_deref().is_some_and(has_begun)
    }

    /// Keeps input that was read and cannot be taken yet.
    pub(super) fn set_unread(&mut self, unread: Vec<u8>) {
        self.extras.get_or_insert_default().unread = Some(unread);
    }

    /// Takes that input.
    pub(super) fn take_unread(&mut self) -> Option<Vec<u8>> {
        let unread = self.extras.as_mut()?.unread.take();
        self.drop_empty_extras();
        unread
    }

    /// Bytes of memory that it holds, but for what it shares with others.
    pub(super) fn weigh(&self) -> usize {
        let unread = self
            .extras
            .as_ref()
            .and_then(|extras| extras.unread.as_ref());
        self.connection.held_bytes()
            + self.transport.held_bytes()
            + unread.map_or(0, |unread| unread.capacity())
    }

    /// The same, and what waits for it in buffers that others send from, too: what would be free
    /// without it, at most.
    pub(super) fn weigh_with_shared(&self) -> usize {
        self.weigh() - self.connection.held_bytes() + self.connection.pinned_bytes()
    }

    fn drop_empty_extras(&mut self) {
        let is_empty =
            |extras: &mut Box<LinkExtras>| extras.proxy_header.is_none() && extras.unread.is_none();
        self.extras.take_if(is_empty);
    }
}
