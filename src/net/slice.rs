//! [`Slice`]: a share of a turn by the clock.

use std::time::Duration;

use super::system::System;
use crate::base::MonotonicTime;

/// How much of something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// A slice; the rest waits for the next turn.
    Slice,
    /// All of it.
    All,
}

/// A slice of a turn. The clock is asked for the first step and for each so many from then on: a
/// step takes some microseconds, asking some dozen nanoseconds.
pub(super) struct Slice {
    end: Option<MonotonicTime>,
    steps_per_look: u32,
    steps: u32,
}

impl Slice {
    /// One that begins with its first step.
    pub(super) fn new(steps_per_look: u32) -> Self {
        Self {
            end: None,
            steps_per_look,
            steps: 0,
        }
    }

    /// Has the clock asked for the next step: the last one was long.
    pub(super) fn look_at_next_step(&mut self) {
        self.steps = 0;
    }

    /// Whether there is time for another step; for the first one there always is.
    pub(super) fn has_time<Y: System>(&mut self, system: &Y) -> bool {
        if self.steps > 0 {
            self.steps -= 1;
            return true;
        }
        self.steps = self.steps_per_look - 1;
        let now = system.now();
        now < *self.end.get_or_insert(now + SLICE)
    }
}

/// The length of a slice. With one of long work and one of broadcasts a turn takes a little over a
/// millisecond, which is what a small message waits for at most, and half of it on average. Shorter
/// ones show nothing at a tab, since waking whoever waits for it takes 0.1 ms; and a turn costs some
/// microseconds by itself (a wait, and the timers), 1 % of a slice and 5 % of one of 0.1 ms.
const SLICE: Duration = Duration::from_micros(500);
