//! New settings for a running loop: the one place where each part of it gets them.
//!
//! `ServerSettings` are all that a reload can change. A new field of theirs goes on from here, or
//! from `App::reload`, to its owner; `EFFECTS` in `config/reload.rs` says of its key when it takes
//! effect.

use super::event_loop::EventLoop;
use super::loop_settings::LoopSettings;
use super::loop_state::LoopState;
use super::proxy_headers::ProxyHeaders;
use super::system::System;
use crate::app::AppSettings;
use crate::ops::notify::Notice;

impl<Y: System> EventLoop<Y> {
    /// Has the settings read again, and everything opened anew that others may have moved away.
    pub(super) fn begin_reload(&mut self) {
        (self.on_hangup)();
        log::info!("SIGHUP: settings, log file and certificates are read anew");
        self.certificates.reload();
        self.tell_reload(Notice::Reloading);
        if !self.reload.begin(self.system.waker()) {
            self.tell_reload(Notice::Ready);
        }
    }

    /// Takes up what was read, if something was.
    pub(super) fn take_up_settings(&mut self) {
        let Some((read, is_asked_again)) = self.reload.take() else {
            return;
        };
        self.manager.reload_fault = read.is_none().then_some(FAULT);
        if let Some(new) = read {
            new.log();
            self.reload(new.app, new.event_loop);
            self.handover.patience = new.takeover_patience;
            if let Some(certificates) = new.certificates {
                self.watch_certificates(certificates);
            }
        }
        if !(is_asked_again && self.reload.begin(self.system.waker())) {
            self.tell_reload(Notice::Ready);
        }
    }

    /// A manager that has asked for the end waits for nothing else.
    fn tell_reload(&mut self, notice: Notice<'_>) {
        if matches!(self.state, LoopState::Running) {
            self.tell_manager(&[notice]);
        }
    }

    /// Goes by these settings from now on.
    pub fn reload(&mut self, app: AppSettings, settings: LoopSettings) {
        let LoopSettings {
            limits,
            memory_limit_bytes,
            // Looked at where they are needed.
            max_pending: _,
            shutdown_timeout: _,
            drain: _,
            summary_interval,
            compression: _,
        } = settings;
        let is_other = summary_interval != self.settings.summary_interval;
        self.settings = settings;
        if is_other {
            self.begin_summaries();
        }
        self.context.limits = limits;
        self.context.pool.limit_spare_bytes(memory_limit_bytes);
        let trusted_proxies = app.admission.trusted_proxies.clone();
        self.proxy_headers = ProxyHeaders::new(trusted_proxies);
        let slots = 0..self.links.table.slot_count();
        let table = &mut self.links.table;
        let link = |slot| table.slot_mut(slot).map(|link| (link.id, link.peer));
        self.app
            .reload(app, slots.filter_map(link), self.context.now);
        for (upstream, settings) in self.app.backplane_limits() {
            self.upstreams.set_limits(upstream, &settings);
        }
        // Times may have become shorter than what the timers hold.
        for slot in 0..self.links.table.slot_count() {
            self.links.rearm(slot, &self.context, &mut self.timers);
        }
    }
}

/// What `systemctl status` shows then.
const FAULT: &str = "the ini file is wrong (see the log), the old settings hold";
