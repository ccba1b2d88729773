//! [`Upstream`]: its parts, its commands, and what it tells about itself.

use std::collections::VecDeque;

use super::action::Action;
use super::call::{Answer, Call, CallId};
use super::counts::Counts;
use super::error::CallError;
use super::link::{AwaitedBy, Link, LinkId, LinkState};
use super::queue::CallQueue;
use super::route::Route;
use super::settings::{Settings, UpstreamContext};
use super::target::Target;
use crate::base::time::MonotonicTime;

/// One target, as far as this server is its client.
#[derive(Debug)]
pub struct Upstream {
    pub(super) target: Target,
    pub(super) settings: Settings,
    pub(super) route: Route,
    pub(super) queue: CallQueue,
    /// All connections, at most `settings.concurrency`.
    pub(super) links: Vec<Link>,
    pub(super) next_link: u64,
    pub(super) actions: VecDeque<Action>,
    pub(super) answers: VecDeque<Answer>,
    pub(super) counts: Counts,
    pub(super) is_shut_down: bool,
}

impl Upstream {
    /// A target that nobody has asked yet. Nothing happens before the first call.
    pub fn new(target: Target, settings: Settings) -> Self {
        debug_assert!(settings.concurrency > 0 && settings.max_queued_calls > 0);
        Self {
            route: Route::new(target.fixed_addresses()),
            target,
            settings,
            queue: CallQueue::default(),
            links: Vec::new(),
            next_link: 0,
            actions: VecDeque::new(),
            answers: VecDeque::new(),
            counts: Counts::default(),
            is_shut_down: false,
        }
    }

    // ---- commands

    /// Asks. Exactly one [`Answer`] follows, at the call's deadline at the latest, unless it is
    /// cancelled before.
    ///
    /// None follows an error: [`CallError::QueueFull`]; [`CallError::Timeout`] if the deadline has
    /// passed; [`CallError::ShuttingDown`]; or why no connection could be established lately if
    /// none will be tried before the deadline.
    pub fn call(&mut self, call: Call, context: &mut UpstreamContext<'_>) -> Result<(), CallError> {
        self.check(&call, context.now)
            .inspect_err(|_| self.counts.failed += 1)?;
        self.queue.push(call);
        self.dispatch(context);
        Ok(())
    }

    fn check(&self, call: &Call, now: MonotonicTime) -> Result<(), CallError> {
        let bytes = self
            .queue
            .bytes()
            .saturating_add(call.request.as_bytes().len());
        if self.is_shut_down {
            return Err(CallError::ShuttingDown);
        }
        if call.deadline <= now {
            return Err(CallError::Timeout);
        }
        if self.is_hopeless(call.deadline) {
            return Err(self.why_not_sent());
        }
        match self.queue.len() >= self.settings.max_queued_calls
            || bytes > self.settings.max_queued_bytes
        {
            true => Err(CallError::QueueFull),
            false => Ok(()),
        }
    }

    /// Nobody waits for this call any more; no answer follows, unless it has been given already.
    pub fn cancel(&mut self, id: CallId, context: &mut UpstreamContext<'_>) {
        if self.queue.remove(id).is_some() {
            return;
        }
        let is_it = |link: &Link| match &link.state {
            LinkState::Busy(exchange) => {
                exchange.call.id == id && exchange.awaited_by == AwaitedBy::Caller
            }
            LinkState::Connecting(_) | LinkState::Kept { .. } => false,
        };
        if let Some(at) = self.links.iter().position(is_it) {
            self.abandon(at, context.now);
            self.dispatch(context);
        }
    }

    /// Ends everything: each call is answered by [`CallError::ShuttingDown`], each connection
    /// closed, and no further call accepted.
    pub fn shut_down(&mut self) {
        self.is_shut_down = true;
        while let Some(waiting) = self.queue.next_for_fresh() {
            self.answer(waiting.call.id, Err(CallError::ShuttingDown));
        }
        while !self.links.is_empty() {
            self.fail(0, CallError::ShuttingDown);
        }
    }

    // ---- things to do

    /// The next thing to do; to be asked until it is `None`.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next answer; to be asked until it is `None`.
    pub fn next_answer(&mut self) -> Option<Answer> {
        self.answers.pop_front()
    }

    /// Bytes that are to be sent on this connection. Empty if it is closed.
    pub fn output(&self, link: LinkId) -> &[u8] {
        self.find(link)
            .and_then(|at| self.links.get(at))
            .map_or(&[], Link::output)
    }

    /// So many bytes of the output have been sent.
    pub fn consume_output(&mut self, link: LinkId, byte_count: usize) {
        let at = self.find(link);
        if let Some(link) = at.and_then(|at| self.links.get_mut(at))
            && let LinkState::Busy(exchange) = &mut link.state
        {
            debug_assert!(byte_count <= exchange.unsent().len());
            exchange.sent += byte_count.min(exchange.unsent().len());
        }
    }

    // ---- questions

    /// When [`handle_timeout`](Self::handle_timeout) has to be called; `None` if nothing is under
    /// way and no connection kept.
    pub fn next_deadline(&self) -> Option<MonotonicTime> {
        let links = self.links.iter().map(Link::deadline);
        links
            .chain(self.queue.next_deadline())
            .chain(self.route.next_deadline())
            .min()
    }

    /// The target.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What has happened since the start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Calls that wait for a connection.
    pub fn queued_calls(&self) -> usize {
        self.queue.len()
    }

    /// Connections, those that are being established included.
    pub fn link_count(&self) -> usize {
        self.links.len()
    }

    /// Why no connection can be established; `None` as long as that has not failed.
    pub fn last_failure(&self) -> Option<CallError> {
        self.route.last_failure()
    }
}
