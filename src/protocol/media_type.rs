//! What a request says its body is (RFC 9110 §8.3, §8.4): headers → [`MediaType`].
//!
//! Only what is said clearly counts: a browser sends a request across origins without asking first
//! if its type is none of those that the server looks for, so nothing may pass for JSON that does
//! not say so.

use super::http::{Request, is_token, is_token_byte};

/// The type of a body, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`, or a type that is written in JSON, as `application/ld+json`
    /// (RFC 6839 §3.1).
    Json,
    /// `application/x-ndjson` or `application/jsonl`: one JSON value per line.
    JsonLines,
    /// Any other, none, more than one, or a malformed one.
    Other,
}

impl MediaType {
    /// Reads `Content-Type`. Types have no case. Parameters have to be well-formed and mean
    /// nothing: JSON is always UTF-8, whatever `charset` says (RFC 8259 §11).
    pub fn of(request: &Request<'_>) -> Self {
        let media_type = request.only_header("Content-Type").and_then(essence);
        let Some(media_type) = media_type.map(<[u8]>::to_ascii_lowercase) else {
            return Self::Other;
        };
        match media_type.as_slice() {
            b"application/json" => Self::Json,
            b"application/x-ndjson" | b"application/jsonl" => Self::JsonLines,
            [b'a', ..] if is_json_suffixed(&media_type) => Self::Json,
            _ => Self::Other,
        }
    }
}

/// Whether a client takes a media type in answer to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It asks for just this one.
    Named,
    /// It takes it among others: `*/*`, or no word about it.
    Any,
    /// It does not.
    No,
}

impl Acceptance {
    /// Reads `Accept` (RFC 9110 §12.5.1): the most specific range that fits decides, whatever its
    /// weight but for `q=0`. What is malformed fits nothing.
    pub fn of(request: &Request<'_>, kind: &str, subtype: &str) -> Self {
        let lines = request.header_values("Accept");
        let ranges = lines.flat_map(|line| line.split(|&byte| byte == b','));
        let mut ranges = ranges
            .filter(|range| !range.trim_ascii().is_empty())
            .peekable();
        if ranges.peek().is_none() {
            return Self::Any;
        }
        let fits = ranges.filter_map(|range| fit(range.trim_ascii(), kind, subtype));
        match fits.max_by_key(|(specificity, _)| *specificity) {
            Some((2, true)) => Self::Named,
            Some((_, true)) => Self::Any,
            Some((_, false)) | None => Self::No,
        }
    }
}

/// How specific a range is that a type fits, and whether it is wanted at all.
fn fit(range: &[u8], kind: &str, subtype: &str) -> Option<(u8, bool)> {
    let end = memchr::memchr(b';', range).unwrap_or(range.len());
    let (media_range, parameters) = range.split_at(end);
    let media_range = str::from_utf8(media_range.trim_ascii()).ok()?;
    let (range_kind, range_subtype) = media_range.split_once('/')?;
    let specificity = match (range_kind, range_subtype) {
        ("*", "*") => 0,
        (_, "*") if range_kind.eq_ignore_ascii_case(kind) => 1,
        _ if range_kind.eq_ignore_ascii_case(kind)
            && range_subtype.eq_ignore_ascii_case(subtype) =>
        {
            2
        }
        _ => return None,
    };
    let is_refused = |parameter: &[u8]| {
        let weight = parameter.trim_ascii().to_ascii_lowercase();
        let weight = weight.strip_prefix(b"q=").map(<[u8]>::to_vec);
        weight.is_some_and(|weight| {
            weight.starts_with(b"0") && weight.iter().all(|byte| matches!(byte, b'0' | b'.'))
        })
    };
    let is_wanted = !parameters.split(|&byte| byte == b';').any(is_refused);
    Some((specificity, is_wanted))
}

/// Whether the body is compressed or encoded in another way, or may be: `Content-Encoding` names
/// anything but `identity` (RFC 9110 §8.4).
pub fn is_encoded(request: &Request<'_>) -> bool {
    let is_nothing = |coding: &[u8]| {
        let coding = coding.trim_ascii();
        coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
    };
    let mut values = request.header_values("Content-Encoding");
    values.any(|value| !value.split(|&byte| byte == b',').all(is_nothing))
}

/// The part of a well-formed `Content-Type` before its parameters.
fn essence(value: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let (media_type, parameters) = value.split_at(end);
    let media_type = media_type.trim_ascii_end();
    let slash = memchr::memchr(b'/', media_type)?;
    let (kind, subtype) = (&media_type[..slash], &media_type[slash + 1..]);
    (is_token(kind) && is_token(subtype) && are_parameters(parameters)).then_some(media_type)
}

fn is_json_suffixed(media_type: &[u8]) -> bool {
    let name = media_type
        .strip_prefix(b"application/")
        .and_then(|subtype| subtype.strip_suffix(b"+json"));
    name.is_some_and(|name| !name.is_empty())
}

/// `*( OWS ";" OWS [ token "=" ( token / quoted-string ) ] )` (RFC 9110 §5.6.6).
fn are_parameters(mut rest: &[u8]) -> bool {
    while let Some(behind) = rest.trim_ascii_start().strip_prefix(b";") {
        rest = behind.trim_ascii_start();
        let name_len = token_len(rest);
        if name_len == 0 {
            continue;
        }
        let Some(value) = rest[name_len..].strip_prefix(b"=") else {
            return false;
        };
        let value_len = match value {
            [b'"', quoted @ ..] => quoted_len(quoted).map_or(0, |len| len + 1),
            _ => token_len(value),
        };
        if value_len == 0 {
            return false;
        }
        rest = &value[value_len..];
    }
    rest.is_empty()
}

fn token_len(bytes: &[u8]) -> usize {
    let is_other = |byte: &u8| !is_token_byte(*byte);
    bytes.iter().position(is_other).unwrap_or(bytes.len())
}

/// Bytes up to and including the quote that ends a quoted string, whose first quote is taken.
fn quoted_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_range_of_accept_decides() {
        for (lines, expected) in [
            ("", Acceptance::Any),
            ("Accept:\r\n", Acceptance::Any),
            ("Accept: */*\r\n", Acceptance::Any),
            ("Accept: text/*;q=0.1\r\n", Acceptance::Any),
            ("Accept: text/event-stream\r\n", Acceptance::Named),
            (
                "Accept: Text/Event-Stream ; charset=utf-8\r\n",
                Acceptance::Named,
            ),
            (
                "Accept: text/html, text/event-stream;q=0.5\r\n",
                Acceptance::Named,
            ),
            (
                "Accept: text/html\r\nAccept: text/event-stream\r\n",
                Acceptance::Named,
            ),
            ("Accept: */*, text/event-stream;q=0\r\n", Acceptance::No),
            ("Accept: */*;q=0.0\r\n", Acceptance::No),
            ("Accept: text/*;q=0, */*\r\n", Acceptance::No),
            ("Accept: text/html\r\n", Acceptance::No),
            ("Accept: text/event-streams\r\n", Acceptance::No),
            ("Accept: text\r\n", Acceptance::No),
            ("Accept: \u{ff}/\u{ff}\r\n", Acceptance::No),
        ] {
            let head = format!("GET / HTTP/1.1\r\n{lines}\r\n");
            let request = Request::parse(head.as_bytes()).unwrap();
            let acceptance = Acceptance::of(&request, "text", "event-stream");
            assert_eq!(acceptance, expected, "{lines}");
        }
    }

    fn head(lines: &[u8]) -> Vec<u8> {
        [b"POST /push HTTP/1.1\r\n", lines, b"\r\n"].concat()
    }

    fn of(lines: &[u8]) -> MediaType {
        MediaType::of(&Request::parse(&head(lines)).unwrap())
    }

    #[test]
    fn json_is_what_says_so_once() {
        use MediaType::{Json, JsonLines, Other};
        for (value, expected) in [
            (&b"application/json"[..], Json),
            (b" Application/JSON \t", Json),
            (b"application/json; charset=utf-8", Json),
            (b"application/json;charset=\"UTF-8\"", Json),
            (b"application/json ; charset=latin1 ;\tv=\"a;b\\\"\"", Json),
            (b"application/json;", Json),
            (b"application/json;;a=b;", Json),
            (b"application/ld+json", Json),
            (b"application/vnd.api+JSON;v=1", Json),
            (b"application/x-ndjson", JsonLines),
            (b"application/jsonl;a=b", JsonLines),
            (b"", Other),
            (b";", Other),
            (b"json", Other),
            (b"/json", Other),
            (b"application/", Other),
            (b"application/+json", Other),
            (b"application/json+", Other),
            (b"application/jsonp", Other),
            (b"application/json/json", Other),
            (b"application /json", Other),
            (b"application/ json", Other),
            (b"image/svg+json", Other),
            (b"text/json", Other),
            (b"text/plain", Other),
            (b"text/plain\xff", Other),
            (b"text/plain; application/json", Other),
            (b"text/plain;a=application/json", Other),
            (b"text/plain, application/json", Other),
            (b"application/json, text/plain", Other),
            (b"application/json\xff", Other),
            (b"application/json;\xff", Other),
            (b"application/json;a", Other),
            (b"application/json;=a", Other),
            (b"application/json;a=", Other),
            (b"application/json;a=b c", Other),
            (b"application/json;a=\"b", Other),
            (b"application/json;a=\"b\\", Other),
            (b"application/json;a=\"b\"c", Other),
            (b"application/json a", Other),
        ] {
            let lines = [b"Content-Type: ", value, b"\r\n"].concat();
            assert_eq!(of(&lines), expected, "{}", value.escape_ascii());
        }
        assert_eq!(of(b""), Other, "none");
        let twice = b"Content-Type: application/json\r\n".repeat(2);
        assert_eq!(of(&twice), Other, "twice");
        let after = b"Content-Type: text/plain\r\nContent-Type: application/json\r\n";
        assert_eq!(of(after), Other, "the last one does not win");
    }

    #[test]
    fn a_body_is_encoded_unless_every_coding_is_identity() {
        for (lines, expected) in [
            (&b""[..], false),
            (b"Content-Encoding:\r\n", false),
            (b"Content-Encoding: Identity\r\n", false),
            (b"Content-Encoding: identity, identity\r\n", false),
            (b"Content-Encoding: gzip\r\n", true),
            (b"Content-Encoding: gzip, identity\r\n", true),
            (
                b"Content-Encoding: gzip\r\nContent-Encoding: identity\r\n",
                true,
            ),
            (b"Content-Encoding: \xff\r\n", true),
        ] {
            let head = head(lines);
            let request = Request::parse(&head).unwrap();
            assert_eq!(is_encoded(&request), expected, "{}", lines.escape_ascii());
        }
    }
}
