//! A descriptor kept in reserve, so that connections can be refused when all others are in use.

use std::fs::File;

/// Holds one descriptor open for nothing.
#[derive(Debug)]
pub(super) struct SpareDescriptor(Option<File>);

impl SpareDescriptor {
    /// Where the file is missing, as in an empty container, there is no reserve: then nobody is
    /// refused while descriptors lack, and who waits goes on waiting.
    pub(super) fn open() -> Self {
        Self(File::open(PATH).ok())
    }

    /// Runs `action` with the descriptor free for its use.
    pub(super) fn lend(&mut self, action: impl FnOnce()) {
        if self.0.take().is_some() {
            action();
        }
        // If even this fails, the descriptor comes back with a later call.
        self.0 = File::open(PATH).ok();
    }
}

const PATH: &str = "/dev/null";
