//! [`Login`]: who we are for a Redis, and where our keys are.

use std::fmt;

/// What a URL says besides the place.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// The user of its ACL; `None`: `default`, by the password alone.
    pub user: Option<String>,
    /// The password; `None`: none is sent.
    pub password: Option<Secret>,
    /// The database; 0 is where each connection begins.
    pub database: u32,
    /// What the keys of whoever asks begin with.
    pub prefix: String,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps it.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Its bytes, to be sent.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Neither user nor password.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("database", &self.database)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
