//! A public key in a PEM file.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::certificates::pem;
use crate::base::plain;

/// The `SubjectPublicKeyInfo` (RFC 5280 §4.1) that a PEM file of one public key holds (RFC 7468
/// §13), as DER.
///
/// # Errors
/// What is wrong with the file, and what to do; nothing of what it holds.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text));
    read.map_err(|error| format!("{} cannot be read: {}", path.display(), plain(&error)))?;
    let sections = pem::read(&text).map_err(|what| format!("{} {what}", path.display()))?;
    let mut keys = sections
        .into_iter()
        .filter(|section| section.label == "PUBLIC KEY");
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key.der),
        _ => Err(format!(
            "{} has to hold one public key (openssl pkey -in PRIVATE -pubout)",
            path.display()
        )),
    }
}

/// Many times what a file with one key has.
const MAX_BYTES: u64 = 64 << 10;
