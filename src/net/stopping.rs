//! What the administrator asks for by a signal: open the log anew, stop.

use log::{info, warn};

use super::event_loop::{EventLoop, LoopState};
use super::system::System;
use super::timers::Timer;
use crate::app::{CurrentMessage, NOBODY};
use crate::base::MonotonicTime;
use crate::ops::signals::Signal;
use crate::protocol::close_code::CloseCode;

impl<Y: System> EventLoop<Y> {
    pub(super) fn handle_signal(&mut self, signal: Signal) {
        match (signal, self.state) {
            (Signal::Hangup, _) => {
                (self.on_hangup)();
                info!("SIGHUP: log file and certificates are opened anew");
                self.certificates.reload();
            }
            (Signal::Stop, LoopState::Running) => self.begin_stop(),
            (Signal::Stop, LoopState::Stopping { .. }) => {
                let count = self.links.table.len();
                warn!("second signal: ending at once, {count} connections cut");
                let deadline = self.context.now;
                self.state = LoopState::Stopping { deadline };
            }
        }
    }

    /// What was accepted is not lost: a push of many packets is carried out to its end, which takes
    /// some milliseconds for each, before those whom it is for are told to go.
    fn finish_accepted(&mut self, deadline: MonotonicTime) {
        let now = self.context.now;
        while self.app.next_deadline().is_some_and(|due| due <= now) && self.system.now() < deadline
        {
            self.commands.begin(NOBODY, CurrentMessage::Lent);
            self.app.handle_timeout(now, &mut self.commands);
            self.carry_out(None);
        }
    }

    /// protocol.md 5.5: 1001 to everybody.
    fn begin_stop(&mut self) {
        info!("Stopping: {} connections are told", self.links.table.len());
        let deadline = self.context.now + self.settings.shutdown_timeout;
        self.state = LoopState::Stopping { deadline };
        self.timers.set(Timer::Shutdown, deadline);
        self.finish_accepted(deadline);
        self.acceptor.stop();
        self.system.stop_listening();
        for slot in 0..self.links.table.slot_count() {
            let Some(link) = self.links.table.slot_mut(slot) else {
                continue;
            };
            if link.connection.is_pending() {
                // Nothing more is heard; a response on its way still leaves.
                link.connection.handle_eof(&mut self.context);
            } else {
                let reason = "the server is stopping";
                link.connection
                    .close(CloseCode::GOING_AWAY, reason, &mut self.context);
            }
            let id = link.id;
            self.links.ended.push(id);
            self.links.touch(id);
        }
    }
}
