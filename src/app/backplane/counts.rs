//! What is counted.

use crate::base::Histogram;

/// What has happened since the start.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    /// Envelopes that were given to Redis.
    pub(super) published: u64,
    /// Envelopes of others that have counted.
    pub(super) received: u64,
    /// Messages that were not published.
    pub(super) lost: u64,
    /// Receipts for others.
    pub(super) receipts_sent: u64,
    /// Receipts of others.
    pub(super) receipts_received: u64,
    /// Messages of which not all nodes have said in time what became of them.
    pub(super) late: u64,
    /// Envelopes that were not signed as they should be.
    pub(super) forged: u64,
    /// Envelopes that were heard before.
    pub(super) repeated: u64,
    /// Envelopes of another time.
    pub(super) untimely: u64,
    /// Envelopes that were longer than the longest message here.
    pub(super) oversized: u64,
    /// Envelopes whose senders have not proven that they are there.
    pub(super) unproven: u64,
    /// How often pages were told that something may be missing.
    pub(super) gaps: u64,
    /// How often the subscriber has lost Redis.
    pub(super) outages: u64,
    /// From publishing to Redis's answer, in nanoseconds.
    pub(super) round_trips: Histogram,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            published: 0,
            received: 0,
            lost: 0,
            receipts_sent: 0,
            receipts_received: 0,
            late: 0,
            forged: 0,
            repeated: 0,
            untimely: 0,
            oversized: 0,
            unproven: 0,
            gaps: 0,
            outages: 0,
            round_trips: Histogram::new(ROUND_TRIP_BOUNDS),
        }
    }
}

/// From 100 µs to 5 s.
const ROUND_TRIP_BOUNDS: &[u64] = &[
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
    5_000_000_000,
];
