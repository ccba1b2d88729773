//! What the backplane goes by, as the administrator has set it (protocol.md §11).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key};

use crate::upstream::Target;

/// How several servers become one. Without a target this one is alone.
#[derive(Clone, PartialEq, Eq)]
pub struct BackplaneSettings {
    /// The Redis or Valkey between the servers (`backplane`); `None`: there is none.
    pub target: Option<Target>,
    /// What all keys and channels begin with (`backplanePrefix`).
    pub prefix: String,
    /// What envelopes are signed with (`backplaneSecret`); `None`: by nothing that is secret.
    pub secret: Option<BackplaneSecret>,
    /// How long a push waits for the other servers (`backplaneTimeout`).
    pub timeout: Duration,
    /// Most bytes of envelopes that wait for Redis (`backplaneQueue`).
    pub max_queue_bytes: usize,
    /// PEM file with the roots that Redis is trusted by under TLS (`backplaneCA`); `None`: those of
    /// the system.
    pub roots: Option<PathBuf>,
}

/// Without the target, whose URL may hold a password.
impl fmt::Debug for BackplaneSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackplaneSettings")
            .field("is_set", &self.target.is_some())
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("max_queue_bytes", &self.max_queue_bytes)
            .field("roots", &self.roots)
            .finish_non_exhaustive()
    }
}

impl Default for BackplaneSettings {
    fn default() -> Self {
        Self {
            target: None,
            prefix: DEFAULT_PREFIX.to_owned(),
            secret: None,
            timeout: Duration::from_millis(250),
            max_queue_bytes: 1 << 20,
            roots: None,
        }
    }
}

/// What envelopes are signed with.
#[derive(Clone)]
pub struct BackplaneSecret {
    key: Arc<Key>,
    /// Of the secret, to tell two apart.
    digest: [u8; 32],
}

impl BackplaneSecret {
    /// `None`: the secret is shorter than [`MIN_SECRET_BYTES`].
    pub fn new(secret: &[u8]) -> Option<Self> {
        (secret.len() >= MIN_SECRET_BYTES).then(|| Self::of(secret))
    }

    /// What is signed by it proves only that it has arrived whole.
    pub(super) fn none() -> Self {
        Self::of(&[])
    }

    fn of(secret: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, secret).as_ref());
        Self {
            key: Arc::new(Key::new(HMAC_SHA256, secret)),
            digest: bytes,
        }
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }
}

/// Two are equal if they sign alike.
impl PartialEq for BackplaneSecret {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for BackplaneSecret {}

/// Without the secret.
impl fmt::Debug for BackplaneSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackplaneSecret")
    }
}

/// Least bytes of a secret: those of what it makes (RFC 2104 §3).
pub const MIN_SECRET_BYTES: usize = 32;

/// What keys and channels begin with unless something else is set.
pub const DEFAULT_PREFIX: &str = "websock:";
