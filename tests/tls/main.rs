//! Certificates: what starts, what is served, what is refused and why, and renewal under load.
//!
//! All of them are made when the tests run. What is served is seen from the client's side.

mod authority;
mod certificates;
mod figures;
#[expect(
    dead_code,
    reason = "the harness has what the server suite needs as well"
)]
#[path = "../server/harness/mod.rs"]
mod harness;
mod mistakes;
mod renewal;
mod selection;
mod sessions;

/// What this suite speaks below WebSocket.
const WIRE: harness::Wire = harness::Wire::Tls;
