//! `/health`, `/ready`, `/metrics` and `/status`: who is told, and what.
//!
//! The rules are those of push, but for the token: it is wanted only by who closes connections. A
//! page of another origin and a name that was made to point here are kept out; what a proxy forwards
//! is the business of whom it forwards. On the listener of `status` the address does not matter.

use log::{info, warn};

use super::admission::Admission;
use super::audience;
use super::commands::Commands;
use super::event::IncomingRequest;
use super::peer::ListenerRole;
use super::push::{PushRefusal, Pushing};
use super::report::{Detail, Report};
use super::request_checks::log_refusal;
use super::sessions::Sessions;
use crate::api::figures::AppFigures;
use crate::api::status::{Extras, Filter};
use crate::api::{Door, MonitorPage, Response, metrics, nodes, readiness, status};
use crate::base::log_target::REFUSALS;
use crate::protocol::close_code::CloseCode;
use crate::protocol::http::Request;

/// What is to be answered once the loop has told.
pub(super) struct Question {
    page: Asked,
    filter: Filter,
}

#[derive(Clone, Copy)]
enum Asked {
    Ready(readiness::DrainStatus),
    Metrics,
    Status,
    Nodes,
}

impl Question {
    /// How much has to be told.
    pub(super) fn detail(&self) -> Detail {
        match self.page {
            Asked::Ready(_) => Detail::Readiness,
            Asked::Metrics => Detail::Figures,
            Asked::Status => Detail::Connections,
            Asked::Nodes => Detail::Readiness,
        }
    }

    /// The answer to it.
    pub(super) fn answer(
        &self,
        report: &Report,
        app: &AppFigures,
        sessions: &Sessions,
        admission: &Admission,
    ) -> Response {
        match self.page {
            Asked::Ready(drain) => {
                let backplane = app.backplane.as_ref();
                let is_alone = backplane.is_some_and(|backplane| !backplane.is_connected);
                readiness::response(&report.figures.unready, drain, is_alone)
            }
            Asked::Nodes => nodes::response(app.backplane.as_ref()),
            Asked::Metrics => metrics::response(&report.figures, app),
            Asked::Status => {
                let extras = Extras {
                    audience: &audience::audience(&report.links, &self.filter, sessions),
                    log: &report.log,
                    can_close: admission.needs_token(),
                };
                status::response(&report.figures, app, &extras)
            }
        }
    }
}

/// What has to be asked for a page.
///
/// # Errors
/// Its response, if that is known already: a refusal, too.
pub(super) fn question(
    page: MonitorPage,
    door: Door,
    incoming: &IncomingRequest<'_>,
    request: &Request<'_>,
    admission: &mut Admission,
) -> Result<Question, Response> {
    match door {
        Door::Probe => check_probe(incoming, request, admission)?,
        Door::Status => check_status(incoming, request, admission)?,
    }
    let page = match page {
        MonitorPage::Known(response) => return Err(response),
        MonitorPage::Ready(drain) => Asked::Ready(drain),
        MonitorPage::Metrics => Asked::Metrics,
        MonitorPage::Status => Asked::Status,
        MonitorPage::Nodes => Asked::Nodes,
    };
    Ok(Question {
        page,
        filter: Filter::of(request.query()),
    })
}

/// Load balancers ask in their own name.
fn check_probe(
    incoming: &IncomingRequest<'_>,
    request: &Request<'_>,
    admission: &mut Admission,
) -> Result<(), Response> {
    let peer = admission.locate(request, incoming.peer);
    let is_status = incoming.peer.role == ListenerRole::Status;
    if is_status || admission.allows_health(incoming.peer, peer, incoming.local_ip) {
        return Ok(());
    }
    let (slot, peer) = (incoming.id.slot, peer.name());
    warn!(target: REFUSALS, "health on #{slot} refused: {PROBE_REFUSED} ({peer})");
    admission.count_refusal(403, PROBE_REFUSED);
    Err(Response::error(403, PROBE_REFUSED))
}

fn check_status(
    incoming: &IncomingRequest<'_>,
    request: &Request<'_>,
    admission: &mut Admission,
) -> Result<(), Response> {
    let pushing = pushing(incoming, request, admission);
    let Err(refusal) = admission.check_status(&pushing) else {
        return Ok(());
    };
    log_refusal(
        "status",
        refusal,
        incoming,
        request,
        (pushing.peer, admission),
    );
    Err(Response::error(403, refusal.reason()))
}

/// Judges who wants to close a connection: a token is wanted, which no page can make a browser send.
pub(super) fn check_close(
    incoming: &IncomingRequest<'_>,
    request: &Request<'_>,
    admission: &mut Admission,
) -> Result<(), Response> {
    check_status(incoming, request, admission)?;
    if !admission.needs_token() {
        return Err(Response::error(403, TOKEN_NOT_SET));
    }
    if admission.has_token(request) {
        return Ok(());
    }
    let refusal = PushRefusal::Token;
    let peer = admission.locate(request, incoming.peer);
    log_refusal("close", refusal, incoming, request, (peer, admission));
    Err(Response::unauthorized(refusal.reason()))
}

/// Closes the connection that the body names: `{"id":"7-1234"}`.
pub(super) fn close(body: &[u8], sessions: &Sessions, commands: &mut Commands) -> Response {
    let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let id = body.as_ref().and_then(|body| body.get("id")?.as_str());
    let Some(id) = id.and_then(audience::named) else {
        return Response::error(400, "a JSON object with the id of a connection is wanted");
    };
    if sessions.clients().kind(id).is_none() {
        return Response::error(404, "this connection is not open any more");
    }
    info!("#{} is closed from the status page", id.slot);
    commands.close(
        id,
        CloseCode::POLICY_VIOLATION,
        "closed by the administrator",
    );
    Response::json(200, "{\"closed\":1}\n".to_owned())
}

fn pushing<'a>(
    incoming: &IncomingRequest<'_>,
    request: &'a Request<'a>,
    admission: &Admission,
) -> Pushing<'a> {
    Pushing {
        request,
        peer: admission.locate(request, incoming.peer),
        local_ip: (incoming.local_ip)(),
    }
}

const PROBE_REFUSED: &str = "health is told to addresses in allowedIP and trustedProxies only";
const TOKEN_NOT_SET: &str = "connections are closed from here only if pushToken is set";
