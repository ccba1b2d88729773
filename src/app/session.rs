//! The conversation: who may open what, `ready` on open, `next` after each message, chunks.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use log::info;

use super::admission::{Admission, LimitReached};
use super::outbox::{Audience, Outbox, ResourceId};
use super::peer::Peer;
use super::push::{PushRefusal, Pushing};
use super::resource::{Client, Dialogue, Handle, Resource};
use crate::connection::{ConnId, Message, SlotMap};
use crate::protocol::close_code::CloseCode;
use crate::protocol::error::{Rejection, Violation};
use crate::protocol::extension::CompressionSettings;
use crate::protocol::handshake::Upgrade;
use crate::protocol::http::Request;
use crate::protocol::message::MessageKind;
use crate::protocol::packet::{Ident, Malformed, Packet, Verb};
use crate::protocol::utf8;
use crate::registry::clients::{ClientKind, ClientUuid, Clients};

/// Limits of the dialogue, and what web clients may negotiate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppSettings {
    /// `maxChunks`: one more than these are kept between `bufferON` and `bufferOFF`.
    pub max_chunks: usize,
    /// `maxMessageSize`: most bytes of all chunks together.
    pub max_message_bytes: usize,
    /// Whether and how messages of web clients are compressed.
    pub compression: CompressionSettings,
}

/// All resources and all who are connected to them.
pub struct App {
    settings: AppSettings,
    admission: Admission,
    clients: Clients,
    resources: Vec<Registered>,
    sessions: SlotMap<Session>,
    /// What those have sent who are between `bufferON` and `bufferOFF`.
    chunks: HashMap<ConnId, Chunks>,
    held_bytes: usize,
}

struct Registered {
    /// `None` for the resource that serves every path that no other serves.
    path: Option<String>,
    dialogue: Dialogue,
    resource: Box<dyn Resource>,
}

/// What is kept for one open connection.
struct Session {
    resource: ResourceId,
    kind: ClientKind,
    is_buffering: bool,
}

/// What was sent since `bufferON`.
#[derive(Default)]
struct Chunks {
    text: String,
    count: usize,
}

/// Somebody who is let in.
#[derive(Debug)]
pub struct UpgradeRequest<'a> {
    /// Web page or backend script.
    pub kind: ClientKind,
    /// Its resource; `Err`: it is turned away by a `close` packet with this error, and this code.
    pub resource: Result<ResourceId, (String, CloseCode)>,
    /// Header `Ident`, blanks around it trimmed.
    pub ident: &'a str,
    /// Behind the `?`.
    pub query: &'a str,
    /// Header `X-Websock-Frames: stream`: reads frames as a stream (protocol.md 6.4).
    pub reads_stream: bool,
}

/// Whom a pushed packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The one receiver that protocol.md 3.1 names.
    ToOne,
    /// Every web client.
    ToAll,
}

/// Why a pushed packet goes to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// It is not JSON.
    Malformed(Malformed),
    /// Its opcode is neither `feedback` nor `broadcast`.
    Opcode,
    /// Nobody has its uuid or ident.
    Nobody,
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::Opcode => f.write_str("opcode must be feedback or broadcast"),
            Self::Nobody => f.write_str("nobody has this uuid or ident"),
        }
    }
}

impl std::error::Error for PushError {}

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision<'a> {
    /// An HTTP response.
    Refuse(Rejection),
    /// The 101.
    Upgrade(Upgrade, UpgradeRequest<'a>),
}

impl App {
    /// No resources, no clients.
    pub fn new(settings: AppSettings, admission: Admission) -> Self {
        Self {
            settings,
            admission,
            clients: Clients::default(),
            resources: Vec::new(),
            sessions: SlotMap::default(),
            chunks: HashMap::new(),
            held_bytes: 0,
        }
    }

    /// Adds a resource on a path, compared exactly, or on all paths that no other has.
    pub fn add_resource(&mut self, path: Option<&str>, resource: Box<dyn Resource>) {
        info!("Registered resource : {}", path.unwrap_or("*"));
        let (path, dialogue) = (path.map(str::to_owned), resource.dialogue());
        self.resources.push(Registered {
            path,
            dialogue,
            resource,
        });
    }

    /// Judges a request: upgrade, source, numbers, path, in this order. `local_ip`: the address of
    /// ours that was reached; asked for only where it matters.
    pub fn decide<'a>(
        &self,
        request: &Request<'a>,
        peer: Peer,
        local_ip: impl FnOnce() -> Option<IpAddr>,
    ) -> Decision<'a> {
        let upgrade = match Upgrade::check(request) {
            Ok(upgrade) => upgrade,
            Err(rejection) => return Decision::Refuse(rejection),
        };
        let is_php = request
            .header("client-type")
            .is_some_and(|t| t.eq_ignore_ascii_case("php"));
        let kind = if is_php {
            ClientKind::Php
        } else {
            ClientKind::Web
        };
        let origin = request.header("origin");
        let source = self.admission.check_source(kind, origin, peer, local_ip);
        let token = match kind {
            ClientKind::Php => self.admission.check_token(request),
            ClientKind::Web => Ok(()),
        };
        if let Err(rejection) = source.and(token) {
            return Decision::Refuse(rejection);
        }
        let upgrade_request = UpgradeRequest {
            kind,
            resource: self.place(kind, request.path(), peer),
            ident: request.header("ident").unwrap_or_default(),
            query: request.query(),
            reads_stream: request.has_token("x-websock-frames", "stream"),
        };
        let upgrade = match kind {
            ClientKind::Web => upgrade.negotiate(request, &self.settings.compression),
            // They read frames as plain text (protocol.md §6).
            ClientKind::Php => upgrade,
        };
        Decision::Upgrade(upgrade, upgrade_request)
    }

    /// Whose `request` is, which has come from `peer`: who is behind the proxies on the way.
    pub fn locate(&self, request: &Request<'_>, peer: Peer) -> Peer {
        self.admission.locate(request, peer)
    }

    /// The connection is open: what it gets first.
    pub fn handle_open(
        &mut self,
        id: ConnId,
        upgrade_request: &UpgradeRequest<'_>,
        peer: Peer,
        outbox: &mut Outbox,
    ) {
        let resource = match &upgrade_request.resource {
            Ok(resource) => *resource,
            Err((error, code)) => return turn_away(id, error, *code, outbox),
        };
        let uuid = ClientUuid::Standard(uuid::Uuid::new_v4().as_u128());
        let ready = ready_packet(&uuid);
        self.clients
            .open(id, upgrade_request.kind, uuid, upgrade_request.ident);
        self.admission.enter(upgrade_request.kind, peer);
        let session = Session {
            resource,
            kind: upgrade_request.kind,
            is_buffering: false,
        };
        self.sessions.insert(id.slot as usize, session);
        self.with_resource(id, outbox, |resource, client, handle| {
            if handle.dialogue == Dialogue::Packets {
                info!("Telling Client to start on  #{}", id.slot);
                handle.reply(&ready);
            }
            resource.on_open(
                Client {
                    query: upgrade_request.query,
                    ..client
                },
                handle,
            );
        });
    }

    /// A packet that came by HTTP: `feedback` or `broadcast`, for the loop to deliver.
    pub fn push(
        &mut self,
        from: ConnId,
        text: &str,
        outbox: &mut Outbox,
    ) -> Result<Pushed, PushError> {
        let packet = Packet::parse(text).map_err(PushError::Malformed)?;
        match packet.verb {
            Verb::Feedback => {
                let receiver = self.clients.find(&packet.uuid, &packet.ident);
                let receiver = receiver.ok_or(PushError::Nobody)?;
                outbox.send(receiver, MessageKind::Text, text.as_bytes());
                Ok(Pushed::ToOne)
            }
            Verb::Broadcast => {
                let audience = Audience::Dialogue;
                outbox.broadcast(from, audience, MessageKind::Text, text.as_bytes());
                Ok(Pushed::ToAll)
            }
            Verb::Echo | Verb::Quit | Verb::Uuid | Verb::Unknown => Err(PushError::Opcode),
        }
    }

    /// The uuid in a JSON object, if a page has it.
    pub fn find_page(&self, text: &str) -> Option<String> {
        let packet = Packet::parse(text).ok()?;
        self.clients.find(&packet.uuid, &Ident::None)?;
        Some(packet.uuid.into_owned())
    }

    /// Whether the page that sends a request is one of `allowedOrigins`, or this server's own.
    pub fn check_page(&self, request: &Request<'_>) -> Result<(), PushRefusal> {
        self.admission.check_page(request)
    }

    /// Whether a push may come from there.
    pub fn check_push(&self, pushing: &Pushing<'_>) -> Result<(), PushRefusal> {
        self.admission.check_push(pushing)
    }

    /// A complete message came.
    pub fn handle_message(&mut self, id: ConnId, message: &Message<'_>, outbox: &mut Outbox) {
        match self.dialogue(id) {
            Some(Dialogue::None) => self.pass(id, message, outbox),
            Some(Dialogue::Packets) => {
                // protocol.md 2.2: before anything that the message causes.
                outbox.reply(id, MessageKind::Text, NEXT_PACKET.as_bytes());
                let message = as_text(message);
                match self.buffer(id, &message) {
                    Buffered::Nothing => self.pass(id, &message, outbox),
                    Buffered::Kept => {}
                    Buffered::Joined(text) => {
                        self.pass(id, &Message::Text(text.as_str().into()), outbox);
                    }
                    Buffered::TooBig => {
                        let reason = "more than maxChunks chunks, or over maxMessageSize";
                        outbox.close(id, CloseCode::MESSAGE_TOO_BIG, reason.into());
                    }
                }
            }
            None => {}
        }
    }

    fn pass(&mut self, id: ConnId, message: &Message<'_>, outbox: &mut Outbox) {
        self.with_resource(id, outbox, |resource, client, handle| {
            resource.on_data(client, message, handle);
        });
    }

    /// The client broke a rule; [`handle_close`](Self::handle_close) follows.
    pub fn handle_error(&mut self, id: ConnId, violation: Violation, outbox: &mut Outbox) {
        self.with_resource(id, outbox, |resource, client, handle| {
            resource.on_error(client, violation, handle);
        });
    }

    /// A connection for which [`handle_open`](Self::handle_open) was called is no longer open.
    pub fn handle_close(&mut self, id: ConnId, peer: Peer, outbox: &mut Outbox) {
        self.with_resource(id, outbox, |resource, client, handle| {
            resource.on_close(client, handle);
        });
        let Some(session) = self.sessions.remove(id.slot as usize) else {
            return;
        };
        if session.is_buffering {
            self.take_chunks(id);
        }
        self.admission.leave(session.kind, peer);
        self.clients.close(id);
    }

    /// Whether connections of this resource speak the dialogue.
    pub fn speaks_dialogue(&self, resource: ResourceId) -> bool {
        let registered = self.resources.get(usize::from(resource));
        registered.is_some_and(|registered| registered.dialogue == Dialogue::Packets)
    }

    /// Bytes of memory that chunks hold.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Bytes of memory that one connection's chunks hold.
    pub fn held_bytes_of(&self, id: ConnId) -> usize {
        let chunks = self.chunks.get(&id);
        chunks.map_or(0, |chunks| chunks.text.capacity())
    }

    fn place(
        &self,
        kind: ClientKind,
        path: &str,
        peer: Peer,
    ) -> Result<ResourceId, (String, CloseCode)> {
        match self.admission.check_capacity(kind, peer) {
            Ok(()) => {}
            Err(LimitReached::Everywhere) => {
                return Err(("Too many connections".into(), CloseCode::TRY_AGAIN_LATER));
            }
            Err(LimitReached::From(ip)) => {
                let error = format!("Too many connections from: {ip}");
                return Err((error, CloseCode::POLICY_VIOLATION));
            }
        }
        let exact = self
            .resources
            .iter()
            .position(|r| r.path.as_deref() == Some(path));
        let any = || self.resources.iter().position(|r| r.path.is_none());
        match exact.or_else(any) {
            Some(index) => Ok(index as ResourceId),
            None => Err((format!("no resource {path}"), CloseCode::POLICY_VIOLATION)),
        }
    }

    fn dialogue(&self, id: ConnId) -> Option<Dialogue> {
        let session = self.sessions.get(id.slot as usize)?;
        Some(self.resources.get(usize::from(session.resource))?.dialogue)
    }

    /// protocol.md 4.2, 4.3.
    fn buffer(&mut self, id: ConnId, message: &Message<'_>) -> Buffered {
        let Some(session) = self.sessions.get_mut(id.slot as usize) else {
            return Buffered::Kept;
        };
        let Message::Text(text) = message else {
            return Buffered::Nothing;
        };
        match text.as_str() {
            "bufferON" => {
                session.is_buffering = true;
                self.take_chunks(id);
                self.chunks.insert(id, Chunks::default());
                Buffered::Kept
            }
            "bufferOFF" => {
                session.is_buffering = false;
                match self.take_chunks(id) {
                    Some(chunks) if chunks.count > 0 => Buffered::Joined(chunks.text),
                    Some(_) | None => Buffered::Kept,
                }
            }
            _ if !session.is_buffering => Buffered::Nothing,
            text => {
                let Some(chunks) = self.chunks.get_mut(&id) else {
                    return Buffered::Nothing;
                };
                let is_over = chunks.count > self.settings.max_chunks
                    || chunks.text.len() + text.len() > self.settings.max_message_bytes;
                if is_over {
                    return Buffered::TooBig;
                }
                self.held_bytes -= chunks.text.capacity();
                chunks.text.push_str(text);
                chunks.count += 1;
                self.held_bytes += chunks.text.capacity();
                Buffered::Kept
            }
        }
    }

    fn take_chunks(&mut self, id: ConnId) -> Option<Chunks> {
        let chunks = self.chunks.remove(&id)?;
        self.held_bytes -= chunks.text.capacity();
        Some(chunks)
    }

    /// Calls a resource about one of its connections; does nothing if it is not open.
    fn with_resource(
        &mut self,
        id: ConnId,
        outbox: &mut Outbox,
        call: impl FnOnce(&mut dyn Resource, Client<'static>, &mut Handle<'_>),
    ) {
        let Some(session) = self.sessions.get(id.slot as usize) else {
            return;
        };
        let Some(registered) = self.resources.get_mut(usize::from(session.resource)) else {
            return;
        };
        let mut handle = Handle {
            current: id,
            resource: session.resource,
            dialogue: registered.dialogue,
            clients: &mut self.clients,
            outbox,
        };
        let client = Client {
            id,
            kind: session.kind,
            query: "",
        };
        call(registered.resource.as_mut(), client, &mut handle);
    }
}

/// What `bufferON` and `bufferOFF` make of a message.
enum Buffered {
    /// Nothing: it is handled as it is.
    Nothing,
    /// It is kept, or was one of the two.
    Kept,
    /// All that was kept is handled as one message.
    Joined(String),
    /// It is one chunk or some bytes too many.
    TooBig,
}

/// Answer to every complete data message (protocol.md 2.2).
const NEXT_PACKET: &str = r#"{"opcode":"next","fyi":""}"#;

/// protocol.md 2.1.
fn ready_packet(uuid: &ClientUuid) -> String {
    format!(r#"{{"opcode":"ready","uuid":"{uuid}"}}"#)
}

/// protocol.md 1.10, 1.11: a packet, then the close frame.
fn turn_away(id: ConnId, error: &str, code: CloseCode, outbox: &mut Outbox) {
    let text = serde_json::Value::from(error);
    let packet = format!(r#"{{"opcode":"close","error":{text}}}"#);
    outbox.reply(id, MessageKind::Text, packet.as_bytes());
    outbox.close(id, code, error.to_owned().into());
}

/// protocol.md 2.7: binary messages that are UTF-8 count as text.
fn as_text<'a>(message: &Message<'a>) -> Message<'a> {
    match *message {
        Message::Text(text) => Message::Text(text.as_str().into()),
        Message::Binary(bytes) => match utf8::check(bytes) {
            Some(text) => Message::Text(text.into()),
            None => Message::Binary(bytes),
        },
    }
}
