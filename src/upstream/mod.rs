//! The server as a client: one target, its connections, and the calls that wait for an answer.

mod target;

pub use self::target::{Address, Place, Protocol, Security, Target, TargetError};
