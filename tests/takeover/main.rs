//! The server is replaced while it runs: a new process takes the listening sockets and all connections
//! over (`--takeover`, SIGUSR2), and nobody notices.
//!
//! One module for what clients keep, one for what goes wrong, one for a crowd of them under load, one
//! for a server that is one of several.
//! Whoever is connected checks the order of all that it gets, so nothing can be lost or come twice
//! unseen.

mod broken;
mod crowd;
mod fleet;
#[expect(
    dead_code,
    reason = "the harness has what the server suite needs as well"
)]
#[path = "../server/harness/mod.rs"]
mod harness;
mod kept;
mod load;
mod played;
mod several;

/// What this suite speaks below WebSocket.
const WIRE: harness::Wire = harness::Wire::Plain;
