//! One log line for many events of a kind.

use std::time::Duration;

use super::time::MonotonicTime;

/// Counts events and says when the next line about them is due.
#[derive(Debug, Default)]
pub struct LogLimiter {
    next: Option<MonotonicTime>,
    count: u64,
}

impl LogLimiter {
    /// Counts one event; the number of those not told yet, if they are to be told at `now`.
    pub fn count(&mut self, now: MonotonicTime) -> Option<u64> {
        self.count += 1;
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        self.next = Some(now + LINE_INTERVAL);
        Some(std::mem::take(&mut self.count))
    }
}

/// Least time between two lines of a kind.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_once_and_counted() {
        let (start, mut limiter) = (MonotonicTime::START, LogLimiter::default());
        assert_eq!(limiter.count(start), Some(1));
        for second in 1..10 {
            assert_eq!(limiter.count(start + Duration::from_secs(second)), None);
        }
        assert_eq!(limiter.count(start + LINE_INTERVAL), Some(10));
    }
}
