//! Who may push, have a demo job run, or learn how push is reached: judged by admission, answered in
//! HTTP.

use log::warn;

use super::admission::Admission;
use super::event::{Encryption, IncomingRequest};
use super::peer::Peer;
use super::push::{PushRefusal, Pushing};
use crate::api::Response;
use crate::base::log_target::REFUSALS;
use crate::base::{MonotonicTime, excerpt};
use crate::protocol::error::Rejection;
use crate::protocol::http::Request;

pub(super) fn check_push(
    incoming: &IncomingRequest<'_>,
    request: &Request<'_>,
    admission: &mut Admission,
    now: MonotonicTime,
) -> Result<(), Response> {
    let pushing = Pushing {
        request,
        peer: admission.locate(request, incoming.peer),
        local_ip: (incoming.local_ip)(),
    };
    let Err(refusal) = admission.check_push(&pushing) else {
        return Ok(());
    };
    log_refusal(
        "push",
        refusal,
        incoming,
        request,
        (pushing.peer, admission),
    );
    if refusal == PushRefusal::Source(Rejection::Proxy) {
        admission.warn_untrusted(incoming.peer, now);
    }
    Err(match refusal {
        PushRefusal::Token => Response::unauthorized(refusal.reason()),
        PushRefusal::Source(_)
        | PushRefusal::Origin
        | PushRefusal::ForeignPage
        | PushRefusal::Host => Response::error(403, refusal.reason()),
    })
}

pub(super) fn check_job(
    incoming: &IncomingRequest<'_>,
    request: &Request<'_>,
    admission: &mut Admission,
) -> Result<(), Response> {
    admission.check_page(request).map_err(|refusal| {
        let peer = admission.locate(request, incoming.peer);
        log_refusal("job", refusal, incoming, request, (peer, admission));
        Response::error(403, refusal.reason())
    })
}

pub(super) fn log_refusal(
    what: &str,
    refusal: PushRefusal,
    incoming: &IncomingRequest<'_>,
    request: &Request<'_>,
    (peer, admission): (Peer, &mut Admission),
) {
    let status = match refusal {
        PushRefusal::Token => 401,
        PushRefusal::Source(_)
        | PushRefusal::Origin
        | PushRefusal::ForeignPage
        | PushRefusal::Host => 403,
    };
    admission.count_refusal(status, refusal.reason());
    let named = match refusal {
        PushRefusal::Origin | PushRefusal::ForeignPage => {
            request.header("Origin").map(|origin| ("origin", origin))
        }
        PushRefusal::Host => request.header("Host").map(|host| ("host", host)),
        PushRefusal::Source(_) | PushRefusal::Token => None,
    };
    let named = named.map_or_else(String::new, |(name, value)| {
        format!("; {name} {}", excerpt(value))
    });
    let (slot, reason, peer) = (incoming.id.slot, refusal.reason(), peer.name());
    warn!(target: REFUSALS, "{what} on #{slot} refused: {reason}{named} ({peer})");
}

/// How push is reached from this machine: by the name that the page has come by, if that is one of
/// ours, and with a token where one is set.
pub(super) fn push_address(
    incoming: &IncomingRequest<'_>,
    request: &Request<'_>,
    admission: &Admission,
) -> Response {
    let pushing = Pushing {
        request,
        peer: incoming.peer,
        local_ip: (incoming.local_ip)(),
    };
    let scheme = match incoming.encryption {
        Encryption::Tls => "https",
        Encryption::None => "http",
    };
    let host = request.header("Host").unwrap_or_default();
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    let is_reached_so = admission.needs_token() || admission.is_own_host(&pushing);
    let url = match (is_reached_so, port.parse::<u16>()) {
        (true, _) => format!("{scheme}://{host}/push"),
        (false, Ok(port)) => format!("{scheme}://localhost:{port}/push"),
        (false, Err(_)) => format!("{scheme}://localhost/push"),
    };
    let (url, token) = (serde_json::Value::from(url), admission.needs_token());
    Response::json(200, format!("{{\"url\":{url},\"token\":{token}}}\n"))
}
