//! A connection has ended, and whoever was on it may come back.

use super::super::clients::{ClientUuid, Clients};
use super::super::identity::{Identity, UserId};
use super::mailbox::Mailbox;
use super::tabs::Away;
use crate::base::{MonotonicTime, random};
use crate::connection::ConnId;

impl Mailbox {
    /// A client's connection has ended; it was last heard at `heard`.
    pub fn leave(
        &mut self,
        id: ConnId,
        clients: &Clients,
        heard: MonotonicTime,
        now: MonotonicTime,
    ) {
        // What has come now may be no more than its goodbye, and a page says that also when it is
        // shut while the answer to its `resume` is on its way.
        if let Some(number) = self.tabs.on(id.slot)
            && heard < now
        {
            self.tabs.note_heard(number, heard);
        }
        self.leave_unwatched(id, clients, heard);
    }

    /// The same for one of which nobody knows when it was heard: nobody has asked it for a sign of
    /// life, and it may have listened without a word until `now`.
    pub fn leave_unwatched(&mut self, id: ConnId, clients: &Clients, now: MonotonicTime) {
        if !self.has(id.slot) {
            return;
        }
        match clients.uuid(id) {
            Some(uuid) => self.go_away(id, (uuid, clients.ident(id)), clients, now),
            None => self.forget(id.slot),
        }
    }

    /// As [`leave`](Self::leave), for a client that cannot prove what it was: it comes back under
    /// another name, and only what was said to its user and to everybody waits for it.
    pub fn leave_unnamed(&mut self, id: ConnId, clients: &Clients, heard: MonotonicTime) {
        if let Some(tab) = self.tabs.on(id.slot).and_then(|tab| self.tabs.get_mut(tab)) {
            tab.is_unnamed = true;
            let nobodys = ClientUuid::Standard(random::uuid());
            self.go_away(id, (nobodys, ""), clients, heard);
        }
    }

    fn go_away(
        &mut self,
        id: ConnId,
        (uuid, ident): (ClientUuid, &str),
        clients: &Clients,
        heard: MonotonicTime,
    ) {
        let identity = Identity {
            user: clients.user(id).and_then(UserId::new),
            session: clients.session(id),
        };
        let client = Away {
            uuid,
            ident,
            identity: &identity,
        };
        if let Some(number) = self.tabs.on(id.slot) {
            self.tabs.go_away(number, &client, heard);
            self.keep_within_memory();
        }
    }

    /// Those who are away: where their names are, as whom, and until when they may come back.
    pub fn away(&self) -> impl Iterator<Item = (&Clients, ConnId, MonotonicTime)> {
        let time = self.time();
        let absences = self.tabs.absences();
        absences.map(move |(clients, id, heard)| (clients, id, heard + time))
    }

    /// A client cannot come back: it has been signed out, or another process has it.
    pub fn forget(&mut self, slot: u32) {
        if let Some(number) = self.tabs.on(slot) {
            self.remove(number);
        }
    }
}
