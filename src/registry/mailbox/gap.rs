//! [`Gap`]: why somebody is not told what it has missed.

/// Why what was missed cannot be told (protocol.md 9.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The cursor is one of another server, or of this one before it has lost everything.
    Restart,
    /// More was missed than is kept.
    Overflow,
    /// What was kept for the tab has been dropped.
    Expired,
    /// Messages of other servers may be missing.
    Backplane,
    /// Nobody knows what was missed: the secret is wrong or used, the uuid is another's, the cursor
    /// is none.
    Unknown,
}

impl Gap {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Restart,
        Self::Overflow,
        Self::Expired,
        Self::Backplane,
        Self::Unknown,
    ];

    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Overflow => "overflow",
            Self::Expired => "expired",
            Self::Backplane => "backplane",
            Self::Unknown => "unknown",
        }
    }
}
