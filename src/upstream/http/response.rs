//! [`Response`]: what was answered.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

/// A whole answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Headers,
    body: Vec<u8>,
}

/// Names and values, one behind the other in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Headers {
    text: Vec<u8>,
    fields: Vec<(Range<usize>, Range<usize>)>,
}

impl Response {
    pub(super) fn new(status: u16, headers: Headers, body: Vec<u8>) -> Self {
        Self {
            status,
            headers,
            body,
        }
    }

    /// The status code, from 200 to 599.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The value of the first header of that name, in any case; surrounding blanks are gone.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.values(name).next()
    }

    /// The values of all headers of that name, in their order.
    pub fn header_values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.values(name)
    }

    /// How long the other end asks to be left alone (RFC 9110 §10.2.3); `None` if it does not, or
    /// gives a date, which cannot be judged without a clock.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = str::from_utf8(self.header("Retry-After")?).ok()?;
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = is_number.then(|| text.parse().unwrap_or(u64::MAX))?;
        Some(Duration::from_secs(seconds))
    }

    /// The body, without its transfer coding. Empty if there was none.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body, without its transfer coding.
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }
}

/// Only status and lengths: headers set cookies.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers.fields.len())
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

impl Headers {
    /// Adds one; its value ends without blanks.
    pub(super) fn push(&mut self, name: &str, value: &[u8]) {
        let name = self.append(name.as_bytes());
        let value = self.append(value.trim_ascii());
        self.fields.push((name, value));
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.text.len();
        self.text.extend_from_slice(bytes);
        start..self.text.len()
    }

    /// The values of all headers of that name, in their order.
    pub(super) fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let text = |range: &Range<usize>| self.text.get(range.clone()).unwrap_or_default();
        self.fields
            .iter()
            .filter(move |(field, _)| text(field).eq_ignore_ascii_case(name.as_bytes()))
            .map(move |(_, value)| text(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_in_any_case_and_order() {
        let mut headers = Headers::default();
        headers.push("Set-Cookie", b"a=1");
        headers.push("X-Websock-User", b" 42 ");
        headers.push("set-cookie", b"secret");
        let response = Response::new(200, headers, b"body".to_vec());
        assert_eq!(response.header("x-websock-user"), Some(&b"42"[..]));
        assert_eq!(response.header("X-Websock"), None);
        let cookies: Vec<_> = response.header_values("SET-COOKIE").collect();
        assert_eq!(cookies, [&b"a=1"[..], b"secret"]);
        assert!(!format!("{response:?}").contains("secret"));
    }

    #[test]
    fn only_seconds_are_waited_for() {
        for (value, expected) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ] {
            let mut headers = Headers::default();
            headers.push("Retry-After", value.as_bytes());
            let response = Response::new(503, headers, Vec::new());
            let expected = expected.map(Duration::from_secs);
            assert_eq!(response.retry_after(), expected, "{value:?}");
        }
        let response = Response::new(503, Headers::default(), Vec::new());
        assert_eq!(response.retry_after(), None);
    }
}
