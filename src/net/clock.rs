//! [`Clock`]: the only one to ask the system for the time.

use std::time::Instant;

use crate::connection::MonotonicTime;

/// A clock that was at [`MonotonicTime::START`] when it was made.
#[derive(Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(&self) -> MonotonicTime {
        MonotonicTime::START + self.0.elapsed()
    }
}
