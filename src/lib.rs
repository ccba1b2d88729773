//! websock: push messages into browsers from PHP and any other backend.
//!
//! A synchronous, single-threaded WebSocket server (RFC 6455) that speaks the dialogue of
//! phpWebSocketServer, so that its deployed clients go on working.
//!
//! A program of its own binds a [`Server`], adds a [`Resource`] for each path, and runs it:
//!
//! ```no_run
//! use websock::{Client, Endpoint, Handle, Message, Resource, Security, Server, ServerSettings, Standard};
//!
//! /// Says how often it has been spoken to.
//! #[derive(Default)]
//! struct Counter(u64);
//!
//! impl Resource for Counter {
//!     fn on_data(&mut self, _: Client, _: &Message<'_>, handle: &mut Handle<'_>) {
//!         self.0 += 1;
//!         handle.reply(&format!(r#"{{"opcode":"count","count":{}}}"#, self.0));
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoint = Endpoint::tcp("localhost", 8096, Security::Plain);
//! let mut server = Server::bind(ServerSettings::default(), &[endpoint])?;
//! server.add_resource(Some("/web"), Box::new(Standard::new()));
//! server.add_resource(Some("/count"), Box::<Counter>::default());
//! let handle = server.handle();
//! std::thread::spawn(move || {
//!     let reached = handle.push(r#"{"opcode":"broadcast","message":"hello"}"#);
//!     println!("{reached:?}");
//! });
//! server.run()?;
//! # Ok(())
//! # }
//! ```
//!
//! [`client`] is the other end: a blocking client of this server and of others. `ARCHITECTURE.md`
//! says how the server is built.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

/// The example of README.md, compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

#[doc(hidden)]
pub mod api;
#[doc(hidden)]
pub mod app;
#[doc(hidden)]
pub mod base;
#[doc(hidden)]
pub mod cli;
pub mod client;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod connection;
#[doc(hidden)]
pub mod logging;
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod ops;
#[doc(hidden)]
pub mod protocol;
#[doc(hidden)]
pub mod registry;
#[doc(hidden)]
pub mod upstream;

pub use self::api::{Demo, PushError};
pub use self::app::admission::AdmissionSettings;
pub use self::app::peer::ListenerRole;
pub use self::app::sign_in::{SignInSettings, TokenKey, TokenKeyError};
pub use self::app::trusted_proxies::TrustedProxies;
pub use self::app::{
    Client, ClientRequest, Dialogue, Handle, Resource, Sendable, Sends, Standard, WebSends,
};
pub use self::connection::{ConnId, Limits, Message, Text};
pub use self::net::{
    BindError, DrainSettings, Endpoint, HandleError, ListenAddress, ListenerOptions, ProxyProtocol,
    Security, Server, ServerHandle, ServerSettings, SocketFile, StartError,
};
pub use self::ops::certificates::{Certificates, KeyPair};
pub use self::protocol::close_code::CloseCode;
pub use self::protocol::error::Violation;
pub use self::protocol::extension::CompressionSettings;
pub use self::protocol::message::MessageKind;
pub use self::protocol::packet::{Ident, Malformed};
pub use self::registry::{ClientKind, RenameError};
