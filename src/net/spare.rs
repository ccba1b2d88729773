//! A descriptor kept in reserve, so that connections can be refused when all others are in use.

use std::fs::File;
use std::io;

/// Holds one descriptor open for nothing.
#[derive(Debug)]
pub(super) struct SpareDescriptor(Option<File>);

impl SpareDescriptor {
    pub(super) fn open() -> io::Result<Self> {
        File::open(PATH).map(|file| Self(Some(file)))
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
