//! [`Upstreams`]: the server as a client, on the loop's sockets.
//!
//! Carries out what each [`Upstream`] wants done and tells it what has become of that; when to ask,
//! whom and how often is decided there. Everything happens in [`run`](Upstreams::run), once per
//! turn, so that a connection is read before it is written: a request is not sent on one that the
//! other end has closed already.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};

use log::{debug, warn};
use rustls::pki_types::ServerName;

use super::received::More;
use super::system::{Stream, System, Waker};
use super::timers::{Timer, Timers};
use super::tls_client;
use super::tls_roots::{RootsRead, TlsRoots};
use super::upstream_link::{ClientTransport, EstablishError, UpstreamLink};
use crate::base::{LogLimiter, MonotonicTime};
use crate::upstream::resolve::Resolver;
use crate::upstream::{
    Action, Address, Answer, Call, CallError, ConnectError, LinkId, Settings, Target, Upstream,
    UpstreamContext, UpstreamId,
};

/// All targets, and the connections to them.
pub(super) struct Upstreams<S> {
    machines: Vec<Upstream>,
    links: Vec<UpstreamLink<S>>,
    /// Connections that are opened as soon as it is known whom to trust.
    awaiting_roots: Vec<Attempt>,
    /// Never used twice, so that what is reported late of a socket that is closed finds nobody.
    next_key: usize,
    /// Keys of links that are to be read and written.
    ready: Vec<usize>,
    /// Something is to be done without anything new having come.
    has_work: bool,
    resolver: Resolver,
    roots: TlsRoots,
    answers: VecDeque<(UpstreamId, Answer)>,
    /// Where everything is read into.
    buffer: Vec<u8>,
    tls_failures: LogLimiter,
}

/// A connection that is wanted.
struct Attempt {
    upstream: UpstreamId,
    link: LinkId,
    address: Address,
    /// For TLS.
    server_name: Option<ServerName<'static>>,
}

/// What the calls of one turn share.
struct Turn<'a, Y> {
    system: &'a mut Y,
    now: MonotonicTime,
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
            roots: TlsRoots::new(waker),
            answers: VecDeque::new(),
            buffer: Vec::new(),
            tls_failures: LogLimiter::default(),
        }
    }

    /// Adds a target. Nothing is opened before the first call.
    pub(super) fn add(&mut self, target: Target, settings: Settings) -> UpstreamId {
        self.buffer.resize(READ_BUFFER_BYTES, 0);
        self.machines.push(Upstream::new(target, settings));
        UpstreamId(self.machines.len() - 1)
    }

    /// One of the targets.
    pub(super) fn get(&self, id: UpstreamId) -> Option<&Upstream> {
        self.machines.get(id.0)
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

    /// Number of answers that nobody has taken.
    pub(super) fn answer_count(&self) -> usize {
        self.answers.len()
    }

    /// The next answer.
    pub(super) fn next_answer(&mut self) -> Option<(UpstreamId, Answer)> {
        self.answers.pop_front()
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
            let next = self.machines[index].next_deadline();
            if next.is_some_and(|next| next <= now) {
                self.tell(id, turn, Upstream::handle_timeout);
            }
            self.carry_out(id, turn);
        }
        // What comes up meanwhile waits for the next turn: others have their say in between.
        for key in std::mem::take(&mut self.ready) {
            self.serve(key, turn);
        }
        match self
            .machines
            .iter()
            .filter_map(Upstream::next_deadline)
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
        let outcome = self.roots.take_up();
        for attempt in outcome.map_or_else(Vec::new, |_| std::mem::take(&mut self.awaiting_roots)) {
            match outcome {
                Some(RootsRead::Done) => self.connect(attempt, turn),
                Some(RootsRead::Failed) | None => {
                    self.tell(attempt.upstream, turn, |upstream, context| {
                        let error = ConnectError::TlsFailed;
                        upstream.handle_connect_failed(attempt.link, error, context);
                    });
                }
            }
        }
    }

    // ---- a machine and what it wants

    /// Tells a machine something. What it wants done is left with it.
    fn tell<Y: System<Stream = S>>(
        &mut self,
        id: UpstreamId,
        turn: &mut Turn<'_, Y>,
        tell: impl FnOnce(&mut Upstream, &mut UpstreamContext<'_>),
    ) {
        if let Some(upstream) = self.machines.get_mut(id.0) {
            let random = &mut || turn.system.random();
            let now = turn.now;
            tell(upstream, &mut UpstreamContext { now, random });
        }
    }

    /// Does what a machine wants done, and takes its answers.
    fn carry_out<Y: System<Stream = S>>(&mut self, id: UpstreamId, turn: &mut Turn<'_, Y>) {
        while let Some(action) = self.machines.get_mut(id.0).and_then(Upstream::next_action) {
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
        if let Some(upstream) = self.machines.get_mut(id.0) {
            let answers = std::iter::from_fn(|| upstream.next_answer());
            self.answers.extend(answers.map(|answer| (id, answer)));
        }
    }

    /// Opens a connection, now or when it is known whom to trust.
    fn prepare<Y: System<Stream = S>>(
        &mut self,
        upstream: UpstreamId,
        link: LinkId,
        address: Address,
        server_name: Option<String>,
        turn: &mut Turn<'_, Y>,
    ) {
        let server_name = server_name.map(ServerName::try_from).transpose();
        let attempt = server_name.map(|server_name| Attempt {
            upstream,
            link,
            address,
            server_name,
        });
        let attempt = match attempt {
            Ok(attempt) => attempt,
            Err(error) => {
                let error = EstablishError::Tls(io::Error::other(error));
                return self.fail(upstream, link, &error, turn);
            }
        };
        if attempt.server_name.is_none() || self.roots.config().is_some() {
            return self.connect(attempt, turn);
        }
        match self.roots.read() {
            Ok(()) => self.awaiting_roots.push(attempt),
            Err(error) => self.fail(upstream, link, &EstablishError::Connect(error), turn),
        }
    }

    fn connect<Y: System<Stream = S>>(&mut self, attempt: Attempt, turn: &mut Turn<'_, Y>) {
        let (upstream, link) = (attempt.upstream, attempt.link);
        let key = self.next_key;
        self.next_key += 1;
        let socket = turn.system.connect(&attempt.address, key);
        let transport = socket.map_err(EstablishError::Connect).and_then(|socket| {
            let tls = self.roots.config().zip(attempt.server_name);
            ClientTransport::new(socket, tls)
        });
        match transport {
            Ok(transport) => {
                let link = UpstreamLink::new(key, (upstream, link), transport);
                self.links.push(link);
            }
            Err(error) => self.fail(upstream, link, &error, turn),
        }
    }

    /// A connection could not be established.
    fn fail<Y: System<Stream = S>>(
        &mut self,
        id: UpstreamId,
        link: LinkId,
        error: &EstablishError,
        turn: &mut Turn<'_, Y>,
    ) {
        if let Some(upstream) = self.machines.get(id.0) {
            let target = upstream.target();
            match error {
                EstablishError::Connect(error) => debug!("not connected to {target}: {error}"),
                EstablishError::Tls(error) => {
                    debug!("TLS with {target}: {error:?}");
                    if let Some(count) = self.tls_failures.count(turn.now) {
                        let reason = tls_client::reason_of(error);
                        warn!("TLS with {target} has failed ({count} times in all): {reason}");
                    }
                }
            }
        }
        let error = ConnectError::from(error);
        self.tell(id, turn, |upstream, context| {
            upstream.handle_connect_failed(link, error, context);
        });
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
        for _ in 0..READS_PER_TURN {
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
            let Some(upstream) = self.machines.get_mut(link.upstream.0) else {
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
