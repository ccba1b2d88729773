//! The files of `certFile` and `pkFile` → [`Certificates`].

use super::config::Config;
use super::report::Problem;
use crate::ops::certificates::{Certificates, FileRole, KeyPair};

impl Config {
    /// The certificates for `wss` addresses, read and checked; `None` if there is no such address.
    pub fn certificates(&self) -> Result<Option<Certificates>, Problem> {
        if !self.has_tls() {
            return Ok(None);
        }
        let keys = if self.key_files.is_empty() {
            &self.cert_files
        } else {
            &self.key_files
        };
        let pairs: Vec<KeyPair> = self
            .cert_files
            .iter()
            .zip(keys)
            .map(|(cert, key)| KeyPair {
                cert_file: cert.clone(),
                key_file: key.clone(),
            })
            .collect();
        Certificates::load(&pairs).map(Some).map_err(|error| {
            let key = match error.role {
                FileRole::Key if !self.key_files.is_empty() => "pkFile",
                FileRole::Key | FileRole::Certificate => "certFile",
            };
            self.problem(key, error)
        })
    }
}
