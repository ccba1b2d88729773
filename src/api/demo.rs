//! The switch for the demo page.

/// Whether the demo page is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demo {
    /// It is.
    On,
    /// It is not.
    Off,
}

impl From<bool> for Demo {
    fn from(is_on: bool) -> Self {
        if is_on { Self::On } else { Self::Off }
    }
}
