//! Sockets, readiness and time: the only layer that touches the operating system's network.
//!
//! [`Server`] is what a program starts; `event_loop` is one turn after the other: wait; read each
//! ready connection and hand its messages to the application; carry out what the application wants;
//! do what is due; write. All that it needs of the system stands behind the trait `System`.
//! `upstreams` is the server as a client, on the same loop.

mod accepting;
mod acceptor;
mod asking;
mod backplane_trial;
mod broadcasting;
mod broadcasts;
mod callers;
mod carrying_out;
mod certificate_watch;
#[doc(hidden)]
pub mod client_loop;
mod clock;
mod control_channel;
#[doc(hidden)]
pub mod control_message;
mod control_sockets;
mod counts;
mod drain;
mod endpoint;
#[doc(hidden)]
pub mod event_loop;
mod handing_over;
mod handle;
mod handover;
mod link;
mod link_deadlines;
mod link_state;
mod link_table;
mod links;
mod listener;
mod loop_settings;
mod loop_state;
mod memory;
mod mio_system;
mod pending_links;
mod ping_log;
#[doc(hidden)]
pub mod proxy_headers;
#[doc(hidden)]
pub mod proxy_protocol;
mod read_buffer;
mod reading;
mod received;
mod relief;
mod reload_watch;
mod reloading;
mod replayed_forms;
mod replaying;
mod reporting;
#[doc(hidden)]
pub mod resolver;
mod server;
mod service_manager;
mod session_reader;
mod shared_buffers;
mod shared_frame;
mod sign_in_trial;
mod slice;
mod slices;
mod socket;
mod socket_file;
mod spare_descriptor;
mod stopping;
mod summary;
mod supervision;
#[doc(hidden)]
pub mod system;
mod taking_over;
mod timers;
mod tls;
mod tls_client;
mod tls_roots;
mod totals;
mod transport;
mod upstream_connecting;
mod upstream_health;
mod upstream_link;
mod upstreams;
#[doc(hidden)]
pub mod wheel;
mod writing;

pub use self::backplane_trial::{BackplaneFault, try_backplane};
pub use self::drain::DrainSettings;
pub use self::endpoint::{
    Endpoint, ListenAddress, ListenerOptions, ProxyProtocol, Security, SocketFile,
};
pub use self::handle::{HandleError, ServerHandle};
pub use self::listener::{BindError, try_listen};
pub use self::loop_settings::LoopSettings;
pub use self::reload_watch::{NewSettings, ReadAgain};
pub use self::server::{ReadSettings, Server, ServerSettings, StartError};
pub use self::sign_in_trial::SignInTrial;
pub use self::taking_over::{Predecessor, TakeoverError, TakeoverSettings};
pub use self::tls_roots::RootsSource;
