//! What the service manager hears of the loop: that it listens, goes round, reloads, ends.
//!
//! The sign of life comes from the loop's own timer and from nowhere else: a loop that hangs, in
//! whatever call, sends none, and is restarted.

use std::time::Duration;

use super::event_loop::EventLoop;
use super::service_manager::STATUS_INTERVAL;
use super::system::System;
use super::timers::Timer;
use crate::ops::notify::{Notice, Notifier};

impl<Y: System> EventLoop<Y> {
    /// Whom to tell. Has to be called before the first turn.
    pub fn set_notifier(&mut self, notifier: Option<Notifier>) {
        self.manager.notifier = notifier;
    }

    /// The server listens.
    pub fn tell_ready(&mut self) {
        self.tell_manager(&[Notice::Ready]);
    }

    /// Something has begun or ended; the status goes along.
    pub(super) fn tell_manager(&mut self, notices: &[Notice<'_>]) {
        if self.manager.notifier.is_none() {
            return;
        }
        let status = self.status();
        let mut all = notices.to_vec();
        all.push(Notice::Status(&status));
        self.manager.tell(&all);
        self.note_status(status);
        self.set_supervision_timer();
    }

    /// Tells what is due: the sign of life each time, the status now and then and only if it has
    /// changed, and how long an end may still take.
    pub(super) fn report_to_manager(&mut self) {
        let now = self.context.now;
        let is_status_due = self.manager.status_due.is_none_or(|due| due <= now);
        let status = is_status_due.then(|| self.status());
        let status = status.filter(|status| *status != self.manager.status);
        let mut notices = Vec::new();
        let notifier = self.manager.notifier.as_ref();
        if notifier.is_some_and(|notifier| notifier.watchdog().is_some()) {
            notices.push(Notice::Alive);
        }
        if let Some(rest) = self.time_to_end() {
            notices.push(Notice::ExtendTimeout(rest + END_MARGIN));
        }
        if let Some(status) = &status {
            notices.push(Notice::Status(status));
        }
        if !notices.is_empty() {
            self.manager.tell(&notices);
        } else if let Some(notifier) = &mut self.manager.notifier {
            notifier.send_unsent();
        }
        if let Some(status) = status {
            self.note_status(status);
        }
        self.set_supervision_timer();
    }

    fn note_status(&mut self, status: String) {
        self.manager.status = status;
        self.manager.status_due = Some(self.context.now + STATUS_INTERVAL);
    }

    fn set_supervision_timer(&mut self) {
        if let Some(interval) = self.manager.interval() {
            let at = self.context.now + interval;
            self.timers.set(Timer::Supervision, at);
        }
    }

    /// One line on how the server is.
    pub(super) fn status(&self) -> String {
        let (tab_count, script_count) = self.app.client_counts();
        let queued = self.links.total_bytes();
        let state = match self.app.availability().is_ready() {
            true => "",
            false => "stopping, ",
        };
        let fault = self.manager.reload_fault;
        let fault = fault.map_or(String::new(), |fault| format!("; {fault}"));
        format!("{state}{tab_count} tabs, {script_count} scripts, {queued} bytes queued{fault}")
    }
}

/// What the process needs for its end, beyond what it waits for.
pub(super) const END_MARGIN: Duration = Duration::from_secs(10);
