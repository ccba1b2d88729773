//! What has to hold for RESP2: a second, plain reading of it.

use websock::protocol::redis::{
    DecodeError, Decoded, Decoder, ErrorKind, MAX_DEPTH, MAX_ELEMENTS, Value, encode_command,
};

use super::oracles::cuts;

/// Longest value that is kept, in bytes.
const LIMIT: usize = 200;

/// Values are read as a second reader reads them, wherever they are cut; what is too long is skipped
/// and takes no memory; nothing is wrong before the byte that makes it so; what was read and is
/// written again is the same; and a command reads back whatever it holds.
pub fn resp(bytes: &[u8]) {
    let whole = read(&[bytes]);
    assert_eq!(whole, read_plainly(bytes));
    for cut in cuts(bytes.len()) {
        let (left, right) = bytes.split_at(cut);
        assert_eq!(read(&[left, right]), whole, "cut at {cut}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(&single), whole, "byte by byte");
    for value in whole.0.iter().flatten() {
        let mut written = Vec::new();
        write(value, &mut written);
        let (again, end) = read_without_limit(&written);
        assert_eq!(
            (again.as_slice(), end),
            (&[Some(value.clone())][..], End::Between)
        );
    }
    let parts: Vec<&[u8]> = bytes.chunks(7).take(9).collect();
    let mut command = Vec::new();
    encode_command(&parts, &mut command);
    let parts = parts.iter().map(|part| Value::Bytes(part.to_vec()));
    let expected = Some(Value::Array(parts.collect()));
    assert_eq!(read_without_limit(&command), (vec![expected], End::Between));
}

/// Where the input stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Behind a value.
    Between,
    /// In the middle of one.
    Within,
    /// It is no RESP2, or too much of it.
    Wrong,
}

/// Values, or `None` for those that were skipped.
type Read = (Vec<Option<Value>>, End);

fn read(pieces: &[&[u8]]) -> Read {
    let mut decoder = Decoder::default();
    let mut values = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        loop {
            match decoder.push(&mut rest, LIMIT) {
                Ok(Some(Decoded::Value(value))) => values.push(Some(value)),
                Ok(Some(Decoded::Skipped)) => values.push(None),
                Ok(None) => break,
                Err(DecodeError::Malformed | DecodeError::TooLarge) => return (values, End::Wrong),
            }
            assert!(decoder.held_bytes() <= 2 * LIMIT);
        }
        assert!(rest.is_empty(), "all is taken");
        assert!(decoder.held_bytes() <= 2 * LIMIT);
    }
    match decoder.has_begun() {
        true => (values, End::Within),
        false => (values, End::Between),
    }
}

fn read_without_limit(bytes: &[u8]) -> Read {
    let (mut decoder, mut values, mut rest) = (Decoder::default(), Vec::new(), bytes);
    while let Some(Decoded::Value(value)) = decoder.push(&mut rest, usize::MAX).expect("RESP2") {
        values.push(Some(value));
    }
    match decoder.has_begun() {
        true => (values, End::Within),
        false => (values, End::Between),
    }
}

fn write(value: &Value, to: &mut Vec<u8>) {
    match value {
        Value::Nil => to.extend(b"$-1\r\n"),
        Value::Integer(number) => to.extend(format!(":{number}\r\n").bytes()),
        Value::Bytes(bytes) => {
            to.extend(format!("${}\r\n", bytes.len()).bytes());
            to.extend(bytes);
            to.extend(b"\r\n");
        }
        Value::Array(values) => {
            to.extend(format!("*{}\r\n", values.len()).bytes());
            values.iter().for_each(|value| write(value, to));
        }
        Value::Error(kind) => {
            let word = WORDS
                .iter()
                .find(|word| ErrorKind::parse(word.as_bytes()) == *kind);
            to.extend(format!("-{}\r\n", word.expect("each kind has a word")).bytes());
        }
    }
}

/// One error of each kind.
const WORDS: &[&str] = &[
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "DENIED",
    "LOADING",
    "READONLY",
    "MOVED",
    "OOM",
    "MISCONF",
    "WRONGTYPE",
    "ERR",
    "ERR max number of clients",
    "ERR DB index",
    "ERR AUTH called without any password configured",
];

// ---- a second reader: it looks at all of the input again for each value, and calls itself

fn read_plainly(bytes: &[u8]) -> Read {
    let (mut values, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let mut elements = 1;
        match value(rest, 0, &mut elements) {
            Ok((value, len)) => {
                values.push((len <= LIMIT).then_some(value));
                rest = &rest[len..];
            }
            Err(end) => return (values, end),
        }
    }
    (values, End::Between)
}

fn value(bytes: &[u8], depth: usize, elements: &mut usize) -> Result<(Value, usize), End> {
    let (kind, behind) = bytes.split_first().ok_or(End::Within)?;
    let is_text = matches!(kind, b'+' | b'-');
    if !is_text && !matches!(kind, b':' | b'$' | b'*') {
        return Err(End::Wrong);
    }
    let line = line(behind, is_text)?;
    let start = 1 + line.len() + 2;
    if *kind == b'+' {
        return Ok((Value::Bytes(line.to_vec()), start));
    }
    if *kind == b'-' {
        return Ok((Value::Error(ErrorKind::parse(line)), start));
    }
    let number: i128 = str::from_utf8(line)
        .ok()
        .and_then(|l| l.parse().ok())
        .ok_or(End::Wrong)?;
    match (kind, number) {
        (b':', _) => {
            let number = i64::try_from(number).map_err(|_| End::Wrong)?;
            Ok((Value::Integer(number), start))
        }
        (_, -1) => Ok((Value::Nil, start)),
        // More than is ever skipped.
        (_, ..0 | 600_000_000..) => Err(End::Wrong),
        (b'$', len) => {
            let len = usize::try_from(len).map_err(|_| End::Wrong)?;
            let bytes = &bytes[start..];
            let closing = bytes.get(len..).unwrap_or_default();
            if !b"\r\n".starts_with(&closing[..closing.len().min(2)]) {
                return Err(End::Wrong);
            }
            match closing.len() {
                0 | 1 => Err(End::Within),
                _ => Ok((Value::Bytes(bytes[..len].to_vec()), start + len + 2)),
            }
        }
        (_, count) => {
            let count = usize::try_from(count).map_err(|_| End::Wrong)?;
            *elements += count;
            if *elements > MAX_ELEMENTS || depth == MAX_DEPTH {
                return Err(End::Wrong);
            }
            let (mut values, mut at) = (Vec::new(), start);
            for _ in 0..count {
                let (element, len) = value(&bytes[at..], depth + 1, elements)?;
                values.push(element);
                at += len;
            }
            Ok((Value::Array(values), at))
        }
    }
}

/// What stands before CR LF: text, or a number.
fn line(bytes: &[u8], is_text: bool) -> Result<&[u8], End> {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let line = &bytes[..end.unwrap_or(bytes.len())];
    let digits = line.strip_prefix(b"-").unwrap_or(line);
    let is_number = digits.len() <= 19 && digits.iter().all(u8::is_ascii_digit);
    let end = end.map(|end| &bytes[end..]);
    if (!is_text && !is_number) || end.is_some_and(|end| !end.starts_with(b"\r")) {
        return Err(End::Wrong);
    }
    match end {
        Some(_) if !is_text && digits.is_empty() => Err(End::Wrong),
        None | Some([_]) => Err(End::Within),
        Some([_, b'\n', ..]) => Ok(line),
        Some(_) => Err(End::Wrong),
    }
}
