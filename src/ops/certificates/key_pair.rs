//! What `certFile` and `pkFile` name.

use std::path::PathBuf;

/// Where one certificate and its key are. Each may be a file, a pattern (`*` in the file's name) or
/// a directory; of several files, the newest valid certificate of each name is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// PEM file with the certificate, and behind it those that signed it (`certFile`).
    pub cert_file: PathBuf,
    /// PEM file with the private key (`pkFile`); the same file if it holds both.
    pub key_file: PathBuf,
}

/// Whether a file is wanted for its certificate or for its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileRole {
    /// `certFile`.
    Certificate,
    /// `pkFile`.
    Key,
}
