//! The timer wheel: (slot, deadline) in coarse ticks; ignorant of what a deadline means.

use std::time::{Duration, Instant};

/// A timer wheel over small slot numbers, at most one deadline per slot.
pub struct Wheel {}

impl Wheel {
    /// An empty wheel whose first tick is `start`.
    pub fn new(start: Instant) -> Self { todo!() }
    /// Arms `slot`, in place of its earlier deadline if it had one. O(1).
    pub fn set(&mut self, slot: usize, deadline: Instant) { todo!() }
    /// Disarms `slot`; harmless if it is not armed. O(1).
    pub fn cancel(&mut self, slot: usize) { todo!() }
    /// Moves every slot whose deadline has passed at `now` to `expired` and disarms it. Never early.
    pub fn expire(&mut self, now: Instant, expired: &mut Vec<usize>) { todo!() }
    /// Time from `now` to the moment at which [`expire`](Self::expire) may have something to do;
    /// `None` if nothing is armed.
    pub fn next_wait(&self, now: Instant) -> Option<Duration> { todo!() }
    /// Number of armed slots.
    pub fn len(&self) -> usize { todo!() }
    /// Whether nothing is armed.
    pub fn is_empty(&self) -> bool { self.len() == 0 }
}
