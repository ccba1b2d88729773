//! Who may send for which stream of events (protocol.md 9.10).

use std::collections::HashMap;

use crate::base::SecretDigest;
use crate::connection::ConnId;

/// Who may send for which stream: of each one what is kept of the secret that its `ready` tells.
#[derive(Default)]
pub(super) struct Senders(HashMap<ConnId, SecretDigest>);

impl Senders {
    /// From now on whoever has the secret of this digest may send for a stream.
    pub(super) fn insert(&mut self, id: ConnId, secret: SecretDigest) {
        self.0.insert(id, secret);
    }

    /// The stream has ended.
    pub(super) fn remove(&mut self, id: ConnId) {
        if !self.0.is_empty() {
            self.0.remove(&id);
        }
    }

    /// What is kept, for another process.
    pub(super) fn digest(&self, id: ConnId) -> Option<&SecretDigest> {
        self.0.get(&id)
    }

    /// Whether this is the secret. A stream that is not there takes as long as one that is.
    pub(super) fn knows(&self, id: Option<ConnId>, secret: &str) -> bool {
        let known = id.and_then(|id| self.0.get(&id));
        let other = SecretDigest::from_bytes([0; SecretDigest::LEN]);
        let is_equal = SecretDigest::of(secret).is(known.unwrap_or(&other));
        is_equal && known.is_some()
    }
}
