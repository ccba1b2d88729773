//! [`ControlSockets`]: where successors ask, and those who do.

use std::collections::BTreeMap;

use super::control_channel::{ControlChannel, ControlListener};

/// The control socket, if there is one, and who has called.
#[derive(Debug, Default)]
pub(super) struct ControlSockets {
    pub(super) listener: Option<ControlListener>,
    pub(super) callers: BTreeMap<usize, ControlChannel>,
    pub(super) called_count: usize,
}
