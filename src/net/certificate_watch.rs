//! The certificates, looked at from time to time.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use super::system::Waker;
use super::timers::{Timer, Timers};
use crate::base::MonotonicTime;
use crate::ops::certificates::{Certificates, LookReason, Note};

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
