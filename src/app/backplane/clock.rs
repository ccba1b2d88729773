//! Clocks of other nodes: each counts from its own start.

use std::time::Duration;

use crate::base::MonotonicTime;

/// How far the clock of a peer is behind the one here, in microseconds: at most what its fastest
/// envelope shows, and at least what its fastest answer does, counted from the question. Clocks
/// drift, so that only those of the last minutes count.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockOffset {
    /// Of the period before, and of this one.
    most: [i64; 2],
    least: [i64; 2],
    since: MonotonicTime,
}

impl ClockOffset {
    /// Nothing is known yet.
    pub(super) fn new(now: MonotonicTime) -> Self {
        Self {
            most: [i64::MAX; 2],
            least: [i64::MIN; 2],
            since: now,
        }
    }

    /// An envelope was heard, whose time of sending is so far behind.
    pub(super) fn note_most(&mut self, offset: i64, now: MonotonicTime) {
        if now - self.since >= CLOCK_PERIOD {
            *self = Self {
                most: [self.most[1], i64::MAX],
                least: [self.least[1], i64::MIN],
                since: now,
            };
        }
        self.most[1] = self.most[1].min(offset);
    }

    /// An answer was heard; the question is so far behind its time of sending.
    pub(super) fn note_least(&mut self, offset: i64) {
        self.least[1] = self.least[1].max(offset);
    }

    /// What is to be added to a time there.
    pub(super) fn get(&self) -> i64 {
        let most = self.most[0].min(self.most[1]);
        match self.least[0].max(self.least[1]) {
            // It has answered nothing yet.
            i64::MIN => most,
            // Both ways take as long, as far as is known.
            least => most.midpoint(least),
        }
    }
}

/// How far a time of another's clock is behind one here, in microseconds.
pub(super) fn behind(here: MonotonicTime, there: u64) -> i64 {
    micros(here).wrapping_sub(there).cast_signed()
}

/// A time here as others are told it.
pub(super) fn micros(time: MonotonicTime) -> u64 {
    u64::try_from(time.since_start().as_micros()).unwrap_or(u64::MAX)
}

/// How long an envelope tells how far a clock is behind: by then it has drifted by some milliseconds.
const CLOCK_PERIOD: Duration = Duration::from_secs(60);
