//! Where a connection stands, with what it needs there (RFC 6455 §4, §7).

use std::time::Duration;

use crate::base::time::MonotonicTime;
use crate::protocol::body::BodyReader;

/// Whether a quiet peer is asked for a sign of life: web clients are, scripts are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keepalive {
    /// Pings, and an end to a peer that does not answer.
    Pings,
    /// None here: the peer cannot answer while it works (protocol.md 5.2).
    None,
}

/// Whether events carry an id by which a stream that was lost goes on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventIds {
    /// The cursor that a text has as its last key (protocol.md 9.1).
    Cursors,
    /// None: the client has not opted in.
    None,
}

/// ```text
/// Connecting → ReadingHead → AwaitingDecision → Open → Closing → Closed → Aborted
///    ↑              │          │ │ └→ Streaming ┐│       │
///    │              │          │ └→ Draining ←──┴┴───────┘
///    │              ├→ ReadingBody → AwaitingResponse
///    └─ KeepAlive ←─┴──────────────────┘
/// ```
#[derive(Debug)]
pub(super) enum State {
    /// Nothing has come.
    Connecting { deadline: MonotonicTime },
    /// The request head has begun and is not complete.
    ReadingHead(Box<ReadingHead>),
    /// The head was handed out; `accept` or `reject` has to follow.
    AwaitingDecision { deadline: MonotonicTime },
    /// The body of a plain HTTP request is not complete.
    ReadingBody(Box<ReadingBody>),
    /// The body was handed out; `respond` or `reject` has to follow.
    AwaitingResponse,
    /// A plain HTTP request was answered and another may follow.
    KeepAlive { deadline: MonotonicTime },
    /// Messages flow.
    Open {
        liveness: Liveness,
        keepalive: Keepalive,
    },
    /// Events flow, one way: what the peer sends is thrown away.
    Streaming {
        /// When it was last given a sign of life that nobody notices.
        last_comment: MonotonicTime,
        event_ids: EventIds,
    },
    /// Our close frame is on its way, the peer's has not come.
    Closing {
        deadline: MonotonicTime,
        heard: Option<MonotonicTime>,
    },
    /// All is said: input is thrown away until the peer ends, so that no reset overtakes our
    /// last bytes.
    Draining {
        deadline: MonotonicTime,
        heard: Option<MonotonicTime>,
    },
    /// Both ends are done; what waits is still sent.
    Closed {
        deadline: MonotonicTime,
        heard: Option<MonotonicTime>,
    },
    /// Nothing more happens, not even to what waits.
    Aborted { liveness: Option<Liveness> },
}

impl State {
    /// What follows this at once, without regard to anything.
    pub(super) fn aborted(&self) -> Self {
        let liveness = match *self {
            Self::Open {
                liveness,
                keepalive: Keepalive::Pings,
            } => Some(liveness),
            Self::Open { .. } => None,
            Self::Aborted { liveness } => liveness,
            _ => self.heard(Duration::ZERO).map(Liveness::Heard),
        };
        Self::Aborted { liveness }
    }

    /// When the peer was heard last, if messages have flowed and that is known. Of one that was pinged since, it is
    /// known that it was silent for `ping_interval` before. Of one that is not pinged nothing is known:
    /// it may have listened without a word all the time.
    pub(super) fn heard(&self, ping_interval: Duration) -> Option<MonotonicTime> {
        let is_pinged = !ping_interval.is_zero();
        match *self {
            Self::Open {
                liveness,
                keepalive: Keepalive::Pings,
            } => is_pinged.then(|| liveness.heard(ping_interval)),
            Self::Aborted { liveness } => {
                liveness.filter(|_| is_pinged).map(|liveness| liveness.heard(ping_interval))
            }
            Self::Closing { heard, .. }
            | Self::Draining { heard, .. }
            | Self::Closed { heard, .. } => heard,
            Self::Connecting { .. }
            | Self::ReadingHead(_)
            | Self::AwaitingDecision { .. }
            | Self::ReadingBody(_)
            | Self::AwaitingResponse
            | Self::KeepAlive { .. }
            | Self::Open { .. }
            // It cannot be heard.
            | Self::Streaming { .. } => None,
        }
    }
}

/// What is known of whether the peer is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Liveness {
    /// It was last heard at this time.
    Heard(MonotonicTime),
    /// It was silent, was pinged at this time, and has not been heard since.
    Pinged(MonotonicTime),
}

impl Liveness {
    fn heard(self, ping_interval: Duration) -> MonotonicTime {
        match self {
            Self::Heard(at) => at,
            Self::Pinged(at) => at - ping_interval,
        }
    }
}

/// A head on its way.
#[derive(Debug)]
pub(super) struct ReadingHead {
    pub(super) head: Vec<u8>,
    pub(super) deadline: MonotonicTime,
}

/// A body on its way.
#[derive(Debug)]
pub(super) struct ReadingBody {
    pub(super) body: BodyReader,
    /// Since when it is watched for progress, and the bytes that have come since.
    pub(super) judged: MonotonicTime,
    pub(super) progress: usize,
}
