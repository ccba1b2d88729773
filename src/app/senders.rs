//! Who may send for which stream of events (protocol.md 9.10).

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::base::random;
use crate::connection::ConnId;

/// Who may send for which stream: of each one a digest of the secret that its `ready` tells.
#[derive(Default)]
pub(super) struct Senders(HashMap<ConnId, [u8; 32]>);

impl Senders {
    /// A new secret, of 128 bits.
    pub(super) fn new_secret() -> String {
        let mut secret = [0; 16];
        random::fill(&mut secret);
        URL_SAFE_NO_PAD.encode(secret)
    }

    /// From now on whoever has this secret may send for a stream.
    pub(super) fn insert(&mut self, id: ConnId, secret: &str) {
        self.0.insert(id, digest_of(secret));
    }

    /// The stream has ended.
    pub(super) fn remove(&mut self, id: ConnId) {
        if !self.0.is_empty() {
            self.0.remove(&id);
        }
    }

    /// The digest, for another process.
    pub(super) fn digest(&self, id: ConnId) -> Option<&[u8; 32]> {
        self.0.get(&id)
    }

    /// Takes what another process has handed over.
    pub(super) fn insert_digest(&mut self, id: ConnId, digest: [u8; 32]) {
        self.0.insert(id, digest);
    }

    /// Whether this is the secret. A stream that is not there takes as long as one that is.
    pub(super) fn knows(&self, id: Option<ConnId>, secret: &str) -> bool {
        let known = id.and_then(|id| self.0.get(&id));
        let is_equal = known.unwrap_or(&[0; 32]).ct_eq(&digest_of(secret));
        bool::from(is_equal) && known.is_some()
    }
}

fn digest_of(secret: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    bytes
}
