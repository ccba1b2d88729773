//! The line `Ping Clients`, once per `pingInterval`, as the PHP server wrote it.

use log::info;

use crate::base::MonotonicTime;
use crate::connection::Limits;

/// When that line was last written.
#[derive(Debug, Default)]
pub(super) struct PingLog {
    last: Option<MonotonicTime>,
}

impl PingLog {
    /// A ping was sent at `now`.
    pub(super) fn log(&mut self, now: MonotonicTime, limits: &Limits) {
        let is_due = |last| last + limits.ping_interval <= now;
        if self.last.is_none_or(is_due) {
            self.last = Some(now);
            info!("Ping Clients");
        }
    }
}
