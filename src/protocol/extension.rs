//! Sec-WebSocket-Extensions (RFC 6455 §9.1): offers of permessage-deflate → [`Agreed`].
//!
//! Owns the header's grammar, the four parameters of RFC 7692 §7.1, the choice between several
//! offers, and the value of the answer. Other extensions are read over (protocol.md 1.12); a header
//! that breaks the grammar is an offer of nothing. Compresses nothing itself:
//! [`deflate`](super::deflate) does.
//!
//! The answer keeps to what a client has offered, but for `server_no_context_takeover`, which binds
//! the server alone (§7.1.1.1):
//!
//! - `client_no_context_takeover` is answered only where it was offered, although §7.1.1.2 would
//!   let the server ask for it: some clients drop a parameter without a value and go on with their
//!   context (Tornado, Mojolicious), or fail (Netty). So whatever the server's settings are, most
//!   clients' messages refer to earlier ones, and the end of them is kept for each client: see
//!   [`History`](super::deflate::History), at most 32 KiB from its first compressed message on.
//! - `client_max_window_bits` is never answered: the inflater takes every window.
//! - `server_max_window_bits` is answered where it was offered, with the value of the offer, at most
//!   [`SERVER_WINDOW_BITS`].
//!
//! That is the window of all clients that do not ask for a smaller one, so that a broadcast is
//! compressed at most once. The others get broadcasts as they are, and their own messages compressed.

use std::borrow::Cow;

use super::http::is_token_byte;
use crate::base::{BadRecord, Record, RecordWriter};

/// Whether and how messages are compressed. Each field has its key in websock.ini.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressionSettings {
    /// Offers are accepted (`compression`).
    pub is_on: bool,
    /// Shorter messages are sent as they are, in bytes (`compressionThreshold`).
    pub threshold_bytes: usize,
    /// A message may refer to earlier ones, so that each connection needs memory of its own
    /// (`compressionContext`).
    pub keeps_context: bool,
    /// Effort, 1 to 9 (`compressionLevel`).
    pub level: u8,
}

impl Default for CompressionSettings {
    /// The values of the shipped websock.ini, which gives the reason for each.
    fn default() -> Self {
        Self {
            is_on: false,
            threshold_bytes: 1024,
            keeps_context: false,
            level: 2,
        }
    }
}

/// What becomes of a (de)compressor's memory of a message when the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// It is kept: context takeover.
    Kept,
    /// It is dropped: `server_no_context_takeover`, `client_no_context_takeover`.
    Dropped,
}

/// permessage-deflate as both ends have agreed on it (RFC 7692 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The context of our messages.
    pub server_context: Context,
    /// The context of the client's messages.
    pub client_context: Context,
    /// As in [`CompressionSettings`].
    pub threshold_bytes: usize,
    /// As in [`CompressionSettings`].
    pub level: u8,
    /// Base-2 logarithm of the window of our messages, 9 to [`SERVER_WINDOW_BITS`]. Broadcasts are
    /// compressed once, with the latter: who has asked for less gets them as they are.
    pub server_window_bits: u8,
    /// The offer had `server_max_window_bits`, so that the answer has to have it (§7.1.2.1).
    answers_window_bits: bool,
}

impl Agreed {
    /// The first offer that can be accepted, in the values of all Sec-WebSocket-Extensions headers
    /// of a request, in order. `None`: nothing is compressed and nothing is to be answered.
    ///
    /// An offer is declined for a parameter that is unknown, repeated, or has a value that it must
    /// not have (§7.1), and for `server_max_window_bits=8`, which the library cannot do.
    pub fn choose<'a>(
        headers: impl IntoIterator<Item = &'a [u8]>,
        wanted: &CompressionSettings,
    ) -> Option<Self> {
        if !wanted.is_on {
            return None;
        }
        for header in headers {
            let mut list = List { rest: header };
            while !list.is_at_end() {
                if let Some(offer) = list.next_element().ok()?
                    && let Some(agreed) = offer.accept(wanted)
                {
                    return Some(agreed);
                }
            }
        }
        None
    }

    /// Appends the value of the answer's Sec-WebSocket-Extensions header.
    pub fn write_answer(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(NAME);
        for (name, context) in [
            (SERVER_NO_CONTEXT, self.server_context),
            (CLIENT_NO_CONTEXT, self.client_context),
        ] {
            if context == Context::Dropped {
                out.extend_from_slice(b"; ");
                out.extend_from_slice(name);
            }
        }
        if self.answers_window_bits {
            out.extend_from_slice(b"; ");
            out.extend_from_slice(SERVER_WINDOW);
            out.extend_from_slice(format!("={}", self.server_window_bits).as_bytes());
        }
    }
}

impl Agreed {
    /// What was agreed, for [`take_over`](Self::take_over).
    pub fn hand_over(&self) -> Vec<u8> {
        let mut record = RecordWriter::default();
        let contexts = [
            (SERVER_KEEPS, self.server_context),
            (CLIENT_KEEPS, self.client_context),
        ];
        for (tag, context) in contexts {
            record.put_number(tag, u64::from(context == Context::Kept));
        }
        record.put_number(THRESHOLD, self.threshold_bytes as u64);
        record.put_number(LEVEL, u64::from(self.level));
        record.put_number(WINDOW_BITS, u64::from(self.server_window_bits));
        record.into_bytes()
    }

    /// What another process has agreed on.
    ///
    /// # Errors
    /// A record that is not understood.
    pub fn take_over(mut record: Record<'_>) -> Result<Self, BadRecord> {
        let context = |is_kept| match is_kept {
            true => Context::Kept,
            false => Context::Dropped,
        };
        let agreed = Self {
            server_context: context(record.flag(SERVER_KEEPS)?),
            client_context: context(record.flag(CLIENT_KEEPS)?),
            threshold_bytes: record.number(THRESHOLD)?,
            level: record.number(LEVEL)?,
            server_window_bits: record.number(WINDOW_BITS)?,
            // The answer has been given.
            answers_window_bits: false,
        };
        if !(1..=9).contains(&agreed.level) {
            return Err(BadRecord::Value(LEVEL));
        }
        if !(9..=SERVER_WINDOW_BITS).contains(&agreed.server_window_bits) {
            return Err(BadRecord::Value(WINDOW_BITS));
        }
        record.end()?;
        Ok(agreed)
    }
}

/// Tags of what was agreed, as it is handed over.
const SERVER_KEEPS: u8 = 1;
const CLIENT_KEEPS: u8 = 2;
const THRESHOLD: u8 = 3;
const LEVEL: u8 = 4;
const WINDOW_BITS: u8 = 5;

/// One offer of permessage-deflate, whose parameters are all legal.
#[derive(Debug, Default)]
struct Offer {
    server_no_context: Option<()>,
    client_no_context: Option<()>,
    server_window_bits: Option<u8>,
    /// With `None` inside: there without a value, which says that the server may set one.
    client_window_bits: Option<Option<u8>>,
}

impl Offer {
    /// The offer with one more parameter; `None` if that one declines it.
    fn with(mut self, name: &[u8], value: Option<&[u8]>) -> Option<Self> {
        let is_repeated = match (name, value) {
            (SERVER_NO_CONTEXT, None) => self.server_no_context.replace(()).is_some(),
            (CLIENT_NO_CONTEXT, None) => self.client_no_context.replace(()).is_some(),
            (SERVER_WINDOW, Some(value)) => {
                let bits = window_bits(value)?;
                self.server_window_bits.replace(bits).is_some()
            }
            (CLIENT_WINDOW, None) => self.client_window_bits.replace(None).is_some(),
            (CLIENT_WINDOW, Some(value)) => {
                let bits = window_bits(value)?;
                self.client_window_bits.replace(Some(bits)).is_some()
            }
            _ => return None,
        };
        (!is_repeated).then_some(self)
    }

    fn accept(&self, wanted: &CompressionSettings) -> Option<Agreed> {
        let most_bits = self.server_window_bits.unwrap_or(MAX_WINDOW_BITS);
        let server_context = match self.server_no_context {
            None if wanted.keeps_context => Context::Kept,
            None | Some(()) => Context::Dropped,
        };
        let client_context = match self.client_no_context {
            None => Context::Kept,
            Some(()) => Context::Dropped,
        };
        (most_bits >= MIN_WINDOW_BITS).then(|| Agreed {
            server_context,
            client_context,
            threshold_bytes: wanted.threshold_bytes,
            level: wanted.level,
            server_window_bits: most_bits.min(SERVER_WINDOW_BITS),
            answers_window_bits: self.server_window_bits.is_some(),
        })
    }
}

/// Largest window (§7.1.2): 32 KiB.
pub const MAX_WINDOW_BITS: u8 = 15;

/// Smallest window that the library compresses with: 512 bytes. zlib has a bug with 256.
pub const MIN_WINDOW_BITS: u8 = 9;

/// Largest window that our messages are compressed with: 4 KiB. It halves the memory of a compressor
/// that a connection owns, and holds the message before, which is what small messages gain most
/// from. Measured with JSON at level 2: messages up to 8 KiB become as short as with 15, those of
/// 64 KiB 19.9 instead of 17.6 % of their length.
pub const SERVER_WINDOW_BITS: u8 = 12;

const NAME: &[u8] = b"permessage-deflate";
const SERVER_NO_CONTEXT: &[u8] = b"server_no_context_takeover";
const CLIENT_NO_CONTEXT: &[u8] = b"client_no_context_takeover";
const SERVER_WINDOW: &[u8] = b"server_max_window_bits";
const CLIENT_WINDOW: &[u8] = b"client_max_window_bits";

/// 8 to 15, without leading zeros (§7.1.2.1).
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] | [b'1', digit @ b'0'..=b'5'] => {
            let tens = if value.len() == 2 { 10 } else { 0 };
            Some(tens + digit - b'0')
        }
        _ => None,
    }
}

/// The header breaks the grammar.
#[derive(Debug)]
struct Malformed;

/// What is left of a header's value (RFC 6455 §9.1).
struct List<'a> {
    rest: &'a [u8],
}

impl<'a> List<'a> {
    /// Reads over blanks and empty elements (RFC 9110 §5.6.1.2).
    fn is_at_end(&mut self) -> bool {
        while self.take(b',') {}
        self.rest.is_empty()
    }

    /// Reads one element: an offer that may be accepted, or `None` for any other.
    fn next_element(&mut self) -> Result<Option<Offer>, Malformed> {
        let name = self.token()?;
        let mut offer = (name == NAME).then(Offer::default);
        while self.take(b';') {
            let name = self.token()?;
            let value = if self.take(b'=') {
                Some(self.value()?)
            } else {
                None
            };
            offer = offer.and_then(|offer| offer.with(name, value.as_deref()));
        }
        if self.rest.is_empty() || self.rest.starts_with(b",") {
            Ok(offer)
        } else {
            Err(Malformed)
        }
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// Takes `byte` if it comes next but for blanks.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let rest = self.rest.strip_prefix(&[byte]);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn token(&mut self) -> Result<&'a [u8], Malformed> {
        self.skip_blanks();
        let is_other = |byte: &u8| !is_token_byte(*byte);
        let len = self.rest.iter().position(is_other);
        let (token, rest) = self.rest.split_at(len.unwrap_or(self.rest.len()));
        self.rest = rest;
        if token.is_empty() {
            Err(Malformed)
        } else {
            Ok(token)
        }
    }

    /// A token, in quotes or not.
    fn value(&mut self) -> Result<Cow<'a, [u8]>, Malformed> {
        if !self.take(b'"') {
            return self.token().map(Cow::Borrowed);
        }
        let mut value = Vec::new();
        loop {
            let (&byte, rest) = self.rest.split_first().ok_or(Malformed)?;
            self.rest = rest;
            let byte = match byte {
                b'"' if value.is_empty() => return Err(Malformed),
                b'"' => return Ok(Cow::Owned(value)),
                b'\\' => {
                    let (&escaped, rest) = self.rest.split_first().ok_or(Malformed)?;
                    self.rest = rest;
                    escaped
                }
                byte => byte,
            };
            // RFC 6455 §9.1: what the quotes hold has to be a token too.
            if !is_token_byte(byte) {
                return Err(Malformed);
            }
            value.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: CompressionSettings = CompressionSettings {
        is_on: true,
        threshold_bytes: 7,
        keeps_context: false,
        level: 3,
    };

    const KEEPING: CompressionSettings = CompressionSettings {
        keeps_context: true,
        ..ON
    };

    /// The answer to headers, one per line.
    fn answer(headers: &str, wanted: &CompressionSettings) -> Option<String> {
        let agreed = Agreed::choose(headers.lines().map(str::as_bytes), wanted)?;
        assert_eq!((agreed.threshold_bytes, agreed.level), (7, 3));
        let mut out = Vec::new();
        agreed.write_answer(&mut out);
        let answer = String::from_utf8(out).unwrap();
        Some(answer.strip_prefix("permessage-deflate").unwrap().into())
    }

    #[test]
    fn the_first_offer_that_can_be_accepted_is() {
        let none = "; server_no_context_takeover";
        let plain = || Some(none.to_owned());
        let with = |bits: u8| Some(format!("{none}; server_max_window_bits={bits}"));
        let with_window = || with(12);
        let without_client = || Some(format!("{none}; client_no_context_takeover"));
        let cases: [(&str, Option<String>); 49] = [
            ("permessage-deflate", plain()),
            ("permessage-deflate; client_max_window_bits", plain()),
            ("permessage-deflate;client_max_window_bits=8", plain()),
            ("permessage-deflate; client_max_window_bits=15", plain()),
            ("permessage-deflate; server_no_context_takeover", plain()),
            (
                "permessage-deflate; client_no_context_takeover",
                without_client(),
            ),
            (
                "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
                without_client(),
            ),
            (
                " permessage-deflate ; server_max_window_bits = 12 ",
                with_window(),
            ),
            (
                "permessage-deflate;server_max_window_bits=15",
                with_window(),
            ),
            (
                r#"permessage-deflate; server_max_window_bits="13""#,
                with_window(),
            ),
            (
                r#"permessage-deflate; server_max_window_bits="1\4""#,
                with_window(),
            ),
            // What cannot be accepted.
            ("", None),
            (",", None),
            ("permessage-bzip2", None),
            ("Permessage-Deflate", None),
            ("permessage-deflate2", None),
            ("x-webkit-deflate-frame", None),
            ("permessage-deflate; server_max_window_bits=8", None),
            ("permessage-deflate; server_max_window_bits=9", with(9)),
            ("permessage-deflate; server_max_window_bits=11", with(11)),
            (
                r#"permessage-deflate; server_max_window_bits="1\1""#,
                with(11),
            ),
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=7", None),
            ("permessage-deflate; server_max_window_bits=16", None),
            ("permessage-deflate; server_max_window_bits=09", None),
            ("permessage-deflate; server_max_window_bits=+9", None),
            ("permessage-deflate; server_max_window_bits=115", None),
            ("permessage-deflate; client_max_window_bits=0", None),
            ("permessage-deflate; client_max_window_bits=16", None),
            ("permessage-deflate; server_no_context_takeover=1", None),
            ("permessage-deflate; client_no_context_takeover=\"\"", None),
            ("permessage-deflate; unknown", None),
            ("permessage-deflate; mode=fast", None),
            (
                "permessage-deflate; client_max_window_bits; client_max_window_bits",
                None,
            ),
            (
                "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
                None,
            ),
            (
                "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
                None,
            ),
            // Several offers, in one header or in several.
            ("foo, bar; baz=2, permessage-deflate", plain()),
            ("foo; x=\"a\", ,permessage-deflate,", plain()),
            ("foo\n\npermessage-deflate", plain()),
            (
                "permessage-deflate; server_max_window_bits=8, permessage-deflate",
                plain(),
            ),
            (
                "permessage-deflate; unknown\npermessage-deflate; server_max_window_bits=12",
                with_window(),
            ),
            (
                "permessage-deflate; server_max_window_bits=10, permessage-deflate",
                with(10),
            ),
            (
                "permessage-deflate; server_max_window_bits=13, permessage-deflate",
                with_window(),
            ),
            // What breaks the grammar offers nothing.
            ("permessage-deflate;", None),
            ("permessage-deflate client_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=", None),
            ("permessage-deflate; server_max_window_bits=\"9", None),
            ("foo; x=\"a b\", permessage-deflate", None),
            ("foo; =1\npermessage-deflate", None),
        ];
        for (headers, expected) in cases {
            assert_eq!(answer(headers, &ON), expected, "{headers:?}");
            let off = CompressionSettings { is_on: false, ..ON };
            assert_eq!(answer(headers, &off), None, "{headers:?}");
        }
    }

    #[test]
    fn context_is_kept_where_both_ends_want_it() {
        for (parameters, expected) in [
            ("", ""),
            ("; client_max_window_bits", ""),
            (
                "; server_no_context_takeover",
                "; server_no_context_takeover",
            ),
            (
                "; client_no_context_takeover",
                "; client_no_context_takeover",
            ),
            ("; server_max_window_bits=13", "; server_max_window_bits=12"),
        ] {
            let offer = format!("permessage-deflate{parameters}");
            assert_eq!(answer(&offer, &KEEPING).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_the_client_has_not_offered_is_not_answered() {
        for wanted in [ON, KEEPING] {
            for offer in [
                "",
                "; client_max_window_bits",
                "; client_max_window_bits=10",
                "; server_no_context_takeover",
                "; client_no_context_takeover",
                "; server_max_window_bits=15",
                "; client_no_context_takeover; server_max_window_bits=12",
            ] {
                let answer = answer(&format!("permessage-deflate{offer}"), &wanted).unwrap();
                for parameter in answer.split("; ").skip(1) {
                    let name = parameter.split('=').next().unwrap();
                    let is_offered = offer.contains(name);
                    // It binds the server alone.
                    let is_free = name == "server_no_context_takeover" && !wanted.keeps_context;
                    assert!(is_offered || is_free, "{answer} to {offer}");
                }
                let agreed = format!("permessage-deflate{offer}");
                let agreed = Agreed::choose([agreed.as_bytes()], &wanted).unwrap();
                let is_dropped = agreed.client_context == Context::Dropped;
                assert_eq!(is_dropped, offer.contains("client_no_context_takeover"));
            }
        }
    }
}
