//! One log line for many events of a kind.

use std::time::Duration;

use crate::connection::MonotonicTime;

/// Counts events and says when the next line about them is due.
#[derive(Debug, Default)]
pub(super) struct Notice {
    next: Option<MonotonicTime>,
    count: u64,
}

impl Notice {
    /// Counts one event; the number of those not told yet, if they are to be told at `now`.
    pub(super) fn count(&mut self, now: MonotonicTime) -> Option<u64> {
        self.count += 1;
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        self.next = Some(now + NOTICE_INTERVAL);
        Some(std::mem::take(&mut self.count))
    }
}

/// Least time between two lines of a kind.
const NOTICE_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_once_and_counted() {
        let (start, mut notice) = (MonotonicTime::START, Notice::default());
        assert_eq!(notice.count(start), Some(1));
        for second in 1..10 {
            assert_eq!(notice.count(start + Duration::from_secs(second)), None);
        }
        assert_eq!(notice.count(start + NOTICE_INTERVAL), Some(10));
    }
}
