//! Redis and Valkey as a client: commands that are sent one behind the other without waiting, their
//! values in the same order, over one connection.
//!
//! Owns what is said before the first command (password, database, name), which value belongs to
//! which call, and how a target's URL is written. RESP itself is
//! [`protocol::redis`](crate::protocol::redis); connecting, queueing and pauses are the trunk's.
//!
//! # Calls
//!
//! A loop gets a target by `add_upstream(target, Settings::redis())`; the application asks by
//! `Commands::call(upstream, Call { request: request.into(), .. })` and is given an
//! `Event::Answered`, exactly once, by the call's deadline: [`Answer::into_redis`] has one [`Value`]
//! for each command, or a [`CallError`] that says why there is none. A command that Redis has
//! refused is a [`Value::Error`]; that nobody is let in (password, cluster mode, loading) is a
//! [`CallError::Rejected`]. Commands that only read are sent once more when their connection is
//! lost; others are not, for it is not known whether they have been carried out.
//!
//! # Subscribers
//!
//! `add_upstream_with(Upstream::subscriber(target, settings), roots)` is a connection of its own.
//! `Commands::subscribe` and `unsubscribe` change what is wanted; `Event::Subscriber` brings a
//! [`SubscriberEvent`] for each thing that happens, in order. What is published meanwhile goes by
//! another target, with [`Settings::upkeep`] set to [`Upkeep::Always`]: `PUBLISH` is answered by
//! the number of its receivers. What waits there is bounded by [`Settings::max_queued_bytes`] and
//! by the deadlines of the calls.
//!
//! [`Answer::into_redis`]: super::Answer::into_redis
//! [`CallError`]: super::CallError
//! [`CallError::Rejected`]: super::CallError::Rejected
//! [`Settings::upkeep`]: super::Settings::upkeep
//! [`Settings::max_queued_bytes`]: super::Settings::max_queued_bytes
//! [`Upkeep::Always`]: super::Upkeep::Always
//!
//! ```
//! use websock::upstream::redis::{Request, Value};
//! use websock::upstream::{Settings, Target, Upstream};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let target = Target::redis("unix:/run/redis/redis.sock?prefix=PHPREDIS_SESSION:")?;
//! let prefix = target.redis_prefix().unwrap_or_default().to_owned();
//! let upstream = Upstream::new(target, Settings::redis());
//! // What a session lookup asks. The lock comes first: a script that ends between the two has
//! // written its session before it gives the lock back.
//! let key = format!("{prefix}0123456789abcdef");
//! let request = Request::new("EXISTS", &[format!("{key}_LOCK").as_bytes()])
//!     .then("GET", &[key.as_bytes()]);
//! // The answer to it: one value for each command.
//! # let values = vec![Value::Integer(0), Value::Bytes(b"user|i:42;".to_vec())];
//! match &values[..] {
//!     [Value::Integer(0), Value::Bytes(session)] => assert_eq!(session, b"user|i:42;"),
//!     [Value::Integer(0), Value::Nil] => println!("no session"),
//!     [Value::Integer(_), _] => println!("a script is at it: ask again later"),
//!     // `Value::Error` says why.
//!     _ => println!("not known"),
//! }
//! # drop((upstream, request)); Ok(())
//! # }
//! ```

mod introduction;
mod login;
mod request;
mod subscriber;
mod subscriptions;
mod url;
mod wire;

pub(super) use self::introduction::{Introduction, Progress};
pub use self::login::{Login, Secret};
pub use self::request::Request;
pub(super) use self::subscriber::Subscriber;
pub use self::subscriptions::SubscriberEvent;
pub(super) use self::subscriptions::Subscriptions;
pub use self::url::RedisUrlError;
pub(super) use self::wire::Wire;
pub use crate::protocol::redis::{ErrorKind, Value};
