//! How often something may happen: a token bucket of one second's worth.

use std::time::Duration;

use crate::base::time::MonotonicTime;

/// A token bucket in one value: the time at which it will be full again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    full_at: Option<MonotonicTime>,
}

impl Rate {
    /// Takes one token, of `per_second` that come back each second and as many at once; `false` if
    /// there is none.
    pub(super) fn count(&mut self, per_second: u32, now: MonotonicTime) -> bool {
        let cost = Duration::from_secs(1) / per_second.max(1);
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + cost;
        if full_at > now + Duration::from_secs(1) {
            return false;
        }
        self.full_at = Some(full_at);
        true
    }

    /// Time from `now` until it is full; zero if it is.
    pub(super) fn time_until_full(&self, now: MonotonicTime) -> Duration {
        self.full_at.map_or(Duration::ZERO, |full_at| full_at - now)
    }

    /// One that will be full so much after `now`, at most the second that an empty one takes.
    pub(super) fn full_in(time: Duration, now: MonotonicTime) -> Self {
        let time = time.min(Duration::from_secs(1));
        Self {
            full_at: (!time.is_zero()).then(|| now + time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_its_number_and_no_more() {
        let start = MonotonicTime::START;
        for limit in [1, 2, 10, 1000] {
            let mut rate = Rate::default();
            let at_once = (0..2 * limit).filter(|_| rate.count(limit, start)).count();
            assert_eq!(at_once, limit as usize);
            let tenth = start + Duration::from_millis(100);
            let later = (0..limit).filter(|_| rate.count(limit, tenth)).count();
            assert_eq!(later, limit as usize / 10);
            let full = start + Duration::from_secs(5);
            assert_eq!(
                (0..2 * limit).filter(|_| rate.count(limit, full)).count(),
                limit as usize
            );
        }
    }
}
