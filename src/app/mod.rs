//! The application: who may come in, what is said to whom, and what plain HTTP requests get.
//!
//! [`App`] is a state machine, as a connection is: [`Event`]s and the time go in through one door,
//! [`Commands`] come out. It never reaches a connection, so nothing is re-entered and nothing is
//! freed under a caller; sockets, queues and the clock are not known here.

mod accept;
pub mod admission;
mod audience;
mod availability;
pub mod backplane;
mod calls;
mod chunks;
mod commands;
mod conversation;
mod deliveries;
mod delivery;
mod event;
mod event_stream;
mod first_message;
mod handover;
mod kept_state;
mod logout;
mod monitoring;
mod moving;
mod newcomers;
mod opening;
pub mod peer;
mod posting;
mod push;
mod pushed;
mod readers;
mod receipts;
mod replay_packets;
mod reply;
mod report;
mod request_checks;
mod requests;
mod resource;
mod resume;
mod senders;
mod sessions;
pub mod sign_in;
mod signed_in;
mod standard;
pub mod trusted_proxies;
mod upgrade;
mod web_sends;

pub use self::accept::{Accept, Admitted, Opening};
pub use self::availability::{Availability, Goodbye};
pub use self::calls::{CallId, Receipt, Ticket};
pub use self::chunks::ChunkLimits;
pub use self::commands::{BodyLimit, Command, Commands, CurrentMessage, SubscriptionChange};
pub use self::deliveries::{Deliveries, NOBODY};
pub use self::event::{Encryption, Event, IncomingRequest};
pub use self::report::{Detail, LinkFigures, Report};
pub use self::resource::{Client, ClientRequest, Dialogue, Handle, Resource};
pub use self::sessions::DialogueSettings;
pub use self::standard::Standard;
pub use self::web_sends::{Sendable, Sends, WebSends};

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use log::{info, warn};

use self::admission::{Admission, AdmissionSettings};
use self::backplane::{Backplane, BackplaneSettings};
use self::newcomers::Newcomers;
use self::peer::{ListenerRole, Peer};
use self::requests::Requests;
use self::sessions::Sessions;
use self::sign_in::{Decision, SignIn, SignInSettings, TicketKey};
use crate::api::figures::KindCounts;
use crate::api::{self, Demo, Route};
use crate::base::log_target::REFUSALS;
use crate::base::{MonotonicTime, free};
use crate::connection::{ConnId, Message};
use crate::protocol::close_code::CloseCode;
use crate::protocol::error::Rejection;
use crate::protocol::extension::CompressionSettings;
use crate::protocol::http::Request;
use crate::protocol::message::MessageKind;
use crate::registry::{ClientKind, ReplaySettings, SlotSet};
use crate::upstream::{Settings as UpstreamSettings, Target, Upstream, UpstreamId};

/// What the application needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSettings {
    /// Who may come in.
    pub admission: AdmissionSettings,
    /// What the dialogue is held against.
    pub dialogue: DialogueSettings,
    /// How clients are let in.
    pub upgrade: UpgradeSettings,
    /// How it is found out who they are.
    pub sign_in: SignInSettings,
    /// How several servers are one.
    pub backplane: BackplaneSettings,
    /// What is kept for those who come back.
    pub replay: ReplaySettings,
    /// Whether the demo page is served.
    pub demo: Demo,
}

/// How clients are let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeSettings {
    /// Whether and how messages of web clients are compressed.
    pub compression: CompressionSettings,
    /// Whether frames to deployed PHP clients are shaped for them (`phpPadding`).
    pub php_padding: bool,
    /// Subprotocols that a client may choose, in the order of preference (`subprotocols`).
    pub subprotocols: Vec<String>,
    /// Longest header `Ident`, in bytes (`maxIdent`).
    pub max_ident_bytes: usize,
    /// Longest time for a first message that brings a token (`handshakeTimeout`).
    pub handshake_timeout: Duration,
}

/// The whole application.
pub struct App {
    admission: Admission,
    sessions: Sessions,
    requests: Requests,
    upgrade: UpgradeSettings,
    sign_in: SignIn,
    newcomers: Newcomers,
    demo: Demo,
    availability: Availability,
}

impl App {
    /// No resources, no clients. `wall_clock` is asked for the time of day, since 1970,
    /// by tokens and tickets; all else goes by the time that events come with.
    pub fn new(settings: AppSettings, wall_clock: fn() -> Duration) -> Self {
        let mut sessions = Sessions::new(settings.dialogue, settings.replay);
        let backplane = Backplane::new(&settings.backplane, wall_clock);
        sessions.backplane = backplane.map(Box::new);
        Self {
            admission: Admission::new(settings.admission),
            sessions,
            requests: Requests::default(),
            upgrade: settings.upgrade,
            sign_in: SignIn::new(settings.sign_in, wall_clock),
            newcomers: Newcomers::default(),
            demo: settings.demo,
            availability: Availability::Serving,
        }
    }

    /// Adds the other servers that are asked who somebody is. `add` says by which name.
    pub fn add_upstreams(&mut self, add: impl FnMut(Target, UpstreamSettings) -> UpstreamId) {
        self.sign_in.add_upstreams(add);
    }

    /// Adds the connections to the Redis between servers, if there is one. `add` says by which name,
    /// for a target that is trusted by the roots of a file, or by the system's.
    pub fn add_backplane(&mut self, mut add: impl FnMut(Upstream, Option<&Path>) -> UpstreamId) {
        let max_message_bytes = self.sessions.max_message_bytes();
        if let Some(backplane) = self.sessions.backplane.as_deref_mut() {
            backplane.add_upstreams(max_message_bytes, &mut add);
        }
    }

    /// Tickets are signed with this key from now on: one that outlives the server lets those who
    /// were signed in come back without a question after a restart.
    pub fn set_ticket_key(&mut self, key: TicketKey) {
        self.sign_in.set_ticket_key(key);
    }

    /// Goes by these settings from now on. `peers`: all connections, and where they come from.
    pub fn reload(
        &mut self,
        settings: AppSettings,
        peers: impl Iterator<Item = (ConnId, Peer)>,
        now: MonotonicTime,
    ) {
        let AppSettings {
            admission,
            dialogue,
            upgrade,
            sign_in,
            backplane,
            replay,
            demo,
        } = settings;
        let sessions = &self.sessions;
        let clients = peers.filter_map(|(id, peer)| Some((sessions.kind_of(id)?, peer)));
        self.admission.reload(admission, clients);
        self.sessions.reload(dialogue, replay);
        self.upgrade = upgrade;
        self.sign_in.reload(sign_in, now);
        self.reload_backplane(&backplane);
        self.demo = demo;
    }

    /// Adds a resource on a path, compared exactly, or on all paths that no other has.
    pub fn add_resource(&mut self, path: Option<&str>, resource: Box<dyn Resource>) {
        self.sessions.add_resource(path, resource);
    }

    /// The only door: takes in what has happened, and leaves what is to be done in `commands`.
    pub fn handle(&mut self, event: Event<'_>, now: MonotonicTime, commands: &mut Commands) {
        self.handle_one(event, now, commands);
        self.tell_settled(now, commands);
        // Whoever comes in may be the reason that others are to go.
        self.carry_out_decisions(commands);
        if self.sessions.clients().has_new_logouts() {
            self.forget_logged_out(now);
        }
    }

    fn handle_one(&mut self, event: Event<'_>, now: MonotonicTime, commands: &mut Commands) {
        match event {
            Event::Message { id, message } if self.newcomers.is_awaiting_token(id) => {
                self.handle_first_message(id, message, now, commands);
            }
            Event::Message { id, message } => {
                self.sessions.handle_message(id, message, now, commands);
            }
            Event::Posted { id, text } => {
                let message = Message::Text(text.as_str().into());
                self.sessions.handle_message(id, &message, now, commands);
                free(text.into_bytes());
            }
            Event::Request(request) => self.handle_request(&request, now, commands),
            Event::Body { id, body } => {
                let parts = (&mut self.sessions, &mut self.admission);
                self.requests.handle_body(id, body, parts, now, commands);
                self.carry_out_effects(now, commands);
            }
            Event::Refused {
                id,
                peer,
                rejection,
            } => {
                self.requests.note_refused(id, rejection.status());
                self.forget_newcomer(id, peer);
                self.admission.log_refusal(id, peer, rejection, "", now);
            }
            Event::Failed {
                id,
                peer,
                violation,
            } => {
                let (slot, reason) = (id.slot, violation.reason());
                warn!(target: REFUSALS, "#{slot} broke a rule: {reason} ({})", peer.name());
                self.sessions.handle_error(id, violation, now, commands);
            }
            Event::Closed { id, peer, heard } => {
                if let Some(kind) = self.sessions.handle_close(id, heard, now, commands) {
                    self.admission.leave(kind, peer);
                }
                self.sign_in.leave(id);
                self.forget_newcomer(id, peer);
                self.requests.handle_close(id);
            }
            Event::Push { ticket, packet } => {
                self.requests
                    .handle_push(ticket, packet, &mut self.sessions, now, commands);
                self.carry_out_effects(now, commands);
            }
            Event::Delivered { call, receipt } => {
                if let Some(whole) = self.sessions.receipts.add(call, receipt) {
                    self.handle_delivered(call, whole, now, commands);
                }
            }
            Event::Availability(availability) => {
                self.availability = availability;
                if let Some(backplane) = self.sessions.backplane.as_deref_mut()
                    && !availability.is_ready()
                {
                    backplane.leave_others(now);
                }
            }
            Event::Restarting(goodbyes) => availability::say_goodbye(goodbyes, commands),
            Event::Reported { id, report } => {
                let (sessions, admission) = (&self.sessions, &self.admission);
                self.requests
                    .handle_report(id, &report, sessions, admission, now, commands);
            }
            Event::Subscriber { upstream, event } => {
                self.handle_subscriber(upstream, event, now, commands);
            }
            Event::Answered { upstream, answer } => {
                self.handle_answer(upstream, answer, now, commands);
            }
            Event::SessionRead { call, outcome } => {
                self.sign_in.handle_session(call, outcome, now, commands);
            }
            Event::Resumed { id } => self.handle_decided(id, now, commands),
        }
    }

    /// Those who have asked what became of messages that wait for somebody are told.
    fn tell_settled(&mut self, now: MonotonicTime, commands: &mut Commands) {
        while let Some((call, receipt)) = self.sessions.receipts.next_settled() {
            self.handle_delivered(call, receipt, now, commands);
        }
    }

    /// Does what is due at `now`; harmless if nothing is.
    pub fn handle_timeout(&mut self, now: MonotonicTime, commands: &mut Commands) {
        self.sessions.handle_timeout(now, commands);
        self.requests
            .handle_timeout(&mut self.sessions, now, commands);
        self.sign_in.handle_timeout(now, commands);
        self.handle_backplane_timeout(now, commands);
        self.tell_settled(now, commands);
        self.carry_out_decisions(commands);
        if self.sessions.clients().has_new_logouts() {
            self.forget_logged_out(now);
        }
        while let Some((id, arrival)) = self.newcomers.next_late(now) {
            let peer = arrival.peer.name();
            warn!(target: REFUSALS, "#{} turned away: no token within handshakeTimeout ({peer})", id.slot);
            self.leave_without_token(&arrival);
            let packet = logout::close_packet(logout::NOT_SIGNED_IN);
            commands.send(id, MessageKind::Text, packet.as_bytes(), None);
            commands.close(id, CloseCode::UNAUTHORIZED, logout::NOT_SIGNED_IN);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn next_deadline(&self) -> Option<MonotonicTime> {
        let deadlines = [
            self.sessions.next_deadline(),
            self.requests.next_deadline(),
            self.sign_in.next_deadline(),
            self.newcomers.next_deadline(),
            self.sessions.backplane_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Whether newcomers are welcome.
    pub fn availability(&self) -> Availability {
        self.availability
    }

    /// How many have come in since the start, and how many were refused.
    pub fn opened_and_refused_counts(&self) -> (KindCounts, u64) {
        self.admission.opened_and_refused_counts()
    }

    /// How many are connected: web clients, and scripts.
    pub fn client_counts(&self) -> (usize, usize) {
        self.admission.counts()
    }

    /// Clients who have opted in to be told of a restart.
    pub fn restart_audience(&self) -> Rc<SlotSet> {
        self.sessions.restart_audience().snapshot()
    }

    /// Whether nobody is let in any more (`maxClients`).
    pub fn is_full(&self) -> bool {
        self.admission.is_full()
    }

    /// Bytes of memory held for connections.
    pub fn held_bytes(&self) -> usize {
        self.sessions.held_bytes() + self.requests.held_bytes() + self.newcomers.held_bytes()
    }

    /// Bytes of memory held for one connection.
    pub fn held_bytes_of(&self, id: ConnId) -> usize {
        self.sessions.held_bytes_of(id)
            + self.requests.held_bytes_of(id)
            + self.newcomers.held_bytes_of(id)
            + self.sign_in.held_bytes_of(id)
    }

    /// Newcomers are told what was decided, and those who may stay no longer.
    fn carry_out_decisions(&mut self, commands: &mut Commands) {
        while let Some(decision) = self.sign_in.next_decision() {
            match decision {
                Decision::SignOut(id) => {
                    info!("#{} is no longer signed in", id.slot);
                    self.sign_out(id, commands);
                }
                Decision::Renew(id) => {
                    if let Some(ticket) = self.sign_in.ticket_for(id) {
                        self.sessions.renew_ticket(id, &ticket, commands);
                    }
                }
                Decision::Enter(id, _) | Decision::SendAway(id) | Decision::TryAgain(id, _) => {
                    if self.newcomers.decide(id, decision) {
                        commands.resume(id);
                    }
                }
            }
        }
    }

    /// Ends an open connection (protocol.md 8.7).
    fn sign_out(&mut self, id: ConnId, commands: &mut Commands) {
        self.sessions.sign_off(id, logout::NOT_SIGNED_IN, commands);
    }

    /// Somebody has gone before it was known who that is.
    fn forget_newcomer(&mut self, id: ConnId, peer: Peer) {
        if let Some(print) = self.newcomers.forget(id) {
            self.sign_in.forget(id, print);
        }
        if self.newcomers.take_without_token(id).is_some() {
            self.admission.leave(ClientKind::Web, peer);
        }
    }

    /// Whatever was logged out by an event counts no more where answers are kept.
    fn forget_logged_out(&mut self, now: MonotonicTime) {
        for logout in self.sessions.take_logouts() {
            self.sign_in.log_out(&logout, now);
        }
    }

    fn handle_request(
        &mut self,
        incoming: &IncomingRequest<'_>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let request = match Request::parse(incoming.head) {
            Ok(request) => request,
            Err(rejection) => {
                return self.reject(incoming, rejection, (incoming.peer, ""), now, commands);
            }
        };
        let route = api::route(&request, self.demo);
        let tells_status = matches!(route, Route::Monitor(..) | Route::Close);
        if incoming.peer.role == ListenerRole::Status && !tells_status {
            let rejection = Rejection::Listener;
            return self.reject(incoming, rejection, (incoming.peer, ""), now, commands);
        }
        let checked = match route {
            Route::Send | Route::PagePreflight(_) => self.check_reader(incoming, &request),
            _ => Ok(()),
        };
        if let Err(rejection) = checked {
            let peer = self.admission.locate(&request, incoming.peer);
            return self.reject(incoming, rejection, (peer, ""), now, commands);
        }
        match route {
            Route::None if self.availability == Availability::Draining => {
                let peer = self.admission.locate(&request, incoming.peer);
                self.reject(incoming, Rejection::Restarting, (peer, ""), now, commands);
            }
            Route::EventStream if self.availability == Availability::Draining => {
                self.put_off_events(incoming, &request, now, commands);
            }
            Route::None | Route::EventStream => {
                self.handle_upgrade(incoming, &request, now, commands)
            }
            route => {
                let served = self.requests.serve(
                    incoming,
                    &request,
                    route,
                    (&mut self.admission, &mut self.sessions),
                    now,
                    commands,
                );
                if let Err(rejection) = served {
                    self.requests.note_rejected(&request, rejection);
                    let peer = self.admission.locate(&request, incoming.peer);
                    self.reject(incoming, rejection, (peer, ""), now, commands);
                }
            }
        }
    }

    /// Refuses a request of `peer`. `detail` says more in the log, escaped where it comes from a
    /// peer.
    fn reject(
        &mut self,
        incoming: &IncomingRequest<'_>,
        rejection: Rejection,
        (peer, detail): (Peer, &str),
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let id = incoming.id;
        commands.reject(id, rejection);
        self.admission.log_refusal(id, peer, rejection, detail, now);
    }
}

/// The peer of a connection of which nothing is known any more.
pub const NO_PEER: Peer = Peer {
    ip: None,
    source: peer::AddressSource::Unknown,
    role: ListenerRole::All,
};
