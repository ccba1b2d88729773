//! [`UpstreamHealth`]: tells whoever reads the log that another server is away, why, and when it is
//! back.

use log::{info, warn};

use crate::base::{LogLimiter, MonotonicTime};
use crate::upstream::{CallError, Upstream};

/// What the log says of one target.
#[derive(Debug, Default)]
pub(super) struct UpstreamHealth {
    told: Option<CallError>,
    failures: LogLimiter,
}

impl UpstreamHealth {
    /// Says what has changed.
    pub(super) fn report(&mut self, upstream: &Upstream, now: MonotonicTime) {
        let failure = upstream.last_failure();
        if failure == self.told {
            return;
        }
        match failure {
            // That has a line of its own, which says what is wrong with the certificate.
            Some(CallError::TlsFailed) => {}
            Some(error) => {
                let Some(count) = self.failures.count(now) else {
                    return;
                };
                let target = upstream.target();
                warn!("{target} cannot be asked ({count} times in all): {error}");
            }
            None if upstream.has_served() => info!("{} answers again", upstream.target()),
            None => return,
        }
        self.told = failure;
    }
}
