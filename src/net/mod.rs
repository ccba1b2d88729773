//! Sockets, readiness and time: the only layer that touches the operating system's network.
//!
//! [`Server`] is the loop. One turn of it: wait; read each ready connection and hand its messages to
//! the application; deliver what the application has asked for; do what is due; write.

mod clock;
mod deflation;
mod delivery;
mod endpoint;
mod forwarded;
mod listener;
pub mod proxy_protocol;
mod read_buffer;
mod reading;
mod received;
mod requests;
mod server;
mod shared_buffers;
mod socket;
mod socket_file;
mod spare;
mod table;
mod tls;
mod transport;
pub mod wheel;

pub use self::endpoint::{
    Endpoint, ListenAddress, ListenerOptions, ProxyProtocol, Security, SocketFile,
};
pub use self::listener::{BindError, try_listen};
pub use self::server::{Server, ServerSettings, StartError};
