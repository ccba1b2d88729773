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
//! The trunk knows no protocol. Once a connection is established, a `Wire` says what its bytes
//! mean: [`http`] carries one call at a time, [`redis`] many. Redis has two more stages: an
//! introduction (password, database) before the first call, and, for a target by Sentinels, a
//! search for the master in the place of a look-up.
//!
//! There are four kinds of calls:
//!
//! - commands: [`call`](Upstream::call), [`cancel`](Upstream::cancel),
//!   [`shut_down`](Upstream::shut_down); for a subscriber of Redis
//!   [`subscribe`](Upstream::subscribe) and [`unsubscribe`](Upstream::unsubscribe);
//! - arrivals: [`handle_resolved`](Upstream::handle_resolved),
//!   [`handle_connected`](Upstream::handle_connected),
//!   [`handle_connect_failed`](Upstream::handle_connect_failed), [`receive`](Upstream::receive),
//!   [`handle_eof`](Upstream::handle_eof), [`handle_lost`](Upstream::handle_lost),
//!   [`handle_timeout`](Upstream::handle_timeout);
//! - things to do: [`next_action`](Upstream::next_action), [`next_answer`](Upstream::next_answer),
//!   [`next_subscriber_event`](Upstream::next_subscriber_event), [`output`](Upstream::output), [`consume_output`](Upstream::consume_output);
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
//!     request: request.into(),
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
//! assert_eq!((answer.call, answer.into_http()?.status()), (CallId(1), 204));
//! # Ok(())
//! # }
//! ```

mod action;
mod arrivals;
mod call;
mod counts;
mod dispatch;
mod error;
pub mod http;
mod link;
mod queue;
pub mod redis;
mod route;
mod searching;
mod sentinel_search;
mod settings;
mod target;
#[cfg(test)]
mod tests;
mod upstream;
mod wire;
mod wire_context;

pub use self::action::Action;
pub use self::call::{Answer, Call, CallId, Request, Response, UpstreamId};
pub use self::counts::Counts;
pub use self::error::{CallError, ConnectError, ResolveError};
pub use self::link::LinkId;
pub use self::settings::{Settings, Upkeep, UpstreamContext};
pub(crate) use self::target::literal_addresses;
pub use self::target::{Address, Place, Protocol, Security, Target, TargetError};
pub use self::upstream::Upstream;
