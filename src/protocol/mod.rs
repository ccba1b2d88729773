//! RFC 6455 as pure functions and small state machines over bytes.
//!
//! This layer owns framing, masking, reassembly and the opening handshake. It never sees a
//! socket, a clock, randomness, configuration files or a log, and it never panics on input.

pub mod body;
pub mod close;
pub mod close_code;
pub mod cookie;
pub mod decimal;
pub mod deflate;
pub mod error;
pub mod event_stream;
pub mod extension;
pub mod frame;
pub mod handshake;
pub mod host;
pub mod http;
pub mod ident;
pub mod mask;
pub mod media_type;
pub mod message;
pub mod packet;
pub mod php_session;
pub mod redis;
pub mod traffic;
pub mod utf8;
