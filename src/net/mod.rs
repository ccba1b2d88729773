//! Sockets, readiness and time: the only layer that touches the operating system's network.
//!
//! [`Server`] is the loop. One turn of it: wait; read each ready connection and hand its messages to
//! the application; deliver what the application has asked for; do what is due; write.

mod deflation;
mod delivery;
mod forwarded;
mod listener;
mod notice;
mod reading;
mod requests;
mod server;
mod sharing;
mod spare;
mod table;
mod tls;
mod transport;
pub mod wheel;

pub use self::listener::{BindError, Endpoint, Security};
pub use self::server::{Server, Settings, StartError};
