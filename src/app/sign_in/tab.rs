//! [`Tab`]: an open connection of somebody who has signed in.

use super::fingerprint::Fingerprint;
use crate::base::MonotonicTime;

/// An open connection of somebody who has signed in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tab {
    /// It shares what is asked about this visitor.
    OfVisitor(Fingerprint),
    /// Its token ends then.
    OfToken(MonotonicTime),
}
