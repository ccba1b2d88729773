//! What the administrator asks for by a signal: open the log anew, stop.

use log::{info, warn};

use super::event_loop::{EventLoop, LoopState};
use super::system::System;
use super::timers::Timer;
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

    /// protocol.md 5.5: 1001 to everybody.
    fn begin_stop(&mut self) {
        info!("Stopping: {} connections are told", self.links.table.len());
        let deadline = self.context.now + self.settings.shutdown_timeout;
        self.state = LoopState::Stopping { deadline };
        self.timers.set(Timer::Shutdown, deadline);
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
