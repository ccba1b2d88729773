//! Where a tab stands in all of its streams, and the secret by which it comes back (protocol.md 9.1,
//! 9.3).

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;

use crate::base::random;

/// A place in the order of all messages that are kept: the number of the last one before it, among
/// those of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Random, and another one for each server that does not go on with the streams of the one
    /// before.
    pub(super) epoch: u64,
    /// The number of a message.
    pub(super) number: u64,
}

impl Cursor {
    /// The cursor that this text is; `None`: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, number) = text.split_once('.')?;
        let is_canonical = epoch.len() == EPOCH_LEN && (number == "0" || !number.starts_with('0'));
        let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_canonical || !is_hex(epoch) || !is_hex(number) {
            return None;
        }
        Some(Self {
            epoch: u64::from_str_radix(epoch, 16).ok()?,
            number: u64::from_str_radix(number, 16).ok()?,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{:x}", self.epoch, self.number)
    }
}

/// Digits of an epoch.
const EPOCH_LEN: usize = 16;

/// By which a tab proves that it is the one which has gone: 128 random bits.
pub struct Secret(u128);

impl Secret {
    pub(super) fn new() -> Self {
        let mut bytes = [0; 16];
        random::fill(&mut bytes);
        Self(u128::from_be_bytes(bytes))
    }

    pub(super) fn digest(&self) -> SecretDigest {
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
pub(super) struct SecretDigest([u8; Self::LEN]);

impl SecretDigest {
    /// Bytes of a digest.
    pub(super) const LEN: usize = 16;

    /// The first half of the SHA-256 of a secret's text.
    pub(super) fn of(text: &str) -> Self {
        let whole = digest::digest(&digest::SHA256, text.as_bytes());
        let mut half = [0; Self::LEN];
        half.iter_mut()
            .zip(whole.as_ref())
            .for_each(|(to, &from)| *to = from);
        Self(half)
    }

    pub(super) const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Whether both are the same, in a time that does not tell how much of them is.
    pub(super) fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_has_one_text() {
        for (epoch, number) in [(0, 0), (1, 1), (u64::MAX, u64::MAX), (0xabc, 0x10)] {
            let cursor = Cursor { epoch, number };
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }
        for text in [
            "",
            ".",
            "0000000000000000.",
            "0000000000000000.00",
            "0000000000000000.01",
            "000000000000000.1",
            "00000000000000000.1",
            "0000000000000000.10000000000000000",
            "000000000000000A.1",
            "0000000000000000.+1",
            "+000000000000000.1",
            "0000000000000000.1 ",
            "0000000000000000",
            "0000000000000000.1.1",
            "ééééé000000.1",
        ] {
            assert_eq!(Cursor::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_secret_is_new_each_time_and_only_its_digest_is_like_it() {
        let (one, other) = (Secret::new(), Secret::new());
        assert_eq!(one.to_string().len(), 32);
        assert!(one.digest().is(&SecretDigest::of(&one.to_string())));
        assert!(!one.digest().is(&other.digest()));
        assert_eq!(format!("{one:?}"), "Secret");
    }
}
