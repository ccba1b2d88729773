//! The server as a client: one target, its connections, and the calls that wait for an answer.

mod error;
pub mod http;
mod target;

pub use self::error::{CallError, ConnectError, ResolveError};
pub use self::target::{Address, Place, Protocol, Security, Target, TargetError};
