//! Streams of events for those who cannot speak WebSocket (protocol.md 9.9), and what their pages say
//! by requests of their own (9.10).
//!
//! Whoever asks for a stream is judged as an opening handshake is, but for a missing `Origin`. A
//! browser's `EventSource` gives up for good at any status but 200. So a plain no is one of those; and
//! who asks for just this type and is to come back later gets a stream that says when, and ends.

use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use log::warn;
use subtle::ConstantTimeEq;

use super::admission::Admission;
use super::commands::{Commands, Opening};
use super::logout::close_packet;
use super::opening::has_word;
use super::peer::{ListenerRole, Peer};
use super::sessions::Sessions;
use super::{App, IncomingRequest};
use crate::api::{BodyPart, Posted, Response, acceptance};
use crate::base::log_target::REFUSALS;
use crate::base::{MonotonicTime, random};
use crate::connection::{AfterResponse, ConnId, EventIds};
use crate::protocol::close_code::CloseCode;
use crate::protocol::error::Rejection;
use crate::protocol::event_stream::{self, MEDIA_TYPE};
use crate::protocol::http::Request;
use crate::protocol::media_type::Acceptance;
use crate::protocol::packet::Ident;

impl Admission {
    /// Judges whether a page may read a stream of events, or send for one: by its origin, and by
    /// whom the listener is for. `EventSource` names no origin to its own site, programs name none
    /// at all; a foreign page without one has not asked by `EventSource`.
    pub(super) fn check_events(&self, request: &Request<'_>, peer: Peer) -> Result<(), Rejection> {
        if matches!(peer.role, ListenerRole::Scripts | ListenerRole::Status) {
            return Err(Rejection::Listener);
        }
        match request.header("Origin").filter(|origin| !origin.is_empty()) {
            Some(origin) if self.allows_origin(Some(origin)) => Ok(()),
            Some(_) => Err(Rejection::Origin),
            None if names_foreign_site(request) => Err(Rejection::ForeignPage),
            None => Ok(()),
        }
    }
}

impl App {
    /// Judges where somebody comes from who reads a stream of events, or sends for one.
    pub(super) fn check_reader(
        &self,
        incoming: &IncomingRequest<'_>,
        request: &Request<'_>,
    ) -> Result<(), Rejection> {
        let peer = self.admission.locate(request, incoming.peer);
        self.admission.check_events(request, peer)?;
        match self.sign_in.is_by_cookie() {
            true => self.admission.check_same_host(request, incoming.peer),
            false => Ok(()),
        }
    }

    /// The server is about to end, and another one will be here.
    pub(super) fn put_off_events(
        &mut self,
        incoming: &IncomingRequest<'_>,
        request: &Request<'_>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let (rejection, peer) = (
            Rejection::Restarting,
            self.admission.locate(request, incoming.peer),
        );
        self.admission
            .log_refusal(incoming.id, peer, rejection, "", now);
        let why = (rejection.reason(), CloseCode::SERVICE_RESTART);
        try_later(incoming.id, request, why, RESTART_RETRY, commands);
    }
}

/// Whether a browser says that a page of another site asks (Fetch Metadata Request Headers §2.3).
fn names_foreign_site(request: &Request<'_>) -> bool {
    let site = request.header("Sec-Fetch-Site");
    site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

/// The origin that may read the response, of a request whose origin is allowed.
pub(super) fn shared_origin<'a>(request: &Request<'a>) -> Option<&'a str> {
    let origin = request.header("Origin")?;
    let is_plain = origin.bytes().all(|byte| byte.is_ascii_graphic());
    (is_plain && !origin.is_empty()).then_some(origin)
}

/// How a stream begins for whoever is let in.
pub(super) fn opening(request: &Request<'_>) -> Opening {
    Opening::EventStream {
        head: head(request, random_delay(FIRST_RETRY)),
        event_ids: match has_word(request.query(), "resume=1") {
            true => EventIds::Cursors,
            false => EventIds::None,
        },
    }
}

/// The response up to the first event. Those who lose their stream together do not come back
/// together: each is told another time.
fn head(request: &Request<'_>, retry: Duration) -> Vec<u8> {
    let mut response = Response::stream(MEDIA_TYPE);
    // Nobody on the way is to keep it, to compress it, or to wait for its end.
    response.add_header("Cache-Control", "no-store, no-transform");
    response.add_header("X-Accel-Buffering", "no");
    share(&mut response, request);
    let mut head = Vec::new();
    response.write_head(Some("close"), &mut head);
    if request.method() != "HEAD" {
        head.extend_from_slice(format!("retry: {}\n\n", retry.as_millis()).as_bytes());
    }
    head
}

/// The answer to a browser that asks whether a foreign page may ask for a stream, or send for one.
pub(super) fn preflight(request: &Request<'_>, method: &str) -> Response {
    match shared_origin(request) {
        Some(origin) => Response::page_preflight(origin, method),
        None => Response::failure(403, Rejection::Origin.reason()),
    }
}

/// Lets the page read a response that has sent the request.
pub(super) fn share(response: &mut Response, request: &Request<'_>) {
    if let Some(origin) = shared_origin(request) {
        response.share_with_credentials(origin);
    }
}

/// Answers `HEAD`: as `GET` would be, without a stream.
pub(super) fn answer_head(id: ConnId, request: &Request<'_>, commands: &mut Commands) {
    commands.respond(id, AfterResponse::Close, head(request, Duration::ZERO));
}

/// Sends somebody away who may come back later, after this time at the earliest.
pub(super) fn try_later(
    id: ConnId,
    request: &Request<'_>,
    (error, code): (&str, CloseCode),
    after: Duration,
    commands: &mut Commands,
) {
    if acceptance(request) == Acceptance::Named && request.method() == "GET" {
        let mut bytes = head(request, after + random_delay(FIRST_RETRY));
        event_stream::encode_text(close_packet(error).as_bytes(), None, &mut bytes);
        event_stream::encode_close(code, error, &mut bytes);
        return commands.respond(id, AfterResponse::Close, bytes);
    }
    let mut response = Response::failure(503, error);
    // At least 1: 0 would bring everybody back at once.
    let seconds = after.as_secs().max(1).to_string();
    response.add_header("Retry-After", &seconds);
    refuse(id, request, response, commands);
}

/// Sends somebody away, with the error of a `close` packet and the code of a close frame.
pub(super) fn turn_away(
    id: ConnId,
    request: &Request<'_>,
    (error, code): (&str, CloseCode),
    commands: &mut Commands,
) {
    if code == CloseCode::UNAUTHORIZED {
        let response = Response::unauthorized(error);
        return refuse(id, request, response, commands);
    }
    try_later(id, request, (error, code), FULL_RETRY, commands);
}

/// Sends somebody away for good, as a status says.
pub(super) fn refuse(
    id: ConnId,
    request: &Request<'_>,
    mut response: Response,
    commands: &mut Commands,
) {
    share(&mut response, request);
    let mut bytes = Vec::new();
    let part = match request.method() {
        "HEAD" => BodyPart::LeftOut,
        _ => BodyPart::Sent,
    };
    response.write(part, Some("close"), &mut bytes);
    commands.respond(id, AfterResponse::Close, bytes);
}

/// A random time, from `time` to four times as much.
fn random_delay(time: Duration) -> Duration {
    let mut bytes = [0; 2];
    random::fill(&mut bytes);
    time + time.mul_f64(f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX) * 3.0)
}

/// Least time after which a browser asks again for a stream that was lost; the most is four times
/// as long. Browsers take 3 to 5 s if they are told nothing.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// After which time whoever finds no place asks again, at the earliest.
const FULL_RETRY: Duration = Duration::from_secs(5);

/// The same for whoever has come while the server ends.
const RESTART_RETRY: Duration = Duration::from_secs(2);

// ---- what pages say

/// Who may send for which stream: of each one a digest of the secret that its `ready` tells.
#[derive(Default)]
pub(super) struct Senders(HashMap<ConnId, [u8; 32]>);

impl Senders {
    /// A new secret, of 128 bits.
    pub(super) fn new_secret() -> String {
        let mut secret = [0; 16];
        random::fill(&mut secret);
        URL_SAFE_NO_PAD.encode(secret)
    }

    /// From now on whoever has this secret may send for a stream.
    pub(super) fn insert(&mut self, id: ConnId, secret: &str) {
        self.0.insert(id, digest_of(secret));
    }

    /// The stream has ended.
    pub(super) fn remove(&mut self, id: ConnId) {
        if !self.0.is_empty() {
            self.0.remove(&id);
        }
    }

    /// The digest, for another process.
    pub(super) fn digest(&self, id: ConnId) -> Option<&[u8; 32]> {
        self.0.get(&id)
    }

    /// Takes what another process has handed over.
    pub(super) fn insert_digest(&mut self, id: ConnId, digest: [u8; 32]) {
        self.0.insert(id, digest);
    }

    /// Whether this is the secret. A stream that is not there takes as long as one that is.
    fn knows(&self, id: Option<ConnId>, secret: &str) -> bool {
        let known = id.and_then(|id| self.0.get(&id));
        let is_equal = known.unwrap_or(&[0; 32]).ct_eq(&digest_of(secret));
        bool::from(is_equal) && known.is_some()
    }
}

fn digest_of(secret: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    bytes
}

/// Has the message in a body handled as if it had come by a WebSocket (protocol.md 9.10). What it
/// causes comes over the stream. `slot`: of the request.
pub(super) fn post(
    body: &[u8],
    (slot, peer): (u32, Peer),
    sessions: &Sessions,
    admission: &mut Admission,
    commands: &mut Commands,
) -> Response {
    let posted = match Posted::parse(body) {
        Ok(posted) => posted,
        Err(response) => return response,
    };
    let stream = sessions.clients().find(&posted.uuid, &Ident::None);
    if !sessions.senders.knows(stream, &posted.secret) {
        let peer = peer.name();
        admission.count_refusal(403, WRONG_SECRET);
        warn!(target: REFUSALS, "#{slot} refused: 403 {WRONG_SECRET} ({peer})");
        return Response::failure(403, WRONG_SECRET);
    }
    if posted.message.len() > sessions.max_web_message_bytes() {
        return Response::failure(413, "the message is longer than maxWebMessage");
    }
    if let Some(stream) = stream {
        commands.post(stream, posted.message);
    }
    Response::empty(204)
}

const WRONG_SECRET: &str = "no stream of events has this uuid and secret";
