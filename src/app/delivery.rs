//! The one way of every message to its receivers, whoever it comes from: a page, a script, a push, a
//! demo job.
//!
//! Whatever concerns all messages belongs here, and nowhere else.

use super::backplane::Backplane;
use super::calls::{CallId, Recipients};
use super::commands::Commands;
use super::logout;
use crate::api::PushError;
use crate::base::MonotonicTime;
use crate::connection::ConnId;
use crate::protocol::message::MessageKind;
use crate::protocol::packet::{Ident, Packet};
use crate::registry::{Audience, Clients, Logout, Members, RenameError};

/// All who can be reached, and the way to them.
pub(super) struct Delivery<'a> {
    pub(super) clients: &'a mut Clients,
    /// Web clients of all resources that speak the dialogue.
    pub(super) speakers: &'a Members,
    pub(super) commands: &'a mut Commands,
    /// The way to other nodes; `None`: this one is alone.
    pub(super) backplane: Option<&'a mut Backplane>,
    pub(super) now: MonotonicTime,
}

/// Whom a feedback is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Receiver<'a> {
    /// The one connection that has this uuid or ident (protocol.md 3.1).
    Name { uuid: &'a str, ident: &'a Ident<'a> },
    /// All open tabs of this user (protocol.md 8.9).
    User(&'a str),
}

impl<'a> Receiver<'a> {
    /// The receiver of a packet.
    pub(super) fn of(packet: &'a Packet<'_>) -> Self {
        match packet.is_to_user() {
            true => Self::User(&packet.user),
            false => Self::Name {
                uuid: &packet.uuid,
                ident: &packet.ident,
            },
        }
    }
}

/// Tabs that were closed by a logout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoggedOut {
    /// There are no others.
    All(usize),
    /// Those of other nodes are not counted yet.
    Here(usize),
}

impl LoggedOut {
    /// Those at this node.
    pub(super) fn count(self) -> usize {
        match self {
            Self::All(count) | Self::Here(count) => count,
        }
    }
}

impl Delivery<'_> {
    /// Sends a text message to a receiver; to how many connections here. `ask` is called if there
    /// may be any: the call that it makes, if it makes one, is answered by what became of the message.
    ///
    /// # Errors
    /// There is no such receiver.
    pub(super) fn feedback(
        &mut self,
        to: Receiver<'_>,
        text: &str,
        ask: impl FnOnce(Recipients) -> Option<CallId>,
    ) -> Result<usize, PushError> {
        match self.backplane {
            None => self.feedback_here(to, text, ask),
            Some(_) => self.feedback_anywhere(to, text, ask),
        }
    }

    /// The same for clients of this node.
    pub(super) fn feedback_here(
        &mut self,
        to: Receiver<'_>,
        text: &str,
        ask: impl FnOnce(Recipients) -> Option<CallId>,
    ) -> Result<usize, PushError> {
        let content = (MessageKind::Text, text.as_bytes());
        match to {
            Receiver::User(user) => {
                if self.clients.tabs_of(user).next().is_none() {
                    return Err(PushError::NoTab);
                }
                let call = ask(Recipients::User);
                Ok(self.send_to_tabs(user, content, call))
            }
            Receiver::Name { uuid, ident } if uuid.is_empty() && *ident == Ident::None => {
                Err(PushError::NoReceiver)
            }
            Receiver::Name { uuid, ident } => {
                let receiver = self.clients.find(uuid, ident).ok_or(PushError::Nobody)?;
                let call = ask(Recipients::One);
                self.send(receiver, content, call);
                Ok(1)
            }
        }
    }

    /// Sends a message to an audience, but for `from`; to how many here. What is for all who speak
    /// the dialogue goes to those of other nodes, too.
    pub(super) fn broadcast(
        &mut self,
        from: ConnId,
        audience: &Members,
        content: (MessageKind, &[u8]),
        ask: impl FnOnce(Recipients) -> Option<CallId>,
    ) -> usize {
        if self.backplane.is_some()
            && std::ptr::eq(audience, self.speakers)
            && let (MessageKind::Text, bytes) = content
            && let Ok(text) = str::from_utf8(bytes)
        {
            return self.broadcast_anywhere(from, text, ask);
        }
        self.broadcast_here(from, audience, content, ask)
    }

    /// The same for clients of this node.
    pub(super) fn broadcast_here(
        &mut self,
        from: ConnId,
        audience: &Members,
        content: (MessageKind, &[u8]),
        ask: impl FnOnce(Recipients) -> Option<CallId>,
    ) -> usize {
        let audience = Audience::Members(audience.snapshot());
        let count = audience.len();
        self.commands
            .broadcast(from, audience, content, ask(Recipients::All));
        count
    }

    /// Logs out all tabs of a user or a session; how many there were. `ask` is called only where
    /// other nodes are asked, too: its call is answered by how many there were in all.
    pub(super) fn log_out(
        &mut self,
        logout: &Logout<'_>,
        ask: impl FnOnce(Recipients) -> Option<CallId>,
    ) -> LoggedOut {
        match self.backplane {
            None => LoggedOut::All(self.log_out_here(logout)),
            Some(_) => LoggedOut::Here(self.log_out_anywhere(logout, ask(Recipients::Tabs))),
        }
    }

    /// The same for clients of this node.
    pub(super) fn log_out_here(&mut self, logout: &Logout<'_>) -> usize {
        logout::log_out(logout, self.clients, self.speakers, self.commands)
    }

    /// Gives a client another uuid (protocol.md 2.9).
    pub(super) fn rename(&mut self, id: ConnId, name: &str) -> Result<(), RenameError> {
        let before = self.backplane.as_ref().and(self.clients.uuid(id));
        self.clients.rename(id, name)?;
        if let Some(backplane) = self.backplane.as_deref_mut()
            && let (Some(before), Some(after)) = (before, self.clients.uuid(id))
        {
            backplane.rename(id, (&before, &after), self.now);
        }
        Ok(())
    }

    /// Sends a message to one connection, whatever it is about.
    pub(super) fn send(
        &mut self,
        to: ConnId,
        (kind, payload): (MessageKind, &[u8]),
        call: Option<CallId>,
    ) {
        if to == self.commands.current() && call.is_none() {
            self.commands.reply(kind, payload);
        } else {
            self.commands.send(to, kind, payload, call);
        }
    }

    fn send_to_tabs(
        &mut self,
        user: &str,
        content: (MessageKind, &[u8]),
        call: Option<CallId>,
    ) -> usize {
        let current = self.commands.current();
        let is_own = call.is_none() && self.clients.is_tab_of(current, user);
        if is_own {
            self.commands.reply(content.0, content.1);
        }
        let tabs = self.clients.tabs_of(user);
        let others = tabs.filter(|&tab| !(is_own && tab == current));
        usize::from(is_own) + self.commands.send_to_each(others, content, call)
    }
}

/// For messages of which nobody wants to know what became.
pub(super) fn nobody_asks(_: Recipients) -> Option<CallId> {
    None
}
