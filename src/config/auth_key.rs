//! [`AuthKey`]: the value of `authKey`.

use std::path::PathBuf;

use crate::app::sign_in::TokenKey;

/// What tokens are checked with, as the key names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthKey {
    /// A secret.
    Secret(TokenKey),
    /// A PEM file with a public key.
    File(PathBuf),
}
