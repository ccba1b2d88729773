//! The conversation: `ready` on open, `next` after each message, chunks, and who is spoken to about
//! what.
//!
//! Owns the resources and a session for each open client. Who may come in is decided elsewhere
//! ([`Admission`](super::admission::Admission)).

use std::time::Duration;

use log::{info, warn};

use super::backplane::Backplane;
use super::chunks::{ChunkLimits, ChunkStore};
use super::commands::Commands;
use super::delivery::{Content, Delivery, Listeners};
use super::logout::close_packet;
use super::opening::{has_word, knows_restarts, ready_packet};
use super::receipts::Receipts;
use super::replay_packets;
use super::resource::{
    Client, ClientRequest, Dialogue, ErrorPackets, Handle, Received, Resource, ResourceId,
};
use super::senders::Senders;
use super::web_sends::WebSends;
use crate::base::log_target::CONNECTIONS;
use crate::base::{LogLimiter, MonotonicTime, Secret, SlotMap, random};
use crate::connection::ConnId;
use crate::protocol::close_code::CloseCode;
use crate::protocol::error::Violation;
use crate::protocol::message::MessageKind;
use crate::registry::{
    ClientKind, ClientUuid, Clients, Identity, Mailbox, Members, ReplaySettings, Speakers,
};

/// What the dialogue is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialogueSettings {
    /// What is kept between `bufferON` and `bufferOFF`.
    pub chunks: ChunkLimits,
    /// `maxMessageSize`: most bytes of all chunks of a script together.
    pub max_message_bytes: usize,
    /// `maxWebMessage`: the same for a web client.
    pub max_web_message_bytes: usize,
    /// What pages may send (`webSends`).
    pub web_sends: WebSends,
}

/// All resources, and all who are connected to them.
pub(super) struct Sessions {
    pub(super) settings: DialogueSettings,
    pub(super) clients: Clients,
    resources: Vec<Registered>,
    pub(super) sessions: SlotMap<Session>,
    pub(super) chunks: ChunkStore,
    /// Web clients of all resources that speak the dialogue.
    pub(super) speakers: Speakers,
    /// What those are told who come back.
    pub(super) mailbox: Mailbox,
    pub(super) receipts: Receipts,
    /// Tabs by serial number, and the slots of those who have been taken over before what was kept.
    pub(super) taken_over: Vec<(u32, u32)>,
    /// The way to other nodes; `None`: this one is alone.
    pub(super) backplane: Option<Box<Backplane>>,
    /// Those who have asked for new words, and so are told of a restart (protocol.md 12.1).
    restart_audience: Members,
    forbidden: LogLimiter,
    /// Who may send for streams of events.
    pub(super) senders: Senders,
}

struct Registered {
    /// `None` for the resource that serves every path that no other serves.
    path: Option<String>,
    kind: Dialogue,
    /// Its web clients, if it does not speak the dialogue.
    members: Members,
    resource: Box<dyn Resource>,
}

/// What is kept for one open connection.
pub(super) struct Session {
    pub(super) resource: ResourceId,
    pub(super) kind: ClientKind,
    pub(super) chunking: Chunking,
    pub(super) error_packets: ErrorPackets,
    /// It has opted in to any of the new words, and so reads the packet of a restart.
    pub(super) knows_restarts: bool,
    pub(super) replay: Replay,
}

/// Whether a client gets what it has missed (protocol.md 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replay {
    /// It has not opted in.
    Off,
    /// It has, and its first message is to come, which may say that it was here before.
    First,
    /// It has said that it was, and nothing since: perhaps it has not heard the answer.
    Unheard,
    /// It has.
    On,
}

/// Whether a client is between `bufferON` and `bufferOFF`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunking {
    On,
    Off,
}

/// Somebody who is let in.
pub(super) struct Newcomer<'a> {
    pub(super) id: ConnId,
    pub(super) kind: ClientKind,
    pub(super) resource: ResourceId,
    /// Header `Ident`, blanks around it trimmed.
    pub(super) ident: &'a str,
    /// Who it is; empty for scripts, and for whoever is anonymous.
    pub(super) identity: &'a Identity,
    /// By which it can come back without a question.
    pub(super) ticket: Option<String>,
    /// What it reads.
    pub(super) reads: Reads,
    /// Its address, path, query and headers.
    pub(super) request: ClientRequest<'a>,
}

/// In what form somebody gets messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// As frames.
    Frames,
    /// As events: whatever it says comes by requests of its own.
    Events,
}

impl Sessions {
    /// No resources, no clients.
    pub(super) fn new(settings: DialogueSettings, replay: ReplaySettings) -> Self {
        Self {
            clients: Clients::default(),
            resources: Vec::new(),
            sessions: SlotMap::default(),
            chunks: ChunkStore::new(settings.chunks),
            speakers: Speakers::default(),
            mailbox: Mailbox::new(replay),
            receipts: Receipts::default(),
            taken_over: Vec::new(),
            backplane: None,
            restart_audience: Members::default(),
            forbidden: LogLimiter::default(),
            senders: Senders::default(),
            settings,
        }
    }

    /// Goes by these settings from now on.
    pub(super) fn reload(&mut self, settings: DialogueSettings, replay: ReplaySettings) {
        self.chunks.set_limits(settings.chunks);
        self.mailbox.reload(replay);
        self.settings = settings;
    }

    /// What somebody is who is connected; `None`: no client.
    pub(super) fn kind_of(&self, id: ConnId) -> Option<ClientKind> {
        let session = self.sessions.get(id.slot as usize)?;
        Some(session.kind)
    }

    /// Adds a resource on a path, compared exactly, or on all paths that no other has.
    pub(super) fn add_resource(&mut self, path: Option<&str>, resource: Box<dyn Resource>) {
        info!("Registered resource : {}", path.unwrap_or("*"));
        let (path, kind) = (path.map(str::to_owned), resource.dialogue());
        self.resources.push(Registered {
            path,
            kind,
            members: Members::default(),
            resource,
        });
    }

    /// The resource for a path.
    pub(super) fn find_resource(&self, path: &str) -> Option<ResourceId> {
        let mut resources = self.resources.iter();
        let exact = resources.position(|r| r.path.as_deref() == Some(path));
        let any = || self.resources.iter().position(|r| r.path.is_none());
        exact.or_else(any).map(|index| index as ResourceId)
    }

    /// The resource of those who read events.
    pub(super) fn find_event_resource(&self) -> Option<ResourceId> {
        let mut paths = ["/web", "/"].into_iter();
        let path = paths.find(|path| {
            self.resources
                .iter()
                .any(|r| r.path.as_deref() == Some(path))
        });
        self.find_resource(path.unwrap_or(EVENTS_PATH))
    }

    /// Longest message of anybody, in bytes.
    pub(super) fn max_message_bytes(&self) -> usize {
        self.settings.max_message_bytes
    }

    /// Longest message of a web client, in bytes.
    pub(super) fn max_web_message_bytes(&self) -> usize {
        let settings = &self.settings;
        settings
            .max_web_message_bytes
            .min(settings.max_message_bytes)
    }

    /// The path of a resource; `None` if it serves all that no other does.
    pub(super) fn path_of(&self, resource: ResourceId) -> Option<&str> {
        self.resources.get(usize::from(resource))?.path.as_deref()
    }

    /// Whether connections of a resource speak the dialogue.
    pub(super) fn speaks_dialogue(&self, resource: ResourceId) -> bool {
        let resource = self.resources.get(usize::from(resource));
        resource.is_some_and(|registered| registered.kind == Dialogue::Packets)
    }

    /// The registry of open clients.
    pub(super) fn clients(&self) -> &Clients {
        &self.clients
    }

    /// The way of messages that come from none of the connections here.
    pub(super) fn delivery<'a>(
        &'a mut self,
        now: MonotonicTime,
        commands: &'a mut Commands,
    ) -> Delivery<'a> {
        Delivery {
            clients: &mut self.clients,
            speakers: &self.speakers,
            mailbox: &mut self.mailbox,
            content: Content::Any,
            receipts: &mut self.receipts,
            commands,
            backplane: self.backplane.as_deref_mut(),
            now,
        }
    }

    /// Clients who have opted in to be told of a restart.
    pub(super) fn restart_audience(&self) -> &Members {
        &self.restart_audience
    }

    // ---- events

    /// The connection is open: what it gets first.
    pub(super) fn handle_open(
        &mut self,
        newcomer: &Newcomer<'_>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let Newcomer { id, kind, .. } = *newcomer;
        let uuid = random::uuid();
        let backplane = self.backplane.as_deref();
        let uuid = backplane.map_or(uuid, |backplane| backplane.stamp(uuid, now));
        let uuid = ClientUuid::Standard(uuid);
        let error_packets = match has_word(newcomer.request.query(), "user=1") {
            true => ErrorPackets::Wanted,
            false => ErrorPackets::Unknown,
        };
        let user = newcomer.identity.user.as_ref();
        let user = user.filter(|_| error_packets == ErrorPackets::Wanted);
        let ticket = newcomer.ticket.as_deref();
        let ticket = ticket.filter(|_| error_packets == ErrorPackets::Wanted);
        let secret = (newcomer.reads == Reads::Events).then(Secret::new);
        if let Some(secret) = &secret {
            self.senders.insert(id, secret.digest());
        }
        self.begin_to_hear(newcomer.identity.user.as_ref());
        let begun = self.begin_replay(newcomer, &uuid);
        let replay = begun.as_ref().map(|begun| {
            // A stream of events proves nothing when it comes back.
            let secret = (newcomer.reads == Reads::Frames).then_some(&begun.secret);
            (begun.cursor, secret)
        });
        let ready = ready_packet(&uuid, user, ticket, secret.as_ref(), replay);
        self.clients.open(id, kind, uuid, newcomer.ident);
        self.clients.identify(id, newcomer.identity);
        let session = Session {
            resource: newcomer.resource,
            kind,
            chunking: Chunking::Off,
            error_packets,
            knows_restarts: knows_restarts(newcomer.request.query()),
            replay: match begun {
                Some(_) if newcomer.reads == Reads::Frames => Replay::First,
                Some(_) => Replay::On,
                None => Replay::Off,
            },
        };
        self.enter(id, session, now);
        self.with_resource(id, None, now, commands, |resource, client, handle| {
            if handle.dialogue == Dialogue::Packets {
                info!(target: CONNECTIONS, "Telling Client to start on  #{}", id.slot);
                handle.reply(&ready);
            }
            if let Some(missed) = begun.and_then(|begun| begun.missed) {
                replay_packets::reply_missed(&missed, handle.delivery.commands);
            }
            resource.on_open(client, &newcomer.request, handle);
        });
    }

    /// The client broke a rule; [`handle_close`](Self::handle_close) follows.
    pub(super) fn handle_error(
        &mut self,
        id: ConnId,
        violation: Violation,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        self.with_resource(id, None, now, commands, |resource, client, handle| {
            resource.on_error(client, violation, handle);
        });
    }

    /// The connection is no longer open; what it was, if it was known here.
    pub(super) fn handle_close(
        &mut self,
        id: ConnId,
        heard: Option<MonotonicTime>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) -> Option<ClientKind> {
        self.clients.end(id);
        self.with_resource(id, None, now, commands, |resource, client, handle| {
            resource.on_close(client, handle);
        });
        match (self.senders.digest(id), heard) {
            (Some(_), _) => self.mailbox.leave_unnamed(id, &self.clients, now),
            (None, Some(heard)) => self.mailbox.leave(id, &self.clients, heard, now),
            (None, None) => self.mailbox.leave_unwatched(id, &self.clients, now),
        }
        self.let_go(id, now)
    }

    /// Enters a client that the registry knows.
    pub(super) fn enter(&mut self, id: ConnId, session: Session, now: MonotonicTime) {
        if let Some(backplane) = self.backplane.as_deref_mut() {
            let number = self.mailbox.cursor().number();
            backplane.enter(id, &self.clients, (now, number));
        }
        if session.kind == ClientKind::Web {
            let is_resuming = session.replay != Replay::Off;
            match self.resources.get_mut(usize::from(session.resource)) {
                Some(registered) if registered.kind == Dialogue::None => {
                    registered.members.insert(id.slot);
                }
                Some(_) => self.speakers.insert(id.slot, is_resuming),
                None => {}
            }
        }
        let knows_restarts = session.knows_restarts;
        self.sessions.insert(id.slot as usize, session);
        if knows_restarts && self.dialogue_of(id) == Some(Dialogue::Packets) {
            self.restart_audience.insert(id.slot);
        }
    }

    /// Forgets a client; what it was, if it was known here.
    pub(super) fn let_go(&mut self, id: ConnId, now: MonotonicTime) -> Option<ClientKind> {
        let session = self.sessions.remove(id.slot as usize)?;
        self.chunks.forget(id);
        self.mailbox.forget(id.slot);
        match self.resources.get_mut(usize::from(session.resource)) {
            Some(registered) if registered.kind == Dialogue::None => {
                registered.members.remove(id.slot);
            }
            Some(_) | None => self.speakers.remove(id.slot),
        }
        self.restart_audience.remove(id.slot);
        self.senders.remove(id);
        if let Some(backplane) = self.backplane.as_deref_mut() {
            // What is said to those who may come back is kept for them here.
            let stays = match session.replay {
                Replay::Off => Duration::ZERO,
                Replay::First | Replay::Unheard | Replay::On => self.mailbox.time(),
            };
            backplane.leave(id, &self.clients, (now, stays));
        }
        self.clients.close(id);
        Some(session.kind)
    }

    /// Closes those whose chunks have stalled.
    pub(super) fn handle_timeout(&mut self, now: MonotonicTime, commands: &mut Commands) {
        while let Some(id) = self.chunks.next_stalled(now) {
            let reason = "chunks after bufferON do not grow: over stallTimeout";
            commands.close(id, CloseCode::POLICY_VIOLATION, reason);
        }
        self.mailbox.handle_timeout(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn next_deadline(&self) -> Option<MonotonicTime> {
        let deadlines = [self.chunks.next_deadline(), self.mailbox.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// When the backplane has something to do.
    pub(super) fn backplane_deadline(&self) -> Option<MonotonicTime> {
        self.backplane.as_deref()?.next_deadline()
    }

    /// Until when pushes wait for the backplane, if they have to.
    pub(super) fn congested_until(&self, now: MonotonicTime) -> Option<MonotonicTime> {
        self.backplane.as_deref()?.congested_until(now)
    }

    /// Bytes of memory that chunks, the backplane, and what is kept for those who come back hold.
    pub(super) fn held_bytes(&self) -> usize {
        let backplane = self.backplane.as_deref();
        self.chunks.held_bytes()
            + self.mailbox.held_bytes()
            + backplane.map_or(0, Backplane::held_bytes)
    }

    /// Bytes of memory that one connection's chunks hold.
    pub(super) fn held_bytes_of(&self, id: ConnId) -> usize {
        self.chunks.held_bytes_of(id)
    }

    // ---- inside

    pub(super) fn dialogue_of(&self, id: ConnId) -> Option<Dialogue> {
        let session = self.sessions.get(id.slot as usize)?;
        Some(self.resources.get(usize::from(session.resource))?.kind)
    }

    /// Calls a resource about one of its connections; does nothing if it is not open.
    pub(super) fn with_resource(
        &mut self,
        id: ConnId,
        received: Option<Received<'_>>,
        now: MonotonicTime,
        commands: &mut Commands,
        call: impl FnOnce(&mut dyn Resource, Client, &mut Handle<'_>),
    ) {
        let Some(session) = self.sessions.get(id.slot as usize) else {
            return;
        };
        let Some(registered) = self.resources.get_mut(usize::from(session.resource)) else {
            return;
        };
        let listeners = match registered.kind {
            Dialogue::Packets => Listeners::Speakers,
            Dialogue::None => Listeners::Of(&registered.members),
        };
        let mut handle = Handle {
            current: id,
            dialogue: registered.kind,
            listeners,
            delivery: Delivery {
                clients: &mut self.clients,
                speakers: &self.speakers,
                mailbox: &mut self.mailbox,
                content: Content::Any,
                receipts: &mut self.receipts,
                commands,
                backplane: self.backplane.as_deref_mut(),
                now,
            },
            received,
            web_sends: &self.settings.web_sends,
            error_packets: session.error_packets,
            forbidden_count: 0,
        };
        let client = Client {
            id,
            kind: session.kind,
        };
        call(registered.resource.as_mut(), client, &mut handle);
        if handle.forbidden_count > 0
            && let Some(count) = self.forbidden.count(now)
        {
            warn!(
                "webSends does not allow {count} packets that pages have sent, the last on #{}",
                id.slot
            );
        }
    }
}

/// protocol.md 1.10, 1.11: a packet, then the close frame.
pub(super) fn turn_away(id: ConnId, error: &str, code: CloseCode, commands: &mut Commands) {
    commands.reply(MessageKind::Text, close_packet(error).as_bytes());
    commands.close(id, code, error.to_owned());
}

/// Where events are asked for.
pub(super) const EVENTS_PATH: &str = "/sse";
