//! Keys of the backplane (protocol.md §11): the Redis that makes one server of several.

use std::path::PathBuf;

use super::value::Expected;
use crate::app::backplane::{BackplaneSecret, MIN_SECRET_BYTES};
use crate::upstream::Target;

/// The value of `backplaneSecret`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The secret itself.
    Text(BackplaneSecret),
    /// The file that holds it.
    File(PathBuf),
}

/// The Redis between the servers; empty: this one is alone.
pub(super) fn backplane(text: &str) -> Result<Option<Target>, Expected> {
    if text.is_empty() {
        return Ok(None);
    }
    let target = Target::redis(text).map_err(|error| error.to_string())?;
    match target.redis_prefix() {
        Some("") | None => Ok(Some(target)),
        Some(_) => Err("prefix= is for sessions: set backplanePrefix instead".to_owned()),
    }
}

/// What keys and channels begin with.
pub(super) fn prefix(text: &str) -> Result<String, Expected> {
    let is_fine = |byte: u8| byte.is_ascii_graphic();
    match !text.is_empty() && text.len() <= MAX_PREFIX_BYTES && text.bytes().all(is_fine) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "1 to {MAX_PREFIX_BYTES} printable ASCII characters without blanks are wanted"
        )),
    }
}

/// A secret, or the absolute name of a file that holds one.
pub(super) fn secret(text: &str) -> Result<Option<SecretSource>, Expected> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.starts_with('/') {
        return Ok(Some(SecretSource::File(text.into())));
    }
    let secret = BackplaneSecret::new(text.as_bytes());
    secret
        .map(|secret| Some(SecretSource::Text(secret)))
        .ok_or_else(|| {
            format!(
                "a secret of at least {MIN_SECRET_BYTES} bytes is wanted, as openssl rand -hex 32 \
                 gives it, the same at all servers, or the absolute name of a file that holds it"
            )
        })
}

/// Longest prefix: it stands in each channel that is subscribed to.
const MAX_PREFIX_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_those_of_redis_and_say_nothing_of_a_prefix() {
        for url in [
            "redis://127.0.0.1",
            "rediss://:secret@redis.example:6380/2",
            "unix:/run/redis/redis.sock?password=secret&database=3",
            "redis+sentinel://a,b/master",
        ] {
            assert!(matches!(backplane(url), Ok(Some(_))), "{url}");
        }
        assert_eq!(backplane(""), Ok(None));
        for url in ["127.0.0.1", "http://a", "redis://a?prefix=x", "redis://"] {
            assert!(backplane(url).is_err(), "{url}");
        }
    }

    #[test]
    fn prefixes_and_secrets_have_their_lengths() {
        for (len, is_fine) in [(0, false), (1, true), (64, true), (65, false)] {
            assert_eq!(prefix(&"p".repeat(len)).is_ok(), is_fine, "{len}");
        }
        assert!(prefix("a b").is_err() && prefix("\u{e4}").is_err());
        for (len, is_fine) in [(1, false), (31, false), (32, true), (33, true)] {
            assert_eq!(secret(&"s".repeat(len)).is_ok(), is_fine, "{len}");
        }
        assert_eq!(secret(""), Ok(None));
        let file = Some(SecretSource::File("/etc/x".into()));
        assert_eq!(secret("/etc/x"), Ok(file));
    }
}
