//! Plain HTTP requests: pushes, the demo page's jobs, and what is answered at once.
//!
//! Owns the requests that are not answered yet. A push is taken apart a turn's share at a time; each
//! of its packets asks what became of it, and the response leaves when the last one knows.

mod pushing;

use std::collections::{HashMap, VecDeque};

use log::debug;

use super::admission::Admission;
use super::backplane::Total;
use super::calls::{Asker, Call, CallId, Calls, Recipients};
use super::commands::{BodyLimit, Commands};
use super::event::IncomingRequest;
use super::event_stream;
use super::monitoring::{self, Question};
use super::peer::Peer;
use super::posting;
use super::pushed::{self, find_page};
use super::reply::{Reply, check_framing, preflight, respond};
use super::report::Report;
use super::request_checks::{check_job, check_push, push_address};
use super::sessions::Sessions;
use crate::api::users::Asked;
use crate::api::{Batch, Form, Jobs, Reach, Response, Route, Wait};
use crate::base::{MonotonicTime, Tally, free};
use crate::connection::{ConnId, Expectation};
use crate::protocol::body::BodyLength;
use crate::protocol::error::Rejection;
use crate::protocol::http::Request;

/// The requests that are not answered yet.
pub(super) struct Requests {
    pending: HashMap<ConnId, PendingRequest>,
    calls: Calls,
    /// Those of which a turn's share of packets has been pushed.
    unfinished: VecDeque<ConnId>,
    /// They go on when the backplane has room, or then.
    congested_until: Option<MonotonicTime>,
    jobs: Jobs,
    held_bytes: usize,
    /// Responses to pushes, by status.
    push_answers: Tally<u16>,
}

/// A request whose response is still to come.
struct PendingRequest {
    reply: Reply,
    task: Task,
    /// Bytes of memory at the last count.
    held_bytes: usize,
}

/// What a request is for.
enum Task {
    /// Its body, in this form, is to be pushed.
    Push(Form, Wait),
    /// Its body names the page that a demo job reports to.
    Job,
    /// Its body names users, of whom it is asked who is here.
    Users,
    /// It is asked how many tabs these users have at other nodes, too.
    Count(Asked),
    /// Some of its packets have been pushed.
    Batch(Box<Batch>),
    /// Its body names the connection that is to be closed.
    Close,
    /// Its body is a message of a page that reads a stream of events, and is there.
    Send(Peer),
    /// The loop is asked.
    Monitor(Question),
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            pending: HashMap::new(),
            calls: Calls::default(),
            unfinished: VecDeque::new(),
            congested_until: None,
            jobs: Jobs::default(),
            held_bytes: 0,
            push_answers: Tally::of([200, 202, 400, 401, 403, 404, 413, 415, 503, 504]),
        }
    }
}

impl Requests {
    /// Sees to a request that asks for no WebSocket.
    ///
    /// # Errors
    /// What is wrong with the request as such: it ends the connection.
    pub(super) fn serve(
        &mut self,
        incoming: &IncomingRequest<'_>,
        request: &Request<'_>,
        route: Route,
        (admission, sessions): (&mut Admission, &mut Sessions),
        now: MonotonicTime,
        commands: &mut Commands,
    ) -> Result<(), Rejection> {
        let length = check_framing(request)?;
        let reply = Reply::to(request, admission);
        // Whatever a page may push: how the server does is not for it.
        let reply = match route {
            Route::Monitor(..) | Route::Close => reply.for_no_other_page(),
            Route::Send => reply.for_page(request),
            _ => reply,
        };
        let task = match route {
            Route::Push(form, wait) => {
                check_push(incoming, request, admission, now).map(|()| Task::Push(form, wait))
            }
            Route::Job => check_job(incoming, request, admission).map(|()| Task::Job),
            Route::Users => check_push(incoming, request, admission, now).map(|()| Task::Users),
            Route::User(id) => {
                check_push(incoming, request, admission, now).map(|()| Task::Count(Asked::One(id)))
            }
            Route::Position => Err(check_push(incoming, request, admission, now)
                .map_or_else(|refusal| refusal, |()| position(sessions, now))),
            Route::Close => {
                monitoring::check_close(incoming, request, admission).map(|()| Task::Close)
            }
            Route::Answer(response) => Err(response),
            Route::Monitor(door, page) => {
                monitoring::question(page, door, incoming, request, admission).map(Task::Monitor)
            }
            Route::Send => Ok(Task::Send(admission.locate(request, incoming.peer))),
            Route::PagePreflight(method) => Err(event_stream::preflight(request, method)),
            Route::Preflight => Err(preflight(&reply, incoming, request, admission)),
            Route::PushAddress => Err(push_address(incoming, request, admission)),
            Route::None | Route::EventStream => Err(Response::empty(404)),
        };
        // A body that nobody reads ends the connection.
        let has_body = !matches!(length, BodyLength::None | BodyLength::Bytes(0));
        match task {
            Ok(Task::Monitor(question)) => {
                let detail = question.detail();
                let reply = reply.ending_if(has_body);
                self.keep(incoming.id, reply, Task::Monitor(question));
                commands.report(incoming.id, detail);
            }
            Ok(Task::Count(asked)) => {
                let reply = reply.ending_if(has_body);
                self.count_tabs(incoming.id, (reply, asked), sessions, now, commands);
            }
            Ok(task) => self.await_body(incoming.id, request, length, (reply, task), commands),
            Err(response) => {
                if request.path() == PUSH_PATH {
                    self.push_answers.add(response.status());
                }
                respond(incoming.id, reply.ending_if(has_body), response, commands);
            }
        }
        Ok(())
    }

    fn await_body(
        &mut self,
        id: ConnId,
        request: &Request<'_>,
        length: BodyLength,
        (reply, task): (Reply, Task),
        commands: &mut Commands,
    ) {
        let expectation = match request.header("Expect") {
            Some(_) if request.is_http_1_1() => Expectation::Continue,
            Some(_) | None => Expectation::None,
        };
        let limit = match task {
            Task::Send(_) => BodyLimit::Page,
            _ => BodyLimit::Script,
        };
        self.keep(id, reply, task);
        commands.read_body(id, (length, limit), expectation);
    }

    /// Whether a request of this connection is not answered yet.
    pub(super) fn is_pending(&self, id: ConnId) -> bool {
        self.pending.contains_key(&id)
    }

    /// The body of a request is whole.
    pub(super) fn handle_body(
        &mut self,
        id: ConnId,
        body: Vec<u8>,
        (sessions, admission): (&mut Sessions, &mut Admission),
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let Some(PendingRequest { reply, task, .. }) = self.take(id) else {
            return;
        };
        let response = match task {
            Task::Push(form, wait) => match Batch::new(body, form, wait) {
                Ok(batch) => {
                    self.keep(id, reply, Task::Batch(Box::new(batch)));
                    return self.push_on(id, sessions, now, commands);
                }
                Err(response) => {
                    self.push_answers.add(response.status());
                    response
                }
            },
            Task::Job => with_body(body, |body| self.start_job(id, body, sessions, now)),
            Task::Users => match Asked::of_body(body) {
                Ok(asked) => {
                    return self.count_tabs(id, (reply, asked), sessions, now, commands);
                }
                Err(response) => response,
            },
            Task::Close => with_body(body, |body| monitoring::close(body, sessions, commands)),
            Task::Send(peer) => with_body(body, |body| {
                posting::post(body, (id.slot, peer), sessions, admission, commands)
            }),
            Task::Batch(_) | Task::Count(_) | Task::Monitor(_) => {
                return debug_assert!(false, "a body came that nobody waits for");
            }
        };
        respond(id, reply, response, commands);
    }

    /// Answers how many tabs users have, or asks the other nodes before.
    fn count_tabs(
        &mut self,
        id: ConnId,
        (reply, asked): (Reply, Asked),
        sessions: &mut Sessions,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let tabs = asked.tabs_here(sessions.clients());
        if sessions.backplane.is_none() || tabs.is_empty() {
            return respond(id, reply, asked.response(&tabs, Reach::default()), commands);
        }
        let call = self.calls.ask(Call {
            asker: Asker::Request(id),
            index: 0,
            recipients: Recipients::Tabs,
        });
        let users: Vec<&str> = asked.users().iter().map(String::as_str).collect();
        let mut delivery = sessions.delivery(now, commands);
        delivery.count_tabs(users, tabs, call);
        self.keep(id, reply, Task::Count(asked));
    }

    /// The other nodes have said how many tabs users have.
    pub(super) fn handle_counts(
        &mut self,
        call: CallId,
        tabs: &[u64],
        total: &Total,
        commands: &mut Commands,
    ) {
        let Some(Call {
            asker: Asker::Request(id),
            ..
        }) = self.calls.answer(call)
        else {
            return;
        };
        let is_it = |request: &PendingRequest| matches!(request.task, Task::Count(_));
        if self.pending.get(&id).is_some_and(is_it)
            && let Some(PendingRequest {
                reply,
                task: Task::Count(asked),
                ..
            }) = self.take(id)
        {
            respond(id, reply, asked.response(tabs, total.reach()), commands);
        }
    }

    /// The loop has told what was asked of it.
    pub(super) fn handle_report(
        &mut self,
        id: ConnId,
        report: &Report,
        sessions: &Sessions,
        admission: &Admission,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let Some(PendingRequest {
            reply,
            task: Task::Monitor(question),
            ..
        }) = self.take(id)
        else {
            return debug!("#{} has gone before it was answered", id.slot);
        };
        let mut figures = admission.figures(&self.push_answers, sessions.clients().user_count());
        figures.replay = sessions.mailbox.figures();
        let backplane = sessions.backplane.as_deref();
        figures.backplane = backplane.map(|backplane| backplane.figures(now));
        let response = question.answer(report, &figures, sessions, admission);
        respond(id, reply, response, commands);
    }

    /// A request was refused before anything was looked at.
    pub(super) fn note_rejected(&mut self, request: &Request<'_>, rejection: Rejection) {
        if request.path() == PUSH_PATH {
            self.push_answers.add(rejection.status());
        }
    }

    /// A request was refused with this status while its body was read, or before.
    pub(super) fn note_refused(&mut self, id: ConnId, status: u16) {
        if let Some(PendingRequest {
            task: Task::Push(..),
            ..
        }) = self.pending.get(&id)
        {
            self.push_answers.add(status);
        }
    }

    /// The connection has gone.
    pub(super) fn handle_close(&mut self, id: ConnId) {
        self.take(id);
    }

    /// Goes on with batches, and sends the reports of demo jobs that are due.
    pub(super) fn handle_timeout(
        &mut self,
        sessions: &mut Sessions,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        for _ in 0..self.unfinished.len() {
            if let Some(id) = self.unfinished.pop_front() {
                self.push_on(id, sessions, now, commands);
            }
        }
        while let Some(packet) = self.jobs.report(now.since_start()) {
            if pushed::report(&packet, &mut sessions.delivery(now, commands)).is_err() {
                debug!("a job's page has gone");
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn next_deadline(&self) -> Option<MonotonicTime> {
        if !self.unfinished.is_empty() {
            return Some(self.congested_until.unwrap_or(MonotonicTime::START));
        }
        self.jobs.next_due().map(|due| MonotonicTime::START + due)
    }

    /// Bytes of memory held for all requests.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Bytes of memory held for one request.
    pub(super) fn held_bytes_of(&self, id: ConnId) -> usize {
        self.pending
            .get(&id)
            .map_or(0, |request| request.held_bytes)
    }

    fn start_job(
        &mut self,
        id: ConnId,
        body: &[u8],
        sessions: &mut Sessions,
        now: MonotonicTime,
    ) -> Response {
        let Some(uuid) = find_page(body, sessions) else {
            return Response::error(404, "uuid names no page that is connected");
        };
        match self.jobs.start(&uuid, now.since_start()) {
            Some(()) => {
                debug!("#{} has a job run", id.slot);
                Response::empty(204)
            }
            None => Response::error(503, "too many jobs are running: try again"),
        }
    }

    fn keep(&mut self, id: ConnId, reply: Reply, task: Task) {
        let held_bytes = size_of::<PendingRequest>()
            + match &task {
                Task::Push(..)
                | Task::Job
                | Task::Users
                | Task::Close
                | Task::Send(_)
                | Task::Monitor(_) => 0,
                Task::Batch(batch) => batch.held_bytes(),
                Task::Count(asked) => asked.held_bytes(),
            };
        self.held_bytes += held_bytes;
        let request = PendingRequest {
            reply,
            task,
            held_bytes,
        };
        if let Some(before) = self.pending.insert(id, request) {
            self.held_bytes -= before.held_bytes;
        }
    }

    fn take(&mut self, id: ConnId) -> Option<PendingRequest> {
        let request = self.pending.remove(&id)?;
        self.held_bytes -= request.held_bytes;
        Some(request)
    }
}

/// protocol.md 9.8.
fn position(sessions: &mut Sessions, now: MonotonicTime) -> Response {
    let cursor = sessions.mailbox.position(now);
    let mut response = Response::json(200, format!("{{\"cursor\":\"{cursor}\"}}\n"));
    // Another one a moment later.
    response.add_header("Cache-Control", "no-store");
    response
}

const PUSH_PATH: &str = "/push";

/// What is said to a body, which may be long.
fn with_body(body: Vec<u8>, say: impl FnOnce(&[u8]) -> Response) -> Response {
    let response = say(&body);
    free(body);
    response
}
