//! [`Accept`]: how a client is let in.

use super::peer::Peer;
use crate::connection::{ConnId, EventIds, Keepalive, PhpFraming};
use crate::protocol::handshake::Upgrade;

/// How a client is let in.
#[derive(Debug)]
pub struct Accept {
    /// The connection.
    pub id: ConnId,
    /// What it gets first, and in what form all else.
    pub opening: Opening,
    /// Where the client is, if proxies are on the way.
    pub peer: Peer,
    /// Whether it has become a client, or gets one packet and goes.
    pub admission: Admitted,
}

/// In what form a client gets its messages.
#[derive(Debug)]
pub enum Opening {
    /// As frames, behind a 101.
    WebSocket {
        /// What was agreed on.
        upgrade: Upgrade,
        /// How its frames are shaped.
        framing: PhpFraming,
        /// Whether it is pinged, as web clients are. Who is not is watched by TCP.
        keepalive: Keepalive,
    },
    /// As events, in a response that does not end (protocol.md 9.9). It is watched by TCP.
    EventStream {
        /// The response up to the first event.
        head: Vec<u8>,
        /// Whether events carry their cursor.
        event_ids: EventIds,
    },
}

/// What an accepted connection becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// A client.
    Client,
    /// Nobody: a packet tells it why, and it is closed.
    TurnedAway,
}
