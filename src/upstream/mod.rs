//! The server as a client: one target, its connections, and the calls that wait for an answer.
//!
//! [`Upstream`] is a state machine as [`Connection`](crate::connection::Connection) is: it owns
//! the order of things (look up, connect, ask, keep, back off), the queue, all deadlines, and
//! which call an answer belongs to. It knows nothing of sockets, of the clock, of TLS, or of what
//! an answer means. It is given the time and random numbers by an [`UpstreamContext`], and cannot
//! fail.
//!
//! ```text
//!             call                  Resolve                Connect            Write
//!  App ─────► queue ──► Route: Idle ──► Resolving ──► Ready ──► Link: Connecting ──► Busy ◄─► Kept
//!    ◄─ Answer │                         BackingOff ◄──────────── failed │             │
//!              └── expired ─► Answer                                     Close ◄───────┘
//! ```
//!
//! There are four kinds of calls:
//!
//! - commands: [`call`](Upstream::call), [`cancel`](Upstream::cancel),
//!   [`shut_down`](Upstream::shut_down);
//! - arrivals: [`handle_resolved`](Upstream::handle_resolved),
//!   [`handle_connected`](Upstream::handle_connected),
//!   [`handle_connect_failed`](Upstream::handle_connect_failed), [`receive`](Upstream::receive),
//!   [`handle_eof`](Upstream::handle_eof), [`handle_lost`](Upstream::handle_lost),
//!   [`handle_timeout`](Upstream::handle_timeout);
//! - things to do: [`next_action`](Upstream::next_action), [`next_answer`](Upstream::next_answer),
//!   [`output`](Upstream::output), [`consume_output`](Upstream::consume_output);
//! - questions, of which [`next_deadline`](Upstream::next_deadline) is the one that the loop
//!   needs.
//!
//! After each command and each arrival the loop carries out what `next_action` names until it is
//! `None`, and takes what `next_answer` gives until it is `None`; an action may fail at once, and
//! is answered by an arrival then, which may bring further actions. A connection lives from its
//! [`Action::Connect`] to its [`Action::Close`]; exactly one of these follows each of those, also
//! where the other end has closed. What arrives for one that is closed already is ignored, so that
//! the loop need not care about the order within a turn. It has to read before it writes, though:
//! else a request may be sent on a connection that the kernel knows to be closed.
//!
//! ```
//! use std::time::Duration;
//! use websock::base::MonotonicTime;
//! use websock::upstream::http::Request;
//! use websock::upstream::{Action, Call, CallId, Settings, Target, Upstream, UpstreamContext};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let target = Target::http("http://127.0.0.1:8080/auth.php")?;
//! let request = Request::get(target.protocol(), [("Cookie", b"PHPSESSID=x".as_slice())])?;
//! let mut upstream = Upstream::new(target, Settings::default());
//! let now = MonotonicTime::START;
//! let context = &mut UpstreamContext { now, random: &mut || 4 };
//!
//! let call = Call {
//!     id: CallId(1),
//!     request,
//!     deadline: now + Duration::from_secs(2),
//!     max_body_bytes: 8192,
//! };
//! upstream.call(call, context)?;
//! while let Some(action) = upstream.next_action() {
//!     match action {
//!         // To the resolver; its result goes to `handle_resolved` in a later turn.
//!         Action::Resolve { .. } => unreachable!("an IP address"),
//!         // A socket and, for `server_name`, a TLS session on it; `handle_connected` comes when
//!         // both are established, `handle_connect_failed` when they cannot be.
//!         Action::Connect { link, .. } => upstream.handle_connected(link, context),
//!         // As much as the socket takes, and the rest when it is writable again. Here, all is
//!         // taken, and the answer is there at once.
//!         Action::Write(link) => {
//!             let len = upstream.output(link).len();
//!             upstream.consume_output(link, len);
//!             upstream.receive(link, b"HTTP/1.1 204 No Content\r\n\r\n", context);
//!         }
//!         // The socket is dropped.
//!         Action::Close(_) => {}
//!     }
//! }
//! let answer = upstream.next_answer().ok_or("it has arrived")?;
//! assert_eq!((answer.call, answer.result?.status()), (CallId(1), 204));
//! # Ok(())
//! # }
//! ```

mod arrivals;
mod call;
mod dispatch;
mod error;
pub mod http;
mod link;
mod queue;
pub mod resolve;
mod route;
mod settings;
mod target;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub use self::call::{Answer, Call, CallId, UpstreamId};
pub use self::error::{CallError, ConnectError, ResolveError};
pub use self::link::LinkId;
pub use self::settings::{Settings, UpstreamContext};
pub use self::target::{Address, Place, Protocol, Security, Target, TargetError};

use self::link::{AwaitedBy, Link, LinkState};
use self::queue::CallQueue;
use self::route::Route;
use crate::base::time::MonotonicTime;

/// One target, as far as this server is its client.
#[derive(Debug)]
pub struct Upstream {
    target: Target,
    settings: Settings,
    route: Route,
    queue: CallQueue,
    /// All connections, at most `settings.concurrency`.
    links: Vec<Link>,
    next_link: u64,
    actions: VecDeque<Action>,
    answers: VecDeque<Answer>,
    counts: Counts,
    is_shut_down: bool,
}

/// Something for the loop to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Look up this name; [`Upstream::handle_resolved`] follows. No second one comes before.
    Resolve {
        /// The name.
        host: String,
        /// The port that the addresses are to bear.
        port: u16,
    },
    /// Open a connection; [`Upstream::handle_connected`] or [`Upstream::handle_connect_failed`]
    /// follows, unless [`Action::Close`] comes first.
    Connect {
        /// The name of the connection from now on.
        link: LinkId,
        /// Where to. If that fails, the next address comes with a `Connect` of its own.
        address: Address,
        /// For TLS, the host name or IP address that the certificate has to bear.
        server_name: Option<String>,
    },
    /// There is [`output`](Upstream::output) for this connection.
    Write(LinkId),
    /// The end of this connection, whatever has become of it.
    Close(LinkId),
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that had an answer, whatever its status.
    pub answered: u64,
    /// Calls that had none.
    pub failed: u64,
    /// Calls that were sent twice, because the kept connection was dead.
    pub repeated: u64,
    /// Answers that nobody waited for any more.
    pub late: u64,
    /// Connections that were established.
    pub connected: u64,
    /// Connections that could not be established, and names that could not be looked up.
    pub connect_failures: u64,
    /// Connections that were closed because of bytes that nobody had asked for.
    pub unsolicited: u64,
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
