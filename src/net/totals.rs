//! [`Summary`]: what the log's last line of totals said.

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) told: Totals,
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) tabs: u64,
    pub(super) scripts: u64,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) refused: u64,
}
