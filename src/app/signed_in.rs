//! What those are told who have signed in, as long as they may stay.

use super::commands::Commands;
use super::logout;
use super::resource::ErrorPackets;
use super::sessions::Sessions;
use crate::connection::ConnId;
use crate::protocol::message::MessageKind;
use crate::registry::Logout;

impl Sessions {
    /// Gives a client a new ticket, if it has opted in.
    pub(super) fn renew_ticket(&self, id: ConnId, ticket: &str, commands: &mut Commands) {
        let session = self.sessions.get(id.slot as usize);
        if session.is_some_and(|session| session.error_packets == ErrorPackets::Wanted)
            && self.speakers.contains(id.slot)
        {
            let packet = format!(r#"{{"opcode":"ticket","ticket":"{ticket}"}}"#);
            commands.send(id, MessageKind::Text, packet.as_bytes(), None);
        }
    }

    /// Ends an open connection that is not, or no longer, signed in.
    pub(super) fn sign_off(&mut self, id: ConnId, error: &'static str, commands: &mut Commands) {
        self.mailbox.forget(id.slot);
        logout::sign_off(&[id], error, &self.speakers, commands);
    }

    /// Who was logged out since this was asked last.
    pub(super) fn take_logouts(&mut self) -> Vec<Logout<'static>> {
        self.clients.take_logouts()
    }
}
