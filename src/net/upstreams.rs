//! [`Upstreams`]: the server as a client, on the loop's sockets.
//!
//! Carries out what each [`Upstream`] wants done and tells it what has become of that; when to ask,
//! whom and how often is decided there. Everything happens in [`run`](Upstreams::run), once per
//! turn, so that a connection is read before it is written: a request is not sent on one that the
//! other end has closed already.

use std::collections::VecDeque;
use std::io::ErrorKind;

use log::{debug, warn};
use rustls::pki_types::ServerName;

use super::received::More;
use super::resolver::Resolver;
use super::system::{Stream, System, Waker};
use super::timers::{Timer, Timers};
use super::tls_roots::{RootsSource, TlsRoots};
use super::upstream_health::UpstreamHealth;
use super::upstream_link::UpstreamLink;
use crate::app::SubscriptionChange;
use crate::base::{LogLimiter, MonotonicTime};
use crate::upstream::redis::SubscriberEvent;
use crate::upstream::{
    Action, Address, Answer, Call, CallError, LinkId, Settings, Upstream, UpstreamContext,
    UpstreamId,
};

/// All targets, and the connections to them.
pub(super) struct Upstreams<S> {
    pub(super) machines: Vec<Machine>,
    pub(super) links: Vec<UpstreamLink<S>>,
    /// Connections that are opened as soon as it is known whom to trust.
    pub(super) awaiting_roots: Vec<Attempt>,
    /// Never used twice, so that what is reported late of a socket that is closed finds nobody.
    pub(super) next_key: usize,
    /// Keys of links that are to be read and written.
    ready: Vec<usize>,
    /// Something is to be done without anything new having come.
    has_work: bool,
    resolver: Resolver,
    /// The system's, and those of files.
    pub(super) roots: Vec<TlsRoots>,
    waker: Waker,
    answers: VecDeque<(UpstreamId, Answer)>,
    subscriber_events: VecDeque<(UpstreamId, SubscriberEvent)>,
    /// Where everything is read into.
    buffer: Vec<u8>,
    pub(super) tls_failures: LogLimiter,
}

/// One target.
pub(super) struct Machine {
    pub(super) upstream: Upstream,
    /// Whom it trusts, among `roots`.
    pub(super) roots: usize,
    health: UpstreamHealth,
}

/// A connection that is wanted.
pub(super) struct Attempt {
    pub(super) upstream: UpstreamId,
    pub(super) link: LinkId,
    pub(super) address: Address,
    /// For TLS.
    pub(super) server_name: Option<ServerName<'static>>,
}

/// What the calls of one turn share.
pub(super) struct Turn<'a, Y> {
    pub(super) system: &'a mut Y,
    pub(super) now: MonotonicTime,
}

/// Whether a link has had its share of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// There was nothing more.
    Drained,
    /// The rest waits for the next turn.
    PutOff,
}

impl<S: Stream> Upstreams<S> {
    /// No targets. Helper threads call `waker` when they have something to tell.
    pub(super) fn new(waker: Waker) -> Self {
        let wake_resolved = Waker::clone(&waker);
        Self {
            machines: Vec::new(),
            links: Vec::new(),
            awaiting_roots: Vec::new(),
            next_key: 0,
            ready: Vec::new(),
            has_work: false,
            resolver: Resolver::new(Box::new(move || wake_resolved())),
            roots: vec![TlsRoots::new(Waker::clone(&waker), RootsSource::System)],
            waker,
            answers: VecDeque::new(),
            subscriber_events: VecDeque::new(),
            buffer: Vec::new(),
            tls_failures: LogLimiter::default(),
        }
    }

    /// Adds a target. Under TLS it has to be trusted by `roots`.
    pub(super) fn add(&mut self, upstream: Upstream, roots: RootsSource) -> UpstreamId {
        self.buffer.resize(READ_BUFFER_BYTES, 0);
        let known = self.roots.iter().position(|known| *known.source() == roots);
        let roots = known.unwrap_or_else(|| {
            let waker = Waker::clone(&self.waker);
            self.roots.push(TlsRoots::new(waker, roots));
            self.roots.len() - 1
        });
        // A subscriber connects without being asked for anything.
        self.has_work = true;
        self.machines.push(Machine {
            upstream,
            roots,
            health: UpstreamHealth::default(),
        });
        UpstreamId(self.machines.len() - 1)
    }

    /// Lets a target hold so much from now on.
    pub(super) fn set_limits(&mut self, id: UpstreamId, settings: &Settings) {
        if let Some(upstream) = self.get_mut(id) {
            upstream.set_limits(settings.max_queued_bytes, settings.max_message_bytes);
        }
    }

    /// One of the targets.
    pub(super) fn get(&self, id: UpstreamId) -> Option<&Upstream> {
        self.machines.get(id.0).map(|machine| &machine.upstream)
    }

    fn get_mut(&mut self, id: UpstreamId) -> Option<&mut Upstream> {
        let machine = self.machines.get_mut(id.0)?;
        Some(&mut machine.upstream)
    }

    /// Subscribes to channels, or gives them back.
    pub(super) fn change_subscriptions<Y: System<Stream = S>>(
        &mut self,
        id: UpstreamId,
        change: SubscriptionChange,
        channels: &[Vec<u8>],
        system: &mut Y,
        now: MonotonicTime,
    ) {
        let channels = channels.iter().map(Vec::as_slice);
        self.tell(
            id,
            &mut Turn { system, now },
            |upstream, context| match change {
                SubscriptionChange::Subscribe => {
                    if let Err(error) = upstream.subscribe(channels, context) {
                        warn!(
                            "not subscribed to a channel of {}: {error}",
                            upstream.target()
                        );
                    }
                }
                SubscriptionChange::Unsubscribe => upstream.unsubscribe(channels, context),
            },
        );
        self.has_work = true;
    }

    /// Asks. Exactly one answer follows by [`next_answer`](Self::next_answer), in a later turn or
    /// this one's [`run`](Self::run).
    pub(super) fn call<Y: System<Stream = S>>(
        &mut self,
        id: UpstreamId,
        call: Call,
        system: &mut Y,
        now: MonotonicTime,
    ) {
        let name = call.id;
        let mut called = Err(CallError::Unreachable);
        debug_assert!(id.0 < self.machines.len(), "nobody has added it");
        self.tell(id, &mut Turn { system, now }, |upstream, context| {
            called = upstream.call(call, context);
        });
        if let Err(error) = called {
            let result = Err(error);
            self.answers.push_back((id, Answer { call: name, result }));
        }
        self.has_work = true;
    }

    /// The system has something to say about the link with this key.
    pub(super) fn handle_ready(&mut self, key: usize) {
        if !self.ready.contains(&key) {
            self.ready.push(key);
        }
    }

    /// Whether something is to be done without anything new having come.
    pub(super) fn has_work(&self) -> bool {
        self.has_work || !self.ready.is_empty()
    }

    /// Whether a subscriber has something to read. Redis closes one that is slow.
    pub(super) fn has_ready_subscriber(&self) -> bool {
        self.ready.iter().any(|key| self.is_subscriber(*key))
    }

    fn is_subscriber(&self, key: usize) -> bool {
        let link = self.links.iter().find(|link| link.key == key);
        let upstream = link.and_then(|link| self.get(link.upstream));
        upstream.is_some_and(Upstream::is_subscriber)
    }

    /// Number of answers that nobody has taken.
    pub(super) fn answer_count(&self) -> usize {
        self.answers.len()
    }

    /// The next answer.
    pub(super) fn next_answer(&mut self) -> Option<(UpstreamId, Answer)> {
        self.answers.pop_front()
    }

    /// The next thing that has happened at a subscriber.
    pub(super) fn next_subscriber_event(&mut self) -> Option<(UpstreamId, SubscriberEvent)> {
        self.subscriber_events.pop_front()
    }

    /// Does everything that has to be done in one turn, and sets the timer for the next one.
    pub(super) fn run<Y: System<Stream = S>>(
        &mut self,
        system: &mut Y,
        now: MonotonicTime,
        timers: &mut Timers,
    ) {
        let turn = &mut Turn { system, now };
        self.has_work = false;
        if self.machines.is_empty() {
            return;
        }
        self.take_up_results(turn);
        for index in 0..self.machines.len() {
            let id = UpstreamId(index);
            let next = self.machines[index].upstream.next_deadline();
            if next.is_some_and(|next| next <= now) {
                self.tell(id, turn, Upstream::handle_timeout);
            }
            self.carry_out(id, turn);
        }
        // What comes up meanwhile waits for the next turn: others have their say in between.
        let mut ready = std::mem::take(&mut self.ready);
        ready.sort_by_key(|key| !self.is_subscriber(*key));
        for key in ready {
            self.serve(key, turn);
        }
        match self
            .machines
            .iter()
            .filter_map(|machine| machine.upstream.next_deadline())
            .min()
        {
            Some(at) => timers.set(Timer::Upstreams, at),
            None => timers.cancel(Timer::Upstreams),
        }
    }

    /// Takes up what the helper threads have found.
    fn take_up_results<Y: System<Stream = S>>(&mut self, turn: &mut Turn<'_, Y>) {
        while let Some(resolved) = self.resolver.next_result() {
            let asker = usize::try_from(resolved.asker).unwrap_or(usize::MAX);
            self.tell(UpstreamId(asker), turn, |upstream, context| {
                upstream.handle_resolved(resolved.result, context);
            });
        }
        for index in 0..self.roots.len() {
            if let Some(outcome) = self.roots[index].take_up() {
                self.go_on_with_roots(index, outcome, turn);
            }
        }
    }

    // ---- a machine and what it wants

    /// Tells a machine something. What it wants done is left with it.
    pub(super) fn tell<Y: System<Stream = S>>(
        &mut self,
        id: UpstreamId,
        turn: &mut Turn<'_, Y>,
        tell: impl FnOnce(&mut Upstream, &mut UpstreamContext<'_>),
    ) {
        if let Some(upstream) = self.get_mut(id) {
            let random = &mut || turn.system.random();
            let now = turn.now;
            tell(upstream, &mut UpstreamContext { now, random });
        }
    }

    /// Does what a machine wants done, and takes its answers.
    fn carry_out<Y: System<Stream = S>>(&mut self, id: UpstreamId, turn: &mut Turn<'_, Y>) {
        while let Some(action) = self.get_mut(id).and_then(Upstream::next_action) {
            match action {
                Action::Resolve { host, port } => {
                    self.resolver.resolve(id.0 as u64, host, port);
                    // The result may be there at once, and nobody wakes the loop then.
                    self.has_work = true;
                }
                Action::Connect {
                    link,
                    address,
                    server_name,
                } => self.prepare(id, link, address, server_name, turn),
                Action::Write(link) => {
                    let is_it = |l: &&UpstreamLink<S>| l.upstream == id && l.id == link;
                    if let Some(key) = self.links.iter().find(is_it).map(|link| link.key) {
                        self.handle_ready(key);
                    }
                }
                Action::Close(link) => self.close(id, link),
            }
        }
        if let Some(Machine {
            upstream, health, ..
        }) = self.machines.get_mut(id.0)
        {
            health.report(upstream, turn.now);
            let answers = std::iter::from_fn(|| upstream.next_answer());
            self.answers.extend(answers.map(|answer| (id, answer)));
            let events = std::iter::from_fn(|| upstream.next_subscriber_event());
            self.subscriber_events
                .extend(events.map(|event| (id, event)));
        }
    }

    fn close(&mut self, upstream: UpstreamId, id: LinkId) {
        self.awaiting_roots
            .retain(|attempt| (attempt.upstream, attempt.link) != (upstream, id));
        let is_it = |link: &UpstreamLink<S>| (link.upstream, link.id) == (upstream, id);
        if let Some(at) = self.links.iter().position(is_it) {
            self.links.swap_remove(at).close();
        }
    }

    // ---- a link and its socket

    /// Goes on with one link: establishes it, reads it, writes it.
    fn serve<Y: System<Stream = S>>(&mut self, key: usize, turn: &mut Turn<'_, Y>) {
        let Some(at) = self.find(key) else {
            return;
        };
        if !self.links[at].is_open() {
            let (upstream, link) = (self.links[at].upstream, self.links[at].id);
            match self.links[at].establish() {
                Ok(false) => return,
                Ok(true) => self.tell(upstream, turn, |upstream, context| {
                    upstream.handle_connected(link, context);
                }),
                Err(error) => self.fail(upstream, link, &error, turn),
            }
            self.carry_out(upstream, turn);
        }
        let reading = self.read(key, turn);
        let is_cut_off = !self.write(key);
        // What was to be written on it meanwhile has been written.
        self.ready.retain(|ready| *ready != key);
        if reading == Reading::PutOff || is_cut_off {
            self.handle_ready(key);
        }
    }

    fn read<Y: System<Stream = S>>(&mut self, key: usize, turn: &mut Turn<'_, Y>) -> Reading {
        let most = match self.is_subscriber(key) {
            true => SUBSCRIBER_READS_PER_TURN,
            false => READS_PER_TURN,
        };
        for _ in 0..most {
            // A machine that has had enough closes.
            let Some(at) = self.find(key).filter(|at| self.links[*at].is_open()) else {
                return Reading::Drained;
            };
            let (upstream, link) = (self.links[at].upstream, self.links[at].id);
            let mut buffer = std::mem::take(&mut self.buffer);
            let received = self.links[at].read(&mut buffer);
            let is_over = match received {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.buffer = buffer;
                    return Reading::Drained;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => false,
                Err(error) => {
                    debug!("connection to upstream {} lost: {error}", upstream.0);
                    self.tell(upstream, turn, |upstream, context| {
                        upstream.handle_lost(link, context);
                    });
                    true
                }
                Ok(received) => {
                    let bytes = buffer.get(..received.len).unwrap_or_default();
                    self.tell(upstream, turn, |upstream, context| match received.more {
                        More::Ended => upstream.handle_eof(link, context),
                        More::No | More::Maybe => upstream.receive(link, bytes, context),
                    });
                    received.more == More::Ended
                }
            };
            self.buffer = buffer;
            self.carry_out(upstream, turn);
            if is_over {
                return Reading::Drained;
            }
        }
        Reading::PutOff
    }

    /// Writes what there is; whether the other end may still take some.
    fn write(&mut self, key: usize) -> bool {
        while let Some(at) = self.find(key) {
            let link = &mut self.links[at];
            let Some(Machine { upstream, .. }) = self.machines.get_mut(link.upstream.0) else {
                return true;
            };
            match link.write(upstream.output(link.id)) {
                Ok(0) => return true,
                Ok(len) => upstream.consume_output(link.id, len),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    debug!("upstream {} takes nothing more: {error}", link.upstream.0);
                    link.stop_writing();
                    return false;
                }
            }
        }
        true
    }

    fn find(&self, key: usize) -> Option<usize> {
        self.links.iter().position(|link| link.key == key)
    }
}

/// What is read at once. Answers are short, and one reader serves all.
const READ_BUFFER_BYTES: usize = 16 << 10;

/// Most reads of one connection in one turn: a server that sends without end does not keep others
/// waiting for longer than some hundred microseconds.
const READS_PER_TURN: usize = 8;

/// The same for a subscriber: a mebibyte.
const SUBSCRIBER_READS_PER_TURN: usize = 64;
