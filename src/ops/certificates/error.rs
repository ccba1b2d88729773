//! Why a certificate cannot be used.

use std::fmt;
use std::path::{Path, PathBuf};

use super::key_pair::FileRole;

/// Why a certificate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    /// The file that is to be mended.
    pub file: PathBuf,
    /// What it is wanted for.
    pub role: FileRole,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

impl TlsError {
    pub(super) fn new(file: &Path, role: FileRole, reason: String) -> Self {
        Self {
            file: file.to_owned(),
            role,
            reason,
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

impl std::error::Error for TlsError {}
