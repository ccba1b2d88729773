//! Tickets: proof that somebody was signed in a moment ago, so that ten thousand tabs can come back
//! after a restart without as many questions.
//!
//! ```text
//! base64url( version | expiry, seconds, 4 bytes | kind | user … | 16 bytes of HMAC-SHA-256 )
//! ```
//!
//! What the cookies say of the visitor is part of what is signed, and not of the ticket: without
//! the same cookies it is worth nothing. Whoever comes in by one is asked about soon after.

use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use super::fingerprint::Fingerprint;
use super::verdict::Standing;
use super::visitor::Source;
use crate::registry::{MAX_USER_BYTES, UserId};

/// How long a ticket is good for.
pub(super) const LIFETIME: Duration = Duration::from_secs(300);

/// The key that tickets are signed with.
#[derive(Clone)]
pub struct TicketKey(hmac::Key);

/// What an honest ticket says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) standing: Standing,
    /// Who has said so, and is asked again.
    pub(super) source: Source,
    /// How long ago it was given.
    pub(super) age: Duration,
}

impl TicketKey {
    /// A key of 32 random bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, bytes))
    }

    /// A ticket for a visitor of whom `source` has said yes at `answered`, since 1970; `None` for
    /// who has not signed in.
    pub(super) fn issue(
        &self,
        standing: &Standing,
        source: Source,
        visitor: &Fingerprint,
        answered: Duration,
    ) -> Option<String> {
        let Standing::SignedIn(user) = standing else {
            return None;
        };
        let expiry = u32::try_from((answered + LIFETIME).as_secs()).ok()?;
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&expiry.to_be_bytes());
        let name = if user.is_some() { NAMED } else { NAMELESS };
        bytes.push(match source {
            Source::Session => name,
            Source::Url => name | OF_URL,
        });
        bytes.extend_from_slice(user.as_ref().map_or("", UserId::as_str).as_bytes());
        let tag = self.tag(&bytes, visitor);
        bytes.extend_from_slice(&tag);
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a ticket says of this visitor; `None` if it is not ours, too old, or somebody else's.
    pub(super) fn open(&self, text: &str, visitor: &Fingerprint, now: Duration) -> Option<Ticket> {
        if text.len() > MAX_TEXT_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (signed, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG_BYTES)?)?;
        if !bool::from(self.tag(signed, visitor).ct_eq(tag)) {
            return None;
        }
        let (&[VERSION, e0, e1, e2, e3, kind], user) = signed.split_first_chunk()? else {
            return None;
        };
        let expiry = u64::from(u32::from_be_bytes([e0, e1, e2, e3]));
        let left = Duration::from_secs(expiry.checked_sub(now.as_secs())?);
        let source = match kind & OF_URL {
            0 => Source::Session,
            _ => Source::Url,
        };
        let user = match kind & !OF_URL {
            NAMED => Some(UserId::new(str::from_utf8(user).ok()?)?),
            NAMELESS => None,
            _ => return None,
        };
        Some(Ticket {
            standing: Standing::SignedIn(user),
            source,
            // One from a time to come was given by a clock that was wrong.
            age: LIFETIME.checked_sub(left)?,
        })
    }

    fn tag(&self, signed: &[u8], visitor: &Fingerprint) -> [u8; TAG_BYTES] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(visitor.as_bytes());
        context.update(signed);
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&context.sign().as_ref()[..TAG_BYTES]);
        tag
    }
}

const VERSION: u8 = 1;
const NAMED: u8 = 1;
const NAMELESS: u8 = 0;
/// Beside one of them.
const OF_URL: u8 = 2;

/// 128 bits (RFC 2104 §5).
const TAG_BYTES: usize = 16;

/// Of the longest ticket, in base64.
const MAX_TEXT_BYTES: usize = (6 + MAX_USER_BYTES + TAG_BYTES).div_ceil(3) * 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn a_ticket_says_who_it_was_for_five_minutes() {
        let key = TicketKey::new(&[7; 32]);
        let visitor = Fingerprint::of(&[b"PHPSESSID=abc"]);
        for standing in [
            Standing::SignedIn(UserId::new("42")),
            Standing::SignedIn(UserId::new(&"x".repeat(MAX_USER_BYTES))),
            Standing::SignedIn(None),
        ] {
            for source in [Source::Session, Source::Url] {
                let text = key.issue(&standing, source, &visitor, at(0)).unwrap();
                assert!(text.len() <= MAX_TEXT_BYTES, "{}", text.len());
                for age in [0, 1, 299, 300] {
                    let opened = key.open(&text, &visitor, at(age));
                    let expected = Ticket {
                        standing: standing.clone(),
                        source,
                        age: Duration::from_secs(age),
                    };
                    assert_eq!(opened, Some(expected));
                }
                assert_eq!(key.open(&text, &visitor, at(301)), None);
            }
        }
        assert_eq!(
            key.issue(&Standing::Anonymous, Source::Url, &visitor, at(0)),
            None
        );
    }

    #[test]
    fn a_ticket_of_another_visitor_key_or_time_is_none() {
        let key = TicketKey::new(&[7; 32]);
        let visitor = Fingerprint::of(&[b"PHPSESSID=abc"]);
        let standing = Standing::SignedIn(UserId::new("42"));
        let text = key
            .issue(&standing, Source::Session, &visitor, at(0))
            .unwrap();
        let other = Fingerprint::of(&[b"PHPSESSID=abd"]);
        assert_eq!(key.open(&text, &other, at(1)), None);
        assert_eq!(TicketKey::new(&[8; 32]).open(&text, &visitor, at(1)), None);
        // Given by a clock that runs ahead.
        let early = key
            .issue(&standing, Source::Session, &visitor, at(100))
            .unwrap();
        assert_eq!(key.open(&early, &visitor, at(0)), None);
        for at_byte in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at_byte] = if changed[at_byte] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(key.open(&changed, &visitor, at(1)), None, "{at_byte}");
            assert_eq!(key.open(&text[..at_byte], &visitor, at(1)), None);
        }
        assert_eq!(key.open(&"A".repeat(10_000), &visitor, at(1)), None);
    }
}
