//! The certificates, looked at from time to time.

use std::sync::Arc;
use std::time::Duration;

use log::{error, info, warn};
use rustls::ServerConfig;

use super::timers::{Timer, Timers};
use crate::base::MonotonicTime;
use crate::ops::certificates::Certificates;

/// The certificates for endpoints that speak TLS, if there are any.
#[derive(Default)]
pub(super) struct CertificateWatch {
    certificates: Option<Certificates>,
    /// When the days left were last logged.
    expiry_logged: Option<MonotonicTime>,
}

impl CertificateWatch {
    /// Begins to watch.
    pub(super) fn watch(
        &mut self,
        certificates: Certificates,
        now: MonotonicTime,
        timers: &mut Timers,
    ) {
        for warning in certificates.warnings() {
            warn!("{warning}");
        }
        self.certificates = Some(certificates);
        timers.set(Timer::Certificates, now);
    }

    /// What new connections are offered.
    pub(super) fn config(&self) -> Option<&Arc<ServerConfig>> {
        self.certificates.as_ref().map(Certificates::config)
    }

    /// Looks at the files, and comes back.
    pub(super) fn look(&mut self, now: MonotonicTime, timers: &mut Timers) {
        timers.set(Timer::Certificates, now + LOOK_INTERVAL);
        self.reload(now);
        self.warn_expiry(now);
    }

    /// Takes up files that have changed.
    pub(super) fn reload(&mut self, _now: MonotonicTime) {
        let Some(certificates) = &mut self.certificates else {
            return;
        };
        match certificates.reload_if_changed() {
            Ok(false) => {}
            Ok(true) => {
                info!("New certificate in force for new connections");
                self.expiry_logged = None;
            }
            Err(error) => error!("the old certificate stays in force: {error}"),
        }
    }

    fn warn_expiry(&mut self, now: MonotonicTime) {
        let Some(left) = self.certificates.as_ref().map(Certificates::time_left) else {
            return;
        };
        let is_due = |logged| logged + DAY <= now;
        if left < EXPIRY_WARNING && self.expiry_logged.is_none_or(is_due) {
            self.expiry_logged = Some(now);
            let days = left.as_secs() / DAY.as_secs();
            warn!("a certificate expires in {days} days; renew it");
        }
    }
}

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// From how long before the end on it is logged every day that a certificate expires.
const EXPIRY_WARNING: Duration = Duration::from_secs(21 * 86_400);

const DAY: Duration = Duration::from_secs(86_400);
