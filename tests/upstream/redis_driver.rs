//! The real loop with a Redis, driven by a test: one that is asked, and one that is subscribed to.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use websock::app::SubscriptionChange;
use websock::net::RootsSource;
use websock::net::client_loop::ClientLoop;
use websock::upstream::redis::{Request, SubscriberEvent, Value};
use websock::upstream::{Answer, Call, CallError, CallId, Settings, Target, Upstream, UpstreamId};

/// A loop and its target.
pub(crate) struct RedisDriver {
    event_loop: ClientLoop,
    id: UpstreamId,
    subscriber: Option<UpstreamId>,
    next_call: u64,
    answers: VecDeque<Answer>,
    events: VecDeque<SubscriberEvent>,
}

impl RedisDriver {
    /// Asks what this URL names.
    pub(crate) fn new(url: &str) -> Self {
        Self::with(url, Settings::redis(), RootsSource::System)
    }

    pub(crate) fn with(url: &str, settings: Settings, roots: RootsSource) -> Self {
        let mut event_loop = ClientLoop::new().expect("a loop");
        let target = Target::redis(url).expect("a URL");
        let id = event_loop.add_upstream_with(Upstream::new(target, settings), roots);
        Self {
            event_loop,
            id,
            subscriber: None,
            next_call: 0,
            answers: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Subscribes to what this URL names from now on.
    pub(crate) fn add_subscriber(&mut self, url: &str) {
        self.add_subscriber_with(url, RootsSource::System);
    }

    pub(crate) fn add_subscriber_with(&mut self, url: &str, roots: RootsSource) {
        let target = Target::redis(url).expect("a URL");
        let upstream = Upstream::subscriber(target, Settings::redis());
        let id = self.event_loop.add_upstream_with(upstream, roots);
        self.subscriber = Some(id);
    }

    pub(crate) fn subscribe(&mut self, channels: &[&str]) {
        self.change(SubscriptionChange::Subscribe, channels);
    }

    pub(crate) fn unsubscribe(&mut self, channels: &[&str]) {
        self.change(SubscriptionChange::Unsubscribe, channels);
    }

    fn change(&mut self, change: SubscriptionChange, channels: &[&str]) {
        let id = self.subscriber.expect("it was added");
        let channels: Vec<_> = channels.iter().map(|&c| c.as_bytes().to_vec()).collect();
        self.event_loop.change_subscriptions(id, change, &channels);
    }

    /// The machine of the target that is asked.
    pub(crate) fn upstream(&self) -> &Upstream {
        self.event_loop.upstream(self.id).expect("it was added")
    }

    /// Begins a call.
    pub(crate) fn begin(&mut self, request: Request) -> CallId {
        self.begin_for(request, PATIENCE)
    }

    fn begin_for(&mut self, request: Request, wait: Duration) -> CallId {
        let id = CallId(self.next_call);
        self.next_call += 1;
        let call = Call {
            id,
            request: request.into(),
            deadline: self.event_loop.now() + wait,
            max_body_bytes: 1 << 20,
        };
        self.event_loop.call(self.id, call);
        id
    }

    /// Asks and waits for the answer.
    pub(crate) fn ask(&mut self, request: Request) -> Result<Vec<Value>, CallError> {
        let id = self.begin(request);
        let answer = self.next_answer();
        assert_eq!(answer.call, id);
        answer.into_redis()
    }

    /// Asks with a deadline that is missed: why there is no answer.
    pub(crate) fn ask_in_vain(&mut self, request: Request) -> CallError {
        self.begin_for(request, SHORT);
        self.next_answer().into_redis().expect_err("no answer")
    }

    /// Waits for an answer.
    pub(crate) fn next_answer(&mut self) -> Answer {
        self.turn_until(|driver| !driver.answers.is_empty());
        self.answers.pop_front().expect("it has been waited for")
    }

    /// Waits for what happens at the subscriber.
    pub(crate) fn next_event(&mut self) -> SubscriberEvent {
        self.turn_until(|driver| !driver.events.is_empty());
        self.events.pop_front().expect("it has been waited for")
    }

    fn turn_until(&mut self, is_enough: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE * 2;
        self.take();
        while !is_enough(self) {
            assert!(
                Instant::now() < deadline && self.event_loop.next_wait().is_some(),
                "what is waited for does not come"
            );
            self.event_loop.turn().expect("a turn");
            self.take();
        }
    }

    fn take(&mut self) {
        while let Some((upstream, answer)) = self.event_loop.next_answer() {
            assert_eq!(upstream, self.id);
            self.answers.push_back(answer);
        }
        while let Some((upstream, event)) = self.event_loop.next_subscriber_event() {
            assert_eq!(Some(upstream), self.subscriber);
            self.events.push_back(event);
        }
    }
}

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Long enough for a greeting and an answer, too short to wait for what never comes.
const SHORT: Duration = Duration::from_secs(2);
