//! Where a connection stands, with what it needs there (RFC 6455 §4, §7).

use super::{Keepalive, Moment};
use crate::protocol::body::BodyReader;

/// ```text
/// Connecting → Heading → Deciding → Open → Closing → Closed → Gone
///    ↑           │    └→ Draining ←┴──────────┘
///    │           ├→ Receiving → Answering
///    └─ Resting ←┴──────────────────┘
/// ```
#[derive(Debug)]
pub(super) enum State {
    /// Nothing has come.
    Connecting { deadline: Moment },
    /// The request head has begun and is not complete.
    Heading(Box<Heading>),
    /// The head was handed out; `accept` or `reject` has to follow.
    Deciding { deadline: Moment },
    /// The body of a plain HTTP request is not complete.
    Receiving(Box<Receiving>),
    /// The body was handed out; `respond` or `reject` has to follow.
    Answering,
    /// A plain HTTP request was answered and another may follow.
    Resting { deadline: Moment },
    /// Messages flow.
    Open {
        /// When the peer was last heard, or was asked for a sign of life.
        since: Moment,
        asked: Asked,
        keepalive: Keepalive,
    },
    /// Our close frame is on its way, the peer's has not come.
    Closing { deadline: Moment },
    /// All is said: input is thrown away until the peer ends, so that no reset overtakes our
    /// last bytes.
    Draining { deadline: Moment },
    /// Both ends are done; what waits is still sent.
    Closed { deadline: Moment },
    /// Nothing more happens, not even to what waits.
    Gone,
}

/// Whether a quiet peer has been asked for a sign of life and has not been heard since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    No,
    Yes,
}

/// A head on its way.
#[derive(Debug)]
pub(super) struct Heading {
    pub(super) head: Vec<u8>,
    pub(super) deadline: Moment,
}

/// A body on its way.
#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) body: BodyReader,
    /// Since when it is watched for progress, and the bytes that have come since.
    pub(super) judged: Moment,
    pub(super) progress: usize,
}
