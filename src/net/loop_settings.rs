//! [`LoopSettings`]: what the loop itself goes by.

use std::time::Duration;

use super::drain::DrainSettings;
use crate::connection::Limits;
use crate::protocol::extension::CompressionSettings;

/// What the loop itself is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopSettings {
    /// What each connection may use.
    pub limits: Limits,
    /// Most connections that have not become clients (`maxPending`).
    pub max_pending: usize,
    /// Most memory for queues, unfinished messages and chunks of all connections, in bytes
    /// (`memoryLimit`).
    pub memory_limit_bytes: usize,
    /// Longest time for goodbyes, once everybody has been told to go (`shutdownTimeout`).
    pub shutdown_timeout: Duration,
    /// How clients are told to go.
    pub drain: DrainSettings,
    /// Time between two lines of totals in the log (`logSummary`); zero: there are none.
    pub summary_interval: Duration,
    /// How broadcasts are compressed.
    pub compression: CompressionSettings,
}
