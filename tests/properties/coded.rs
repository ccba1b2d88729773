//! What has to hold for codings: compressed messages (RFC 7692) and bodies in chunks (RFC 9112).

use websock::protocol::body::{BodyLength, BodyReader};
use websock::protocol::deflate::{Deflater, Inflater};
use websock::protocol::error::{Rejection, Violation};
use websock::protocol::extension::Context;

use super::script::Script;

/// Longest message, in bytes.
const LIMIT: usize = 5000;

// ---- permessage-deflate

/// Any payload inflates to the same in one piece and in two, to no more than the limit and in no
/// more memory; whatever is deflated comes back.
pub fn deflate(bytes: &[u8]) {
    let mut script = Script(bytes);
    let (window, level) = (9 + script.byte() % 7, 1 + script.byte() % 9);
    let context = match script.byte() % 2 {
        0 => Context::Kept,
        _ => Context::Dropped,
    };
    let payload = script.bytes(2000);
    let whole = inflated(&mut Inflater::new(context), &[payload]);
    for cut in (0..=payload.len()).step_by(payload.len() / 20 + 1) {
        let (left, right) = payload.split_at(cut);
        let pieces = inflated(&mut Inflater::new(context), &[left, right]);
        assert_eq!(pieces, whole, "cut at {cut}");
    }
    expect_return(payload, window, level, context);
    if let Ok(text) = whole {
        expect_return(&text, window, level, context);
    }
}

fn inflated(inflater: &mut Inflater, pieces: &[&[u8]]) -> Result<Vec<u8>, Violation> {
    let mut out = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        while inflater.inflate(&mut input, LIMIT, &mut out)? {
            assert!(out.len() <= LIMIT);
        }
        assert!(input.is_empty(), "all is taken");
    }
    inflater.end_message(LIMIT, &mut out)?;
    assert!(out.len() <= LIMIT, "{} bytes", out.len());
    assert!(out.capacity() <= 2 * LIMIT, "{} bytes held", out.capacity());
    Ok(out)
}

/// Three times, as the second and third may refer to what came before.
fn expect_return(message: &[u8], window: u8, level: u8, context: Context) {
    let mut deflater = Deflater::new(window, level, context);
    let mut inflater = Inflater::new(context);
    for _ in 0..3 {
        let mut out = Vec::new();
        if deflater.deflate(message, &mut out) {
            assert!(out.len() < message.len(), "not shorter");
            let back = inflated(&mut inflater, &[&out]);
            assert!(back.as_deref() == Ok(message), "it comes back otherwise");
        } else {
            assert!(out.is_empty(), "something is left of a refusal");
        }
    }
}

// ---- bodies

/// A body is the same in one piece and cut anywhere, takes no byte beyond its end, holds no more
/// than the limit; chunks that are taken are so by a second, plain reading, too; and chunks of a
/// known body give it back.
pub fn body(bytes: &[u8]) {
    let mut script = Script(bytes);
    let length = match script.byte() % 3 {
        0 => BodyLength::None,
        1 => BodyLength::Bytes(u64::from(script.byte()) * 30),
        _ => BodyLength::Chunked,
    };
    let input = script.bytes(3000);
    let whole = read(length, input, input.len());
    for cut in (0..=input.len()).step_by(input.len() / 50 + 1) {
        assert_eq!(read(length, input, cut), whole, "cut at {cut}");
    }
    if let (BodyLength::Chunked, Ok((Some(body), taken))) = (length, &whole) {
        assert_eq!(plain_chunks(input), Some((body.clone(), *taken)));
    }
    let mut chunks = Vec::new();
    for piece in input.chunks(usize::from(bytes.first().copied().unwrap_or_default()) + 1) {
        chunks.extend(format!("{:x};a=\"b\"\r\n", piece.len()).bytes());
        chunks.extend(piece);
        chunks.extend(b"\r\n");
    }
    chunks.extend(b"0\r\nTrailer: x\r\n\r\n");
    let expected = (Some(input.to_vec()), chunks.len());
    assert_eq!(
        read(BodyLength::Chunked, &chunks, chunks.len() / 2),
        Ok(expected)
    );
}

/// RFC 9112 §7.1 once more, as plainly as it can be said: the body, and how many bytes it took.
fn plain_chunks(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut rest) = (Vec::new(), input);
    loop {
        let line = plain_line(&mut rest)?;
        let end = line.find(|c: char| !c.is_ascii_hexdigit());
        let (digits, extensions) = line.split_at(end.unwrap_or(line.len()));
        let extensions = extensions.trim_start_matches([' ', '\t']);
        assert!(end.is_none() || extensions.starts_with(';'), "{line:?}");
        let size = usize::from_str_radix(digits, 16).ok()?;
        if size == 0 {
            break;
        }
        body.extend(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
    loop {
        let line = plain_line(&mut rest)?;
        if line.is_empty() {
            return Some((body, input.len() - rest.len()));
        }
        let (name, _) = line.split_once(':')?;
        let is_token = |c: char| c.is_ascii_graphic() && !"\"(),/:;<=>?@[\\]{}".contains(c);
        assert!(!name.is_empty() && name.chars().all(is_token), "{line:?}");
    }
}

/// A line up to CRLF, in which only tabs are controls.
fn plain_line(rest: &mut &[u8]) -> Option<String> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, behind) = rest.split_at(end);
    *rest = &behind[2..];
    let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    let is_fine = !line.iter().any(is_control);
    is_fine.then(|| line.iter().map(|&byte| char::from(byte)).collect())
}

/// The body, if it is whole, and how many bytes it took.
fn read(
    length: BodyLength,
    input: &[u8],
    cut: usize,
) -> Result<(Option<Vec<u8>>, usize), Rejection> {
    let mut reader = BodyReader::new(length, LIMIT)?;
    let (left, right) = input.split_at(cut);
    let (taken, body) = reader.push(left)?;
    assert!(taken <= left.len() && reader.held_bytes() <= 2 * LIMIT + 2048);
    if body.is_some() {
        return Ok((body, taken));
    }
    let (more, body) = reader.push(right)?;
    assert!(more <= right.len() && reader.held_bytes() <= 2 * LIMIT + 2048);
    Ok((body, taken + more))
}
