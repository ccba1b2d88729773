//! Hostile clients over TLS: those of `tests/hostile`, and attacks on TLS itself.

#[path = "../hostile/deaths.rs"]
mod deaths;
#[path = "../hostile/descriptors.rs"]
mod descriptors;
#[path = "../hostile/event_streams.rs"]
mod event_streams;
#[path = "../hostile/floods.rs"]
mod floods;
mod fragments;
mod handshakes;
#[expect(
    dead_code,
    reason = "the harness has what the server suite needs as well"
)]
#[path = "../server/harness/mod.rs"]
mod harness;
mod mutated;
#[path = "../hostile/oversized.rs"]
mod oversized;
#[expect(dead_code, reason = "the simulation needs more of it")]
#[path = "../simulated/random.rs"]
mod random;
#[path = "../hostile/scene.rs"]
mod scene;
mod sessions;
#[path = "../hostile/slow_loris.rs"]
mod slow_loris;
#[path = "../hostile/slow_readers.rs"]
mod slow_readers;

// Left out: `garbage`, which is about bytes on a plain port (`handshakes` has those for a TLS port),
// and `memory` and `work`, which are about what is held and done above TLS (`handshakes` has what is
// below).

/// What this suite speaks below WebSocket.
const WIRE: harness::Wire = harness::Wire::Tls;
