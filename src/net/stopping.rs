//! What the administrator asks for by a signal: open the log anew, say how the server is, start a
//! successor, stop.

use std::time::Duration;

use log::{info, warn};

use super::counts::STOPPING;
use super::drain::Drain;
use super::event_loop::EventLoop;
use super::loop_state::LoopState;
use super::slice::Share;
use super::supervision::END_MARGIN;
use super::system::System;
use super::timers::Timer;
use crate::app::{Availability, CurrentMessage, Event, NOBODY};
use crate::base::MonotonicTime;
use crate::connection::Connection;
use crate::ops::notify::Notice;
use crate::ops::signals::Signal;
use crate::protocol::close_code::CloseCode;

impl<Y: System> EventLoop<Y> {
    pub(super) fn handle_signal(&mut self, signal: Signal) {
        match (signal, &self.state) {
            (Signal::Hangup, _) => self.begin_reload(),
            (Signal::Report, _) => {
                let status = self.status();
                info!("Status: {status}");
            }
            (Signal::Upgrade, LoopState::Running) => (self.handover.on_upgrade)(),
            (Signal::Upgrade, _) => warn!("SIGUSR2: no successor is started, as this server stops"),
            (Signal::Stop, LoopState::Running) => {
                self.cancel_handover("this server is stopping");
                self.leave();
            }
            (Signal::Stop, _) => {
                let count = self.links.table.len();
                warn!("second signal: ending at once, {count} connections cut");
                let deadline = self.context.now;
                self.state = LoopState::Stopping { deadline };
            }
        }
    }

    /// Whether the server has stopped.
    pub fn is_done(&self) -> bool {
        match self.state {
            LoopState::Running | LoopState::Leaving { .. } | LoopState::Draining(_) => false,
            LoopState::Ending { deadline } => deadline <= self.context.now,
            LoopState::Stopping { deadline } => {
                let is_over = self.links.table.len() == 0 && !self.app.has_under_way();
                is_over || deadline <= self.context.now
            }
        }
    }

    /// Longest time from now to the end; `None` as long as nobody has asked for one.
    pub fn time_to_end(&self) -> Option<Duration> {
        let now = self.context.now;
        let shutdown_timeout = self.settings.shutdown_timeout;
        match &self.state {
            LoopState::Running => None,
            LoopState::Leaving { until } => {
                let count = self.app.restart_audience().len();
                let spread = self.settings.drain.spread_of(count);
                Some((*until - now) + spread + shutdown_timeout)
            }
            LoopState::Draining(drain) => Some(drain.rest(now) + shutdown_timeout),
            LoopState::Ending { deadline } | LoopState::Stopping { deadline } => {
                Some(*deadline - now)
            }
        }
    }

    /// Load balancers are told first.
    fn leave(&mut self) {
        self.announce(Availability::Leaving);
        let delay = self.settings.drain.delay;
        let until = self.context.now + delay;
        if !delay.is_zero() {
            info!("Stopping in {delay:?} (drainDelay): nobody should be sent here any more");
        }
        self.state = LoopState::Leaving { until };
        self.timers.set(Timer::Shutdown, until);
        self.tell_end();
    }

    /// The manager is told how long it may take, if it would wait less.
    fn tell_end(&mut self) {
        let rest = self.time_to_end().unwrap_or_default();
        self.tell_manager(&[Notice::Stopping, Notice::ExtendTimeout(rest + END_MARGIN)]);
    }

    fn announce(&mut self, availability: Availability) {
        self.dispatch(NOBODY, Event::Availability(availability));
    }

    /// Goes on with the end, if it has begun.
    pub(super) fn go_on_stopping(&mut self) {
        let now = self.context.now;
        if let LoopState::Leaving { until } = self.state
            && until <= now
        {
            self.begin_drain(|drain| drain);
        }
        if let LoopState::Draining(_) = self.state {
            self.tell_next();
        }
    }

    /// protocol.md 5.5, 12.1: 1001 to everybody, but for those who have opted in to be told more.
    fn begin_drain(&mut self, pace: impl FnOnce(Drain) -> Drain) {
        let now = self.context.now;
        self.announce(Availability::Draining);
        self.finish_accepted(now + self.settings.shutdown_timeout);
        let audience = self.app.restart_audience();
        let mut told_later = Vec::new();
        let client_count = self.client_count();
        for slot in 0..self.links.table.slot_count() {
            let Some(link) = self.links.table.slot_mut(slot) else {
                continue;
            };
            let id = link.id;
            if link.connection.is_open() && audience.contains(slot) {
                told_later.push(id);
            } else if link.connection.is_keeping_alive() {
                link.connection.handle_eof(&mut self.context);
                self.links.touch(id);
            } else if link.connection.is_open() {
                let reason = (STOPPING, STOPPING);
                let context = &mut self.context;
                self.links.close(id, CloseCode::GOING_AWAY, reason, context);
            }
        }
        let drain = pace(Drain::new(told_later, &self.settings.drain, now));
        match drain.len() {
            0 => info!("Stopping: {client_count} connections are told"),
            count => info!(
                "Stopping: {client_count} connections are told, {count} of them within {:?} when \
                 to come back",
                drain.telling()
            ),
        }
        self.state = LoopState::Draining(drain);
        self.tell_end();
    }

    /// Tells those whose time has come. When all have been told, the time for goodbyes begins.
    fn tell_next(&mut self) {
        let LoopState::Draining(drain) = &mut self.state else {
            return;
        };
        let (now, system) = (self.context.now, &mut self.system);
        let goodbyes = drain.next_goodbyes(now, || system.random());
        let next_due = drain.next_due();
        if !goodbyes.is_empty() {
            self.dispatch(NOBODY, Event::Restarting(&goodbyes));
        }
        let at = match next_due {
            Some(due) => due,
            None => {
                let deadline = now + self.settings.shutdown_timeout;
                self.state = LoopState::Ending { deadline };
                deadline
            }
        };
        self.timers.set(Timer::Shutdown, at);
    }

    /// Whether there are clients to be told before the next wait.
    pub(super) fn has_goodbyes(&self) -> bool {
        let now = self.system.now();
        match &self.state {
            LoopState::Draining(drain) => drain.next_due().is_some_and(|due| due <= now),
            _ => false,
        }
    }

    /// When the last client has gone, so does the server; but for those whom other servers may still
    /// ask for.
    pub(super) fn stop_without_clients(&mut self) {
        let deadline = match self.state {
            LoopState::Ending { deadline } => deadline,
            LoopState::Stopping { .. } => return self.hang_up(Connection::is_keeping_alive),
            LoopState::Running | LoopState::Leaving { .. } | LoopState::Draining(_) => return,
        };
        if self.client_count() > 0 || self.app.may_be_asked_for_tabs() {
            return;
        }
        self.finish_accepted(deadline);
        self.flush_all(Share::All);
        self.state = LoopState::Stopping { deadline };
        self.acceptor.stop();
        self.system.stop_listening();
        self.hang_up(|connection| !connection.awaits_response());
        self.flush_all(Share::All);
    }

    /// Nothing more is heard on these connections; a response on its way still leaves. Who waits for
    /// what other servers say of a push gets the answer.
    fn hang_up(&mut self, is_done: impl Fn(&Connection) -> bool) {
        for slot in 0..self.links.table.slot_count() {
            let Some(link) = self.links.table.slot_mut(slot) else {
                continue;
            };
            if is_done(&link.connection) {
                link.connection.handle_eof(&mut self.context);
                let id = link.id;
                self.links.ended.push(id);
                self.links.touch(id);
            }
        }
    }

    /// Connections that have become clients and are not gone yet.
    fn client_count(&self) -> usize {
        self.links.table.len() - self.links.pending.len()
    }

    /// What was accepted is not lost: a push of many packets is carried out to its end, which takes
    /// some milliseconds for each, before those whom it is for are told to go.
    pub(super) fn finish_accepted(&mut self, deadline: MonotonicTime) {
        let now = self.context.now;
        while self.app.next_deadline().is_some_and(|due| due <= now) && self.system.now() < deadline
        {
            self.commands.begin(NOBODY, CurrentMessage::Lent);
            self.app.handle_timeout(now, &mut self.commands);
            self.carry_out(None);
        }
    }

    /// Another process has all that could be handed over: the rest is told to go.
    pub(super) fn stop_after_handover(&mut self) {
        // It reports to the manager from now on.
        self.set_notifier(None);
        self.app.be_replaced();
        // Those whom it could be for are not here any more.
        self.hang_up(|connection| connection.is_pending() && !connection.awaits_response());
        // Whom they speak to is not here any more: what they say from now on is not handled, so that
        // they say it again to the successor.
        self.begin_drain(Drain::at_once);
        while let LoopState::Draining(_) = self.state {
            self.tell_next();
        }
    }
}
