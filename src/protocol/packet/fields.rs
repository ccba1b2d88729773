//! The fields of any packet, out of a text that serde_json and the passes over its bytes have found
//! to be JSON by our rules.

use std::fmt;

use memchr::{memchr, memchr_iter};
use serde::de::{Deserialize, Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Deepest nesting of arrays and objects that is still valid (protocol.md 2.6).
pub const MAX_DEPTH: usize = 512;

/// Text that is not JSON by the rule of protocol.md 2.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where the fault was noticed, in bytes from the start of the text.
    pub position: usize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid JSON at byte {}", self.position)
    }
}

impl std::error::Error for Malformed {}

/// The picked values as written in the text; `""` stands for a missing one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    pub(super) opcode: &'a str,
    pub(super) uuid: &'a str,
    pub(super) ident: &'a str,
    pub(super) user: &'a str,
    pub(super) session: &'a str,
    pub(super) message: &'a str,
}

impl<'a> Fields<'a> {
    /// Checks the whole text. JSON that is no object has no fields.
    pub(super) fn pick(text: &'a str) -> Result<Self, Malformed> {
        check_depth(text.as_bytes())?;
        let fields = Self::check_grammar(text)?;
        check_surrogates(text.as_bytes())?;
        Ok(fields)
    }

    fn check_grammar(text: &'a str) -> Result<Self, Malformed> {
        let mut json = serde_json::Deserializer::from_str(text);
        let first = text
            .trim_start_matches([' ', '\t', '\n', '\r'])
            .bytes()
            .next();
        let fields = if first == Some(b'{') {
            json.deserialize_map(FieldsVisitor)
        } else {
            IgnoredAny::deserialize(&mut json).map(|_| Self::default())
        };
        fields
            .and_then(|fields| json.end().map(|()| fields))
            .map_err(|error| Malformed {
                position: position(text, &error),
            })
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key()? {
            let place = match key {
                Key::Opcode => &mut fields.opcode,
                Key::Uuid => &mut fields.uuid,
                Key::Ident => &mut fields.ident,
                Key::User => &mut fields.user,
                Key::Session => &mut fields.session,
                Key::Message => &mut fields.message,
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *place = map.next_value::<&RawValue>()?.get();
        }
        Ok(fields)
    }
}

/// A key of the packet, unescaped (`"\u006fpcode"` is `opcode`).
enum Key {
    Opcode,
    Uuid,
    Ident,
    User,
    Session,
    Message,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Key, E> {
        Ok(match key {
            "opcode" => Key::Opcode,
            "uuid" => Key::Uuid,
            "ident" => Key::Ident,
            "user" => Key::User,
            "session" => Key::Session,
            "message" => Key::Message,
            _ => Key::Other,
        })
    }
}

/// Byte offset of what serde_json complains about. It counts lines from 1, and columns up to and
/// including the byte at fault.
fn position(text: &str, error: &serde_json::Error) -> usize {
    let newline_count = error.line().saturating_sub(1);
    let line_start = newline_count
        .checked_sub(1)
        .and_then(|index| memchr_iter(b'\n', text.as_bytes()).nth(index))
        .map_or(0, |newline| newline + 1);
    (line_start + error.column().saturating_sub(1)).min(text.len())
}

/// Refuses nesting deeper than [`MAX_DEPTH`]. Exact for valid JSON; invalid JSON may pass or not,
/// it is refused in any case. Runs before serde_json, so that its stack of open brackets stays
/// small.
fn check_depth(text: &[u8]) -> Result<(), Malformed> {
    if opening_count(text) <= MAX_DEPTH {
        return Ok(());
    }
    let mut depth = 0_usize;
    let mut position = 0;
    while let Some(&byte) = text.get(position) {
        if byte == b'"' {
            position = string_end(text, position + 1);
        } else if byte >= b'[' {
            // `[` and `{` differ in the bit 0x20 only, and so do `]` and `}`.
            match byte | 0x20 {
                b'{' if depth == MAX_DEPTH => return Err(Malformed { position }),
                b'{' => depth += 1,
                b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        position += 1;
    }
    Ok(())
}

/// Number of opening brackets, those in strings included: an upper bound of the depth. Blocks of
/// 255 keep the sums within bytes, which lets the compiler use wide registers.
fn opening_count(text: &[u8]) -> usize {
    let count_of_block = |block: &[u8]| -> u8 {
        // `[` and `{` differ in the bit 0x20 only.
        block
            .iter()
            .map(|&byte| u8::from(byte | 0x20 == b'{'))
            .sum()
    };
    text.chunks(usize::from(u8::MAX))
        .map(|block| usize::from(count_of_block(block)))
        .sum()
}

/// Position of the quote that ends the string whose content begins at `start`, or the text's
/// length.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut position = start;
    while let Some(&byte) = text.get(position) {
        match byte {
            b'"' => return position,
            b'\\' => position += 2,
            _ => position += 1,
        }
    }
    text.len()
}

/// Refuses `\u` escapes of surrogates that are not a high one with a low one right behind it
/// (protocol.md 2.6). `text` is valid JSON, so that backslashes occur in strings only and every `\u`
/// has its four digits.
fn check_surrogates(text: &[u8]) -> Result<(), Malformed> {
    let Some(mut position) = memchr(b'\\', text) else {
        return Ok(());
    };
    if !may_hold_surrogates(&text[position..]) {
        return Ok(());
    }
    while let Some(rest) = text.get(position..) {
        // PHP escapes all that is not ASCII, so escapes often follow each other without a gap.
        match rest {
            [b'\\', b'u', ..] => {}
            [b'\\', ..] => {
                position += 2;
                continue;
            }
            _ => match memchr(b'\\', rest) {
                Some(offset) => {
                    position += offset;
                    continue;
                }
                None => break,
            },
        }
        position += match (surrogate(rest), rest.get(6..).and_then(surrogate)) {
            (None, _) => 6,
            (Some(Surrogate::High), Some(Surrogate::Low)) => 12,
            (Some(_), _) => return Err(Malformed { position }),
        };
    }
    Ok(())
}

/// Whether `\ud` or `\uD` occurs. Without early exit, so that the compiler can use wide
/// registers: texts full of escapes are usually free of surrogates, and this is several times as
/// fast as stepping from one escape to the next.
fn may_hold_surrogates(text: &[u8]) -> bool {
    let second = text.get(1..).unwrap_or_default();
    let third = text.get(2..).unwrap_or_default();
    text.iter()
        .zip(second)
        .zip(third)
        .fold(0_u8, |found, ((&a, &b), &c)| {
            found | u8::from((a == b'\\') & (b == b'u') & (c | 0x20 == b'd'))
        })
        != 0
}

enum Surrogate {
    High,
    Low,
}

/// The kind of surrogate (`\uD800` to `\uDFFF`) whose escape `text` begins with, if it does.
fn surrogate(text: &[u8]) -> Option<Surrogate> {
    match text {
        [
            b'\\',
            b'u',
            b'd' | b'D',
            b'8' | b'9' | b'a' | b'b' | b'A' | b'B',
            ..,
        ] => Some(Surrogate::High),
        [b'\\', b'u', b'd' | b'D', b'c'..=b'f' | b'C'..=b'F', ..] => Some(Surrogate::Low),
        _ => None,
    }
}
