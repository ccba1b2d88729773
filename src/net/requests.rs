//! Plain HTTP requests: from the head to the response, and packets that are pushed on the way.

use std::net::IpAddr;

use log::{debug, info};

use super::reading::DELIVERIES_PER_TURN;
use super::server::Core;
use super::table::Link;
use crate::api::batch::{Form, Outcome};
use crate::api::{Batch, BodyPart, Response, Route};
use crate::app::{PushError, PushRefusal, Pushed, Pushing};
use crate::connection::{AfterResponse, ConnId, Expectation, TurnContext};
use crate::protocol::body::BodyLength;
use crate::protocol::error::Rejection;
use crate::protocol::http::Request;

/// A request whose response is still to come.
pub(super) struct PendingRequest {
    after: AfterResponse,
    task: Task,
}

enum Task {
    /// Its body, in this form, is to be pushed.
    Push(Form),
    /// Its body names the page that a demo job reports to.
    Job,
    /// Some of its packets have been pushed.
    Batch(Box<Batch>),
}

/// Queues that a packet has come into, or not for want of room.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Receipt {
    pub(super) queued: usize,
    pub(super) full: usize,
}

impl PendingRequest {
    /// Bytes of memory held.
    pub(super) fn held_bytes(&self) -> usize {
        match &self.task {
            Task::Push(_) | Task::Job => 0,
            Task::Batch(batch) => batch.held_bytes(),
        }
    }

    /// Whether packets of it are still to be pushed.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.task, Task::Batch(_))
    }
}

impl Core {
    /// Sees to a request that asks for no WebSocket.
    pub(super) fn serve(&mut self, id: ConnId, request: &Request<'_>, route: Route) {
        let length = match check_framing(request) {
            Ok(length) => length,
            Err(rejection) => return self.reject(id, rejection),
        };
        let is_persistent = request.is_http_1_1() && !request.has_token("Connection", "close");
        let after = if is_persistent {
            AfterResponse::KeepAlive
        } else {
            AfterResponse::Close
        };
        let task = match route {
            Route::Push(form) => self.check_push(id, request).map(|()| Task::Push(form)),
            Route::Job => self.check_job(request).map(|()| Task::Job),
            Route::Answer(response) => Err(response),
            Route::None => Err(Response::empty(404)),
        };
        match task {
            Ok(task) => self.await_body(id, request, length, PendingRequest { after, task }),
            Err(response) => {
                let part = match request.method() {
                    "HEAD" => BodyPart::LeftOut,
                    _ => BodyPart::Sent,
                };
                // A body that nobody reads ends the connection.
                let has_body = !matches!(length, BodyLength::None | BodyLength::Bytes(0));
                let after = if has_body {
                    AfterResponse::Close
                } else {
                    after
                };
                self.respond(id, after, part, &response);
            }
        }
    }

    fn check_push(&mut self, id: ConnId, request: &Request<'_>) -> Result<(), Response> {
        let pushing = Pushing {
            request,
            peer: self.locate(id, request),
            local_ip: self.local_ip_of(id),
        };
        let refusal = match self.app.check_push(&pushing) {
            Ok(()) => return Ok(()),
            Err(refusal) => refusal,
        };
        info!("push on #{} refused: {}", id.slot, refusal.reason());
        if refusal == PushRefusal::Source(Rejection::Proxy) {
            self.warn_untrusted(id);
        }
        Err(match refusal {
            PushRefusal::Token => Response::unauthorized(refusal.reason()),
            PushRefusal::Source(_) | PushRefusal::Origin | PushRefusal::Host => {
                Response::error(403, refusal.reason())
            }
        })
    }

    fn check_job(&self, request: &Request<'_>) -> Result<(), Response> {
        let refused = |refusal: PushRefusal| Response::error(403, refusal.reason());
        self.app.check_page(request).map_err(refused)
    }

    fn local_ip_of(&mut self, id: ConnId) -> Option<IpAddr> {
        let ip = self.table.get_mut(id)?.transport.local_ip()?;
        Some(ip.to_canonical())
    }

    fn await_body(
        &mut self,
        id: ConnId,
        request: &Request<'_>,
        length: BodyLength,
        pending_request: PendingRequest,
    ) {
        let expectation = match request.header("Expect") {
            Some(_) if request.is_http_1_1() => Expectation::Continue,
            Some(_) | None => Expectation::None,
        };
        let Some(link) = self.table.get_mut(id) else {
            return;
        };
        link.set_exchange(pending_request);
        let turn = &mut TurnContext {
            now: self.now,
            limits: &self.settings.limits,
            pool: &mut self.pool,
        };
        match link.connection.expect_body(length, expectation, turn) {
            Ok(None) => {}
            Ok(Some(body)) => self.handle_body(id, body),
            Err(rejection) => self.reject(id, rejection),
        }
    }

    /// The body of the request is whole.
    pub(super) fn handle_body(&mut self, id: ConnId, body: Vec<u8>) {
        let link = self.table.get_mut(id);
        let Some(pending_request) = link.and_then(Link::take_exchange) else {
            return;
        };
        let after = pending_request.after;
        let response = match pending_request.task {
            Task::Push(form) => match Batch::new(body, form) {
                Ok(batch) => return self.push_batch(id, after, Box::new(batch)),
                Err(response) => response,
            },
            Task::Job => self.start_job(id, &body),
            Task::Batch(batch) => return self.push_batch(id, after, batch),
        };
        self.respond(id, after, BodyPart::Sent, &response);
    }

    /// Goes on with a batch of which a turn's share has been pushed.
    pub(super) fn push_on(&mut self, id: ConnId) {
        self.handle_body(id, Vec::new());
    }

    fn push_batch(&mut self, id: ConnId, after: AfterResponse, mut batch: Box<Batch>) {
        // What others have left is not counted as this one's.
        self.deliver();
        let mut budget = DELIVERIES_PER_TURN;
        while let Some(packet) = batch.next_packet() {
            let outcome = self.push(id, packet);
            batch.note(outcome);
            budget = budget.saturating_sub(cost(outcome));
            if budget == 0 {
                return self.put_off(id, after, batch);
            }
        }
        let response = batch.response();
        self.respond(id, after, BodyPart::Sent, &response);
    }

    fn put_off(&mut self, id: ConnId, after: AfterResponse, batch: Box<Batch>) {
        if let Some(link) = self.table.get_mut(id) {
            let task = Task::Batch(batch);
            link.set_exchange(PendingRequest { after, task });
        }
        self.put_on_backlog(id.slot as usize);
    }

    /// Hands one packet over and counts whom it reaches.
    fn push(&mut self, from: ConnId, packet: &str) -> Outcome {
        self.receipt = Receipt::default();
        let pushed = match self.app.push(from, packet, &mut self.outbox) {
            Ok(pushed) => pushed,
            Err(error) => return Outcome::Refused(error),
        };
        self.deliver();
        let Receipt { queued, full } = self.receipt;
        if pushed == Pushed::ToOne && queued + full == 0 {
            // It was about to go.
            return Outcome::Refused(PushError::Nobody);
        }
        Outcome::Queued {
            delivered: queued,
            full,
        }
    }

    fn start_job(&mut self, id: ConnId, body: &[u8]) -> Response {
        let Some(uuid) = str::from_utf8(body)
            .ok()
            .and_then(|body| self.app.find_page(body))
        else {
            return Response::error(404, "uuid names no page that is connected");
        };
        match self.jobs.start(&uuid, self.now.since_start()) {
            Some(()) => {
                debug!("#{} has a job run", id.slot);
                Response::empty(204)
            }
            None => Response::error(503, "too many jobs are running: try again"),
        }
    }

    /// Sends the reports of demo jobs that are due.
    pub(super) fn report_jobs(&mut self) {
        while let Some(packet) = self.jobs.report(self.now.since_start()) {
            if self.app.push(NOBODY, &packet, &mut self.outbox).is_err() {
                debug!("a job's page has gone");
            }
            self.deliver();
        }
    }

    fn respond(&mut self, id: ConnId, after: AfterResponse, part: BodyPart, response: &Response) {
        let Some(link) = self.table.get_mut(id) else {
            return;
        };
        let turn = &mut TurnContext {
            now: self.now,
            limits: &self.settings.limits,
            pool: &mut self.pool,
        };
        let connection = match after {
            AfterResponse::KeepAlive => None,
            AfterResponse::Close => Some("close"),
        };
        let write = |out: &mut Vec<u8>| response.write(part, connection, out);
        link.connection.respond(after, write, turn);
        self.touch(id);
    }
}

/// What has to hold for any request (RFC 9112 §3.2, §6.3; RFC 9110 §10.1.1).
fn check_framing(request: &Request<'_>) -> Result<BodyLength, Rejection> {
    if request.is_http_1_1() {
        request.host()?;
    }
    let mut expectations = request.header_values("Expect");
    if expectations.any(|expected| !expected.eq_ignore_ascii_case(b"100-continue")) {
        return Err(Rejection::Expectation);
    }
    BodyLength::of(request)
}

/// What pushing a packet takes out of a turn's share: frames queued, or the reading alone.
fn cost(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Queued { delivered, full } => delivered + full + PACKET_COST,
        Outcome::Refused(_) => PACKET_COST,
    }
}

/// Reading a packet takes as long as so many deliveries.
const PACKET_COST: usize = 64;

/// The sender of what comes from no connection.
const NOBODY: ConnId = ConnId {
    slot: u32::MAX,
    generation: u32::MAX,
};
