//! What the loop counts: turns, newcomers, and clients that go.

use std::time::Duration;

use crate::api::figures::{Deliveries, QueueCounts, Reason};
use crate::app::Receipt;
use crate::base::{Histogram, Tally};
use crate::protocol::close_code::CloseCode;
use crate::protocol::error::Violation;

/// Turns and newcomers.
#[derive(Debug)]
pub(super) struct LoopCounts {
    pub(super) accepted_count: u64,
    pub(super) failed_handshake_count: u64,
    pub(super) turn_durations: Histogram,
    pub(super) backlogs: Histogram,
}

impl Default for LoopCounts {
    fn default() -> Self {
        Self {
            accepted_count: 0,
            failed_handshake_count: 0,
            turn_durations: Histogram::new(TURN_BOUNDS_NS),
            backlogs: Histogram::new(BACKLOG_BOUNDS),
        }
    }
}

impl LoopCounts {
    /// A turn is over, which has taken so long and has left so many connections on the backlog.
    pub(super) fn add_turn(&mut self, took: Duration, backlog: usize) {
        self.turn_durations.observe(took.as_nanos() as u64);
        self.backlogs.observe(backlog as u64);
    }
}

/// What became of messages and of clients.
#[derive(Debug)]
pub(super) struct LinkCounts {
    pub(super) deliveries: Deliveries,
    pub(super) closings: Tally<Reason>,
}

impl Default for LinkCounts {
    fn default() -> Self {
        let violations = Violation::ALL.map(|v| Reason::new(v.close_code().as_u16(), v.reason()));
        let others = [
            (CloseCode::POLICY_VIOLATION.as_u16(), SLOW_READER),
            (CloseCode::GOING_AWAY.as_u16(), STOPPING),
            (ABNORMAL_CLOSURE, LOST),
            (ABNORMAL_CLOSURE, NO_PONG),
            (ABNORMAL_CLOSURE, OVER_MEMORY_LIMIT),
        ];
        let others = others.map(|(code, text)| Reason::new(code, text));
        Self {
            deliveries: Deliveries::default(),
            closings: Tally::of(violations.into_iter().chain(others)),
        }
    }
}

impl LinkCounts {
    /// A message to others, or to one of them, stands in these queues.
    pub(super) fn add_delivery(&mut self, to: DeliveredTo, receipt: Receipt) {
        let counts = match to {
            DeliveredTo::One => &mut self.deliveries.to_one,
            DeliveredTo::Many => &mut self.deliveries.to_many,
        };
        let QueueCounts { queued, full } = counts;
        *queued += receipt.queued as u64;
        *full += receipt.full as u64;
    }

    /// A client has gone.
    pub(super) fn add_closing(&mut self, code: u16, reason: &str) {
        Reason::count(&mut self.closings, code, reason);
    }
}

/// The code that a client's close frame counts under: clients can choose among two thousand.
pub(super) fn code_of_client(code: Option<CloseCode>) -> u16 {
    match code.map(CloseCode::as_u16) {
        None => NO_STATUS,
        Some(code @ ..3000) => code,
        Some(3000..4000) => 3000,
        Some(4000..) => 4000,
    }
}

/// Whom a message was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveredTo {
    One,
    Many,
}

/// RFC 6455 §7.4.1: never sent.
pub(super) const ABNORMAL_CLOSURE: u16 = 1006;

/// RFC 6455 §7.4.1: never sent; a close frame came without a code.
pub(super) const NO_STATUS: u16 = 1005;

/// The peer has begun the close handshake.
pub(super) const CLOSED_BY_CLIENT: &str = "closed by the client";
pub(super) const LOST: &str = "lost";
pub(super) const NO_PONG: &str = "did not answer in time: over pongTimeout";
pub(super) const OVER_MEMORY_LIMIT: &str = "cut over memoryLimit";
pub(super) const SLOW_READER: &str = "more than maxQueue bytes wait to be read";
pub(super) const STOPPING: &str = "the server is stopping";

/// Bounds of the time that a turn takes: from a message to a hundred users' waiting.
const TURN_BOUNDS_NS: &[u64] = &[
    20_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
];

const BACKLOG_BOUNDS: &[u64] = &[0, 1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000];
