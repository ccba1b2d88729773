//! The certificates, looked at from time to time.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use super::system::Waker;
use super::timers::{Timer, Timers};
use crate::base::MonotonicTime;
use crate::ops::certificates::{Certificates, InForce, LookReason, Note};

/// The certificates for endpoints that speak TLS, if there are any.
#[derive(Default)]
pub(super) struct CertificateWatch {
    certificates: Option<Certificates>,
}

impl CertificateWatch {
    /// Begins to watch. Files are read by a thread of its own, which calls `waker` when it is done.
    pub(super) fn watch(
        &mut self,
        mut certificates: Certificates,
        waker: Waker,
        now: MonotonicTime,
        timers: &mut Timers,
    ) {
        for warning in certificates.warnings() {
            log::warn!("{warning}");
        }
        certificates.set_waker(move || waker());
        self.certificates = Some(certificates);
        timers.set(Timer::Certificates, now);
    }

    /// What new connections are offered.
    pub(super) fn config(&self) -> Option<&Arc<ServerConfig>> {
        self.certificates.as_ref().map(Certificates::config)
    }

    /// Which certificates are in force.
    pub(super) fn in_force(&self) -> Vec<InForce> {
        let in_force = self.certificates.as_ref().map(Certificates::in_force);
        in_force.unwrap_or_default()
    }

    /// Whether one of them is out of its time.
    pub(super) fn is_broken(&self) -> bool {
        let mut in_force = self.in_force().into_iter();
        in_force.any(|certificate| certificate.is_broken)
    }

    /// Files that the last look could not take up.
    pub(super) fn failed_count(&self) -> usize {
        let failed = self.certificates.as_ref().map(Certificates::failed_count);
        failed.unwrap_or_default()
    }

    /// Has the files looked at, and comes back.
    pub(super) fn look(&mut self, now: MonotonicTime, timers: &mut Timers) {
        timers.set(Timer::Certificates, now + LOOK_INTERVAL);
        if let Some(certificates) = &mut self.certificates {
            certificates.request_look(LookReason::Timer);
            certificates.due_notes().iter().for_each(Note::log);
        }
    }

    /// Has them looked at now, whatever is known of them.
    pub(super) fn reload(&mut self) {
        if let Some(certificates) = &mut self.certificates {
            certificates.request_look(LookReason::Hangup);
        }
    }

    /// Takes up what a look has found, if one has ended.
    pub(super) fn take_up(&mut self) {
        if let Some(certificates) = &mut self.certificates
            && let Some(outcome) = certificates.take_result()
        {
            outcome.notes.iter().for_each(Note::log);
        }
    }
}

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
