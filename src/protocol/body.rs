//! Bodies of HTTP/1.1 requests (RFC 9112 §6, §7): bytes → the whole body, under one limit.
//!
//! Owns how long a body is and where it ends. Strict, because two readers that disagree on it can
//! be played off against each other (§11.2): a length that is no plain number, two lengths, or a
//! length beside `Transfer-Encoding` are refused, and so is every coding but `chunked`.

use super::error::Rejection;
use super::http::{Request, is_field_value, is_token};
use crate::base::free;

/// How a request tells the length of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// Neither `Content-Length` nor `Transfer-Encoding`: there is no body (§6.3).
    None,
    /// `Content-Length`, in bytes.
    Bytes(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

impl BodyLength {
    /// Reads the headers that tell it (§6.1, §6.2).
    ///
    /// [`Rejection::BodyLength`] for what is ambiguous or no number, [`Rejection::TransferEncoding`]
    /// for a coding other than `chunked`.
    pub fn of(request: &Request<'_>) -> Result<Self, Rejection> {
        let mut codings = request.header_values("Transfer-Encoding");
        let mut lengths = request.header_values("Content-Length");
        match (codings.next(), lengths.next()) {
            (None, None) => Ok(Self::None),
            (Some(_), Some(_)) => Err(Rejection::BodyLength),
            // §6.1: HTTP/1.0 knows no codings.
            (Some(_), None) if !request.is_http_1_1() => Err(Rejection::BodyLength),
            (Some(coding), None) => {
                let is_chunked =
                    coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
                is_chunked
                    .then_some(Self::Chunked)
                    .ok_or(Rejection::TransferEncoding)
            }
            (None, Some(length)) => {
                let digits = str::from_utf8(length).ok().filter(|text| is_number(text));
                let number = digits.and_then(|digits| digits.parse().ok());
                let number = number.filter(|_| lengths.next().is_none());
                number.map(Self::Bytes).ok_or(Rejection::BodyLength)
            }
        }
    }
}

/// Gathers one body from the pieces it arrives in.
#[derive(Debug)]
pub struct BodyReader {
    bytes: Vec<u8>,
    max_bytes: usize,
    place: Place,
    /// The beginning of a chunk's size line, or of a trailer line.
    line: Vec<u8>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// So many bytes, then the end.
    Rest(u64),
    /// A line with a chunk's size.
    Size,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// Trailer lines up to an empty one, of which this many bytes have come.
    Trailers(usize),
}

impl BodyReader {
    /// A body of this length is to follow.
    ///
    /// [`Rejection::BodyTooLarge`] if it is longer than `max_bytes`. Memory is taken as bytes
    /// arrive, not as the length promises.
    pub fn new(length: BodyLength, max_bytes: usize) -> Result<Self, Rejection> {
        let place = match length {
            BodyLength::None => Place::Rest(0),
            BodyLength::Bytes(count) if count > max_bytes as u64 => {
                return Err(Rejection::BodyTooLarge);
            }
            BodyLength::Bytes(count) => Place::Rest(count),
            BodyLength::Chunked => Place::Size,
        };
        Ok(Self {
            bytes: Vec::new(),
            max_bytes,
            place,
            line: Vec::new(),
        })
    }

    /// Takes bytes from the front of `input`: how many, and the body if it is whole.
    pub fn push(&mut self, input: &[u8]) -> Result<(usize, Option<Vec<u8>>), Rejection> {
        let mut rest = input;
        loop {
            match self.place {
                Place::Rest(0) => {
                    let body = std::mem::take(&mut self.bytes);
                    return Ok((input.len() - rest.len(), Some(body)));
                }
                _ if rest.is_empty() => return Ok((input.len(), None)),
                Place::Rest(missing) => self.place = Place::Rest(self.copy(&mut rest, missing)),
                Place::Chunk(missing) => {
                    self.place = match self.copy(&mut rest, missing) {
                        0 => Place::ChunkEnd,
                        missing => Place::Chunk(missing),
                    }
                }
                Place::Size | Place::ChunkEnd | Place::Trailers(_) => {
                    if self.take_line(&mut rest)? {
                        self.place = self.after_line()?;
                        self.line.clear();
                    }
                }
            }
        }
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.line.capacity()
    }

    /// Moves up to `missing` bytes over; how many are still missing.
    fn copy(&mut self, rest: &mut &[u8], missing: u64) -> u64 {
        let len = missing.min(rest.len() as u64) as usize;
        let (piece, behind) = rest.split_at(len);
        self.bytes.extend_from_slice(piece);
        *rest = behind;
        missing - len as u64
    }

    /// Gathers a line up to its LF; whether it is whole.
    fn take_line(&mut self, rest: &mut &[u8]) -> Result<bool, Rejection> {
        let end = memchr::memchr(b'\n', rest).map(|at| at + 1);
        let (piece, behind) = rest.split_at(end.unwrap_or(rest.len()));
        self.line.extend_from_slice(piece);
        *rest = behind;
        if self.line.len() > MAX_LINE_BYTES {
            return Err(Rejection::Chunk);
        }
        Ok(end.is_some())
    }

    /// What the line means for what comes next.
    fn after_line(&self) -> Result<Place, Rejection> {
        match self.place {
            Place::Size => match chunk_size(&self.line).ok_or(Rejection::Chunk)? {
                0 => Ok(Place::Trailers(0)),
                size if size > self.payload_buffer() => Err(Rejection::BodyTooLarge),
                size => Ok(Place::Chunk(size)),
            },
            Place::ChunkEnd if self.line == b"\r\n" => Ok(Place::Size),
            Place::Trailers(_) if self.line == b"\r\n" => Ok(Place::Rest(0)),
            // They are let pass unread (§7.1.2), but only where nobody could take them for more.
            Place::Trailers(seen)
                if seen + self.line.len() <= MAX_TRAILER_BYTES && is_trailer(&self.line) =>
            {
                Ok(Place::Trailers(seen + self.line.len()))
            }
            Place::ChunkEnd | Place::Trailers(_) | Place::Rest(_) | Place::Chunk(_) => {
                Err(Rejection::Chunk)
            }
        }
    }

    fn payload_buffer(&self) -> u64 {
        (self.max_bytes - self.bytes.len()) as u64
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        free(std::mem::take(&mut self.bytes));
    }
}

/// The size in a chunk's first line, whose extensions are read over (RFC 9112 §7.1).
///
/// httparse has a function for this, but it takes a line without digits for a size of 0, and any
/// bytes for an extension.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"\r\n")?;
    let is_other = |byte: &u8| !byte.is_ascii_hexdigit();
    let digit_count = line.iter().position(is_other).unwrap_or(line.len());
    let (digits, extensions) = line.split_at(digit_count);
    let is_fine = extensions.is_empty()
        || extensions.trim_ascii_start().starts_with(b";") && is_field_value(extensions);
    // More than 16 digits are refused, leading zeros or not; so are none.
    let digits = str::from_utf8(digits)
        .ok()
        .filter(|digits| is_fine && digits.len() <= 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// Whether this is a header line and ends in CRLF.
///
/// Stricter than in a request's head, where deployed clients end lines in a bare LF: a reader that
/// takes `0 CRLF LF` for the end of the body runs what follows as the next request.
fn is_trailer(line: &[u8]) -> bool {
    let field = line.strip_suffix(b"\r\n").unwrap_or_default();
    let colon = memchr::memchr(b':', field);
    colon.is_some_and(|at| is_token(&field[..at]) && is_field_value(&field[at + 1..]))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Longest size line of a chunk, with its extensions, in bytes.
const MAX_LINE_BYTES: usize = 1024;

/// Most bytes of trailers, as of a request's head.
const MAX_TRAILER_BYTES: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    fn length(headers: &str) -> Result<BodyLength, Rejection> {
        let head = format!("POST /push HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        BodyLength::of(&Request::parse(head.as_bytes()).unwrap())
    }

    #[test]
    fn the_length_is_what_the_headers_agree_on() {
        for (headers, expected) in [
            ("", Ok(BodyLength::None)),
            ("Content-Length: 0\r\n", Ok(BodyLength::Bytes(0))),
            ("content-length:  17 \r\n", Ok(BodyLength::Bytes(17))),
            ("Transfer-Encoding: Chunked\r\n", Ok(BodyLength::Chunked)),
            ("Content-Length: \r\n", Err(Rejection::BodyLength)),
            ("Content-Length: +1\r\n", Err(Rejection::BodyLength)),
            ("Content-Length: 1, 1\r\n", Err(Rejection::BodyLength)),
            (
                "Content-Length: 1\r\nContent-Length: 1\r\n",
                Err(Rejection::BodyLength),
            ),
            (
                "Content-Length: 99999999999999999999\r\n",
                Err(Rejection::BodyLength),
            ),
            (
                "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
                Err(Rejection::BodyLength),
            ),
            (
                "Transfer-Encoding: gzip\r\n",
                Err(Rejection::TransferEncoding),
            ),
            (
                "Transfer-Encoding: gzip, chunked\r\n",
                Err(Rejection::TransferEncoding),
            ),
        ] {
            assert_eq!(length(headers), expected, "{headers:?}");
        }
    }

    /// The body, or the refusal, and how many bytes were left behind it.
    fn read(
        length: BodyLength,
        max_bytes: usize,
        input: &[u8],
        cut: usize,
    ) -> Result<(Option<Vec<u8>>, usize), Rejection> {
        let mut reader = BodyReader::new(length, max_bytes)?;
        let mut taken = 0;
        for piece in [&input[..cut], &input[cut..]] {
            let (count, body) = reader.push(piece)?;
            taken += count;
            if body.is_some() {
                return Ok((body, input.len() - taken));
            }
            assert_eq!(count, piece.len(), "all is taken until the body is whole");
        }
        Ok((None, 0))
    }

    #[test]
    fn bodies_are_the_same_at_every_cut() {
        let chunked = b"3\r\nabc\r\n2;name=\"v\"\r\nde\r\n0\r\nTrailer: x\r\n\r\nGET";
        for (length, input, expected) in [
            (BodyLength::None, &b"GET"[..], Ok((&b""[..], 3))),
            (BodyLength::Bytes(5), b"abcdeGET", Ok((b"abcde", 3))),
            (BodyLength::Chunked, chunked, Ok((b"abcde", 3))),
            (BodyLength::Chunked, b"0\r\n\r\n", Ok((b"", 0))),
            (
                BodyLength::Chunked,
                b"6\r\nabcdef\r\n0\r\n\r\n",
                Err(Rejection::BodyTooLarge),
            ),
            (
                BodyLength::Chunked,
                b"3\r\nabc\r\n3\r\nabc",
                Err(Rejection::BodyTooLarge),
            ),
            (BodyLength::Chunked, b"x\r\n", Err(Rejection::Chunk)),
            (BodyLength::Chunked, b"3\r\nabcd\n", Err(Rejection::Chunk)),
            (
                BodyLength::Chunked,
                b"ffffffffffffffffff\r\n",
                Err(Rejection::Chunk),
            ),
        ] {
            for cut in 0..=input.len() {
                let expected = expected.map(|(body, left)| (Some(body.to_vec()), left));
                let text = String::from_utf8_lossy(input);
                let read = read(length, 5, input, cut);
                assert_eq!(
                    read.as_ref().map(|(body, _)| body),
                    expected.as_ref().map(|(body, _)| body),
                    "{text} at {cut}"
                );
                if let (Ok((_, left)), Ok((_, expected_left))) = (read, expected)
                    && cut + expected_left <= input.len()
                {
                    assert_eq!(left, expected_left, "{text} at {cut}");
                }
            }
        }
    }

    #[test]
    fn lines_between_and_behind_chunks_are_read_strictly() {
        for input in [
            &b"0\r\n\nGET /x HTTP/1.1\r\n\r\n"[..],
            b"0\n\r\n\r\n",
            b"0\r\na: b\n\r\n",
            b"0\r\na: b\n\n",
            b"0\r\n\r\r\n",
            b"0\r\nno colon\r\n\r\n",
            b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"0\r\n: empty\r\n\r\n",
            b"0\r\na : b\r\n\r\n",
            b"0\r\n a: b\r\n\r\n",
            b"0\r\na: b\r\n folded\r\n\r\n",
            b"0\r\na: b\r\n\tc: d\r\n\r\n",
            b"0\r\na: b\0c\r\n\r\n",
            b"0\r\na: b\rc\r\n\r\n",
            b"0\r\na\0: b\r\n\r\n",
            b"1\na\r\n0\r\n\r\n",
            b"1\r\na\n0\r\n\r\n",
            b"1\r\na0\r\n\r\n",
            b"1\r\na\r\n\n0\r\n\r\n",
            b"1;a\0\r\na\r\n0\r\n\r\n",
            b"1;a\rb\r\na\r\n0\r\n\r\n",
            b"1;a\n\r\na\r\n0\r\n\r\n",
            b"0x1\r\na\r\n0\r\n\r\n",
            b"+1\r\na\r\n0\r\n\r\n",
            b"1_\r\na\r\n0\r\n\r\n",
            b" 1\r\na\r\n0\r\n\r\n",
            b"\r\n1\r\na\r\n0\r\n\r\n",
            b";a\r\n\r\n",
            b"\r\n\r\n",
            b"\r\n",
            b"1 \r\na\r\n0\r\n\r\n",
            b"1 a\r\na\r\n0\r\n\r\n",
            b"1\x0b;a\r\na\r\n0\r\n\r\n",
            b"00000000000000001\r\na\r\n0\r\n\r\n",
            b"10000000000000000\r\na\r\n0\r\n\r\n",
        ] {
            for cut in 0..=input.len() {
                let got = read(BodyLength::Chunked, 5, input, cut);
                assert_eq!(
                    got,
                    Err(Rejection::Chunk),
                    "{} at {cut}",
                    input.escape_ascii()
                );
            }
        }
        let sizes = b"0000000000000003\r\nabc\r\n00A \t;x=\"y z\"\r\n0123456789\r\n0;;\r\n\r\n";
        let got = read(BodyLength::Chunked, 13, sizes, 9);
        assert_eq!(got, Ok((Some(b"abc0123456789".to_vec()), 0)));
        for trailer in ["a:", "a: b", "X-Sum:\t1, \u{fc}", "a: b: c"] {
            let input = format!("0\r\n{trailer}\r\n\r\n");
            let got = read(BodyLength::Chunked, 5, input.as_bytes(), 4);
            assert_eq!(got, Ok((Some(vec![]), 0)), "{trailer}");
        }
    }

    #[test]
    fn a_promised_length_takes_no_memory_and_too_long_a_one_is_refused() {
        let reader = BodyReader::new(BodyLength::Bytes(1 << 30), 1 << 30).unwrap();
        assert_eq!(reader.held_bytes(), 0);
        for (length, is_fine) in [(4, true), (5, true), (6, false)] {
            assert_eq!(
                BodyReader::new(BodyLength::Bytes(length), 5).is_ok(),
                is_fine
            );
        }
    }

    #[test]
    fn endless_lines_and_trailers_are_refused() {
        let size_line = [b"1;".as_slice(), &[b'x'; MAX_LINE_BYTES]].concat();
        let trailers = [b"0\r\n".as_slice(), &b"a: b\r\n".repeat(2000)].concat();
        for input in [size_line, trailers] {
            let mut reader = BodyReader::new(BodyLength::Chunked, 100).unwrap();
            assert_eq!(reader.push(&input), Err(Rejection::Chunk));
        }
    }
}
