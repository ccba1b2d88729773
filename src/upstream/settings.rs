//! What one target may use, and what the calls of one turn share.

use std::fmt;
use std::time::Duration;

use crate::base::time::MonotonicTime;

/// What one target may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Most connections at once; at least 1. Over HTTP each carries one call at a time.
    pub concurrency: usize,
    /// Most calls under way on one connection to Redis; at least 1.
    pub max_pipelined_calls: usize,
    /// Most calls that wait for a connection.
    pub max_queued_calls: usize,
    /// Most bytes of requests that wait for a connection.
    pub max_queued_bytes: usize,
    /// For looking up the name; and again for connecting, over all addresses, TLS included.
    pub connect_timeout: Duration,
    /// How long a connection is kept that carries nothing.
    pub idle_timeout: Duration,
    /// How long an answer is still awaited, and its connection occupied, after its call has timed
    /// out or was cancelled: the other end works on it all the same, and asking more meanwhile
    /// would only pile up more work there.
    pub late_answer_timeout: Duration,
    /// The first pause after a connection has failed is at most so long; each further one is at
    /// most twice the one before.
    pub min_backoff: Duration,
    /// No pause is longer.
    pub max_backoff: Duration,
    /// Whether there is a connection, to Redis, even if nobody calls.
    pub upkeep: Upkeep,
    /// A connection to Redis that is always there and quiet for so long is sent a `PING`, which has
    /// to be answered within `late_answer_timeout`.
    pub ping_interval: Duration,
    /// Most channels that a subscriber wants.
    pub max_channels: usize,
    /// Longest message to a subscriber, its channel and syntax included; longer ones are skipped.
    pub max_message_bytes: usize,
}

/// Whether a connection is there when nobody calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// The first call opens it; it is closed when it has been quiet for `idle_timeout`.
    OnDemand,
    /// From the start on; opened again, after a pause, whenever it is lost.
    Always,
}

impl Settings {
    /// For Redis: one connection, on which calls do not wait for each other.
    pub fn redis() -> Self {
        Self {
            concurrency: 1,
            ..Self::default()
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // Debian's php-fpm starts with five workers: one is left for the pages themselves.
            concurrency: 4,
            max_pipelined_calls: 1000,
            max_queued_calls: 1000,
            max_queued_bytes: 8 << 20,
            connect_timeout: Duration::from_secs(5),
            // nginx keeps a quiet connection for 75 s; Apache's 5 s are noticed by its closing.
            idle_timeout: Duration::from_secs(30),
            late_answer_timeout: Duration::from_secs(5),
            min_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            upkeep: Upkeep::OnDemand,
            ping_interval: Duration::from_secs(10),
            max_channels: 1_000_000,
            max_message_bytes: 16 << 20,
        }
    }
}

/// What every call of one turn of the loop may use.
pub struct UpstreamContext<'a> {
    /// The time, taken once per turn.
    pub now: MonotonicTime,
    /// Gives a random number each time, for the pauses. It need not be hard to guess.
    pub random: &'a mut dyn FnMut() -> u64,
}

impl fmt::Debug for UpstreamContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamContext")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}
