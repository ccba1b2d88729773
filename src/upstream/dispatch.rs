//! Which call goes where, and what becomes of it.

use super::action::Action;
use super::call::{Answer, CallId, Response};
use super::error::{CallError, ConnectError};
use super::link::{Attempt, Connecting, Destination, Link, LinkId, LinkState};
use super::queue::Waiting;
use super::route::Step;
use super::settings::{Upkeep, UpstreamContext};
use super::target::Place;
use super::upstream::Upstream;
use super::wire::{Room, Wire};
use super::wire_context::{Fate, History, WireContext};
use crate::base::time::MonotonicTime;

impl Upstream {
    /// Gives calls that wait to connections that are kept, and opens connections for the others.
    pub(super) fn dispatch(&mut self, context: &mut UpstreamContext<'_>) {
        while let Some((room, at)) = self.best_room() {
            let waiting = match room {
                Room::Kept { .. } => self.queue.next_for_kept(),
                Room::Shared(_) => self.queue.next_for_fresh(),
            };
            let Some(waiting) = waiting else {
                break;
            };
            self.start(at, waiting, History::Kept);
        }
        self.connect(context);
        self.fail_hopeless();
    }

    /// Opens as many connections as calls wait and limits allow.
    fn connect(&mut self, context: &mut UpstreamContext<'_>) {
        let now = context.now;
        loop {
            let connecting = self.links.iter().filter(|link| !link.is_open()).count();
            // After a failure one connection shows whether the target is back.
            let most = match self.route.last_failure() {
                Some(_) => 1,
                None => self.settings.concurrency,
            };
            if connecting >= self.wanted_links().min(most) {
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
                    let attempt = Attempt {
                        untried: addresses.into(),
                        last_deadline: now + self.settings.connect_timeout,
                        first_error: None,
                        destination: Destination::Target,
                        server_name: self.server_name().map(str::to_owned),
                    };
                    self.begin_to_connect(attempt, now);
                }
                Step::Resolve => {
                    match self.target.place() {
                        Place::Tcp { host, port } => {
                            let (host, port) = (host.clone(), *port);
                            self.actions.push_back(Action::Resolve { host, port });
                        }
                        Place::Sentinels { .. } => self.begin_search(context),
                        Place::Unix(_) => {}
                    }
                    return;
                }
                Step::Wait => return,
            }
        }
    }

    /// Connections that are missing.
    pub(super) fn wanted_links(&self) -> usize {
        let is_wanted = match self.settings.upkeep {
            Upkeep::OnDemand => false,
            Upkeep::Always => !self.is_shut_down && !self.links.iter().any(Link::is_open),
        };
        self.queue.len().max(usize::from(is_wanted))
    }

    /// The name that the target's certificate has to bear; `None` without TLS.
    fn server_name(&self) -> Option<&str> {
        let master = self.search.master_name();
        self.target
            .server_name()
            .or_else(|| master.filter(|_| self.target.is_encrypted()))
    }

    /// Begins to connect to the first of the addresses.
    pub(super) fn begin_to_connect(&mut self, mut attempt: Attempt, now: MonotonicTime) {
        let address_count = u32::try_from(attempt.untried.len()).unwrap_or(u32::MAX);
        let Some(address) = attempt.untried.pop_front() else {
            return;
        };
        let id = LinkId(self.next_link);
        self.next_link += 1;
        self.actions.push_back(Action::Connect {
            link: id,
            address: address.clone(),
            server_name: attempt.server_name.clone(),
        });
        // One that never answers leaves time for the others.
        let deadline = now + (attempt.last_deadline - now) / address_count;
        let state = LinkState::Connecting(Connecting {
            address,
            deadline,
            attempt,
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
        let mut attempt = connecting.attempt;
        let first_error = *attempt.first_error.get_or_insert(error);
        if attempt.untried.is_empty() || attempt.last_deadline <= context.now {
            self.end_attempt(attempt.destination, first_error.into(), context);
        } else {
            self.begin_to_connect(attempt, context.now);
        }
    }

    /// A destination cannot be reached, or does not let us in.
    fn end_attempt(
        &mut self,
        destination: Destination,
        error: CallError,
        context: &mut UpstreamContext<'_>,
    ) {
        match destination {
            Destination::Target => self.route.handle_failure(error, &self.settings, context),
            Destination::Sentinel => self.try_next_sentinel(error, context),
        }
    }

    /// The connection was established, and the other end does not let us in.
    pub(super) fn turned_away(
        &mut self,
        at: usize,
        error: CallError,
        context: &mut UpstreamContext<'_>,
    ) {
        self.counts.connect_failures += 1;
        let destination = self.remove(at).destination();
        self.end_attempt(destination, error, context);
    }

    /// Sends a call on a connection that has room for it.
    pub(super) fn start(&mut self, at: usize, waiting: Waiting, history: History) {
        let link = &mut self.links[at];
        if let LinkState::Open(wire) = &mut link.state {
            wire.start(waiting, history);
            let write = Action::Write(link.id);
            self.announce(write);
        }
    }

    /// Has bytes sent, once for all that wait on a connection.
    fn announce(&mut self, write: Action) {
        if self.actions.back() != Some(&write) {
            self.actions.push_back(write);
        }
    }

    /// Tells an open connection something, and draws the consequences.
    pub(super) fn serve(
        &mut self,
        at: usize,
        context: &mut UpstreamContext<'_>,
        tell: impl FnOnce(&mut Wire, &mut WireContext<'_>) -> Fate,
    ) {
        let link = &mut self.links[at];
        let LinkState::Open(wire) = &mut link.state else {
            return;
        };
        let unsent = wire.output().len();
        let fate = tell(
            wire,
            &mut WireContext {
                now: context.now,
                settings: &self.settings,
                answers: &mut self.answers,
                counts: &mut self.counts,
                subscriptions: &mut self.subscriptions,
            },
        );
        match fate {
            Fate::Open if wire.output().len() > unsent => {
                let write = Action::Write(link.id);
                self.announce(write);
            }
            Fate::Open => {}
            Fate::Close => drop(self.remove(at)),
            Fate::Lost(error) => self.lose(at, error, context),
            Fate::Failed(error) => {
                self.count_loss(at, error, context);
                self.fail(at, error);
            }
        }
    }

    /// The connection is lost: its calls are sent once more, where that can do no harm.
    fn lose(&mut self, at: usize, error: CallError, context: &mut UpstreamContext<'_>) {
        self.count_loss(at, error, context);
        let LinkState::Open(wire) = self.remove(at) else {
            return;
        };
        let (again, failed): (Vec<_>, Vec<_>) = wire
            .into_unanswered()
            .into_iter()
            .partition(|unanswered| unanswered.can_be_repeated);
        for unanswered in failed {
            self.answer(unanswered.call.id, Err(error));
        }
        if again.is_empty() {
            return;
        }
        self.counts.repeated += again.len() as u64;
        for unanswered in again.into_iter().rev() {
            self.queue.push_again(unanswered.call);
        }
        // What was kept together has most likely ended together.
        while let Some(kept) = self.latest_kept() {
            self.close(kept);
        }
    }

    /// Pauses before the next connection, if this one's loss means that the target is in trouble.
    fn count_loss(&mut self, at: usize, error: CallError, context: &mut UpstreamContext<'_>) {
        if let LinkState::Open(wire) = &self.links[at].state
            && let Some(service) = wire.service()
        {
            self.subscriptions.handle_lost();
            self.route
                .handle_loss(service, error, &self.settings, context);
        }
    }

    /// The connection is of no use any more; its calls, if there are any, have failed.
    pub(super) fn fail(&mut self, at: usize, error: CallError) {
        if let LinkState::Open(wire) = self.remove(at) {
            for unanswered in wire.into_unanswered() {
                self.answer(unanswered.call.id, Err(error));
            }
        }
    }

    /// Ends a connection, whatever it is at.
    pub(super) fn close(&mut self, at: usize) {
        self.remove(at);
    }

    /// Ends a connection; what it was at.
    pub(super) fn remove(&mut self, at: usize) -> LinkState {
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
        let is_connected = self.links.iter().any(Link::is_open);
        let failure = self.route.last_failure().filter(|_| !is_connected);
        failure.unwrap_or(CallError::Timeout)
    }

    /// The connection that has been used last among those that are kept: the others are closed one
    /// day for not being used. Among those that are shared, the one with most room.
    fn best_room(&self) -> Option<(Room, usize)> {
        let room = |(at, link): (usize, &Link)| match &link.state {
            LinkState::Open(wire) => wire.room(&self.settings).map(|room| (room, at)),
            LinkState::Connecting(_) | LinkState::Introducing(_) => None,
        };
        self.links.iter().enumerate().filter_map(room).max()
    }

    fn latest_kept(&self) -> Option<usize> {
        match self.best_room() {
            Some((Room::Kept { .. }, at)) => Some(at),
            Some((Room::Shared(_), _)) | None => None,
        }
    }

    pub(super) fn find(&self, id: LinkId) -> Option<usize> {
        self.links.iter().position(|link| link.id == id)
    }
}
