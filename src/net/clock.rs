//! [`Clock`]: the only one to ask the system for the time.

use std::time::{Duration, Instant};

use crate::connection::MonotonicTime;

/// A clock that was [`HEAD_START`] after [`MonotonicTime::START`] when it was made.
#[derive(Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(&self) -> MonotonicTime {
        MonotonicTime::START + HEAD_START + self.0.elapsed()
    }
}

/// So that what was before can be told: a connection that was taken over was last heard then.
const HEAD_START: Duration = Duration::from_secs(48 * 3_600);
