//! The one way of every message to its receivers, whoever it comes from: a page, a script, a push, a
//! demo job.
//!
//! Whatever concerns all messages belongs here, and nowhere else: here they are kept for tabs that
//! may come back, and get their cursors (protocol.md §9).

use log::debug;

use super::backplane::Backplane;
use super::calls::{CallId, Receipt, Recipients};
use super::commands::Commands;
use super::logout;
use super::receipts::{Parts, Receipts};
use crate::api::PushError;
use crate::base::MonotonicTime;
use crate::connection::{ConnId, Text};
use crate::protocol::message::MessageKind;
use crate::protocol::packet::{Ident, Packet};
use crate::registry::{Audience, Clients, Logout, Mailbox, Members, RenameError, Speakers};

/// All who can be reached, and the way to them.
pub(super) struct Delivery<'a> {
    pub(super) clients: &'a mut Clients,
    /// Web clients of all resources that speak the dialogue.
    pub(super) speakers: &'a Speakers,
    /// What is kept for those who come back.
    pub(super) mailbox: &'a mut Mailbox,
    pub(super) content: Content,
    pub(super) receipts: &'a mut Receipts,
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

/// Who gets a broadcast.
#[derive(Clone, Copy, Debug)]
pub(super) enum Listeners<'a> {
    /// Web clients of all resources that speak the dialogue.
    Speakers,
    /// Those of one resource that does not.
    Of(&'a Members),
}

/// What text messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// JSON objects.
    Object,
    /// Nobody has looked.
    Any,
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
        text: Text<'_>,
        ask: impl FnOnce(Recipients) -> Option<CallId>,
    ) -> Result<usize, PushError> {
        match self.backplane {
            None => self.feedback_here(to, text.as_bytes(), ask),
            Some(_) => self.feedback_anywhere(to, text.as_str(), ask),
        }
    }

    /// The same for clients of this node.
    pub(super) fn feedback_here(
        &mut self,
        to: Receiver<'_>,
        text: &[u8],
        ask: impl FnOnce(Recipients) -> Option<CallId>,
    ) -> Result<usize, PushError> {
        match to {
            Receiver::User(user) => self.feedback_to_user(user, text, ask),
            Receiver::Name { uuid, ident } if uuid.is_empty() && *ident == Ident::None => {
                Err(PushError::NoReceiver)
            }
            Receiver::Name { uuid, ident } => match self.clients.find(uuid, ident) {
                Some(receiver) => {
                    let call = ask(Recipients::One);
                    self.feedback_to_client(receiver, text, call);
                    Ok(1)
                }
                None => {
                    let (name, now) = ((uuid, ident), self.now);
                    if !self.can_be_kept(text) || !self.mailbox.keep_for_away(name, text, now) {
                        return Err(PushError::Nobody);
                    }
                    self.expect(ask(Recipients::One), (0, 1, 0));
                    Ok(1)
                }
            },
        }
    }

    /// Sends a feedback to one connection. If that has ended meanwhile, another one may be in its
    /// slot, whose stream it is not for.
    pub(super) fn feedback_to_client(&mut self, to: ConnId, payload: &[u8], call: Option<CallId>) {
        let is_here = self.clients.kind(to).is_some();
        let kept = match is_here && self.mailbox.has(to.slot) && self.can_be_kept(payload) {
            true => self.mailbox.keep(to.slot, payload, self.now),
            false => None,
        };
        if kept.is_some() {
            self.expect(call, (1, 0, 1));
        }
        let message = (MessageKind::Text, kept.as_deref().unwrap_or(payload));
        self.send(to, message, call);
    }

    fn feedback_to_user(
        &mut self,
        user: &str,
        payload: &[u8],
        ask: impl FnOnce(Recipients) -> Option<CallId>,
    ) -> Result<usize, PushError> {
        let kept = match self.can_be_kept(payload) {
            true => self.mailbox.keep_for_user(user, payload, self.now),
            false => None,
        };
        let Some(kept) = kept else {
            if self.clients.tabs_of(user).next().is_none() {
                return Err(PushError::NoTab);
            }
            let call = ask(Recipients::User);
            let is_own = self.clients.is_tab_of(self.commands.current(), user);
            let tabs = self.clients.tabs_of(user);
            return Ok(send_to_tabs(self.commands, (tabs, is_own), payload, call));
        };
        let tabs = self.clients.tabs_of(user);
        let (resuming, plain): (Vec<_>, Vec<_>) = tabs.partition(|tab| self.mailbox.has(tab.slot));
        if resuming.is_empty() && plain.is_empty() && kept.away == 0 {
            return Err(PushError::NoTab);
        }
        let call = ask(Recipients::User);
        let parts = usize::from(!plain.is_empty()) + usize::from(!resuming.is_empty());
        self.expect(call, (parts, kept.away, resuming.len()));
        let current = self.commands.current();
        let mut send = |tabs: Vec<ConnId>, payload: &[u8]| {
            let is_own = tabs.contains(&current);
            send_to_tabs(self.commands, (tabs.into_iter(), is_own), payload, call)
        };
        Ok(send(plain, payload) + send(resuming, &kept.text) + kept.away)
    }

    /// Sends a message to an audience, but for `from`; to how many here. What is for all who speak
    /// the dialogue goes to those of other nodes, too.
    pub(super) fn broadcast(
        &mut self,
        from: ConnId,
        listeners: Listeners<'_>,
        message: (MessageKind, &[u8]),
        ask: impl FnOnce(Recipients) -> Option<CallId>,
    ) -> usize {
        if self.backplane.is_some()
            && matches!(listeners, Listeners::Speakers)
            && let (MessageKind::Text, bytes) = message
            && let Ok(text) = str::from_utf8(bytes)
        {
            return self.broadcast_anywhere(from, text, ask);
        }
        self.broadcast_here(from, listeners, message, ask)
    }

    /// The same for clients of this node.
    pub(super) fn broadcast_here(
        &mut self,
        from: ConnId,
        listeners: Listeners<'_>,
        message: (MessageKind, &[u8]),
        ask: impl FnOnce(Recipients) -> Option<CallId>,
    ) -> usize {
        let call = ask(Recipients::All);
        if let Listeners::Of(members) = listeners {
            return self.send_to_all(from, members, message, call);
        }
        let (kind, payload) = message;
        let kept = match kind == MessageKind::Text && self.can_be_kept(payload) {
            true => self.mailbox.keep_for_all(from.slot, payload, self.now),
            false => None,
        };
        let (plain, resuming) = (self.speakers.plain(), self.speakers.resuming());
        let with_cursor = (kind, kept.as_deref().unwrap_or(payload));
        match (plain.is_empty(), resuming.is_empty()) {
            (_, true) => self.send_to_all(from, plain, message, call),
            (true, false) => self.send_to_all(from, resuming, with_cursor, call),
            (false, false) => {
                self.expect(call, (2, 0, 0));
                let count = self.send_to_all(from, plain, message, call);
                count + self.send_to_all(from, resuming, with_cursor, call)
            }
        }
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
        self.mailbox.log_out(logout);
        let tabs = logout::log_out(logout, self.clients, self.speakers, self.commands);
        tabs.iter().for_each(|tab| self.mailbox.forget(tab.slot));
        tabs.len()
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

    /// The same as a client's own choice, by which it may come back (protocol.md 9.3).
    pub(super) fn choose_name(&mut self, id: ConnId, name: &str) -> Result<(), RenameError> {
        let before = self.clients.uuid(id).filter(|_| self.mailbox.has(id.slot));
        self.rename(id, name)?;
        if let (Some(before), Some(after)) = (before, self.clients.uuid(id)) {
            self.mailbox.rename(id.slot, before, &after);
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

    fn send_to_all(
        &mut self,
        from: ConnId,
        members: &Members,
        message: (MessageKind, &[u8]),
        call: Option<CallId>,
    ) -> usize {
        let audience = Audience::Members(members.snapshot());
        let count = audience.len();
        self.commands.broadcast(from, audience, message, call);
        count
    }

    /// So many receipts will come, so many tabs are away, and so many of the others can come back for
    /// what they do not take.
    fn expect(&mut self, call: Option<CallId>, (count, away, resuming): (usize, usize, usize)) {
        let parts = Parts {
            count,
            away,
            resuming,
            receipt: Receipt::default(),
        };
        if let Some(call) = call {
            self.receipts.expect(call, parts);
        }
    }

    /// Only JSON objects can have a cursor, and only where somebody may ask for what was said.
    fn can_be_kept(&self, payload: &[u8]) -> bool {
        self.mailbox.is_active() && (self.content == Content::Object || is_object(payload))
    }
}

/// Sends a text message to tabs; to how many. `is_own`: the connection at hand is one of them.
fn send_to_tabs(
    commands: &mut Commands,
    (tabs, is_own): (impl Iterator<Item = ConnId>, bool),
    payload: &[u8],
    call: Option<CallId>,
) -> usize {
    let (current, message) = (commands.current(), (MessageKind::Text, payload));
    // It gets its own behind its `next`; who wants a receipt is another one.
    let is_own = is_own && call.is_none();
    if is_own {
        commands.reply(message.0, message.1);
    }
    let others = tabs.filter(|&tab| !(is_own && tab == current));
    usize::from(is_own) + commands.send_to_each(others, message, call)
}

/// Tells the log, at debug, that a feedback of this connection has found nobody (protocol.md 3.5).
pub(super) fn log_unreached(from: u32, error: PushError) {
    let whom = match error == PushError::NoTab {
        true => "no tab of a user",
        false => "no receiver",
    };
    debug!("{whom} for feedback from #{from}");
}

/// For messages of which nobody wants to know what became.
pub(super) fn nobody_asks(_: Recipients) -> Option<CallId> {
    None
}

fn is_object(payload: &[u8]) -> bool {
    payload.trim_ascii_start().starts_with(b"{")
        && serde_json::from_slice::<&serde_json::value::RawValue>(payload).is_ok()
}
