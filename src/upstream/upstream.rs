//! [`Upstream`]: its parts, its commands, and what it tells about itself.

use std::collections::VecDeque;

use super::action::Action;
use super::call::{Answer, Call, CallId};
use super::counts::Counts;
use super::error::CallError;
use super::link::{Link, LinkId, LinkState};
use super::queue::CallQueue;
use super::redis::{SubscriberEvent, Subscriptions};
use super::route::Route;
use super::sentinel_search::SentinelSearch;
use super::settings::{Settings, Upkeep, UpstreamContext};
use super::target::{Protocol, Target};
use super::wire::Wire;
use super::wire_context::WireContext;
use crate::base::time::MonotonicTime;

/// One target, as far as this server is its client.
#[derive(Debug)]
pub struct Upstream {
    pub(super) target: Target,
    pub(super) settings: Settings,
    pub(super) route: Route,
    /// Unused but for Sentinels.
    pub(super) search: SentinelSearch,
    pub(super) queue: CallQueue,
    /// All connections, at most `settings.concurrency`.
    pub(super) links: Vec<Link>,
    pub(super) next_link: u64,
    pub(super) actions: VecDeque<Action>,
    pub(super) answers: VecDeque<Answer>,
    pub(super) purpose: Purpose,
    pub(super) subscriptions: Subscriptions,
    pub(super) counts: Counts,
    pub(super) is_shut_down: bool,
}

/// What a target is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It answers.
    Calls,
    /// It tells.
    Subscriptions,
}

impl Upstream {
    /// A target that nobody has asked yet. Nothing happens before the first call.
    pub fn new(target: Target, settings: Settings) -> Self {
        debug_assert!(settings.concurrency > 0 && settings.max_queued_calls > 0);
        Self {
            route: Route::new(target.fixed_addresses()),
            search: SentinelSearch::default(),
            target,
            settings,
            queue: CallQueue::default(),
            links: Vec::new(),
            next_link: 0,
            actions: VecDeque::new(),
            answers: VecDeque::new(),
            purpose: Purpose::Calls,
            subscriptions: Subscriptions::default(),
            counts: Counts::default(),
            is_shut_down: false,
        }
    }

    /// A Redis whose channels can be subscribed to, over a connection that is there from the first
    /// [`handle_timeout`](Self::handle_timeout) on. It takes no calls: Redis closes a subscriber
    /// that does not read fast enough, so nothing else shares its connection.
    pub fn subscriber(target: Target, settings: Settings) -> Self {
        debug_assert!(matches!(target.protocol(), Protocol::Redis(_)));
        let settings = Settings {
            concurrency: 1,
            upkeep: Upkeep::Always,
            ..settings
        };
        Self {
            purpose: Purpose::Subscriptions,
            ..Self::new(target, settings)
        }
    }

    // ---- commands

    /// Goes by these limits from now on, in the place of those in its settings: most bytes of requests
    /// that wait, and the longest message to a subscriber.
    pub fn set_limits(&mut self, max_queued_bytes: usize, max_message_bytes: usize) {
        self.settings.max_queued_bytes = max_queued_bytes;
        self.settings.max_message_bytes = max_message_bytes;
    }

    /// Subscribes to these channels, now and after each new connection, 512 at a time.
    /// [`SubscriberEvent::Subscribed`] follows for each that was not subscribed to, or was given back
    /// before. Nobody counts: who wants a channel twice and gives it back once has it no more.
    ///
    /// # Errors
    /// [`CallError::QueueFull`] if there are too many; those before it are subscribed to.
    /// [`CallError::WrongProtocol`] if this is no [`subscriber`](Self::subscriber).
    pub fn subscribe<'a>(
        &mut self,
        channels: impl IntoIterator<Item = &'a [u8]>,
        context: &mut UpstreamContext<'_>,
    ) -> Result<(), CallError> {
        if self.purpose != Purpose::Subscriptions {
            return Err(CallError::WrongProtocol);
        }
        let mut channels = channels.into_iter();
        let most = self.settings.max_channels;
        let added = channels.try_for_each(|channel| self.subscriptions.add(channel, most));
        self.tell_changes(context);
        added
    }

    /// Gives these channels back. Messages may still come until the other end knows.
    pub fn unsubscribe<'a>(
        &mut self,
        channels: impl IntoIterator<Item = &'a [u8]>,
        context: &mut UpstreamContext<'_>,
    ) {
        for channel in channels {
            self.subscriptions.remove(channel);
        }
        self.tell_changes(context);
    }

    fn tell_changes(&mut self, context: &mut UpstreamContext<'_>) {
        if let Some(at) = self.links.iter().position(Link::is_open) {
            self.serve(at, context, Wire::tell_changes);
        }
        self.dispatch(context);
    }

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
        let is_asked = self.purpose == Purpose::Calls;
        if !is_asked || !call.request.is_in(self.target.protocol()) {
            return Err(CallError::WrongProtocol);
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
        for at in 0..self.links.len() {
            let mut fate = None;
            if let LinkState::Open(wire) = &mut self.links[at].state {
                fate = wire.cancel(
                    id,
                    &WireContext {
                        now: context.now,
                        settings: &self.settings,
                        answers: &mut self.answers,
                        counts: &mut self.counts,
                        subscriptions: &mut self.subscriptions,
                    },
                );
            }
            if let Some(fate) = fate {
                self.serve(at, context, |_, _| fate);
                return self.dispatch(context);
            }
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

    /// What has happened next at a subscriber; to be asked until it is `None`.
    pub fn next_subscriber_event(&mut self) -> Option<SubscriberEvent> {
        self.subscriptions.next_event()
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
        if let Some(link) = at.and_then(|at| self.links.get_mut(at)) {
            link.consume_output(byte_count);
        }
    }

    // ---- questions

    /// When [`handle_timeout`](Self::handle_timeout) has to be called; `None` if nothing is under
    /// way and no connection kept.
    pub fn next_deadline(&self) -> Option<MonotonicTime> {
        // One that is always to be there is begun with at once.
        if self.wanted_links() > 0 && self.links.is_empty() && self.route.is_free() {
            return Some(MonotonicTime::START);
        }
        let links = self.links.iter().map(|link| link.deadline(&self.settings));
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

    /// Whether it was made to be subscribed to.
    pub fn is_subscriber(&self) -> bool {
        self.purpose == Purpose::Subscriptions
    }

    /// Channels of a subscriber.
    pub fn channel_count(&self) -> usize {
        self.subscriptions.len()
    }

    /// Whether a subscriber has subscribed to all that it wants.
    pub fn is_subscribed(&self) -> bool {
        self.subscriptions.is_ready()
    }

    /// Whether a connection has ever been established.
    pub fn has_served(&self) -> bool {
        self.counts.connected > 0
    }

    /// Why no connection can be established; `None` as long as that has not failed.
    pub fn last_failure(&self) -> Option<CallError> {
        self.route.last_failure()
    }
}
