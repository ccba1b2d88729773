//! The application protocol: resources, the dialogue, the registry of clients.
//!
//! A message reaches a [`Resource`], which leaves commands in the [`Outbox`] through its
//! [`Handle`]. It never reaches another connection, so nothing is re-entered and nothing is freed
//! under a caller. Sockets and the queues of other connections are not known here.

pub mod admission;
pub mod outbox;
pub mod peer;
mod push;
pub mod resource;
mod session;
mod standard;
pub mod trusted_proxies;

pub use self::outbox::{Audience, Command, Outbox};
pub use self::push::{PushRefusal, Pushing};
pub use self::resource::{Client, Dialogue, Handle, Resource};
pub use self::session::{App, AppSettings, Decision, PushError, Pushed, UpgradeRequest};
pub use self::standard::Standard;
