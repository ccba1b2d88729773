//! [`LoopState`]: whether the server goes on, and how far it has come with its end.
//!
//! ```text
//! SIGTERM → Leaving → Draining → Ending → Stopping
//!           /ready:   who has    all are  listeners are closed, what is
//!           503       opted in   told,    on its way still leaves
//!                     is told    clients
//!                                go
//!          ├ delay ──┼ spread ──┼ shutdownTimeout at most ──┤
//! ```

use super::drain::Drain;
use crate::base::MonotonicTime;

/// Whether the server goes on, and how far it has come with its end.
#[derive(Debug)]
pub(super) enum LoopState {
    Running,
    /// Everything goes on until this time; only load balancers are told.
    Leaving {
        until: MonotonicTime,
    },
    /// Those who have opted in are told, one after the other. All others have been.
    Draining(Drain),
    /// Everybody has been told; clients who are still there at this time are cut.
    Ending {
        deadline: MonotonicTime,
    },
    /// No client is left, and nobody comes any more: responses still leave.
    Stopping {
        deadline: MonotonicTime,
    },
}
