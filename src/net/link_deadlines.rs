//! Deadlines of connections. A turn does not reach everybody who is ready, so that whoever is to be
//! given up may have sent, or taken, what he is given up for: that is looked at first.

use super::event_loop::EventLoop;
use super::link::Reading;
use super::system::System;
use crate::connection::ConnId;

impl<Y: System> EventLoop<Y> {
    /// Does what is due for the connection in a slot; harmless if nothing is.
    pub(super) fn handle_link_timeout(&mut self, slot: usize) {
        let Some(link) = self.links.table.slot_mut(slot) else {
            return;
        };
        link.armed = None;
        let id = link.id;
        if link.connection.is_overdue(&self.context) {
            self.take_up_what_has_come(id);
        }
        self.links.catch_up(slot, &mut self.context);
        let Some(link) = self.links.table.get_mut(id) else {
            return;
        };
        if let Some(event) = link.connection.handle_timeout(&mut self.context) {
            self.handle_event(id, event);
        }
        self.links.touch(id);
    }

    /// Writes and reads once where the kernel may know more than it has told, or than a turn had time
    /// for.
    fn take_up_what_has_come(&mut self, id: ConnId) {
        self.flush(id.slot as usize);
        let Some(link) = self.links.table.get_mut(id) else {
            return;
        };
        match link.reading {
            Reading::Waiting => {}
            Reading::Backlog | Reading::PutOff => self.links.backlog.retain(|other| *other != id),
            // It is not read on purpose.
            Reading::Paused | Reading::Awaiting => return,
        }
        self.read_again(id);
    }
}
