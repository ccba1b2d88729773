//! The opening handshake: judged by admission, answered with a 101, a packet that turns away, or a
//! refusal.

use log::{info, warn};

use super::admission::LimitReached;
use super::logout::NOT_SIGNED_IN;
use super::newcomers::Arrival;
use super::opening::has_word;
use super::peer::Peer;
use super::reply::check_framing;
use super::resource::{ClientRequest, ResourceId};
use super::sessions::{Newcomer, Reads, turn_away};
use super::sign_in::{Decision, Entry, Judged, Visit};
use super::{Accept, Admitted, App, Commands, Encryption, IncomingRequest, Opening, event_stream};
use crate::api::{self, BodyPart, Response, Route};
use crate::base::log_target::{CONNECTIONS, REFUSALS};
use crate::base::{MonotonicTime, excerpt};
use crate::connection::{AfterResponse, ConnId, Keepalive, PhpFraming};
use crate::protocol::close_code::CloseCode;
use crate::protocol::error::Rejection;
use crate::protocol::handshake::Upgrade;
use crate::protocol::http::Request;
use crate::protocol::ident;
use crate::registry::ClientKind;

/// A request that asks for a WebSocket or a stream of events, and may have it.
struct UpgradeRequest<'a> {
    wanted: Wanted,
    kind: ClientKind,
    /// Where the client is.
    peer: Peer,
    /// The name that it takes; empty: none.
    ident: &'a str,
    /// Its resource; `Err`: it is turned away by a `close` packet with this error, and this code.
    resource: Result<ResourceId, TurnedAway>,
}

/// What is asked for.
enum Wanted {
    WebSocket(Upgrade),
    Events,
}

/// The error that a `close` packet tells, and the code of the close frame behind it.
type TurnedAway = (String, CloseCode);

impl App {
    /// Answers a request that asks for a WebSocket or a stream of events, or for nothing that is
    /// here.
    pub(super) fn handle_upgrade(
        &mut self,
        incoming: &IncomingRequest<'_>,
        request: &Request<'_>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        match self.judge(incoming, request) {
            Ok(asked) => self.admit(incoming, request, asked, now, commands),
            Err(rejection) => {
                let origin = request.header("origin").unwrap_or_default();
                let detail = match rejection {
                    Rejection::Origin if origin.is_empty() => "no origin".to_owned(),
                    Rejection::Origin => format!("origin {}", excerpt(origin)),
                    _ => String::new(),
                };
                let peer = self.admission.locate(request, incoming.peer);
                self.reject(incoming, rejection, (peer, &detail), now, commands);
            }
        }
    }

    /// Finds out who somebody is who may come in otherwise, and answers if that is known.
    fn admit(
        &mut self,
        incoming: &IncomingRequest<'_>,
        request: &Request<'_>,
        asked: UpgradeRequest<'_>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        // protocol.md 8.13: scripts are judged by where they come from.
        if asked.kind == ClientKind::Php || asked.resource.is_err() || !self.sign_in.is_on() {
            return self.open(incoming, request, asked, Entry::anonymous(), now, commands);
        }
        let arrival = || Arrival::of(incoming, self.sessions.clients().logout_stamp());
        if self.sign_in.takes_first_message() && has_word(request.query(), "auth=1") {
            if let Wanted::Events = asked.wanted {
                let (error, peer) = (NO_FIRST_MESSAGE, asked.peer.name());
                self.admission.count_refusal(400, error);
                warn!(target: REFUSALS, "#{} refused: 400 {error} ({peer})", incoming.id.slot);
                let response = Response::failure(400, error);
                return event_stream::refuse(incoming.id, request, response, commands);
            }
            let (arrival, deadline) = (arrival(), now + self.upgrade.handshake_timeout);
            if self.accept(incoming, request, asked, commands).is_ok() {
                self.newcomers.await_token(incoming.id, arrival, deadline);
            }
            return;
        }
        let visit = Visit {
            head: request,
            peer: asked.peer,
            scheme: self.admission.scheme_of(incoming, request),
        };
        match self.sign_in.judge(incoming.id, &visit, now, commands) {
            Judged::Now(decision) => {
                self.carry_out_decision(decision, incoming, request, asked, now, commands);
            }
            Judged::Later(print) => self.newcomers.wait(incoming.id, arrival(), print),
        }
    }

    fn carry_out_decision(
        &mut self,
        decision: Decision,
        incoming: &IncomingRequest<'_>,
        request: &Request<'_>,
        asked: UpgradeRequest<'_>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        match decision {
            Decision::Enter(_, entry) => {
                self.open(incoming, request, asked, entry, now, commands);
            }
            Decision::SendAway(_) | Decision::SignOut(_) | Decision::Renew(_) => {
                let asked = UpgradeRequest {
                    resource: Err((NOT_SIGNED_IN.to_owned(), CloseCode::UNAUTHORIZED)),
                    ..asked
                };
                self.open(incoming, request, asked, Entry::anonymous(), now, commands);
            }
            Decision::TryAgain(id, after) => {
                self.admission.count_refusal(503, UNDECIDED);
                let peer = asked.peer.name();
                warn!(target: REFUSALS, "#{} refused: 503 {UNDECIDED} ({peer})", id.slot);
                if let Wanted::Events = asked.wanted {
                    let why = (UNDECIDED, CloseCode::TRY_AGAIN_LATER);
                    return event_stream::try_later(id, request, why, after, commands);
                }
                let mut response = Response::error(503, UNDECIDED);
                // At least 1: 0 would bring everybody back at once.
                let seconds = after.as_secs().max(1).to_string();
                response.add_header("Retry-After", &seconds);
                let mut bytes = Vec::new();
                response.write(BodyPart::Sent, Some("close"), &mut bytes);
                commands.respond(id, AfterResponse::Close, bytes);
            }
        }
    }

    /// A decision about this connection's upgrade is made.
    pub(super) fn handle_decided(
        &mut self,
        id: ConnId,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let Some((arrival, decision)) = self.newcomers.take_decided(id) else {
            return;
        };
        let Arrival {
            head,
            peer,
            encryption,
            local_ip,
            logout_stamp,
        } = arrival;
        let incoming = IncomingRequest {
            id,
            head: &head,
            peer,
            encryption,
            local_ip: &|| local_ip,
        };
        let Ok(request) = Request::parse(&head) else {
            return debug_assert!(false, "it was parsed before");
        };
        match (self.judge(&incoming, &request), decision) {
            // A logout has overtaken the answer.
            (Ok(asked), Decision::Enter(_, entry))
                if (self.sessions.clients())
                    .was_logged_out_since(logout_stamp, &entry.identity()) =>
            {
                self.admit(&incoming, &request, asked, now, commands);
            }
            (Ok(asked), decision) if asked.resource.is_ok() => {
                self.carry_out_decision(decision, &incoming, &request, asked, now, commands);
            }
            (Ok(asked), _) => {
                self.open(
                    &incoming,
                    &request,
                    asked,
                    Entry::anonymous(),
                    now,
                    commands,
                );
            }
            (Err(rejection), _) => self.reject(&incoming, rejection, (peer, ""), now, commands),
        }
    }

    /// Judges a request: upgrade, source, token, numbers, path, in this order.
    fn judge<'a>(
        &self,
        incoming: &IncomingRequest<'_>,
        request: &Request<'a>,
    ) -> Result<UpgradeRequest<'a>, Rejection> {
        let peer = self.admission.locate(request, incoming.peer);
        if self.asks_for_events(request) {
            return self.judge_events(incoming, request, peer);
        }
        let upgrade = Upgrade::check(request)?;
        let kind = kind_of(request);
        let origin = request.header("origin");
        self.admission
            .check_source(kind, origin, peer, incoming.local_ip)?;
        if kind == ClientKind::Web && self.sign_in.is_by_cookie() {
            self.admission.check_same_host(request, incoming.peer)?;
        }
        let ident = ident::of(request, self.upgrade.max_ident_bytes)?;
        let upgrade = upgrade.choose_subprotocol(request, &self.upgrade.subprotocols);
        let upgrade = match kind {
            ClientKind::Web => upgrade.negotiate(request, &self.upgrade.compression),
            // They read frames as plain text (protocol.md §6).
            ClientKind::Php => {
                self.admission.check_token(request)?;
                upgrade
            }
        };
        let resource = self.sessions.find_resource(request.path());
        Ok(UpgradeRequest {
            wanted: Wanted::WebSocket(upgrade),
            kind,
            peer,
            ident,
            resource: self.check_place(kind, (request.path(), resource), peer),
        })
    }

    fn asks_for_events(&self, request: &Request<'_>) -> bool {
        // Each handshake comes by here, and few ask for that path.
        request.path() == api::EVENTS
            && matches!(api::route(request, self.demo), Route::EventStream)
    }

    /// The same for a request that asks for events. Whoever reads them is a page.
    fn judge_events<'a>(
        &self,
        incoming: &IncomingRequest<'_>,
        request: &Request<'a>,
        peer: Peer,
    ) -> Result<UpgradeRequest<'a>, Rejection> {
        check_framing(request)?;
        self.check_reader(incoming, request)?;
        let (kind, resource) = (ClientKind::Web, self.sessions.find_event_resource());
        Ok(UpgradeRequest {
            wanted: Wanted::Events,
            kind,
            peer,
            ident: "",
            resource: self.check_place(kind, (request.path(), resource), peer),
        })
    }

    /// Whether there is a place for somebody, and something on the path.
    fn check_place(
        &self,
        kind: ClientKind,
        (path, resource): (&str, Option<ResourceId>),
        peer: Peer,
    ) -> Result<ResourceId, TurnedAway> {
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
        resource.ok_or_else(|| (format!("no resource {path}"), CloseCode::POLICY_VIOLATION))
    }

    /// Lets a newcomer in, or not: `Err` is a `close` packet that turns it away.
    fn open(
        &mut self,
        incoming: &IncomingRequest<'_>,
        request: &Request<'_>,
        asked: UpgradeRequest<'_>,
        entry: Entry,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let (id, kind, peer, ident) = (incoming.id, asked.kind, asked.peer, asked.ident);
        let reads = match asked.wanted {
            Wanted::WebSocket(_) => Reads::Frames,
            Wanted::Events => Reads::Events,
        };
        if reads == Reads::Events && request.method() == "HEAD" && asked.resource.is_ok() {
            return event_stream::answer_head(id, request, commands);
        }
        match self.accept(incoming, request, asked, commands) {
            Ok(resource) => {
                let newcomer = Newcomer {
                    id,
                    kind,
                    resource,
                    ident,
                    identity: &entry.identity(),
                    ticket: None,
                    reads,
                    request: ClientRequest {
                        address: peer.ip,
                        head: request,
                    },
                };
                self.enter(&newcomer, entry, now, commands);
            }
            Err((error, code)) => {
                // Without the path or address that was asked for or has asked.
                let reason = error.split([':', '/']).next().unwrap_or_default();
                self.admission
                    .count_refusal(code.as_u16(), reason.trim_end());
                let (slot, peer) = (id.slot, peer.name());
                warn!(target: REFUSALS, "#{slot} turned away: {} ({peer})", excerpt(&error));
                match reads {
                    Reads::Frames => turn_away(id, &error, code, commands),
                    Reads::Events => event_stream::turn_away(id, request, (&error, code), commands),
                }
            }
        }
    }

    /// Answers with the 101, or the head of a stream of events.
    fn accept(
        &mut self,
        incoming: &IncomingRequest<'_>,
        request: &Request<'_>,
        asked: UpgradeRequest<'_>,
        commands: &mut Commands,
    ) -> Result<ResourceId, TurnedAway> {
        let UpgradeRequest { kind, peer, .. } = asked;
        self.log_forwarded(incoming, peer);
        let (client_type, keepalive) = match (&asked.wanted, kind) {
            (Wanted::Events, _) => ("sse", Keepalive::None),
            (Wanted::WebSocket(_), ClientKind::Web) => ("websocket", Keepalive::Pings),
            (Wanted::WebSocket(_), ClientKind::Php) => ("tcp", Keepalive::None),
        };
        info!(target: CONNECTIONS, "ClientType:{client_type}");
        let opening = match asked.wanted {
            // Who is turned away gets a response that ends.
            Wanted::Events if asked.resource.is_err() => return asked.resource,
            Wanted::Events => event_stream::opening(request),
            Wanted::WebSocket(upgrade) => Opening::WebSocket {
                upgrade,
                framing: self.framing(incoming, request, kind, peer),
                keepalive,
            },
        };
        commands.accept(Accept {
            id: incoming.id,
            opening,
            peer,
            admission: match asked.resource {
                Ok(_) => Admitted::Client,
                Err(_) => Admitted::TurnedAway,
            },
        });
        if asked.resource.is_ok() {
            self.admission.enter(kind, peer);
        }
        asked.resource
    }

    /// Somebody is here, and it is known who.
    pub(super) fn enter(
        &mut self,
        newcomer: &Newcomer<'_>,
        entry: Entry,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        self.sign_in.enter(newcomer.id, entry, now);
        let ticket = self.sign_in.ticket_for(newcomer.id);
        let newcomer = Newcomer {
            ticket,
            ..*newcomer
        };
        self.sessions.handle_open(&newcomer, now, commands);
    }

    fn log_forwarded(&self, incoming: &IncomingRequest<'_>, peer: Peer) {
        if incoming.peer.ip != peer.ip
            && let Some(ip) = peer.ip
        {
            let (slot, proxy) = (incoming.id.slot, incoming.peer.name());
            info!("Socket #{slot} is {ip}, forwarded by {proxy}");
        }
    }

    /// protocol.md §6: only deployed PHP clients need frames in a shape of their own.
    fn framing(
        &self,
        incoming: &IncomingRequest<'_>,
        request: &Request<'_>,
        kind: ClientKind,
        peer: Peer,
    ) -> PhpFraming {
        let reads_stream = request.has_token("x-websock-frames", "stream");
        if kind == ClientKind::Web || !self.upgrade.php_padding || reads_stream {
            PhpFraming::Stream
        } else if incoming.encryption == Encryption::Tls {
            PhpFraming::Records
        } else if peer.ip.is_none_or(|ip| ip.is_loopback()) {
            PhpFraming::Padded
        } else {
            PhpFraming::Spaced
        }
    }
}

/// protocol.md 9.9.
const NO_FIRST_MESSAGE: &str =
    "a stream of events has no first message: bring the token in the cookie websock_token";

const UNDECIDED: &str = "it could not be found out who you are: try again";

/// protocol.md, introduction.
fn kind_of(request: &Request<'_>) -> ClientKind {
    match request.header("client-type") {
        Some(value) if value.eq_ignore_ascii_case("php") => ClientKind::Php,
        Some(_) | None => ClientKind::Web,
    }
}
