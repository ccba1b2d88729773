//! What applications implement: [`Resource`], with a [`Handle`] to act through.

use std::borrow::Cow;

use super::outbox::{Audience, Outbox, ResourceId};
use crate::connection::{ConnId, Message};
use crate::protocol::close_code::CloseCode;
use crate::protocol::error::Violation;
use crate::protocol::message::MessageKind;
use crate::protocol::packet::Ident;
use crate::registry::clients::{ClientKind, Clients, RenameError};

/// An application on one path, as `/chat`.
///
/// The server calls these from its loop, one at a time; nothing else runs meanwhile, so a callback
/// must not block. All have an empty default. One value serves all connections of its path.
///
/// For each connection the calls come in this order: `on_open`; `on_data` and `on_error` any number
/// of times; `on_close` once. Whatever a callback sends leaves when it has returned, in the order in
/// which it was sent. Closing from `on_data` means that no further message of that connection
/// arrives.
pub trait Resource {
    /// Whether connections speak the dialogue. Asked once, when the resource is added.
    fn dialogue(&self) -> Dialogue {
        Dialogue::Packets
    }

    /// A connection is open; with [`Dialogue::Packets`] its `ready` is already on the way.
    fn on_open(&mut self, client: Client<'_>, handle: &mut Handle<'_>) {
        let _ = (client, handle);
    }

    /// A complete message came. With [`Dialogue::Packets`] it is text, unless it was binary and is
    /// not UTF-8; its `next` is already on the way, and chunks between `bufferON` and `bufferOFF`
    /// come joined as one message.
    fn on_data(&mut self, client: Client<'_>, message: &Message<'_>, handle: &mut Handle<'_>) {
        let _ = (client, message, handle);
    }

    /// The connection is no longer open, for whatever reason. Nothing reaches it any more.
    fn on_close(&mut self, client: Client<'_>, handle: &mut Handle<'_>) {
        let _ = (client, handle);
    }

    /// The client broke a rule of RFC 6455 or passed a limit; `on_close` follows.
    fn on_error(&mut self, client: Client<'_>, violation: Violation, handle: &mut Handle<'_>) {
        let _ = (client, violation, handle);
    }
}

/// What connections of a resource speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialogue {
    /// `ready` first, `next` for each message, chunks, one kind of packets (protocol.md §2, §4).
    Packets,
    /// Nothing but RFC 6455: text and binary messages as they come.
    None,
}

/// The connection that a callback is about.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Its name for as long as it is open.
    pub id: ConnId,
    /// Web page or backend script.
    pub kind: ClientKind,
    /// What it asked for behind the path, without the `?`; in `on_open` only, else empty.
    pub query: &'a str,
}

/// Through which a resource acts.
pub struct Handle<'a> {
    pub(super) current: ConnId,
    pub(super) resource: ResourceId,
    pub(super) dialogue: Dialogue,
    pub(super) clients: &'a mut Clients,
    pub(super) outbox: &'a mut Outbox,
}

impl Handle<'_> {
    /// Sends a text message back.
    pub fn reply(&mut self, text: &str) {
        self.outbox
            .reply(self.current, MessageKind::Text, text.as_bytes());
    }

    /// Sends a message of the same kind and content back.
    pub fn reply_message(&mut self, message: &Message<'_>) {
        self.outbox
            .reply(self.current, message.kind(), message.as_bytes());
    }

    /// Sends a text message to one connection; nothing happens if it is no longer open.
    pub fn send(&mut self, to: ConnId, text: &str) {
        self.send_bytes(to, MessageKind::Text, text.as_bytes());
    }

    /// Sends a message to all other open web clients: on a resource with
    /// [`Dialogue::Packets`] to those of all such resources, else to those of this resource.
    pub fn broadcast(&mut self, message: &Message<'_>) {
        let audience = match self.dialogue {
            Dialogue::Packets => Audience::Dialogue,
            Dialogue::None => Audience::Resource(self.resource),
        };
        self.outbox
            .broadcast(self.current, audience, message.kind(), message.as_bytes());
    }

    /// Sends a text message to all other open web clients, as [`broadcast`](Self::broadcast) does.
    pub fn broadcast_text(&mut self, text: &str) {
        self.broadcast(&Message::Text(text.into()));
    }

    /// Sends a text message to the one receiver that has this uuid or ident (protocol.md 3.1).
    /// Whether there is one.
    pub fn feedback(&mut self, uuid: &str, ident: &Ident<'_>, text: &str) -> bool {
        let Some(receiver) = self.clients.find(uuid, ident) else {
            return false;
        };
        self.send_bytes(receiver, MessageKind::Text, text.as_bytes());
        true
    }

    /// Closes the connection that the callback is about, after all that was sent to it before.
    pub fn close(&mut self, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        self.outbox.close(self.current, code, reason.into());
    }

    /// Gives the connection that the callback is about another uuid (protocol.md 2.9).
    pub fn rename(&mut self, name: &str) -> Result<(), RenameError> {
        self.clients.rename(self.current, name)
    }

    /// The uuid of a client, as text.
    pub fn uuid(&self, id: ConnId) -> Option<String> {
        self.clients.uuid(id).map(|uuid| uuid.to_string())
    }

    /// Writes a line to the server's log. Never log what a message holds (protocol.md 7.8).
    pub fn log(&self, text: &str) {
        log::info!("{text}");
    }

    fn send_bytes(&mut self, to: ConnId, kind: MessageKind, payload: &[u8]) {
        if to == self.current {
            self.outbox.reply(to, kind, payload);
        } else {
            self.outbox.send(to, kind, payload);
        }
    }
}
