//! Everything that is due at a time: one wheel for all, and what needs to be finer than it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::wheel::Wheel;
use crate::base::MonotonicTime;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// A deadline of the connection in this slot.
    Link(usize),
    /// The connection in this slot may write on, after a gap.
    Write(usize),
    /// Accepting is tried again.
    Accept,
    /// The end of the server goes on, or is there.
    Shutdown,
    /// The service manager is told that the server is alive.
    Supervision,
    /// A line of totals is written.
    Summary,
    /// The certificates' files are looked at.
    Certificates,
    /// Large buffers that nobody needs are freed.
    SpareBuffers,
    /// The application has something to do.
    App,
    /// The first deadline of all calls to other servers, and of their connections.
    Upstreams,
    /// A takeover goes on, or has taken too long.
    Handover,
}

/// All timers.
pub(super) struct Timers {
    wheel: Wheel,
    /// Gaps between frames are shorter than a tick of the wheel. There are few at a time.
    writes: BinaryHeap<Reverse<(MonotonicTime, usize)>>,
    keys: Vec<usize>,
}

impl Timers {
    pub(super) fn new(start: MonotonicTime) -> Self {
        Self {
            wheel: Wheel::new(start),
            writes: BinaryHeap::new(),
            keys: Vec::new(),
        }
    }

    /// Sets a timer, in place of the time that it had.
    pub(super) fn set(&mut self, timer: Timer, at: MonotonicTime) {
        match timer {
            Timer::Write(slot) => self.writes.push(Reverse((at, slot))),
            other => self.wheel.set(key_of(other), at),
        }
    }

    /// Takes a timer back; harmless if it is not set. One for a write just finds nothing to do.
    pub(super) fn cancel(&mut self, timer: Timer) {
        match timer {
            Timer::Write(_) => {}
            other => self.wheel.cancel(key_of(other)),
        }
    }

    /// The connection in this slot has gone.
    pub(super) fn forget_link(&mut self, slot: usize) {
        self.wheel.forget(key_of(Timer::Link(slot)));
    }

    /// Adds what is due at `now` to `due`, in no particular order.
    pub(super) fn expire(&mut self, now: MonotonicTime, due: &mut Vec<Timer>) {
        self.wheel.expire(now, &mut self.keys);
        due.extend(self.keys.drain(..).map(timer_of));
        while let Some(Reverse((at, slot))) = self.writes.peek().copied()
            && at <= now
        {
            self.writes.pop();
            due.push(Timer::Write(slot));
        }
    }

    /// Time from `now` until something may be due; `None`: nothing is set.
    pub(super) fn next_wait(&self, now: MonotonicTime) -> Option<Duration> {
        let write = self.writes.peek().map(|Reverse((at, _))| *at - now);
        self.wheel.next_wait(now).into_iter().chain(write).min()
    }
}

/// Keys of the wheel: those of connections come behind the fixed ones.
fn key_of(timer: Timer) -> usize {
    match timer {
        Timer::Accept => 0,
        Timer::Shutdown => 1,
        Timer::Certificates => 2,
        Timer::App => 3,
        Timer::Upstreams => 4,
        Timer::Supervision => 5,
        Timer::Handover => 6,
        Timer::Summary => 7,
        Timer::SpareBuffers => 8,
        Timer::Link(slot) | Timer::Write(slot) => slot + FIXED_COUNT,
    }
}

fn timer_of(key: usize) -> Timer {
    match key {
        0 => Timer::Accept,
        1 => Timer::Shutdown,
        2 => Timer::Certificates,
        3 => Timer::App,
        4 => Timer::Upstreams,
        5 => Timer::Supervision,
        6 => Timer::Handover,
        7 => Timer::Summary,
        8 => Timer::SpareBuffers,
        key => Timer::Link(key - FIXED_COUNT),
    }
}

const FIXED_COUNT: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_timer_comes_back_as_itself_and_writes_come_on_time() {
        let start = MonotonicTime::START;
        let mut timers = Timers::new(start);
        let all = [
            Timer::Link(0),
            Timer::Link(7),
            Timer::Accept,
            Timer::Shutdown,
            Timer::Certificates,
            Timer::App,
            Timer::Upstreams,
            Timer::Supervision,
            Timer::Handover,
            Timer::SpareBuffers,
            Timer::Summary,
        ];
        let second = start + Duration::from_secs(1);
        all.iter().for_each(|timer| timers.set(*timer, second));
        let fine = start + Duration::from_micros(200);
        timers.set(Timer::Write(7), fine);
        assert_eq!(timers.next_wait(start), Some(Duration::from_micros(200)));
        let mut due = Vec::new();
        timers.expire(fine, &mut due);
        assert_eq!(due, [Timer::Write(7)]);
        due.clear();
        timers.cancel(Timer::App);
        timers.expire(start + Duration::from_secs(2), &mut due);
        assert_eq!(due.len(), all.len() - 1);
        let mut others = all.iter().filter(|timer| **timer != Timer::App);
        assert!(others.all(|timer| due.contains(timer)));
        assert_eq!(timers.next_wait(second), None);
    }
}
