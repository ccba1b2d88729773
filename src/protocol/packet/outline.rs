//! Packets that arrive in pieces: checked as they come, so that nobody looks through a long one
//! when it is whole.
//!
//! What is found here is what serde_json and the passes over its text find
//! ([`Packet::parse`](super::Packet::parse)), but for where exactly a mistake is.

use std::ops::Range;

use super::fields::{Fields, MAX_DEPTH, Malformed};
use super::flat::plain_len;
use super::{Packet, Verb, string};
use crate::protocol::utf8;

/// What was found out about an object while it arrived: where its fields are, or that it is no
/// JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline(Result<Places, Malformed>);

impl Outline {
    /// The packet, out of the same bytes.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn packet<'a>(&self, text: &'a [u8]) -> Result<Packet<'a>, Malformed> {
        let places = self.0.as_ref().map_err(|malformed| *malformed)?;
        let raw = |field: Field| {
            let range = places.0[field as usize].clone();
            utf8::check(text.get(range).unwrap_or_default()).unwrap_or_default()
        };
        let mut fields = Fields {
            opcode: raw(Field::Opcode),
            uuid: raw(Field::Uuid),
            ident: raw(Field::Ident),
            user: raw(Field::User),
            ..Fields::default()
        };
        // These may be long, and are read in such packets only.
        match Verb::from_raw(fields.opcode) {
            Verb::Logout => fields.session = raw(Field::Session),
            Verb::Uuid => fields.message = raw(Field::Message),
            _ => {}
        }
        Ok(Packet::of_fields(&fields))
    }
}

/// Of each field's value as it is written; empty for one that is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Places([Range<usize>; FIELD_COUNT]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Opcode,
    Uuid,
    Ident,
    User,
    Session,
    Message,
}

impl Field {
    /// The field of a key with its quotes, which may hold escapes.
    fn of_key(key: &[u8]) -> Option<Self> {
        if key.len() > LONGEST_KEY_BYTES {
            return None;
        }
        let key = string(utf8::check(key)?)?;
        Some(match &*key {
            "opcode" => Self::Opcode,
            "uuid" => Self::Uuid,
            "ident" => Self::Ident,
            "user" => Self::User,
            "session" => Self::Session,
            "message" => Self::Message,
            _ => return None,
        })
    }
}

/// Checks an object as its text arrives. The text itself has to be UTF-8, which others check.
#[derive(Clone, Debug)]
pub struct OutlineScanner {
    /// Bytes that were looked at.
    at: usize,
    expected: Expected,
    /// Whether the string at hand is a key.
    is_key: bool,
    /// Of each level whether it is an object, innermost last; 64 in a word.
    levels: [u64; MAX_DEPTH / 64],
    depth: usize,
    /// Where the key or value begins that is a member of the packet itself.
    start: usize,
    /// Whose value comes next, or is at hand.
    field: Option<Field>,
    places: Places,
}

/// What the next byte may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// The brace of the packet.
    Packet,
    /// A key, or the end of an object.
    FirstKey,
    Key,
    Colon,
    Value,
    /// A value, or the end of an array.
    FirstElement,
    /// A comma, or the end of an object or array.
    Comma,
    /// Nothing but blanks: the packet is whole.
    End,
    InString,
    /// What follows a backslash.
    Escape,
    /// The rest of `\u`.
    Digits(Digits),
    /// The second half of a pair follows the first.
    LowBackslash,
    LowU,
    /// The rest of `true`, `false` or `null`.
    Literal(&'static [u8]),
    Number(Number),
    /// It is no object: what it is, nobody has found out.
    Other,
    /// It is no JSON.
    Wrong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Digits {
    left: u8,
    unit: u16,
    is_low_half: bool,
}

/// What of a number stands before the next byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Default for OutlineScanner {
    fn default() -> Self {
        Self {
            at: 0,
            expected: Expected::Packet,
            is_key: false,
            levels: [0; MAX_DEPTH / 64],
            depth: 0,
            start: 0,
            field: None,
            places: Places::default(),
        }
    }
}

impl OutlineScanner {
    /// Looks at what has come. `text` is all of it, from its beginning.
    pub fn advance(&mut self, text: &[u8]) {
        while let Some(rest) = text.get(self.at..)
            && let Some(&first) = rest.first()
        {
            match self.expected {
                Expected::Other | Expected::Wrong => return,
                Expected::InString => {
                    self.at += plain_len(rest);
                    if let Some(&byte) = text.get(self.at) {
                        self.at += 1;
                        self.end_of_plain(byte, text);
                    }
                }
                _ => {
                    self.at += 1;
                    self.take(first, text);
                }
            }
        }
    }

    /// What was found out, when the whole text has come; `None` if it is no object.
    pub fn finish(&self) -> Option<Outline> {
        let malformed = |position| Some(Outline(Err(Malformed { position })));
        match self.expected {
            Expected::Packet | Expected::Other => None,
            Expected::End => Some(Outline(Ok(self.places.clone()))),
            Expected::Wrong => malformed(self.at - 1),
            _ => malformed(self.at),
        }
    }

    /// Takes the byte before `at`, which is not one in the middle of a string.
    fn take(&mut self, byte: u8, text: &[u8]) {
        let is_blank = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.expected = match (self.expected, byte) {
            (
                Expected::Packet
                | Expected::FirstKey
                | Expected::Key
                | Expected::Colon
                | Expected::Value
                | Expected::FirstElement
                | Expected::Comma
                | Expected::End,
                _,
            ) if is_blank => return,
            (Expected::Packet, b'{') => self.open(true),
            (Expected::Packet, _) => Expected::Other,
            (Expected::FirstKey | Expected::Comma, b'}') if self.is_in_object() => self.close(),
            (Expected::FirstElement | Expected::Comma, b']') if !self.is_in_object() => {
                self.close()
            }
            (Expected::FirstKey | Expected::Key, b'"') => {
                self.is_key = true;
                self.note_start();
                Expected::InString
            }
            (Expected::Colon, b':') => Expected::Value,
            (Expected::Comma, b',') if self.is_in_object() => Expected::Key,
            (Expected::Comma, b',') => Expected::Value,
            (Expected::Value | Expected::FirstElement, _) => {
                self.note_start();
                self.begin_value(byte)
            }
            (Expected::Escape, b'u') => Expected::Digits(Digits {
                left: 4,
                unit: 0,
                is_low_half: false,
            }),
            (Expected::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                Expected::InString
            }
            (Expected::Digits(digits), _) => digits.next(byte),
            (Expected::LowBackslash, b'\\') => Expected::LowU,
            (Expected::LowU, b'u') => Expected::Digits(Digits {
                left: 4,
                unit: 0,
                is_low_half: true,
            }),
            (Expected::Literal([wanted, rest @ ..]), _) if byte == *wanted => match rest {
                [] => self.end_value(self.at),
                rest => Expected::Literal(rest),
            },
            (Expected::Number(number), _) => return self.go_on_with_number(number, byte, text),
            _ => Expected::Wrong,
        };
    }

    /// The byte that ends the plain part of a string.
    fn end_of_plain(&mut self, byte: u8, text: &[u8]) {
        self.expected = match byte {
            b'\\' => Expected::Escape,
            b'"' if self.is_key => {
                if self.depth == 1 {
                    let key = text.get(self.start..self.at).unwrap_or_default();
                    self.field = Field::of_key(key);
                }
                Expected::Colon
            }
            b'"' => self.end_value(self.at),
            _ => Expected::Wrong,
        };
    }

    fn begin_value(&mut self, byte: u8) -> Expected {
        match byte {
            b'"' => {
                self.is_key = false;
                Expected::InString
            }
            b'{' => self.open(true),
            b'[' => self.open(false),
            b't' => Expected::Literal(b"rue"),
            b'f' => Expected::Literal(b"alse"),
            b'n' => Expected::Literal(b"ull"),
            b'-' => Expected::Number(Number::Minus),
            b'0' => Expected::Number(Number::Zero),
            b'1'..=b'9' => Expected::Number(Number::Integer),
            _ => Expected::Wrong,
        }
    }

    /// A number has no end of its own: the byte behind it is taken once more.
    fn go_on_with_number(&mut self, number: Number, byte: u8, text: &[u8]) {
        match number.next(byte) {
            Some(next) => self.expected = Expected::Number(next),
            None if number.is_whole() => {
                self.expected = self.end_value(self.at - 1);
                self.take(byte, text);
            }
            None => self.expected = Expected::Wrong,
        }
    }

    /// Where a key or a value begins.
    fn note_start(&mut self) {
        if self.depth == 1 {
            self.start = self.at - 1;
        }
    }

    fn end_value(&mut self, end: usize) -> Expected {
        if self.depth == 1
            && let Some(field) = self.field.take()
        {
            self.places.0[field as usize] = self.start..end;
        }
        Expected::Comma
    }

    fn open(&mut self, is_object: bool) -> Expected {
        let Some(word) = self.levels.get_mut(self.depth / 64) else {
            return Expected::Wrong;
        };
        let bit = 1 << (self.depth % 64);
        self.depth += 1;
        if is_object {
            *word |= bit;
            Expected::FirstKey
        } else {
            *word &= !bit;
            Expected::FirstElement
        }
    }

    fn close(&mut self) -> Expected {
        self.depth -= 1;
        match self.depth {
            0 => Expected::End,
            _ => self.end_value(self.at),
        }
    }

    fn is_in_object(&self) -> bool {
        let level = self.depth.saturating_sub(1);
        let word = self.levels.get(level / 64).copied().unwrap_or_default();
        word >> (level % 64) & 1 == 1
    }
}

impl Digits {
    fn next(self, byte: u8) -> Expected {
        let Some(digit) = char::from(byte).to_digit(16) else {
            return Expected::Wrong;
        };
        let digits = Self {
            left: self.left - 1,
            unit: self.unit << 4 | digit as u16,
            ..self
        };
        match (digits.left, digits.is_low_half, digits.unit) {
            (1.., ..) => Expected::Digits(digits),
            (0, false, 0xD800..=0xDBFF) => Expected::LowBackslash,
            (0, true, 0xDC00..=0xDFFF) => Expected::InString,
            (0, false, ..0xD800 | 0xE000..) => Expected::InString,
            _ => Expected::Wrong,
        }
    }
}

impl Number {
    /// What it is with one more byte; `None` if that belongs to it no more.
    fn next(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus, b'1'..=b'9') | (Self::Integer, b'0'..=b'9') => Self::Integer,
            (Self::Zero | Self::Integer, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::ExponentSign,
            (Self::Exponent | Self::ExponentSign | Self::ExponentDigits, b'0'..=b'9') => {
                Self::ExponentDigits
            }
            _ => return None,
        })
    }

    fn is_whole(self) -> bool {
        match self {
            Self::Zero | Self::Integer | Self::Fraction | Self::ExponentDigits => true,
            Self::Minus | Self::Point | Self::Exponent | Self::ExponentSign => false,
        }
    }
}

const FIELD_COUNT: usize = 6;

/// Longest key that may mean a field, in bytes: each of its letters an escape, and the quotes.
const LONGEST_KEY_BYTES: usize = 6 * "session".len() + 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// In pieces that end at these places.
    fn outline_of(text: &str, cuts: impl IntoIterator<Item = usize>) -> Option<Outline> {
        let mut scanner = OutlineScanner::default();
        for cut in cuts {
            scanner.advance(&text.as_bytes()[..cut]);
        }
        scanner.advance(text.as_bytes());
        scanner.finish()
    }

    /// What is found is what the parser finds, whole, at every split and byte by byte.
    fn check(text: &str) {
        let parsed = Packet::parse(text);
        let whole = outline_of(text, []);
        let is_object = text
            .trim_start_matches([' ', '\t', '\n', '\r'])
            .starts_with('{');
        assert_eq!(whole.is_some(), is_object, "{text}");
        if let Some(outline) = &whole {
            let found = outline.packet(text.as_bytes());
            assert_eq!(
                found.is_ok(),
                parsed.is_ok(),
                "{text}: {found:?} {parsed:?}"
            );
            if let (Ok(found), Ok(parsed)) = (found, parsed) {
                assert_eq!(found, parsed, "{text}");
            }
        }
        for cut in 0..=text.len() {
            assert_eq!(outline_of(text, [cut]), whole, "{text} at {cut}");
        }
        assert_eq!(outline_of(text, 0..=text.len()), whole, "{text} by bytes");
    }

    #[test]
    fn what_is_found_is_what_the_parser_finds() {
        for text in [
            "{}",
            " \t\r\n{ } \n",
            r#"{"opcode":"echo","message":"m"}"#,
            r#"{"opcode":"feedback","uuid":"u","ident":-1.5e+07,"user":"a\u00e4b"} "#,
            r#"{"\u006fpcode" : "\u0065cho" , "uuid":{"a":[1,{"uuid":"x"}]},"ident":0}"#,
            r#"{"\u0073\u0065\u0073\u0073\u0069\u006f\u006e":"s","opcode":"logout"}"#,
            r#"{"opcode":"uuid","message":"na\"me","message":"\ud83d\uDE00"}"#,
            r#"{"opcode":"echo","opcode":["quit"],"user":[],"uuid":{}}"#,
            r#"{"opcode":"quit","a":[true,false,null,[],{},-0,0.0,1e5,"\b\f\n\r\t\/\\"]}"#,
            r#"{"a":"\ud83d"}"#,
            r#"{"a":"\ude00"}"#,
            r#"{"a":"\ud83d\ud83d"}"#,
            r#"{"a":"\ud83dx"}"#,
            r#"{"a":"\ud83d\n"}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u00g0"}"#,
            "{\"a\":\"\u{1}\"}",
            "{\"a\":\"\u{7f}\u{e4}\u{1f600}\"}",
            "{\u{a0}}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{,}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[1}"#,
            r#"{"a":{"b":1]}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":-}"#,
            r#"{"a":1e}"#,
            r#"{"a":1e+}"#,
            r#"{"a":+1}"#,
            r#"{"a":tru}"#,
            r#"{"a":truee}"#,
            r#"{"a":nul"#,
            r#"{"a":12"#,
            r#"{"a":"b"#,
            r#"{"a":"b\"#,
            "{",
            "{}}",
            "{}{}",
            "{} x",
            "",
            " ",
            "[]",
            "17",
            "\"{\"",
            "bufferON",
        ] {
            check(text);
        }
    }

    #[test]
    fn nesting_is_limited_where_the_parser_limits_it() {
        for depth in [
            1,
            63,
            64,
            65,
            MAX_DEPTH - 2,
            MAX_DEPTH - 1,
            MAX_DEPTH,
            MAX_DEPTH + 1,
        ] {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let inner = if open == "[" { "" } else { "1" };
                let text = format!(
                    "{{\"a\":{}{inner}{},\"opcode\":\"echo\"}}",
                    open.repeat(depth),
                    close.repeat(depth)
                );
                let parsed = Packet::parse(&text);
                let found = outline_of(&text, []).unwrap();
                let found = found.packet(text.as_bytes());
                assert_eq!(found.is_ok(), parsed.is_ok(), "{depth}");
                assert_eq!(found.ok(), parsed.ok(), "{depth}");
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_read_as_the_parser_reads_it(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("{"), Just("}"), Just("["), Just("]"), Just("\""), Just(":"), Just(","),
                    Just(" "), Just("\n"), Just("\"opcode\":\"echo\""), Just("\"message\":"),
                    Just("\"ident\":12"), Just("\"user\":-4.2e3"), Just("\"uuid\":[{}]"),
                    Just("\\"), Just("\\u00e4"), Just("\\ud83d"), Just("\\ude00"), Just("\u{1f}"),
                    Just("\u{e4}\u{20ac}"), Just("0"), Just("-1"), Just("e5"), Just("true"),
                    Just("null"), Just("plain text, as long as a few words"),
                ],
                0..12,
            ),
            form in 0..3,
        ) {
            let text: String = parts.concat();
            check(&match form {
                0 => text,
                1 => format!("{{\"uuid\":\"{text}\"}}"),
                _ => format!("{{\"a\":[{text}],\"uuid\":\"u\"}}"),
            });
        }
    }
}
