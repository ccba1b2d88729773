//! How a plain HTTP request is to be answered, and what has to hold for it to be.

use super::admission::Admission;
use super::commands::Commands;
use super::event::IncomingRequest;
use super::event_stream::shared_origin;
use super::push::PushRefusal;
use super::request_checks::log_refusal;
use crate::api::{BodyPart, Response};
use crate::connection::{AfterResponse, ConnId};
use crate::protocol::body::BodyLength;
use crate::protocol::error::Rejection;
use crate::protocol::http::{Persistence, Request};

/// How a request is to be answered.
pub(super) struct Reply {
    persistence: Persistence,
    part: BodyPart,
    /// The page of another origin that may read the response.
    origin: Option<String>,
    cookies: Cookies,
}

/// Whether a page may read what was answered to a request with its user's cookies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cookies {
    /// It may: they are not what the answer depends on.
    Harmless,
    /// It may not.
    Unwanted,
}

impl Reply {
    pub(super) fn to(request: &Request<'_>, admission: &Admission) -> Self {
        let origin = request.header("Origin");
        Self {
            persistence: request.persistence(),
            part: match request.method() {
                "HEAD" => BodyPart::LeftOut,
                _ => BodyPart::Sent,
            },
            origin: origin
                .filter(|origin| admission.is_named_origin(origin))
                .map(str::to_owned),
            cookies: Cookies::Unwanted,
        }
    }

    /// To be read by the page that has sent it, whose origin is allowed.
    pub(super) fn for_page(self, request: &Request<'_>) -> Self {
        Self {
            origin: shared_origin(request).map(str::to_owned),
            cookies: Cookies::Harmless,
            ..self
        }
    }

    /// To be read by no page of another origin.
    pub(super) fn for_no_other_page(self) -> Self {
        Self {
            origin: None,
            ..self
        }
    }

    /// As it is, or the last one on its connection.
    pub(super) fn ending_if(self, is_last: bool) -> Self {
        match is_last {
            true => Self {
                persistence: Persistence::Close,
                ..self
            },
            false => self,
        }
    }
}

/// The answer to a browser that asks whether a foreign page may push.
pub(super) fn preflight(
    reply: &Reply,
    incoming: &IncomingRequest<'_>,
    request: &Request<'_>,
    admission: &mut Admission,
) -> Response {
    if let Some(origin) = &reply.origin {
        return Response::preflight(origin);
    }
    let (refusal, peer) = (
        PushRefusal::Origin,
        admission.locate(request, incoming.peer),
    );
    log_refusal("preflight", refusal, incoming, request, (peer, admission));
    Response::error(403, refusal.reason())
}

/// Answers a request.
pub(super) fn respond(id: ConnId, reply: Reply, mut response: Response, commands: &mut Commands) {
    // A preflight's response has it already.
    if let Some(origin) = reply.origin.filter(|_| !response.is_shared()) {
        match reply.cookies {
            Cookies::Harmless => response.share_with_credentials(&origin),
            Cookies::Unwanted => response.share_with(&origin),
        }
    }
    let mut bytes = Vec::new();
    let connection = reply.persistence.connection_header();
    response.write(reply.part, connection, &mut bytes);
    let after = match reply.persistence.is_persistent() {
        true => AfterResponse::KeepAlive,
        false => AfterResponse::Close,
    };
    commands.respond(id, after, bytes);
}

/// What has to hold for any request (RFC 9112 §3.2, §6.3; RFC 9110 §10.1.1).
pub(super) fn check_framing(request: &Request<'_>) -> Result<BodyLength, Rejection> {
    if request.is_http_1_1() {
        request.host()?;
    }
    let mut expectations = request.header_values("Expect");
    if expectations.any(|expected| !expected.eq_ignore_ascii_case(b"100-continue")) {
        return Err(Rejection::Expectation);
    }
    BodyLength::of(request)
}
