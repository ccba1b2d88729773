//! Requests to upgrade, as a browser or a PHP script sends them, and what comes back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// The key of RFC 6455 §1.3; its answer is `s3pPLMBiTxaQ9kYGzzhZRbK+xOo=`.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A request head, legal unless a test changes it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The first line, without its end.
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) line_end: &'static str,
}

impl Request {
    /// What a client sends that is no browser: no Origin.
    pub(crate) fn to(target: &str) -> Self {
        let headers = [
            ("Host", "localhost"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", KEY),
            ("Sec-WebSocket-Version", "13"),
        ];
        Self {
            line: format!("GET {target} HTTP/1.1"),
            headers: headers.map(|(n, v)| (n.into(), v.into())).to_vec(),
            line_end: "\r\n",
        }
    }

    /// What a backend script sends.
    pub(crate) fn php(target: &str) -> Self {
        Self::to(target).with("Client-Type", "php")
    }

    /// Adds a header behind the others.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Replaces the value of a header.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        let header = self.headers.iter_mut().find(|(n, _)| n == name);
        header.expect("a header that the request has").1 = value.into();
        self
    }

    /// Takes a header away.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| n != name);
        self
    }

    pub(crate) fn with_line(mut self, line: &str) -> Self {
        self.line = line.into();
        self
    }

    /// Adds a header that makes the whole head `len` bytes long.
    pub(crate) fn filled_to(self, len: usize) -> Self {
        let rest = len - self.clone().with("X-Filler", "").bytes().len();
        self.with("X-Filler", &"f".repeat(rest))
    }

    pub(crate) fn is_php(&self) -> bool {
        self.headers
            .iter()
            .any(|(n, v)| n.eq_ignore_ascii_case("client-type") && v.eq_ignore_ascii_case("php"))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let end = self.line_end;
        let headers: String = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}{end}"))
            .collect();
        format!("{}{end}{headers}{end}", self.line).into_bytes()
    }
}

/// A response head, and its body if it has one.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status_line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// Length of the head with its blank line, in bytes.
    pub(crate) head_len: usize,
}

impl Response {
    /// Reads a head, its blank line included.
    #[track_caller]
    pub(crate) fn parse(head: &[u8]) -> Self {
        let text = std::str::from_utf8(head).expect("a response head is ASCII");
        let lines: Vec<&str> = text.split("\r\n").collect();
        let [status_line, headers @ .., "", ""] = lines.as_slice() else {
            panic!("not a response head: {text:?}");
        };
        assert!(
            !lines.iter().any(|line| line.contains(['\r', '\n'])),
            "stray line end: {text:?}"
        );
        let headers = headers.iter().map(|line| {
            let (name, value) = line.split_once(':').expect("a header line has a colon");
            (name.to_owned(), value.trim().to_owned())
        });
        Self {
            status_line: (*status_line).to_owned(),
            headers: headers.collect(),
            body: String::new(),
            head_len: head.len(),
        }
    }

    #[track_caller]
    pub(crate) fn status(&self) -> u16 {
        let number = self.status_line.strip_prefix("HTTP/1.1 ");
        let number = number.and_then(|rest| rest.get(..3)?.parse().ok());
        number.unwrap_or_else(|| panic!("not a status line: {:?}", self.status_line))
    }

    /// The value of the only header of this name.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "two headers {name}: {self:?}");
        value
    }
}

/// What must stand in `Sec-WebSocket-Accept` (RFC 6455 §4.2.2).
pub(crate) fn accept_of(key: &str) -> String {
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    STANDARD.encode(digest)
}

#[test]
fn the_harness_computes_the_accept_key_of_the_rfc() {
    assert_eq!(accept_of(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}
