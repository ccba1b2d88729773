//! Streams of events for those who cannot speak WebSocket (protocol.md 9.9): how one begins, and how
//! somebody is sent away who has asked for one.
//!
//! A browser's `EventSource` gives up for good at any status but 200. So a plain no is one of those; and
//! who asks for just this type and is to come back later gets a stream that says when, and ends.

use std::time::Duration;

use super::accept::Opening;
use super::commands::Commands;
use super::logout::close_packet;
use super::opening::has_word;
use crate::api::{BodyPart, Response, acceptance};
use crate::base::random;
use crate::connection::{AfterResponse, ConnId, EventIds};
use crate::protocol::close_code::CloseCode;
use crate::protocol::error::Rejection;
use crate::protocol::event_stream::{self, MEDIA_TYPE};
use crate::protocol::http::Request;
use crate::protocol::media_type::Acceptance;

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
        event_stream::encode_text(close_packet(error).as_bytes(), &mut bytes);
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
    if error.starts_with(NO_RESOURCE) {
        return refuse(id, request, Response::failure(404, error), commands);
    }
    if code == CloseCode::UNAUTHORIZED {
        let mut response = Response::failure(401, error);
        response.add_header("WWW-Authenticate", CHALLENGE);
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

/// How an error begins that tells of a path without a resource (protocol.md 1.10).
const NO_RESOURCE: &str = "no resource ";

/// RFC 9110 §11.6.1 wants one: who signs in by a token has it from the application.
const CHALLENGE: &str = "Bearer realm=\"websock\"";

/// After which time whoever finds no place asks again, at the earliest.
const FULL_RETRY: Duration = Duration::from_secs(5);

/// The same for whoever has come while the server ends.
pub(super) const RESTART_RETRY: Duration = Duration::from_secs(2);
