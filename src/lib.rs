//! websock: push messages into browsers from PHP and any other backend.
//!
//! A synchronous, single-threaded WebSocket server (RFC 6455) that speaks the dialogue of
//! phpWebSocketServer, so that its deployed clients go on working. Bytes and the time go in,
//! events and bytes come out: only [`net`] touches sockets, and only its loop asks the clock.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

/// The example of README.md, compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

pub mod api;
pub mod app;
pub mod base;
pub mod cli;
pub mod client;
pub mod config;
pub mod connection;
pub mod logging;
pub mod net;
pub mod ops;
pub mod protocol;
pub mod registry;
pub mod upstream;
