//! Where a connection stands, with what it needs there (RFC 6455 §4, §7).

use std::time::Instant;

use crate::protocol::body::BodyReader;

/// ```text
/// Connecting → Deciding → Open → Closing → Closed → Gone
///    ↑           │    └→ Draining ←┴──────────┘
///    │           ├→ Receiving → Answering
///    └─ Resting ←┴──────────────────┘
/// ```
#[derive(Debug)]
pub(super) enum State {
    /// The request head is not complete; `head` is what has come.
    Connecting { head: Vec<u8>, deadline: Instant },
    /// The head was handed out; `accept` or `reject` has to follow.
    Deciding { deadline: Instant },
    /// The body of a plain HTTP request is not complete.
    Receiving(Box<Receiving>),
    /// The body was handed out; `respond` or `reject` has to follow.
    Answering,
    /// A plain HTTP request was answered and another may follow.
    Resting { deadline: Instant },
    /// Messages flow. `heard`: when the peer was last heard.
    Open {
        heard: Instant,
        pinged: Option<Instant>,
    },
    /// Our close frame is on its way, the peer's has not come.
    Closing { deadline: Instant },
    /// All is said: input is thrown away until the peer ends, so that no reset overtakes our
    /// last bytes.
    Draining { deadline: Instant },
    /// Both ends are done; what waits is still sent.
    Closed { deadline: Instant },
    /// Nothing more happens, not even to what waits.
    Gone,
}

/// A body on its way.
#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) body: BodyReader,
    /// Since when it is watched for progress, and the bytes that have come since.
    pub(super) judged: Instant,
    pub(super) progress: usize,
}
