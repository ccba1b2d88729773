//! Where a connection stands, with what it needs there (RFC 6455 §4, §7).

use std::time::Instant;

/// ```text
/// Connecting → Deciding → Open → Closing → Closed → Gone
///                     └→ Draining ←┴──────────┘
/// ```
#[derive(Debug)]
pub(super) enum State {
    /// The request head is not complete; `head` is what has come.
    Connecting { head: Vec<u8>, deadline: Instant },
    /// The head was handed out; `accept` or `reject` has to follow.
    Deciding { deadline: Instant },
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
