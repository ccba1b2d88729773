//! Single values of PHP's `serialize()`: what stands at a place, and where the next thing begins.

use std::fmt;

use super::error::SessionError;
use crate::base::escape;

/// A place in serialized bytes.
#[derive(Clone, Copy)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The beginning of a value, or the whole of one that holds no others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// `N;`
    Null,
    /// `b:1;`
    Bool(bool),
    /// `i:-7;`
    Integer(i64),
    /// `d:0.1;`
    Float(f64),
    /// `s:3:"abc";`
    String(&'a [u8]),
    /// `a:1:{`, which as many keys with their values follow.
    Array {
        /// How many.
        len: usize,
    },
    /// `O:8:"stdClass":1:{`, which as many properties follow.
    Object {
        /// Its class.
        class: &'a [u8],
        /// How many.
        len: usize,
    },
    /// `E:5:"E:One";`
    Enum,
    /// `C:1:"X":3:{abc}`, whose content only its class understands.
    Custom,
    /// `R:2;`, or for an object that stands in two places without being a reference, `r:2;`.
    Reference {
        /// The value's number.
        slot: u64,
        /// Which of both.
        kind: ReferenceKind,
    },
}

/// How a value refers to an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReferenceKind {
    /// `R`: it is that value, and has no number of its own.
    Same,
    /// `r`: it holds the same object, and has a number.
    Object,
}

/// What a value is called in its array or object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// A whole number.
    Integer(i64),
    /// A name, in any bytes.
    Name(&'a [u8]),
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn malformed<T>(&self) -> Result<T, SessionError> {
        Err(SessionError::Malformed { at: self.at })
    }

    /// The next value, or its beginning.
    pub(super) fn token(&mut self) -> Result<Token<'a>, SessionError> {
        let start = *self;
        let token = match self.byte()? {
            b'N' => Token::Null,
            b'b' => {
                self.expect(b":")?;
                let digit = *self;
                match self.byte()? {
                    b'0' => Token::Bool(false),
                    b'1' => Token::Bool(true),
                    _ => return digit.malformed(),
                }
            }
            b'i' => Token::Integer(self.integer()?),
            b'd' => Token::Float(self.float()?),
            b's' => Token::String(self.text()?),
            b'E' => {
                self.text()?;
                Token::Enum
            }
            b'R' => self.reference(ReferenceKind::Same)?,
            b'r' => self.reference(ReferenceKind::Object)?,
            b'a' => {
                self.expect(b":")?;
                let len = self.length()?;
                self.expect(b":{")?;
                return Ok(Token::Array { len });
            }
            b'O' => {
                let class = self.text()?;
                self.expect(b":")?;
                let len = self.length()?;
                self.expect(b":{")?;
                return Ok(Token::Object { class, len });
            }
            b'C' => {
                self.text()?;
                self.expect(b":")?;
                let len = self.length()?;
                self.expect(b":{")?;
                self.take(len)?;
                self.expect(b"}")?;
                return Ok(Token::Custom);
            }
            _ => return start.malformed(),
        };
        self.expect(b";")?;
        Ok(token)
    }

    /// The next key of an array, or name of a property.
    pub(super) fn key(&mut self) -> Result<Key<'a>, SessionError> {
        let start = *self;
        let key = match self.byte()? {
            b'i' => Key::Integer(self.integer()?),
            b's' => Key::Name(self.text()?),
            _ => return start.malformed(),
        };
        self.expect(b";")?;
        Ok(key)
    }

    /// `name|`
    pub(super) fn name_before_bar(&mut self) -> Result<&'a [u8], SessionError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = memchr::memchr(b'|', rest).ok_or(SessionError::CutOff)?;
        let name = self.take(len)?;
        self.expect(b"|")?;
        Ok(name)
    }

    /// A name behind its length in one byte, which is at most 127.
    pub(super) fn name_behind_length(&mut self) -> Result<&'a [u8], SessionError> {
        let start = *self;
        match self.byte()? {
            len @ ..0x80 => self.take(usize::from(len)),
            0x80.. => start.malformed(),
        }
    }

    pub(super) fn expect(&mut self, expected: &[u8]) -> Result<(), SessionError> {
        for byte in expected {
            let start = *self;
            if self.byte()? != *byte {
                return start.malformed();
            }
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, SessionError> {
        let byte = self.bytes.get(self.at).ok_or(SessionError::CutOff)?;
        self.at += 1;
        Ok(*byte)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], SessionError> {
        let end = self.at.checked_add(len).ok_or(SessionError::CutOff)?;
        let taken = self.bytes.get(self.at..end).ok_or(SessionError::CutOff)?;
        self.at = end;
        Ok(taken)
    }

    /// `:3:"abc"`
    fn text(&mut self) -> Result<&'a [u8], SessionError> {
        self.expect(b":")?;
        let len = self.length()?;
        self.expect(b":\"")?;
        let text = self.take(len)?;
        self.expect(b"\"")?;
        Ok(text)
    }

    fn reference(&mut self, kind: ReferenceKind) -> Result<Token<'a>, SessionError> {
        self.expect(b":")?;
        let slot = self.number(|byte| byte.is_ascii_digit())?;
        Ok(Token::Reference { slot, kind })
    }

    fn length(&mut self) -> Result<usize, SessionError> {
        self.number(|byte| byte.is_ascii_digit())
    }

    fn integer(&mut self) -> Result<i64, SessionError> {
        self.expect(b":")?;
        self.number(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-'))
    }

    /// A number in Rust's notation of all characters that may stand in one.
    fn number<T: std::str::FromStr>(
        &mut self,
        is_part: impl Fn(u8) -> bool,
    ) -> Result<T, SessionError> {
        let start = *self;
        let text = self.run(is_part)?;
        let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        number.ok_or(SessionError::Malformed { at: start.at })
    }

    fn float(&mut self) -> Result<f64, SessionError> {
        self.expect(b":")?;
        let start = *self;
        let is_part = |byte: u8| byte.is_ascii_digit() || b"+-.eEINFA".contains(&byte);
        let text = self.run(is_part)?;
        match text {
            b"NAN" => Ok(f64::NAN),
            b"INF" => Ok(f64::INFINITY),
            b"-INF" => Ok(f64::NEG_INFINITY),
            // Rust has names for these, too, in other letters.
            text if text.iter().any(|byte| b"INFA".contains(byte)) => start.malformed(),
            text => {
                let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
                number.ok_or(SessionError::Malformed { at: start.at })
            }
        }
    }

    /// As many bytes as are part of it, which something else has to follow.
    fn run(&mut self, is_part: impl Fn(u8) -> bool) -> Result<&'a [u8], SessionError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|byte| !is_part(*byte));
        self.take(len.ok_or(SessionError::CutOff)?)
    }
}

impl<'a> Key<'a> {
    /// The name of a property without what PHP puts before it: `\0*\0` if it is protected,
    /// `\0Class\0` if it is private. With it, the class of a private one.
    pub(super) fn split_property(self) -> (Self, Visibility<'a>) {
        if let Self::Name([0, rest @ ..]) = self
            && let Some(end) = memchr::memchr(0, rest)
        {
            let (class, name) = rest.split_at(end);
            let visibility = match class {
                b"*" => Visibility::Protected,
                class => Visibility::Private { class },
            };
            return (Self::Name(name.get(1..).unwrap_or_default()), visibility);
        }
        (self, Visibility::Public)
    }

    /// What is left of `path` behind this key: `None` if it does not begin with it, `Some(None)` if
    /// that is all.
    pub(super) fn strip_from(self, path: &[u8]) -> Option<Option<&[u8]>> {
        let rest = match self {
            Self::Name(name) => path.strip_prefix(name)?,
            Self::Integer(number) => path.strip_prefix(number.to_string().as_bytes())?,
        };
        match rest {
            [] => Some(None),
            [b'.', rest @ ..] => Some(Some(rest)),
            _ => None,
        }
    }
}

/// Fit to be shown, whatever its bytes.
impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::Name(name) => escape(&String::from_utf8_lossy(name)).fmt(f),
        }
    }
}

/// Who may use a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visibility<'a> {
    Public,
    Protected,
    Private { class: &'a [u8] },
}
