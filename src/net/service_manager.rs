//! [`ServiceManager`]: who has started the server and watches it, and what it has been told last.

use std::time::Duration;

use crate::base::MonotonicTime;
use crate::ops::notify::{Notice, Notifier};

/// The manager, if there is one, and what it has been told last.
#[derive(Debug, Default)]
pub(super) struct ServiceManager {
    pub(super) notifier: Option<Notifier>,
    /// When the status may be told again.
    pub(super) status_due: Option<MonotonicTime>,
    pub(super) status: String,
    /// Why the settings in force are not those of the file, if that is so.
    pub(super) reload_fault: Option<&'static str>,
}

impl ServiceManager {
    /// How long until something is to be told again; `None`: there is no manager.
    pub(super) fn interval(&self) -> Option<Duration> {
        let notifier = self.notifier.as_ref()?;
        if notifier.has_unsent() {
            return Some(RETRY_INTERVAL);
        }
        let half = notifier.watchdog().map(|longest| longest / 2);
        let half = half.unwrap_or(STATUS_INTERVAL);
        Some(half.clamp(LEAST_INTERVAL, STATUS_INTERVAL))
    }

    pub(super) fn tell(&mut self, notices: &[Notice<'_>]) {
        if let Some(notifier) = &mut self.notifier {
            notifier.tell(notices);
        }
    }
}

/// How often the status is told at most, and how often anything is at least.
pub(super) const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// When something is tried again that the manager did not take.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// Signs of life do not come closer together, whatever the manager wants.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);
