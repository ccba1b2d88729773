//! The opening handshake: judged by admission, answered with a 101, a packet that turns away, or a
//! refusal.

use log::info;

use super::admission::LimitReached;
use super::peer::Peer;
use super::resource::{ClientRequest, ResourceId};
use super::sessions::{Newcomer, turn_away};
use super::{Accept, Admitted, App, Commands, Encryption, IncomingRequest};
use crate::base::{MonotonicTime, escape};
use crate::connection::{Keepalive, PhpFraming};
use crate::protocol::close_code::CloseCode;
use crate::protocol::error::Rejection;
use crate::protocol::handshake::Upgrade;
use crate::protocol::http::Request;
use crate::protocol::ident;
use crate::registry::{ClientKind, Identity};

/// A request that asks for a WebSocket and may have one.
struct UpgradeRequest<'a> {
    upgrade: Upgrade,
    kind: ClientKind,
    /// Where the client is.
    peer: Peer,
    /// The name that it takes; empty: none.
    ident: &'a str,
    /// Who it is.
    identity: Identity,
    /// Its resource; `Err`: it is turned away by a `close` packet with this error, and this code.
    resource: Result<ResourceId, (String, CloseCode)>,
}

impl App {
    /// Answers a request that asks for a WebSocket, or for nothing that is here.
    pub(super) fn handle_upgrade(
        &mut self,
        incoming: &IncomingRequest<'_>,
        request: &Request<'_>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        match self.judge(incoming, request) {
            Ok(asked) => self.open(incoming, request, asked, now, commands),
            Err(rejection) => {
                let origin = request.header("origin").unwrap_or_default();
                let detail = match rejection {
                    Rejection::Origin if origin.is_empty() => "no origin".to_owned(),
                    Rejection::Origin => format!("origin {}", escape(origin)),
                    _ => String::new(),
                };
                let peer = self.admission.locate(request, incoming.peer);
                self.reject(incoming, rejection, (peer, &detail), now, commands);
            }
        }
    }

    /// Judges a request: upgrade, source, token, numbers, path, in this order.
    fn judge<'a>(
        &self,
        incoming: &IncomingRequest<'_>,
        request: &Request<'a>,
    ) -> Result<UpgradeRequest<'a>, Rejection> {
        let upgrade = Upgrade::check(request)?;
        let peer = self.admission.locate(request, incoming.peer);
        let kind = kind_of(request);
        let origin = request.header("origin");
        self.admission
            .check_source(kind, origin, peer, incoming.local_ip)?;
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
        Ok(UpgradeRequest {
            upgrade,
            kind,
            peer,
            ident,
            identity: Identity::default(),
            resource: self.find_resource(kind, request.path(), peer),
        })
    }

    fn find_resource(
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
        let resource = self.sessions.find_resource(path);
        resource.ok_or_else(|| (format!("no resource {path}"), CloseCode::POLICY_VIOLATION))
    }

    fn open(
        &mut self,
        incoming: &IncomingRequest<'_>,
        request: &Request<'_>,
        asked: UpgradeRequest<'_>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let UpgradeRequest { kind, peer, .. } = asked;
        let id = incoming.id;
        self.log_forwarded(incoming, peer);
        let (client_type, keepalive) = match kind {
            ClientKind::Web => ("websocket", Keepalive::Pings),
            ClientKind::Php => ("tcp", Keepalive::None),
        };
        info!("ClientType:{client_type}");
        let framing = self.framing(incoming, request, kind, peer);
        commands.accept(Accept {
            id,
            upgrade: asked.upgrade,
            peer,
            framing,
            keepalive,
            admission: match asked.resource {
                Ok(_) => Admitted::Client,
                Err(_) => Admitted::TurnedAway,
            },
        });
        match asked.resource {
            Ok(resource) => {
                self.admission.enter(kind, peer);
                let newcomer = Newcomer {
                    id,
                    kind,
                    resource,
                    ident: asked.ident,
                    identity: &asked.identity,
                    request: ClientRequest {
                        address: peer.ip,
                        head: request,
                    },
                };
                self.sessions.handle_open(&newcomer, now, commands);
            }
            Err((error, code)) => {
                // Without the path or address that was asked for or has asked.
                let reason = error.split([':', '/']).next().unwrap_or_default();
                self.admission
                    .count_refusal(code.as_u16(), reason.trim_end());
                let (slot, peer) = (id.slot, peer.name());
                info!("#{slot} turned away: {} ({peer})", escape(&error));
                turn_away(id, &error, code, commands);
            }
        }
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

/// protocol.md, introduction.
fn kind_of(request: &Request<'_>) -> ClientKind {
    match request.header("client-type") {
        Some(value) if value.eq_ignore_ascii_case("php") => ClientKind::Php,
        Some(_) | None => ClientKind::Web,
    }
}
