//! [`Decoder`]: bytes → one [`Value`] after the other.

use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::types::RangeFrame;

use super::error_kind::ErrorKind;
use super::scanner::{DecodeError, ValueScanner};
use super::value::Value;

/// Reads values that arrive in any number of pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    scanner: ValueScanner,
    /// A value that has begun, as far as it has come; empty if it is too long to be kept.
    gathered: Vec<u8>,
    is_skipping: bool,
}

/// A whole value.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// It.
    Value(Value),
    /// It was too long to be kept.
    Skipped,
}

impl Decoder {
    /// Takes bytes from the front of `input`: the next value if it is whole, else all are taken.
    ///
    /// A value of more than `max_bytes`, its own syntax included, is skipped: what comes behind it
    /// counts all the same. After an error no more can be read.
    pub fn push(
        &mut self,
        input: &mut &[u8],
        max_bytes: usize,
    ) -> Result<Option<Decoded>, DecodeError> {
        let end = self.scanner.scan(input, MAX_SKIPPED_BYTES)?;
        let (piece, rest) = input.split_at(end.unwrap_or(input.len()));
        *input = rest;
        if end.is_none() {
            self.gather(piece, max_bytes);
            return Ok(None);
        }
        let whole_len = self.gathered.len() + piece.len();
        if std::mem::take(&mut self.is_skipping) || whole_len > max_bytes {
            self.gathered = Vec::new();
            return Ok(Some(Decoded::Skipped));
        }
        let value = match self.gathered.is_empty() {
            true => decode(piece),
            false => {
                let mut whole = std::mem::take(&mut self.gathered);
                whole.extend_from_slice(piece);
                decode(&whole)
            }
        };
        value.map(Decoded::Value).map(Some)
    }

    /// Keeps a piece of a value that is not whole, unless the value will be too long.
    fn gather(&mut self, piece: &[u8], max_bytes: usize) {
        self.is_skipping |= self.scanner.announced_bytes() > max_bytes;
        match self.is_skipping {
            true => self.gathered = Vec::new(),
            false => self.gathered.extend_from_slice(piece),
        }
    }

    /// Whether a value has begun and is not whole.
    pub fn has_begun(&self) -> bool {
        self.scanner.has_begun()
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        self.gathered.capacity()
    }
}

/// Longest value that is skipped: the longest string of a Redis (`proto-max-bulk-len`) and some more.
const MAX_SKIPPED_BYTES: usize = 600 << 20;

/// Reads a value that the scanner has found whole.
fn decode(whole: &[u8]) -> Result<Value, DecodeError> {
    match decode_range(whole) {
        Ok(Some((frame, len))) if len == whole.len() => value(&frame, whole),
        // Scanner and codec do not agree, which the fuzz target `resp` looks for.
        Ok(_) | Err(_) => Err(DecodeError::Malformed),
    }
}

fn value(frame: &RangeFrame, whole: &[u8]) -> Result<Value, DecodeError> {
    let text = |(start, end): (usize, usize)| whole.get(start..end).ok_or(DecodeError::Malformed);
    Ok(match frame {
        RangeFrame::Null => Value::Nil,
        RangeFrame::Integer(number) => Value::Integer(*number),
        RangeFrame::SimpleString(range) | RangeFrame::BulkString(range) => {
            Value::Bytes(text(*range)?.to_vec())
        }
        RangeFrame::Error(range) => Value::Error(ErrorKind::parse(text(*range)?)),
        RangeFrame::Array(elements) => {
            let elements = elements.iter().map(|element| value(element, whole));
            Value::Array(elements.collect::<Result<_, _>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::scanner::{MAX_DEPTH, MAX_ELEMENTS};
    use super::*;

    type Outcome = Result<Vec<Value>, DecodeError>;

    const LIMIT: usize = 1000;

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> Outcome {
        let mut decoder = Decoder::default();
        let mut values = Vec::new();
        for mut piece in pieces {
            while let Some(decoded) = decoder.push(&mut piece, limit)? {
                values.push(match decoded {
                    Decoded::Value(value) => value,
                    Decoded::Skipped => bytes("(skipped)"),
                });
            }
            assert!(piece.is_empty());
            assert!(decoder.held_bytes() <= limit.saturating_mul(2));
        }
        Ok(values)
    }

    /// The same at every cut and byte by byte.
    #[track_caller]
    fn read_anyhow(input: &[u8]) -> Outcome {
        let whole = read([input], LIMIT);
        for cut in 0..input.len() {
            let (front, back) = input.split_at(cut);
            assert_eq!(read([front, back], LIMIT), whole, "at {cut}");
        }
        assert_eq!(read(input.chunks(1), LIMIT), whole);
        whole
    }

    fn bytes(text: &str) -> Value {
        Value::Bytes(text.into())
    }

    #[test]
    fn values_are_read_alike_wherever_they_are_cut() {
        use Value::*;
        for (input, expected) in [
            ("+OK\r\n", vec![bytes("OK")]),
            ("+\r\n", vec![bytes("")]),
            ("$0\r\n\r\n", vec![bytes("")]),
            ("$4\r\na\r\nb\r\n", vec![bytes("a\r\nb")]),
            ("$-1\r\n*-1\r\n", vec![Nil, Nil]),
            (":0\r\n:-1\r\n", vec![Integer(0), Integer(-1)]),
            (
                ":9223372036854775807\r\n:-9223372036854775808\r\n",
                vec![Integer(i64::MAX), Integer(i64::MIN)],
            ),
            ("-NOAUTH x\r\n", vec![Error(ErrorKind::PasswordMissing)]),
            ("-\r\n", vec![Error(ErrorKind::Other)]),
            ("*0\r\n", vec![Array(vec![])]),
            (
                "*3\r\n*2\r\n:1\r\n*0\r\n$-1\r\n*1\r\n$1\r\nx\r\n+a\r\n",
                vec![
                    Array(vec![
                        Array(vec![Integer(1), Array(vec![])]),
                        Nil,
                        Array(vec![bytes("x")]),
                    ]),
                    bytes("a"),
                ],
            ),
            ("$5\r\nab", vec![]),
            ("*1\r\n", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(read_anyhow(input.as_bytes()), Ok(expected), "{input:?}");
        }
        assert_eq!(
            read_anyhow(b"-ERR \xff\xfe\r\n$2\r\n\xff\0\r\n"),
            Ok(vec![Error(ErrorKind::Other), Bytes(vec![0xff, 0])])
        );
    }

    #[test]
    fn what_is_not_resp2_is_refused() {
        for input in [
            "x",
            "\r\n",
            " +a\r\n",
            "HTTP/1.1 400 Bad Request\r\n",
            "%1\r\n",
            "_\r\n",
            "#t\r\n",
            ">1\r\n",
            "~1\r\n",
            ",1\r\n",
            "(1\r\n",
            "=5\r\ntxt:a\r\n",
            ":\r\n",
            ":-\r\n",
            ":--1\r\n",
            ":+1\r\n",
            ":1a\r\n",
            ": 1\r\n",
            ":1\n",
            ":1\r\r\n",
            ":9223372036854775808\r\n",
            ":-9223372036854775809\r\n",
            ":99999999999999999999\r\n",
            "$\r\n",
            "$-2\r\n",
            "$-11\r\n",
            "$+1\r\na\r\n",
            "$1a\r\n",
            "$1\r\nab\r\n",
            "$1\r\na\n",
            "$0\r\nab",
            "*-2\r\n",
            "*a\r\n",
            "*1\r\nx",
            "+a\nb\r\n",
            "+a\rb\r\n",
            "+a\r\r\n",
        ] {
            let outcome = read_anyhow(input.as_bytes());
            assert_eq!(outcome, Err(DecodeError::Malformed), "{input:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_skipped_and_never_kept() {
        let long = "x".repeat(LIMIT);
        for input in [
            format!("${LIMIT}\r\n{long}\r\n"),
            format!("$993\r\n{}\r\n", &long[..993]),
            format!("+{long}\r\n"),
            format!("-{long}\r\n"),
            format!(
                "*2\r\n$500\r\n{}\r\n$500\r\n{}\r\n",
                &long[..500],
                &long[..500]
            ),
            format!("*251\r\n{}", ":1\r\n".repeat(251)),
        ] {
            let expected = Ok(vec![bytes("(skipped)"), bytes("a")]);
            assert_eq!(read_anyhow(format!("{input}+a\r\n").as_bytes()), expected);
        }
        let longest = format!("$992\r\n{}\r\n", &long[..992]);
        assert_eq!(longest.len(), LIMIT);
        assert_eq!(
            read_anyhow(longest.as_bytes()),
            Ok(vec![bytes(&long[..992])])
        );
        // Nothing is kept of it from its first line on.
        let mut decoder = Decoder::default();
        let outcome = decoder.push(&mut &b"*2\r\n:1\r\n$100000000\r\nabc"[..], LIMIT);
        assert_eq!((outcome, decoder.held_bytes()), (Ok(None), 0));
    }

    #[test]
    fn limits_hold_before_anything_has_come() {
        for input in [
            "$629145600\r\n",
            "$9223372036854775807\r\n",
            "*65536\r\n",
            "*9223372036854775807\r\n",
            "*2\r\n$314572800\r\n",
        ] {
            let mut decoder = Decoder::default();
            let mut outcome = decoder.push(&mut input.as_bytes(), usize::MAX);
            if input.starts_with("*2") {
                let half = vec![b'x'; 1 << 20];
                for _ in 0..300 {
                    outcome = decoder.push(&mut &half[..], LIMIT);
                    assert_eq!(outcome, Ok(None));
                }
                outcome = decoder.push(&mut &b"\r\n$314572800\r\n"[..], LIMIT);
            }
            assert_eq!(outcome, Err(DecodeError::TooLarge), "{input:?}");
            assert!(decoder.held_bytes() < 100);
        }
    }

    #[test]
    fn nesting_and_elements_are_bounded() {
        let nested = |depth: usize| "*1\r\n".repeat(depth) + ":1\r\n";
        assert_eq!(read_anyhow(nested(MAX_DEPTH).as_bytes()).unwrap().len(), 1);
        let bomb = read_anyhow(nested(MAX_DEPTH + 1).as_bytes());
        assert_eq!(bomb, Err(DecodeError::TooLarge));
        let bomb = read(["*1\r\n".repeat(1 << 20).as_bytes()], usize::MAX);
        assert_eq!(bomb, Err(DecodeError::TooLarge));
        let many = format!(
            "*{}\r\n{}",
            MAX_ELEMENTS - 1,
            ":1\r\n".repeat(MAX_ELEMENTS - 1)
        );
        assert_eq!(read([many.as_bytes()], usize::MAX).unwrap().len(), 1);
        let many = format!("*{MAX_ELEMENTS}\r\n");
        assert_eq!(
            read([many.as_bytes()], usize::MAX),
            Err(DecodeError::TooLarge)
        );
    }

    #[test]
    fn nothing_shown_holds_what_may_be_secret() {
        let values = read([&b"$6\r\nsecret\r\n-ERR secret\r\n"[..]], LIMIT).unwrap();
        assert!(!format!("{values:?}").contains("secret"));
    }
}
