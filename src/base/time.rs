//! [`MonotonicTime`]: a point in time in half of what an `Instant` takes.

use std::num::NonZeroU64;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A point of monotonic time: nanoseconds since a start that whoever asks the clock has chosen.
///
/// Eight bytes, also as an `Option`: every connection keeps several. Sums end 584 years after the
/// start, differences at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MonotonicTime(NonZeroU64);

impl MonotonicTime {
    /// The first one.
    pub const START: Self = Self(NonZeroU64::MIN);

    /// Time that has passed since [`START`](Self::START).
    pub fn since_start(self) -> Duration {
        self - Self::START
    }
}

impl Add<Duration> for MonotonicTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanoseconds))
    }
}

impl AddAssign<Duration> for MonotonicTime {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for MonotonicTime {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let left = self.0.get().saturating_sub(nanoseconds);
        NonZeroU64::new(left).map_or(Self::START, Self)
    }
}

/// Zero if the other one is later.
impl Sub for MonotonicTime {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_differences_are_exact_and_end_where_time_does() {
        let start = MonotonicTime::START;
        let later = start + Duration::new(3, 7);
        assert_eq!(later - start, Duration::new(3, 7));
        assert_eq!(start - later, Duration::ZERO);
        assert_eq!(
            later - Duration::from_secs(3),
            start + Duration::from_nanos(7)
        );
        assert_eq!(later - Duration::from_secs(9), start);
        let end = start + Duration::MAX;
        assert!(end > later && end + Duration::from_secs(1) == end);
    }

    #[test]
    fn one_that_may_be_missing_takes_no_more() {
        assert_eq!(size_of::<Option<MonotonicTime>>(), 8);
    }
}
