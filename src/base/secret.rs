//! [`Secret`]: what proves that somebody is who was here before, and what is kept of it.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;

use super::random;

/// What somebody is told once and proves himself by later: 128 random bits, as 32 digits.
pub struct Secret(u128);

impl Secret {
    /// A new one.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        let mut bytes = [0; 16];
        random::fill(&mut bytes);
        Self(u128::from_be_bytes(bytes))
    }

    /// What is kept of it.
    pub fn digest(&self) -> SecretDigest {
        SecretDigest::of(&self.to_string())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What is kept of a secret.
#[derive(Clone, Copy)]
pub struct SecretDigest([u8; Self::LEN]);

impl SecretDigest {
    /// Bytes of a digest.
    pub const LEN: usize = 16;

    /// The first half of the SHA-256 of a secret's text.
    pub fn of(text: &str) -> Self {
        Self(half_sha256(text))
    }

    /// One that was kept.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes, to be kept.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Whether both are the same, in a time that does not tell how much of them is.
    pub fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

/// It is nobody's business either.
impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest")
    }
}

/// The first half of the SHA-256 of a text.
pub fn half_sha256(text: &str) -> [u8; 16] {
    let whole = digest::digest(&digest::SHA256, text.as_bytes());
    let mut half = [0; 16];
    half.iter_mut()
        .zip(whole.as_ref())
        .for_each(|(to, &from)| *to = from);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_new_each_time_and_only_its_digest_is_like_it() {
        let (one, other) = (Secret::new(), Secret::new());
        assert_eq!(one.to_string().len(), 32);
        assert!(one.digest().is(&SecretDigest::of(&one.to_string())));
        assert!(!one.digest().is(&other.digest()));
        assert_eq!(format!("{one:?}"), "Secret");
    }
}
