//! A descriptor kept in reserve, so that connections can be refused when all others are in use.

use std::os::unix::net::UnixDatagram;

/// Holds one descriptor open for nothing.
///
/// It is a socket that is bound to no name and connected to nobody: a file would have to be there,
/// and an empty container does not even have /dev/null.
#[derive(Debug)]
pub(super) struct SpareDescriptor(Option<UnixDatagram>);

impl SpareDescriptor {
    /// Without any descriptor left there is no reserve: then nobody is refused while descriptors
    /// lack, and who waits goes on waiting.
    pub(super) fn open() -> Self {
        Self(UnixDatagram::unbound().ok())
    }

    /// Runs `action` with the descriptor free for its use.
    pub(super) fn lend(&mut self, action: impl FnOnce()) {
        if self.0.take().is_some() {
            action();
        }
        // If even this fails, the descriptor comes back with a later call.
        self.0 = UnixDatagram::unbound().ok();
    }
}
