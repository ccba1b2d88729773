//! The real loop with one target, driven by a test.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use websock::net::client_loop::ClientLoop;
use websock::upstream::http::{Method, Request, Response};
use websock::upstream::{Answer, Call, CallError, CallId, Settings, Target, Upstream, UpstreamId};

/// A loop and its target.
pub(crate) struct Driver {
    event_loop: ClientLoop,
    id: UpstreamId,
    next_call: u64,
    answers: VecDeque<Answer>,
    /// Body limit of the calls to come.
    pub(crate) max_body_bytes: usize,
}

impl Driver {
    /// Asks what this URL names.
    pub(crate) fn new(url: &str, settings: Settings) -> Self {
        let mut event_loop = ClientLoop::new().expect("a loop");
        let id = event_loop.add_upstream(Target::http(url).expect("a URL"), settings);
        Self {
            event_loop,
            id,
            next_call: 0,
            answers: VecDeque::new(),
            max_body_bytes: 8192,
        }
    }

    /// One connection at a time.
    pub(crate) fn single(url: &str) -> Self {
        let concurrency = 1;
        Self::new(
            url,
            Settings {
                concurrency,
                ..Settings::default()
            },
        )
    }

    /// The target's machine.
    pub(crate) fn upstream(&self) -> &Upstream {
        self.event_loop.upstream(self.id).expect("it was added")
    }

    /// Turns of the loop so far.
    pub(crate) fn turn_count(&self) -> usize {
        self.event_loop.turn_count()
    }

    /// Begins a call that may take `wait`. Its answer may be there already.
    pub(crate) fn begin(
        &mut self,
        method: Method,
        path: &str,
        body: &[u8],
        wait: Duration,
    ) -> CallId {
        let id = CallId(self.next_call);
        self.next_call += 1;
        let protocol = self.upstream().target().protocol().clone();
        let request = Request::new(method, &protocol, path, [], body).expect("a request");
        let call = Call {
            id,
            request: request.into(),
            deadline: self.event_loop.now() + wait,
            max_body_bytes: self.max_body_bytes,
        };
        self.event_loop.call(self.id, call);
        id
    }

    /// Asks and waits for the answer.
    pub(crate) fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: &[u8],
    ) -> Result<Response, CallError> {
        let id = self.begin(method, path, body, PATIENCE);
        let answer = self.next_answer();
        assert_eq!(answer.call, id);
        answer.into_http()
    }

    /// Asks by GET: status and body.
    pub(crate) fn get(&mut self, path: &str) -> Result<(u16, String), CallError> {
        let response = self.ask(Method::Get, path, b"")?;
        let body = String::from_utf8_lossy(response.body()).into_owned();
        Ok((response.status(), body))
    }

    /// Asks by GET with a deadline that a slow server misses: why there is no answer.
    pub(crate) fn get_in_vain(&mut self, wait: Duration) -> CallError {
        self.begin(Method::Get, "/", b"", wait);
        self.next_answer().result.expect_err("no answer")
    }

    /// Waits for an answer.
    pub(crate) fn next_answer(&mut self) -> Answer {
        self.turn_until(|driver| !driver.answers.is_empty());
        self.answers.pop_front().expect("it has been waited for")
    }

    /// Goes on until the condition holds.
    pub(crate) fn turn_until(&mut self, is_enough: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE * 2;
        self.take_answers();
        while !is_enough(self) {
            assert!(
                Instant::now() < deadline && self.event_loop.next_wait().is_some(),
                "what is waited for does not come"
            );
            self.event_loop.turn().expect("a turn");
            self.take_answers();
        }
    }

    fn take_answers(&mut self) {
        while let Some((upstream, answer)) = self.event_loop.next_answer() {
            assert_eq!(upstream, self.id);
            self.answers.push_back(answer);
        }
    }
}

/// How long a test waits for what has to happen.
const PATIENCE: Duration = Duration::from_secs(30);
