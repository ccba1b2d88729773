//! What is counted.

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that had an answer, whatever its status.
    pub answered: u64,
    /// Calls that had none.
    pub failed: u64,
    /// Calls that were sent twice, because the kept connection was dead.
    pub repeated: u64,
    /// Answers that nobody waited for any more.
    pub late: u64,
    /// Connections that were established.
    pub connected: u64,
    /// Connections that could not be established, and names that could not be looked up.
    pub connect_failures: u64,
    /// Connections that were closed because of bytes that nobody had asked for.
    pub unsolicited: u64,
    /// Messages to a subscriber that were too long to be kept.
    pub skipped: u64,
}
