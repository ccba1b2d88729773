//! Hostile clients against the running server, over real sockets.
//!
//! One module per kind of attack. Each test plays in a [`scene::Scene`]: honest clients are served
//! throughout, and afterwards the server is alive, its descriptors and its memory are back where
//! they were, and it does nothing.

mod deaths;
mod descriptors;
mod event_streams;
mod floods;
mod garbage;
#[expect(
    dead_code,
    reason = "the harness has what the server suite needs as well"
)]
#[path = "../server/harness/mod.rs"]
mod harness;
mod memory;
mod oversized;
mod replay;
mod scene;
mod slow_loris;
mod slow_readers;
mod work;

/// What this suite speaks below WebSocket.
const WIRE: harness::Wire = harness::Wire::Plain;
