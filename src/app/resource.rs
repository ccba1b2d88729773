//! What applications implement: [`Resource`], with a [`Handle`] to act through.

use std::borrow::Cow;
use std::net::IpAddr;

use super::delivery::{Content, Delivery, Listeners, Receiver, log_unreached, nobody_asks};
use super::web_sends::{Sends, WebSends};
use crate::connection::{ConnId, Message, Text};
use crate::protocol::close_code::CloseCode;
use crate::protocol::error::Violation;
use crate::protocol::http::Request;
use crate::protocol::message::MessageKind;
use crate::protocol::packet::{Ident, Packet, Verb};
use crate::registry::{ClientKind, Logout, RenameError};

/// Number of a resource, in the order in which they were added.
pub(super) type ResourceId = u16;

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
    fn on_open(&mut self, client: Client, request: &ClientRequest<'_>, handle: &mut Handle<'_>) {
        let _ = (client, request, handle);
    }

    /// A complete message came. With [`Dialogue::Packets`] it is text, unless it was binary and is
    /// not UTF-8; its `next` is already on the way, and chunks between `bufferON` and `bufferOFF`
    /// come joined as one message.
    fn on_data(&mut self, client: Client, message: &Message<'_>, handle: &mut Handle<'_>) {
        let _ = (client, message, handle);
    }

    /// The connection is no longer open, for whatever reason. Nothing reaches it any more.
    fn on_close(&mut self, client: Client, handle: &mut Handle<'_>) {
        let _ = (client, handle);
    }

    /// The client broke a rule of RFC 6455 or passed a limit; `on_close` follows.
    fn on_error(&mut self, client: Client, violation: Violation, handle: &mut Handle<'_>) {
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
pub struct Client {
    /// Its name for as long as it is open.
    pub id: ConnId,
    /// Web page or backend script.
    pub kind: ClientKind,
}

/// The request by which a client has come.
#[derive(Clone, Copy)]
pub struct ClientRequest<'a> {
    pub(super) address: Option<IpAddr>,
    pub(super) head: &'a Request<'a>,
}

impl<'a> ClientRequest<'a> {
    /// Where the client is: its own address, or the one that a trusted proxy reports. `None` on a
    /// Unix socket, and where a proxy does not tell.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The path, as `/chat`.
    pub fn path(&self) -> &'a str {
        self.head.path()
    }

    /// What stands behind the `?`; empty if nothing does.
    pub fn query(&self) -> &'a str {
        self.head.query()
    }

    /// The value of a header, if it is there and UTF-8; of several the last one.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.head.header(name)
    }
}

/// Whether a client has opted in to packets that tell it of an error (`?user=1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorPackets {
    /// It has.
    Wanted,
    /// It has not: it is told nothing that the PHP server would not say.
    Unknown,
}

/// The message that a callback is about.
#[derive(Clone, Copy)]
pub(super) enum Received<'a> {
    /// The one that has arrived: it can go back in its own buffer.
    AsItCame(&'a Message<'a>),
    /// Another one that was made of it.
    Made(&'a Message<'a>),
}

impl<'a> Received<'a> {
    pub(super) fn message(self) -> &'a Message<'a> {
        match self {
            Self::AsItCame(message) | Self::Made(message) => message,
        }
    }
}

/// Through which a resource acts.
pub struct Handle<'a> {
    pub(super) current: ConnId,
    pub(super) dialogue: Dialogue,
    pub(super) listeners: Listeners<'a>,
    pub(super) delivery: Delivery<'a>,
    pub(super) received: Option<Received<'a>>,
    pub(super) web_sends: &'a WebSends,
    pub(super) error_packets: ErrorPackets,
    /// Packets that `webSends` does not allow.
    pub(super) forbidden_count: u32,
}

impl Handle<'_> {
    /// Sends a text message back.
    pub fn reply(&mut self, text: &str) {
        self.delivery
            .commands
            .reply(MessageKind::Text, text.as_bytes());
    }

    /// Sends a message of the same kind and content back.
    pub fn reply_message(&mut self, message: &Message<'_>) {
        let content = (message.kind(), message.as_bytes());
        self.delivery.commands.reply(content.0, content.1);
    }

    /// Sends the message back that `on_data` is about. A long one goes in the buffer that it was
    /// gathered in, without a copy. Does nothing in other callbacks.
    pub fn echo(&mut self) {
        match self.received {
            Some(Received::AsItCame(message)) => self.delivery.commands.reply_received(message),
            Some(Received::Made(message)) => self.reply_message(message),
            None => {}
        }
    }

    /// Sends a text message to one connection; nothing happens if it is no longer open.
    pub fn send(&mut self, to: ConnId, text: &str) {
        let content = (MessageKind::Text, text.as_bytes());
        self.delivery.send(to, content, None);
    }

    /// Sends a message to all other open web clients: on a resource with
    /// [`Dialogue::Packets`] to those of all such resources, else to those of this resource.
    pub fn broadcast(&mut self, message: &Message<'_>) {
        let content = (message.kind(), message.as_bytes());
        self.delivery
            .broadcast(self.current, self.listeners, content, nobody_asks);
    }

    /// Sends a text message to all other open web clients, as [`broadcast`](Self::broadcast) does.
    pub fn broadcast_text(&mut self, text: &str) {
        self.broadcast(&Message::Text(text.into()));
    }

    /// Sends a text message to the one receiver that has this uuid or ident (protocol.md 3.1).
    /// Whether there is one.
    pub fn feedback(&mut self, uuid: &str, ident: &Ident<'_>, text: &str) -> bool {
        let (receiver, text) = (Receiver::Name { uuid, ident }, text.into());
        self.delivery.feedback(receiver, text, nobody_asks).is_ok()
    }

    /// Sends a packet to the receivers that it names. Where there are none, the log is told.
    pub(super) fn feedback_of(&mut self, packet: &Packet<'_>, text: Text<'_>) {
        let receiver = Receiver::of(packet);
        if let Err(error) = self.delivery.feedback(receiver, text, nobody_asks) {
            log_unreached(self.current.slot, error);
        }
    }

    /// The text messages that are sent from here on are JSON objects.
    pub(super) fn send_objects(&mut self) {
        self.delivery.content = Content::Object;
    }

    /// Sends a text message to all open tabs of a user (protocol.md 8.9), the connection that the
    /// callback is about among them; to how many.
    pub fn feedback_to_user(&mut self, user: &str, text: &str) -> usize {
        let (receiver, text) = (Receiver::User(user), text.into());
        let sent = self.delivery.feedback(receiver, text, nobody_asks);
        sent.unwrap_or(0)
    }

    /// Logs out: all tabs of this user are closed with 4401, behind a `close` packet where they
    /// speak the dialogue (protocol.md 8.10). How many there were.
    pub fn log_out(&mut self, user: &str) -> usize {
        self.log_out_all(&Logout {
            user: user.into(),
            session: None,
        })
    }

    pub(super) fn log_out_all(&mut self, logout: &Logout<'_>) -> usize {
        self.delivery.log_out(logout, nobody_asks).count()
    }

    /// Closes the connection that the callback is about, after all that was sent to it before.
    pub fn close(&mut self, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        self.delivery.commands.close(self.current, code, reason);
    }

    /// Gives the connection that the callback is about another uuid (protocol.md 2.9).
    ///
    /// # Errors
    /// The name is none, or somebody else has it.
    pub fn rename(&mut self, name: &str) -> Result<(), RenameError> {
        self.delivery.choose_name(self.current, name)
    }

    /// The uuid of a client, as text.
    pub fn uuid(&self, id: ConnId) -> Option<String> {
        self.delivery.clients.uuid(id).map(|uuid| uuid.to_string())
    }

    /// The user of a client: as whom the page has signed in, by the id that the application gives
    /// (protocol.md 8.1 to 8.5). `None` for scripts, and for whoever is anonymous. In `on_close` it
    /// is still there.
    pub fn user(&self, id: ConnId) -> Option<&str> {
        self.delivery.clients.user(id)
    }

    /// Writes a line to the server's log. Never log what a message holds (protocol.md 7.8).
    pub fn log(&self, text: &str) {
        log::info!("{text}");
    }

    /// Whether the client may send such a packet: by `webSends`, or because it is a script. If not,
    /// that is counted for the log, and the client is told if it has opted in (protocol.md 8.11).
    pub(super) fn allows(&mut self, client: Client, packet: &Packet<'_>) -> bool {
        let WebSends { user, anonymous } = self.web_sends;
        let is_allowed = |sends: &Sends| sends.allows(packet);
        // Who it is matters only where it makes a difference.
        let is_known = is_allowed(user) == is_allowed(anonymous);
        let sends = match is_known || self.user(client.id).is_none() {
            true => anonymous,
            false => user,
        };
        if client.kind == ClientKind::Php || is_allowed(sends) {
            return true;
        }
        // To the PHP server a logout is an unknown word.
        if packet.verb != Verb::Logout {
            self.forbidden_count += 1;
        }
        if self.error_packets == ErrorPackets::Wanted {
            self.reply(if packet.verb == Verb::Logout {
                NO_LOGOUT_PACKET
            } else {
                NOT_ALLOWED_PACKET
            });
        }
        false
    }
}

/// protocol.md 8.10.
const NO_LOGOUT_PACKET: &str =
    r#"{"opcode":"error","error":"a page may not log users out: only scripts and push may"}"#;

/// protocol.md 8.11.
const NOT_ALLOWED_PACKET: &str = r#"{"opcode":"error","error":"this page may not send such packets: webSends does not allow them"}"#;
