//! The backplane: several servers as one, by a Redis between them (protocol.md §11).
//!
//! ```text
//!  Delivery ── to others ──► Backplane ──PUBLISH──► Redis ──► subscriber of another node
//!     ▲                          │  ▲                              │
//!     └──── take_in ◄────────────┘  └──────── receipts ◄───────────┘
//! ```
//!
//! Redis routes, this only publishes, subscribes and counts. `Backplane` is told what the publisher
//! and the subscriber say, and by `Delivery` what clients send; it never
//! sends to a client itself. Each thing that it knows stands in a file of its own: who this node is
//! (`node`), who else is there (`peers`) and is so now (`freshness`), which channels are worth hearing
//! (`interest`), what has not been answered (`routed`). Nothing here waits, and everything that is kept has a limit and a
//! deadline.

#[expect(clippy::module_inception, reason = "it holds what the folder is about")]
mod backplane;
mod channel;
mod clients_here;
mod clock;
mod codec;
mod counts;
mod delivering;
mod envelope;
mod events;
mod figures;
mod finding;
mod freshness;
mod giving;
mod handover;
mod heard_users;
mod hearing;
mod interest;
mod moved_tab;
mod moving;
mod moving_body;
mod node;
mod origins;
mod peer;
mod peers;
mod proving;
mod published;
mod routed;
mod sending;
mod settings;
mod taking;
mod taking_in;
mod telling;
mod timing;
mod window;

pub(super) use self::backplane::Backplane;
pub(super) use self::moved_tab::{ArrivedTab, TabClaim};
pub(super) use self::routed::Total;
pub use self::settings::{BackplaneSecret, BackplaneSettings, DEFAULT_PREFIX, MIN_SECRET_BYTES};
