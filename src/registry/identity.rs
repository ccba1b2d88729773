//! Who is at the other end, as far as it is known: a user, a session of the application.

use std::borrow::Cow;
use std::fmt;

use smol_str::SmolStr;

use crate::base::half_sha256;

/// Longest name of a user, in bytes (protocol.md 8.9). Applications use numbers, UUIDs and mail
/// addresses, the longest of which has 254.
pub const MAX_USER_BYTES: usize = 255;

/// A user of the application, by the id that the application gives: 1 to [`MAX_USER_BYTES`] bytes
/// of UTF-8 without control characters.
///
/// Compared byte by byte: `042` and `42` are two users, for an identity must not depend on how a
/// number is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserId(SmolStr);

/// A session of the application, by a digest of its id: the id itself opens the session, so the
/// registry does not keep it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionDigest([u8; Self::LEN]);

/// Who is at the other end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user; `None`: it was let in without a name, or is anonymous.
    pub user: Option<UserId>,
    /// The session that has said so, if it was one.
    pub session: Option<SessionDigest>,
}

/// Whom a logout is for: everybody who has this user *or* this session (protocol.md 8.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logout<'a> {
    /// The user's id; empty: none.
    pub user: Cow<'a, str>,
    /// The session.
    pub session: Option<SessionDigest>,
}

impl UserId {
    /// `None` if `text` is no user's id.
    pub fn new(text: &str) -> Option<Self> {
        let is_one =
            !text.is_empty() && text.len() <= MAX_USER_BYTES && !text.chars().any(char::is_control);
        is_one.then(|| Self(SmolStr::new(text)))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SessionDigest {
    /// Bytes of a digest.
    pub const LEN: usize = 16;

    /// The digest of a session's id: the first half of its SHA-256.
    pub fn of(id: &str) -> Self {
        Self(half_sha256(id))
    }

    /// The digest that [`as_bytes`](Self::as_bytes) has given.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for SessionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionDigest")
    }
}

impl Identity {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.user.is_none() && self.session.is_none()
    }
}

impl Logout<'_> {
    /// Whether it is for nobody.
    pub fn is_empty(&self) -> bool {
        self.user.is_empty() && self.session.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_1_to_255_bytes_and_no_control_characters() {
        let table = [
            ("42", true),
            ("jane.doe@example.org", true),
            ("Jané Doe ", true),
            (&"a".repeat(MAX_USER_BYTES - 1), true),
            (&"a".repeat(MAX_USER_BYTES), true),
            (&"a".repeat(MAX_USER_BYTES + 1), false),
            ("", false),
            ("a\nb", false),
            ("\0", false),
            ("\u{7f}", false),
            ("\u{85}", false),
        ];
        for (text, is_one) in table {
            let user = UserId::new(text);
            assert_eq!(user.is_some(), is_one, "{text:?}");
            assert!(user.is_none_or(|user| user.as_str() == text));
        }
    }

    #[test]
    fn a_digest_is_the_first_half_of_sha_256() {
        // FIPS 180-2, B.1.
        let digest = SessionDigest::of("abc");
        assert_eq!(
            digest.as_bytes(),
            b"\xba\x78\x16\xbf\x8f\x01\xcf\xea\x41\x41\x40\xde\x5d\xae\x22\x23"
        );
        assert_eq!(SessionDigest::from_bytes(*digest.as_bytes()), digest);
        assert_ne!(SessionDigest::of("abd"), digest);
        assert_eq!(format!("{digest:?}"), "SessionDigest");
    }
}
