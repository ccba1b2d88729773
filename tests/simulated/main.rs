//! Connections as state machines, and the server's own event loop, without sockets: two ends joined
//! by byte queues, and a clock moved by hand.
//!
//! No socket, no sleep, no thread; every loop has a bound, every run gives the same result. The far
//! end is a small encoder and decoder of its own, which shares no code with the crate.
//!
//! [`turns`] drives the real loop over [`system`]: the order in a turn, everybody's share, memory.
//! [`network`] is the seeded simulation: dozens of peers with delays, resets and clock jumps. A
//! seed that fails is printed; `SIM_SEED=N cargo test --test simulated network` repeats it, and
//! `SIM_SEEDS=10000` runs that many.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod attack;
mod client;
mod closing;
mod cluster;
mod codec;
mod framing;
mod handshake;
mod host;
mod keepalive;
mod limits;
mod network;
mod pacing;
mod properties;
mod queue;
mod random;
mod server;
mod system;
mod turns;
mod violations;
