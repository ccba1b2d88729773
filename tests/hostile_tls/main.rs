//! Hostile clients over TLS: those of `tests/hostile`, and attacks on TLS itself.

mod attacks;
#[path = "../hostile/deaths.rs"]
mod deaths;
#[path = "../hostile/descriptors.rs"]
mod descriptors;
#[path = "../hostile/floods.rs"]
mod floods;
#[expect(
    dead_code,
    reason = "the harness has what the server suite needs as well"
)]
#[path = "../server/harness/mod.rs"]
mod harness;
#[path = "../hostile/oversized.rs"]
mod oversized;
#[path = "../hostile/scene.rs"]
mod scene;
#[path = "../hostile/slow_loris.rs"]
mod slow_loris;
#[path = "../hostile/slow_readers.rs"]
mod slow_readers;

// Left out: `garbage`. It is about bytes on a plain port; `attacks` has those for a TLS port.

/// What this suite speaks below WebSocket.
const WIRE: harness::Wire = harness::Wire::Tls;
