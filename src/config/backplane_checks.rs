//! What the keys of the backplane mean together, and the file that one of them names.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::backplane::SecretSource;
use super::config::Config;
use super::report::Problem;
use crate::app::backplane::{BackplaneSecret, DEFAULT_PREFIX, MIN_SECRET_BYTES};
use crate::base::plain;

impl Config {
    /// The secret of the backplane, from where `backplaneSecret` says that it is.
    pub(super) fn read_backplane_secret(&mut self) -> Result<(), Problem> {
        let secret = match &self.backplane_secret {
            None => return Ok(()),
            Some(SecretSource::Text(secret)) => secret.clone(),
            Some(SecretSource::File(path)) => {
                read(path).map_err(|reason| self.problem("backplaneSecret", reason))?
            }
        };
        self.server.backplane.secret = Some(secret);
        Ok(())
    }

    pub(super) fn backplane_oddities(&self) -> Vec<String> {
        let backplane = &self.server.backplane;
        let is_set = [
            ("backplaneSecret", self.backplane_secret.is_some()),
            ("backplanePrefix", backplane.prefix != DEFAULT_PREFIX),
            ("backplaneCA", backplane.roots.is_some()),
        ];
        let unused = is_set.iter().filter(|(_, is_set)| *is_set);
        let unused = unused.filter(|_| backplane.target.is_none());
        let reason = "not used, as backplane is not set";
        let unused = unused.map(|(key, _)| self.problem(key, reason).to_string());
        let is_unsigned = backplane.target.is_some() && self.backplane_secret.is_none();
        let unsigned = is_unsigned.then(|| self.problem("backplane", UNSIGNED).to_string());
        unused.chain(unsigned).collect()
    }
}

/// The secret that a file holds, without the end of its line.
fn read(path: &Path) -> Result<BackplaneSecret, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).and_then(|file| {
        let limit = MAX_SECRET_BYTES + 1;
        file.take(limit).read_to_end(&mut bytes)
    });
    file.map_err(|error| format!("{} cannot be read: {}", path.display(), plain(&error)))?;
    let secret = bytes.trim_ascii_end();
    let is_short = u64::try_from(bytes.len()).is_ok_and(|len| len <= MAX_SECRET_BYTES);
    let secret = BackplaneSecret::new(secret).filter(|_| is_short);
    secret.ok_or_else(|| {
        format!(
            "{} has to hold a secret of {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes (openssl \
             rand -hex 32)",
            path.display()
        )
    })
}

const UNSIGNED: &str = "backplaneSecret is not set: whoever may publish in that Redis can send to \
    all pages; set the same secret at all servers (openssl rand -hex 32)";

/// Longest secret in a file.
const MAX_SECRET_BYTES: u64 = 4096;
