//! [`SentinelSearch`]: which Redis is the master now, by asking one Sentinel after the other.
//!
//! It takes the place of looking up a name: [`Route`](super::route::Route) waits for addresses, and
//! these come from here.
//!
//! ```text
//!   Idle ──► LookingUp ──► Asking ──► (a name?) LookingUpMaster ──► the route has addresses
//!               └── next Sentinel ◄──┘
//! ```

use super::error::CallError;

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct SentinelSearch {
    pub(super) stage: Stage,
    /// Which of them is asked, counted from the one that has known last.
    pub(super) tried: usize,
    /// The one that has known last.
    pub(super) first: usize,
    /// Why the first one has not helped.
    pub(super) first_error: Option<CallError>,
    /// What the master is called, for its certificate.
    pub(super) master: Option<(String, u16)>,
    pub(super) lookup: Lookup,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Idle,
    /// The name of a Sentinel is being looked up.
    LookingUp,
    /// A connection to a Sentinel is under way.
    Asking,
    /// The name of the master is being looked up.
    LookingUpMaster,
}

/// Names are looked up one at a time, also if the result is not waited for any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lookup {
    #[default]
    None,
    Wanted,
    GivenUp,
}

impl SentinelSearch {
    /// What the master is called.
    pub(super) fn master_name(&self) -> Option<&str> {
        self.master.as_ref().map(|(host, _)| host.as_str())
    }
}
