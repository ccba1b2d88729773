//! [`Deliveries`]: how much is brought about for others; [`NOBODY`]: by no connection.

use crate::connection::ConnId;

/// What a connection's messages bring about for others, of which it has a share of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// Bytes of the frames.
    pub frame_bytes: usize,
    /// Queues that they go to.
    pub count: usize,
}

/// The sender of what comes from no connection.
pub const NOBODY: ConnId = ConnId {
    slot: u32::MAX,
    generation: u32::MAX,
};
