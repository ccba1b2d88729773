//! Which call goes where, and what becomes of it.

use std::collections::VecDeque;

use super::action::Action;
use super::call::{Answer, Call, CallId};
use super::error::{CallError, ConnectError};
use super::http::{AfterAnswer, Response};
use super::link::{AwaitedBy, Connecting, Exchange, History, Link, LinkId, LinkState};
use super::route::Step;
use super::settings::UpstreamContext;
use super::target::{Address, Place};
use super::upstream::Upstream;
use crate::base::time::MonotonicTime;

impl Upstream {
    /// Gives calls that wait to connections that are kept, and opens connections for the others.
    pub(super) fn dispatch(&mut self, context: &mut UpstreamContext<'_>) {
        while let Some(at) = self.latest_kept() {
            let Some(waiting) = self.queue.next_for_kept() else {
                break;
            };
            self.start(at, waiting.call, History::Kept);
        }
        self.connect(context.now);
        self.fail_hopeless();
    }

    /// Opens as many connections as calls wait and limits allow.
    fn connect(&mut self, now: MonotonicTime) {
        loop {
            let connecting = self
                .links
                .iter()
                .filter(|link| link.is_connecting())
                .count();
            // After a failure one connection shows whether the target is back.
            let most = match self.route.last_failure() {
                Some(_) => 1,
                None => self.settings.concurrency,
            };
            if connecting >= self.queue.len().min(most) {
                return;
            }
            let is_full = self.links.len() >= self.settings.concurrency;
            let kept = self.latest_kept();
            if is_full && kept.is_none() {
                return;
            }
            match self.route.next_step(&self.settings, now) {
                Step::Connect(addresses) => {
                    // A kept one is left over only if all that waits is for fresh ones.
                    if let Some(at) = kept.filter(|_| is_full) {
                        self.close(at);
                    }
                    let last_deadline = now + self.settings.connect_timeout;
                    self.open(addresses.into(), last_deadline, None, now);
                }
                Step::Resolve => {
                    if let Place::Tcp { host, port } = self.target.place() {
                        let (host, port) = (host.clone(), *port);
                        self.actions.push_back(Action::Resolve { host, port });
                    }
                    return;
                }
                Step::Wait => return,
            }
        }
    }

    /// Begins to connect to the first of the addresses.
    fn open(
        &mut self,
        mut untried: VecDeque<Address>,
        last_deadline: MonotonicTime,
        first_error: Option<ConnectError>,
        now: MonotonicTime,
    ) {
        let address_count = u32::try_from(untried.len()).unwrap_or(u32::MAX);
        let Some(address) = untried.pop_front() else {
            return;
        };
        let id = LinkId(self.next_link);
        self.next_link += 1;
        self.actions.push_back(Action::Connect {
            link: id,
            address: address.clone(),
            server_name: self.target.server_name().map(str::to_owned),
        });
        // One that never answers leaves time for the others.
        let deadline = now + (last_deadline - now) / address_count;
        let state = LinkState::Connecting(Connecting {
            address,
            deadline,
            untried,
            last_deadline,
            first_error,
        });
        self.links.push(Link { id, state });
    }

    /// Goes on with the next address, or ends the attempt.
    pub(super) fn try_next_address(
        &mut self,
        at: usize,
        error: ConnectError,
        context: &mut UpstreamContext<'_>,
    ) {
        self.counts.connect_failures += 1;
        let LinkState::Connecting(connecting) = self.remove(at) else {
            debug_assert!(false, "whoever calls has looked");
            return;
        };
        let first_error = connecting.first_error.unwrap_or(error);
        if connecting.untried.is_empty() || connecting.last_deadline <= context.now {
            let error = CallError::from(first_error);
            self.route.handle_failure(error, &self.settings, context);
        } else {
            let (untried, last_deadline) = (connecting.untried, connecting.last_deadline);
            self.open(untried, last_deadline, Some(first_error), context.now);
        }
    }

    /// Sends a call on a connection that carries nothing.
    pub(super) fn start(&mut self, at: usize, call: Call, history: History) {
        let link = &mut self.links[at];
        debug_assert!(matches!(link.state, LinkState::Kept { .. }));
        link.state = LinkState::Busy(Box::new(Exchange::new(call, history)));
        self.actions.push_back(Action::Write(link.id));
    }

    /// The answer is whole.
    pub(super) fn finish(
        &mut self,
        at: usize,
        response: Response,
        after: AfterAnswer,
        now: MonotonicTime,
    ) {
        let LinkState::Busy(exchange) = &self.links[at].state else {
            return;
        };
        // An answer may come before the request has left; what is left of that cannot be sent as
        // the beginning of another one.
        let is_reusable = after == AfterAnswer::Keep && exchange.unsent().is_empty();
        match exchange.awaited_by {
            AwaitedBy::Caller => self.answer(exchange.call.id, Ok(response)),
            AwaitedBy::Nobody => self.counts.late += 1,
        }
        match is_reusable {
            true => self.keep(at, now),
            false => self.close(at),
        }
    }

    /// The connection is lost: its call is sent once more, if that can do no harm.
    pub(super) fn lose(&mut self, at: usize, error: CallError) {
        match &self.links[at].state {
            LinkState::Busy(exchange) if exchange.can_be_repeated() => {}
            _ => return self.fail(at, error),
        }
        let LinkState::Busy(exchange) = self.remove(at) else {
            return;
        };
        self.counts.repeated += 1;
        self.queue.push_again(exchange.call);
        // What was kept together has most likely ended together.
        while let Some(kept) = self.latest_kept() {
            self.close(kept);
        }
    }

    /// The connection is of no use any more; its call, if there is one, has failed.
    pub(super) fn fail(&mut self, at: usize, error: CallError) {
        if let LinkState::Busy(exchange) = self.remove(at)
            && exchange.awaited_by == AwaitedBy::Caller
        {
            self.answer(exchange.call.id, Err(error));
        }
    }

    /// Nobody waits for the answer any more. The connection stays occupied for a while: the other
    /// end works on the request all the same.
    pub(super) fn abandon(&mut self, at: usize, now: MonotonicTime) {
        let LinkState::Busy(exchange) = &mut self.links[at].state else {
            return;
        };
        if !exchange.unsent().is_empty() {
            self.close(at);
            return;
        }
        exchange.awaited_by = AwaitedBy::Nobody;
        exchange.deadline = now + self.settings.late_answer_timeout;
    }

    /// Has the connection wait for the next call.
    pub(super) fn keep(&mut self, at: usize, now: MonotonicTime) {
        let until = now + self.settings.idle_timeout;
        self.links[at].state = LinkState::Kept { until };
    }

    /// Ends a connection, whatever it is at.
    pub(super) fn close(&mut self, at: usize) {
        self.remove(at);
    }

    /// Ends a connection; what it was at.
    fn remove(&mut self, at: usize) -> LinkState {
        let link = self.links.swap_remove(at);
        self.actions.push_back(Action::Close(link.id));
        link.state
    }

    /// Gives the caller what it waits for.
    pub(super) fn answer(&mut self, call: CallId, result: Result<Response, CallError>) {
        match result {
            Ok(_) => self.counts.answered += 1,
            Err(_) => self.counts.failed += 1,
        }
        self.answers.push_back(Answer { call, result });
    }

    /// Ends the calls that wait for what will not be tried before their deadlines.
    fn fail_hopeless(&mut self) {
        if !self.links.is_empty() {
            return;
        }
        if let Some(end) = self.route.backoff_end() {
            while let Some(waiting) = self.queue.next_expired(end) {
                self.answer(waiting.call.id, Err(self.why_not_sent()));
            }
        }
    }

    /// Whether a call with this deadline cannot be sent before it.
    pub(super) fn is_hopeless(&self, deadline: MonotonicTime) -> bool {
        let is_too_late = |end| deadline <= end;
        self.links.is_empty() && self.route.backoff_end().is_some_and(is_too_late)
    }

    /// Why a call that waits in the queue has not been sent.
    pub(super) fn why_not_sent(&self) -> CallError {
        let is_connected = self.links.iter().any(|link| !link.is_connecting());
        let failure = self.route.last_failure().filter(|_| !is_connected);
        failure.unwrap_or(CallError::Timeout)
    }

    /// The connection that has been used last among those that are kept: the others are closed one
    /// day for not being used.
    fn latest_kept(&self) -> Option<usize> {
        let kept = |(at, link): (usize, &Link)| match link.state {
            LinkState::Kept { until } => Some((until, at)),
            LinkState::Connecting(_) | LinkState::Busy(_) => None,
        };
        let latest = self.links.iter().enumerate().filter_map(kept).max();
        latest.map(|(_, at)| at)
    }

    pub(super) fn find(&self, id: LinkId) -> Option<usize> {
        self.links.iter().position(|link| link.id == id)
    }
}
