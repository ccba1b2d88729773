//! [`ValueScanner`]: where a value ends, and whether it is within the limits, before anything is
//! allocated for it.
//!
//! Strict: lengths have digits only, a line ends in CR LF and holds neither of them, what follows a
//! string is its CR LF. A length or a count that cannot be kept is refused when it is read, not
//! when its bytes have come.

use std::fmt;

/// Finds the end of one value after the other.
#[derive(Debug)]
pub struct ValueScanner {
    state: State,
    /// Elements that are left, of the arrays that are open.
    open: [u32; MAX_DEPTH],
    depth: usize,
    /// Bytes of this value so far, with those that have been announced.
    byte_count: usize,
    /// Elements of this value so far, with those that have been announced.
    element_count: usize,
}

/// Why no value can be read. The connection is of no use then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// It is not RESP2.
    Malformed,
    /// It has more bytes, elements or levels than allowed.
    TooLarge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The byte that says what comes.
    Kind,
    /// The line of a simple string or an error.
    Text { is_cr: bool },
    /// The line of a number, a length or a count.
    Number(Number),
    /// A string: so many bytes of it are left.
    Bulk { left: usize },
    /// Behind a string: so many bytes of CR LF are left.
    BulkEnd { left: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number {
    of: NumberOf,
    is_negative: bool,
    digit_count: usize,
    value: u64,
    is_cr: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NumberOf {
    Integer,
    Bulk,
    Array,
}

impl Default for ValueScanner {
    fn default() -> Self {
        Self {
            state: State::Kind,
            open: [0; MAX_DEPTH],
            depth: 0,
            byte_count: 0,
            element_count: 1,
        }
    }
}

impl ValueScanner {
    /// Goes on with these bytes: how many of them belong to the value, if it ends among them; else
    /// all do. The next call begins the next value then.
    ///
    /// A value has at most `max_bytes`, its own syntax included.
    pub fn scan(&mut self, bytes: &[u8], max_bytes: usize) -> Result<Option<usize>, DecodeError> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let (len, is_whole) = self.step(rest, max_bytes)?;
            at += len;
            if is_whole && self.ends_value() {
                *self = Self::default();
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Whether a value has begun.
    pub fn has_begun(&self) -> bool {
        self.byte_count > 0
    }

    /// Bytes of the value that has begun: those that have come, and those that a string has said
    /// will.
    pub fn announced_bytes(&self) -> usize {
        self.byte_count
    }

    /// Takes some bytes, at least one; how many, and whether they end an element.
    fn step(&mut self, bytes: &[u8], max_bytes: usize) -> Result<(usize, bool), DecodeError> {
        match self.state {
            State::Kind => {
                self.count(1, max_bytes)?;
                self.state = begin(bytes[0])?;
                Ok((1, false))
            }
            State::Text { is_cr: false } => {
                let end = memchr::memchr2(b'\r', b'\n', bytes);
                let len = end.map_or(bytes.len(), |end| end + 1);
                self.count(len, max_bytes)?;
                if end.is_some_and(|end| bytes[end] == b'\n') {
                    return Err(DecodeError::Malformed);
                }
                let is_cr = end.is_some();
                self.state = State::Text { is_cr };
                Ok((len, false))
            }
            State::Text { is_cr: true } => {
                self.count(1, max_bytes)?;
                expect(bytes[0], b'\n')?;
                Ok((1, true))
            }
            State::Number(number) => {
                self.count(1, max_bytes)?;
                let is_whole = self.take_digit(number, bytes[0], max_bytes)?;
                Ok((1, is_whole))
            }
            // Its bytes have been counted when they were announced.
            State::Bulk { left } => {
                let len = left.min(bytes.len());
                self.state = match left - len {
                    0 => State::BulkEnd { left: 2 },
                    left => State::Bulk { left },
                };
                Ok((len, false))
            }
            State::BulkEnd { left } => {
                expect(bytes[0], if left == 2 { b'\r' } else { b'\n' })?;
                self.state = State::BulkEnd { left: 1 };
                Ok((1, left == 1))
            }
        }
    }

    /// One byte of a line with a number; whether it ends an element.
    fn take_digit(
        &mut self,
        mut number: Number,
        byte: u8,
        max_bytes: usize,
    ) -> Result<bool, DecodeError> {
        match byte {
            b'\n' if number.is_cr => return self.take_number(number, max_bytes),
            _ if number.is_cr => return Err(DecodeError::Malformed),
            b'\r' if number.digit_count > 0 => number.is_cr = true,
            b'-' if number.digit_count == 0 && !number.is_negative => number.is_negative = true,
            b'0'..=b'9' if number.digit_count < MAX_DIGITS => {
                number.digit_count += 1;
                number.value = number.value * 10 + u64::from(byte - b'0');
            }
            _ => return Err(DecodeError::Malformed),
        }
        self.state = State::Number(number);
        Ok(false)
    }

    /// A line with a number is whole; whether it ends an element.
    fn take_number(&mut self, number: Number, max_bytes: usize) -> Result<bool, DecodeError> {
        let is_nil = number.is_negative && number.value == 1;
        match number.of {
            NumberOf::Integer => {
                let most = i64::MAX.unsigned_abs() + u64::from(number.is_negative);
                match number.value <= most {
                    true => Ok(true),
                    false => Err(DecodeError::Malformed),
                }
            }
            NumberOf::Bulk | NumberOf::Array if is_nil => Ok(true),
            NumberOf::Bulk | NumberOf::Array if number.is_negative => Err(DecodeError::Malformed),
            NumberOf::Bulk => {
                let len = usize::try_from(number.value).map_err(|_| DecodeError::TooLarge)?;
                self.count(len.saturating_add(2), max_bytes)?;
                self.state = match len {
                    0 => State::BulkEnd { left: 2 },
                    left => State::Bulk { left },
                };
                Ok(false)
            }
            NumberOf::Array => {
                let count = usize::try_from(number.value).map_err(|_| DecodeError::TooLarge)?;
                self.open_array(count, max_bytes)
            }
        }
    }

    /// An array begins; whether it ends at once.
    fn open_array(&mut self, count: usize, max_bytes: usize) -> Result<bool, DecodeError> {
        self.element_count = self.element_count.saturating_add(count);
        let least_bytes = count.saturating_mul(MIN_ELEMENT_BYTES);
        if self.depth >= MAX_DEPTH
            || self.element_count > MAX_ELEMENTS
            || least_bytes > max_bytes - self.byte_count.min(max_bytes)
        {
            return Err(DecodeError::TooLarge);
        }
        if count == 0 {
            return Ok(true);
        }
        self.open[self.depth] = u32::try_from(count).map_err(|_| DecodeError::TooLarge)?;
        self.depth += 1;
        self.state = State::Kind;
        Ok(false)
    }

    /// An element is whole; whether it was the last one of the value.
    fn ends_value(&mut self) -> bool {
        self.state = State::Kind;
        while let Some(innermost) = self.depth.checked_sub(1) {
            self.open[innermost] -= 1;
            if self.open[innermost] > 0 {
                return false;
            }
            self.depth = innermost;
        }
        true
    }

    fn count(&mut self, len: usize, max_bytes: usize) -> Result<(), DecodeError> {
        self.byte_count = self.byte_count.saturating_add(len);
        match self.byte_count <= max_bytes {
            true => Ok(()),
            false => Err(DecodeError::TooLarge),
        }
    }
}

/// What begins with this byte.
fn begin(kind: u8) -> Result<State, DecodeError> {
    let number = |of| {
        State::Number(Number {
            of,
            is_negative: false,
            digit_count: 0,
            value: 0,
            is_cr: false,
        })
    };
    match kind {
        b'+' | b'-' => Ok(State::Text { is_cr: false }),
        b':' => Ok(number(NumberOf::Integer)),
        b'$' => Ok(number(NumberOf::Bulk)),
        b'*' => Ok(number(NumberOf::Array)),
        _ => Err(DecodeError::Malformed),
    }
}

fn expect(byte: u8, expected: u8) -> Result<(), DecodeError> {
    match byte == expected {
        true => Ok(()),
        false => Err(DecodeError::Malformed),
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the answer is not RESP2: check what listens there",
            Self::TooLarge => "the answer is too long or nested too deeply: check what is asked",
        })
    }
}

impl std::error::Error for DecodeError {}

/// Most levels of arrays: messages to subscribers have one, `EXEC` and `SENTINEL` two. The codec
/// behind this calls itself at each level.
pub const MAX_DEPTH: usize = 8;

/// Most elements of one value, those of inner arrays included.
pub const MAX_ELEMENTS: usize = 65_536;

/// The shortest element: `+`, CR, LF.
const MIN_ELEMENT_BYTES: usize = 3;

/// Digits of the largest 64-bit number.
const MAX_DIGITS: usize = 19;
