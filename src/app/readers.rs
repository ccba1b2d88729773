//! Who may read a stream of events, or send for one (protocol.md 9.9, 9.10): by its origin, and by
//! whom the listener is for.

use super::admission::Admission;
use super::event_stream::{RESTART_RETRY, try_later};
use super::peer::{ListenerRole, Peer};
use super::{App, Commands, IncomingRequest};
use crate::base::MonotonicTime;
use crate::protocol::close_code::CloseCode;
use crate::protocol::error::Rejection;
use crate::protocol::http::Request;

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
