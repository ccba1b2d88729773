//! Streams of events, `text/event-stream` (HTML Standard §9.2.6): messages → the lines of events.
//!
//! ```text
//! text message     data: {"opcode":"feedback",…}        with id: CURSOR in front, if it has one
//! binary message   event: binary, data: BASE64
//! close frame      event: close, data: {"code":1001,"reason":"server stopping"}
//! ping             :
//! ```
//!
//! Each event ends with an empty line, so nothing in a text may pass for a field. In a packet, which
//! is a JSON object, a line end can only be a blank between its parts, and becomes one: a packet is one
//! line, and no longer than it was. In any other text each line end (LF, CR, CRLF) begins another
//! `data:` line; the receiver joins them with LF.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::{memchr2, memrchr};

use super::close::MAX_REASON_BYTES;
use super::close_code::CloseCode;

/// The media type.
pub const MEDIA_TYPE: &str = "text/event-stream";

/// A comment: a sign of life that no page notices.
pub const COMMENT: &[u8] = b":\n\n";

/// What stands before a text of one line.
pub const DATA: &[u8] = b"data: ";

/// What ends such an event.
pub const END: &[u8] = b"\n\n";

/// Appends the event for a text message.
pub fn encode_text(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(DATA);
    if text.trim_ascii_start().starts_with(b"{") {
        let start = out.len();
        out.extend_from_slice(text);
        for byte in &mut out[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    } else {
        encode_lines(text, out);
    }
    out.extend_from_slice(END);
}

fn encode_lines(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(end) = memchr2(b'\n', b'\r', rest) {
        let (line, tail) = rest.split_at(end);
        out.extend_from_slice(line);
        out.push(b'\n');
        out.extend_from_slice(DATA);
        let line_end_len = if tail.starts_with(b"\r\n") { 2 } else { 1 };
        rest = tail.get(line_end_len..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// Appends the line that names an event's id. `id` has to be what [`cursor_of`] finds.
pub fn encode_id(id: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id);
        out.push(b'\n');
    }
}

/// Appends the event for a binary message.
pub fn encode_binary(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: binary\n");
    out.extend_from_slice(DATA);
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.extend_from_slice(END);
}

/// Appends the last event of a stream: what a close frame says.
pub fn encode_close(code: CloseCode, reason: &str, out: &mut Vec<u8>) {
    let reason = &reason[..reason.floor_char_boundary(MAX_REASON_BYTES)];
    let reason = serde_json::Value::from(reason);
    let (data, code) = (str::from_utf8(DATA).unwrap_or_default(), code.as_u16());
    let event = format!("event: close\n{data}{{\"code\":{code},\"reason\":{reason}}}\n\n");
    out.extend_from_slice(event.as_bytes());
}

/// Whether a text is one line, so that its event is the text between [`DATA`] and [`END`].
pub fn is_one_line(text: &[u8]) -> bool {
    memchr2(b'\n', b'\r', text).is_none()
}

/// The cursor that a packet carries as its last key (protocol.md 9.1): `…,"cursor":"CURSOR"}`.
pub fn cursor_of(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_suffix(b"\"}")?;
    let tail = &text[text
        .len()
        .saturating_sub(MAX_CURSOR_BYTES + CURSOR_KEY.len())..];
    let quote = memrchr(b'"', tail)?;
    let (key, cursor) = tail.split_at(quote + 1);
    let is_cursor = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_one = key.ends_with(CURSOR_KEY) && !cursor.is_empty() && cursor.iter().all(is_cursor);
    is_one.then_some(cursor)
}

const CURSOR_KEY: &[u8] = b",\"cursor\":\"";

/// Longest cursor that becomes an id, in bytes.
const MAX_CURSOR_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> String {
        let mut out = Vec::new();
        encode_id(cursor_of(text.as_bytes()), &mut out);
        encode_text(text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_text_is_its_lines_and_nothing_else() {
        for (text, expected) in [
            ("", "data: \n\n"),
            ("a", "data: a\n\n"),
            ("a\nb", "data: a\ndata: b\n\n"),
            ("a\r\nb\rc\n", "data: a\ndata: b\ndata: c\ndata: \n\n"),
            ("\n\n", "data: \ndata: \ndata: \n\n"),
            ("\r\r\n", "data: \ndata: \ndata: \n\n"),
            (
                "x\n\nevent: close\ndata: y",
                "data: x\ndata: \ndata: event: close\ndata: data: y\n\n",
            ),
            (" a: b", "data:  a: b\n\n"),
            ("{\n\"a\":\r\n1\r}", "data: { \"a\":  1 }\n\n"),
            ("\n{}\n", "data:  {} \n\n"),
        ] {
            assert_eq!(event(text), expected, "{text:?}");
            assert_eq!(is_one_line(text.as_bytes()), !text.contains(['\n', '\r']));
        }
    }

    #[test]
    fn the_cursor_is_the_last_key_and_of_its_form_or_none() {
        for (text, expected) in [
            (r#"{"a":1,"cursor":"Ab-_.9"}"#, Some("Ab-_.9")),
            (r#"{"cursor":"old","a":"x","cursor":"new"}"#, Some("new")),
            (r#"{"cursor":"first"}"#, None),
            (r#"{"a":1,"cursor":""}"#, None),
            (r#"{"a":1,"cursor":"a b"}"#, None),
            ("{\"a\":1,\"cursor\":\"a\nb\"}", None),
            (r#"{"a":1,"cursor":"a\"}"#, None),
            (r#"{"a":1,"cursor":"a"} "#, None),
            (r#"{"a":{"b":1,"cursor":"a"}}"#, None),
            (r#"{"a":1,"xcursor":"a"}"#, None),
            ("", None),
            ("\"}", None),
        ] {
            let found = cursor_of(text.as_bytes()).map(|id| str::from_utf8(id).unwrap());
            assert_eq!(found, expected, "{text}");
        }
        let long = |len| format!(r#"{{"a":1,"cursor":"{}"}}"#, "c".repeat(len));
        assert!(cursor_of(long(MAX_CURSOR_BYTES).as_bytes()).is_some());
        assert!(cursor_of(long(MAX_CURSOR_BYTES + 1).as_bytes()).is_none());
        assert_eq!(
            event(r#"{"a":1,"cursor":"c"}"#),
            "id: c\ndata: {\"a\":1,\"cursor\":\"c\"}\n\n"
        );
    }

    #[test]
    fn what_is_no_text_has_a_name() {
        let mut out = Vec::new();
        encode_binary(&[0, 0xff, b'\n'], &mut out);
        encode_close(CloseCode::GOING_AWAY, "a \"b\"\n", &mut out);
        assert_eq!(
            str::from_utf8(&out).unwrap(),
            "event: binary\ndata: AP8K\n\n\
             event: close\ndata: {\"code\":1001,\"reason\":\"a \\\"b\\\"\\n\"}\n\n"
        );
    }
}
