//! Whole conversations with a target, without sockets.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::http::{Method, Request};
use super::*;
use crate::base::time::MonotonicTime;

mod calls;
mod connecting;
mod hostile;
mod redis;
mod sentinel;
mod subscriber;

/// A loop around one [`Upstream`], with a clock moved by hand. It holds the upstream to its
/// promises: each connection is opened once and closed once, each call answered once.
struct Scene {
    upstream: Upstream,
    now: MonotonicTime,
    /// What the next random numbers are.
    random: u64,
    next_call: u64,
    open: HashSet<LinkId>,
    awaited: HashSet<CallId>,
    /// Actions that no test has looked at.
    actions: VecDeque<Action>,
}

impl Scene {
    fn new(url: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        change(&mut settings);
        Self::with(Target::http(url).unwrap(), settings)
    }

    fn with(target: Target, settings: Settings) -> Self {
        Self {
            upstream: Upstream::new(target, settings),
            now: MonotonicTime::START,
            random: u64::MAX,
            next_call: 0,
            open: HashSet::new(),
            awaited: HashSet::new(),
            actions: VecDeque::new(),
        }
    }

    /// To one address, one connection at a time.
    fn single() -> Self {
        Self::new("http://127.0.0.1:80/a", |settings| settings.concurrency = 1)
    }

    /// Does something with the upstream and takes over what has come of it.
    fn run<T>(&mut self, act: impl FnOnce(&mut Upstream, &mut UpstreamContext<'_>) -> T) -> T {
        let number = self.random;
        let mut random = move || number;
        let context = &mut UpstreamContext {
            now: self.now,
            random: &mut random,
        };
        let outcome = act(&mut self.upstream, context);
        while let Some(action) = self.upstream.next_action() {
            match &action {
                Action::Connect { link, .. } => assert!(self.open.insert(*link), "opened twice"),
                Action::Close(link) => assert!(self.open.remove(link), "closed twice"),
                Action::Write(link) => assert!(self.open.contains(link)),
                Action::Resolve { .. } => {}
            }
            self.actions.push_back(action);
        }
        assert_eq!(self.open.len(), self.upstream.link_count());
        outcome
    }

    fn call_with(&mut self, method: Method, body: &[u8], wait: u64) -> Result<CallId, CallError> {
        let protocol = self.upstream.target().protocol().clone();
        let request = Request::new(method, &protocol, "/a", [], body).unwrap();
        self.begin_call(request.into(), wait)
    }

    fn begin_call(&mut self, request: super::Request, wait: u64) -> Result<CallId, CallError> {
        let id = CallId(self.next_call);
        self.next_call += 1;
        let deadline = self.now + Duration::from_millis(wait);
        let call = Call {
            id,
            request,
            deadline,
            max_body_bytes: 100,
        };
        self.run(|upstream, context| upstream.call(call, context))?;
        self.awaited.insert(id);
        Ok(id)
    }

    /// Asks by GET; an answer is wanted within two seconds.
    fn call(&mut self) -> CallId {
        self.call_with(Method::Get, b"", 2000).unwrap()
    }

    /// The next answer.
    fn answer(&mut self) -> Option<(CallId, Result<u16, CallError>)> {
        let answer = self.upstream.next_answer()?;
        assert!(self.awaited.remove(&answer.call), "answered twice");
        let call = answer.call;
        let status = answer.into_http().map(|response| response.status());
        Some((call, status))
    }

    fn action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next action, which opens a connection.
    fn connect(&mut self) -> LinkId {
        match self.action() {
            Some(Action::Connect { link, .. }) => link,
            other => panic!("{other:?}"),
        }
    }

    /// The next action, which closes this connection.
    fn expect_close(&mut self, link: LinkId) {
        assert_eq!(self.action(), Some(Action::Close(link)));
    }

    /// The next action, which sends on this connection: all of it leaves.
    fn send(&mut self, link: LinkId) -> String {
        assert_eq!(self.action(), Some(Action::Write(link)));
        let output = self.upstream.output(link).to_vec();
        assert!(!output.is_empty());
        self.upstream.consume_output(link, output.len());
        assert!(self.upstream.output(link).is_empty());
        String::from_utf8(output).unwrap()
    }

    /// Asks, and sends that on a connection of its own.
    fn ask(&mut self) -> (CallId, LinkId) {
        let call = self.call();
        let link = self.connect();
        self.connected(link);
        self.send(link);
        (call, link)
    }

    /// Asks on a connection that has carried a call before.
    fn ask_on_kept(&mut self) -> (CallId, LinkId) {
        let (call, link) = self.ask();
        self.receive(link, EMPTY);
        assert_eq!(self.answer(), Some((call, Ok(204))));
        let call = self.call();
        self.send(link);
        (call, link)
    }

    fn connected(&mut self, link: LinkId) {
        self.run(|upstream, context| upstream.handle_connected(link, context));
    }

    fn refused(&mut self, link: LinkId) {
        let error = ConnectError::Refused;
        self.run(|upstream, context| upstream.handle_connect_failed(link, error, context));
    }

    fn receive(&mut self, link: LinkId, bytes: &[u8]) {
        self.run(|upstream, context| upstream.receive(link, bytes, context));
    }

    fn eof(&mut self, link: LinkId) {
        self.run(|upstream, context| upstream.handle_eof(link, context));
    }

    fn lost(&mut self, link: LinkId) {
        self.run(|upstream, context| upstream.handle_lost(link, context));
    }

    fn cancel(&mut self, call: CallId) {
        self.awaited.remove(&call);
        self.run(|upstream, context| upstream.cancel(call, context));
    }

    /// Goes to the next deadline; how long that took, in milliseconds.
    fn wait(&mut self) -> u128 {
        let deadline = self.upstream.next_deadline().expect("something is awaited");
        assert!(deadline > self.now, "what was due has been done");
        let waited = deadline - self.now;
        self.now = deadline;
        self.run(|upstream, context| upstream.handle_timeout(context));
        waited.as_millis()
    }

    fn counts(&self) -> Counts {
        self.upstream.counts()
    }

    /// Nothing is left to be looked at.
    fn end(mut self) {
        assert_eq!(self.actions, []);
        assert_eq!(self.answer(), None);
        assert_eq!(self.awaited, HashSet::new());
    }
}

const EMPTY: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
