//! [`Published`]: what was given to Redis.

use std::time::Duration;

use crate::app::calls::CallId;
use crate::base::MonotonicTime;

/// Something that Redis has not confirmed.
#[derive(Debug)]
pub(super) struct Published {
    /// The message that is waited for, if it is one.
    pub(super) routed: Option<CallId>,
    pub(super) is_message: bool,
    pub(super) byte_count: usize,
    pub(super) at: MonotonicTime,
}

/// How long a message waits for Redis.
pub(super) const QUEUE_TIME: Duration = Duration::from_secs(5);
