//! [`SessionId`]: what the cookie of a PHP session holds.

use std::fmt;

/// An id as PHP accepts it (protocol.md 8.2): 1 to 250 of `A-Za-z0-9,-`, so that it is one name of a
/// file and never leads out of a folder.
///
/// Whoever knows it is signed in, so that `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(Box<str>);

impl SessionId {
    /// The longest, in bytes: names of files end at 255, and `sess_` stands before it.
    pub const MAX_BYTES: usize = 250;

    /// `None` if this is no id. Nothing is decoded or trimmed: an id needs neither quotes nor
    /// percent signs.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b',' | b'-');
        if value.is_empty() || value.len() > Self::MAX_BYTES || !value.iter().all(is_allowed) {
            return None;
        }
        Some(Self(str::from_utf8(value).ok()?.into()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // protocol.md 8.2
    #[test]
    fn an_id_is_one_name_of_a_file() {
        let longest = "a".repeat(250);
        for id in ["a", "abcd1234", "a,b-C9", "-", ",", longest.as_str()] {
            let parsed = SessionId::parse(id.as_bytes());
            assert_eq!(parsed.as_ref().map(SessionId::as_str), Some(id));
        }
        let too_long = "a".repeat(251);
        let huge = "a".repeat(8192);
        for value in [
            &b""[..],
            b"\"abc\"",
            b"a%2Cb",
            b"a b",
            b" a",
            b"a.b",
            b"..",
            b"../../etc/passwd",
            b"a/b",
            b"a\\b",
            b"a_b",
            b"a\0",
            b"\0",
            b"a\r\n",
            b"a;b",
            "\u{e4}".as_bytes(),
            b"\xff",
            too_long.as_bytes(),
            huge.as_bytes(),
        ] {
            assert!(
                SessionId::parse(value).is_none(),
                "{}",
                value.escape_ascii()
            );
        }
    }

    #[test]
    fn an_id_is_not_shown() {
        let id = SessionId::parse(b"secret").unwrap();
        assert_eq!(format!("{id:?}"), "SessionId");
    }
}
