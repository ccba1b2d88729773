//! Why the files are looked at, and what that has come to.

use std::path::PathBuf;

use log::Level;

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// What there is to say.
    pub text: String,
}

impl Note {
    pub(super) fn new(level: Level, text: String) -> Self {
        Self { level, text }
    }

    /// Writes it to the log.
    pub fn log(&self) {
        log::log!(self.level, "{}", self.text);
    }
}

/// A certificate that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Its file.
    pub file: PathBuf,
    /// The first name that it is for; empty if it is for none.
    pub name: String,
    /// The end of its chain, in seconds since 1970.
    pub not_after: u64,
    /// Whether it is out of its time.
    pub is_broken: bool,
}

/// Why the files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookReason {
    /// Some time has passed: files that look as they did are not read, unless the last attempt has
    /// failed or a certificate is out of its time.
    Timer,
    /// The administrator asks (SIGHUP): everything is read and what is still wrong is told again.
    Hangup,
}

/// What a look has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Certificates that are newly in force.
    pub taken_up: usize,
    /// Certificates that could not be taken up.
    pub failed: usize,
    /// Lines for the log, in order.
    pub notes: Vec<Note>,
}
