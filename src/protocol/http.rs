//! Request heads of HTTP/1.1 (RFC 9110, RFC 9112): bytes → [`Request`].
//!
//! Owns where a head ends, its limits, the request target, and the look-up of headers; httparse
//! reads the lines. It does not know what most headers mean, reads no bodies and answers nothing:
//! the opening handshake is judged in [`handshake`](super::handshake), other requests by their
//! users.
//!
//! Strict where two readers of the same bytes could disagree (request smuggling, RFC 9112 §11.2):
//! exactly one blank between the parts of the request line, nothing between a header's name and its
//! colon, no folded lines, no control characters. Lenient where nothing is at stake: bare LF ends a
//! line and empty lines may come first (§2.2), and header values need not be ASCII (RFC 9110 §5.5).
//!
//! Nothing is allocated and nothing is copied: a [`Request`] borrows from the head.

use std::fmt;

use httparse::{EMPTY_HEADER, Header, Status};
use memchr::memchr_iter;

use super::error::Rejection;
use super::host::Host;

/// Longest request head that is accepted, in bytes, its blank line included (protocol.md 1.4).
pub const MAX_HEAD_BYTES: usize = 8191;

/// Most header lines of one request. Browsers send about 15; one line more is
/// [`Rejection::HeadTooLarge`].
pub const MAX_HEADERS: usize = 100;

/// Finds the end of the request head in `bytes`: the length up to and including the first blank
/// line after the request line. CRLF and bare LF line ends both count (RFC 9112 §2.2), empty lines
/// before the request line are part of the head.
///
/// `searched` says how many of `bytes` an earlier call has seen without success, so that a head
/// which arrives byte by byte costs linear time. `None`: more bytes are needed. There is no limit
/// here; [`find_head`] adds it.
pub fn head_len(bytes: &[u8], searched: usize) -> Option<usize> {
    let searched = searched.min(bytes.len());
    let mut line_ends = memchr_iter(b'\n', &bytes[searched..]).map(|at| searched + at);
    line_ends.find(|&at| ends_head(bytes, at)).map(|at| at + 1)
}

/// [`head_len`] under the limit of [`MAX_HEAD_BYTES`]: the head's length, or `Ok(None)` if more
/// bytes are needed.
///
/// Fails with [`Rejection::HeadTooLarge`] as soon as it is certain, which is when the first
/// 8191 bytes do not hold the end of the head; bytes behind a complete head do not count.
pub fn find_head(bytes: &[u8], searched: usize) -> Result<Option<usize>, Rejection> {
    let bytes = &bytes[..bytes.len().min(MAX_HEAD_BYTES)];
    match head_len(bytes, searched) {
        None if bytes.len() == MAX_HEAD_BYTES => Err(Rejection::HeadTooLarge),
        found => Ok(found),
    }
}

/// Whether a response carries its body (RFC 9110 §9.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyPart {
    /// It does.
    Sent,
    /// It does not, but tells its length: the request was HEAD.
    LeftOut,
}

impl BodyPart {
    /// For the response to the request with this head, which need not be well-formed.
    pub fn of_response_to(head: &[u8]) -> Self {
        let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let start = head.iter().position(|byte| !is_line_end(byte));
        match head.get(start.unwrap_or_default()..) {
            Some(line) if line.starts_with(b"HEAD ") => Self::LeftOut,
            Some(_) | None => Self::Sent,
        }
    }
}

/// What becomes of a connection behind a response (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Another request may follow, as always in HTTP/1.1.
    KeepAlive,
    /// Another request may follow, but an HTTP/1.0 client waits for the end of the connection
    /// unless the response says so (`ab -k`, older PHP).
    KeepAliveIfTold,
    /// It is the last one.
    Close,
}

impl Persistence {
    /// Whether another request may follow.
    pub fn is_persistent(self) -> bool {
        match self {
            Self::KeepAlive | Self::KeepAliveIfTold => true,
            Self::Close => false,
        }
    }

    /// Value of the response's `Connection` header; `None`: it needs none.
    pub fn connection_header(self) -> Option<&'static str> {
        match self {
            Self::KeepAlive => None,
            Self::KeepAliveIfTold => Some("keep-alive"),
            Self::Close => Some("close"),
        }
    }
}

/// One parsed request head. Borrows everything from the bytes it was parsed from.
///
/// Its `Debug` form names method and path only: headers and queries may hold tokens.
#[derive(Clone)]
pub struct Request<'a> {
    line: RequestLine<'a>,
    /// The first `header_count` are in use, in order of arrival.
    headers: [Header<'a>; MAX_HEADERS],
    header_count: usize,
}

impl<'a> Request<'a> {
    /// Parses a whole head, as [`head_len`] has delimited it (RFC 9112 §3, §5).
    ///
    /// [`Rejection::HeadTooLarge`] for more than [`MAX_HEAD_BYTES`] or [`MAX_HEADERS`];
    /// [`Rejection::HttpVersion`] for any version but 1.0 and 1.1, whose messages may be framed in
    /// other ways; [`Rejection::Malformed`] for everything else that breaks the grammar, also for
    /// bytes behind the blank line.
    pub fn parse(head: &'a [u8]) -> Result<Self, Rejection> {
        if head.len() > MAX_HEAD_BYTES {
            return Err(Rejection::HeadTooLarge);
        }
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(head) {
            Ok(Status::Complete(len)) if len == head.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(Rejection::HeadTooLarge),
            Err(httparse::Error::Version) if names_a_version(head) => {
                return Err(Rejection::HttpVersion);
            }
            Ok(_) | Err(_) => return Err(Rejection::Malformed),
        }
        let line = RequestLine::of(&parsed).ok_or(Rejection::Malformed)?;
        let header_count = parsed.headers.len();
        Ok(Self {
            line,
            headers,
            header_count,
        })
    }

    /// Method as sent, as `GET` (case-sensitive, RFC 9110 §9.1).
    pub fn method(&self) -> &'a str {
        self.line.method
    }

    /// Whether the version is `HTTP/1.1`; otherwise it is `HTTP/1.0`.
    pub fn is_http_1_1(&self) -> bool {
        self.line.is_http_1_1
    }

    /// What becomes of the connection behind the response (RFC 9112 §9.3).
    pub fn persistence(&self) -> Persistence {
        if self.has_token("Connection", "close") {
            Persistence::Close
        } else if self.is_http_1_1() {
            Persistence::KeepAlive
        } else if self.has_token("Connection", "keep-alive") {
            Persistence::KeepAliveIfTold
        } else {
            Persistence::Close
        }
    }

    /// Path of the target without its query, not percent-decoded. Absolute-form targets
    /// (`http://host/path`) give their path too, `/` if they have none. `*` for `OPTIONS *`, empty
    /// for CONNECT (RFC 9112 §3.2). It may hold unencoded characters beyond ASCII, never controls.
    pub fn path(&self) -> &'a str {
        self.line.path
    }

    /// Whether the path is nearly `/push`, with a slash too many or in capitals: a push that would
    /// else be judged as an opening handshake, and told about that.
    pub fn is_near_push(&self) -> bool {
        let path = self.path();
        path != "/push" && path.trim_matches('/').eq_ignore_ascii_case("push")
    }

    /// Text behind the first `?` of the target, or `""`.
    pub fn query(&self) -> &'a str {
        self.line.query
    }

    /// Name and port that the request is meant for: the authority of an absolute-form target, else
    /// the `Host` header (RFC 9112 §3.2.2, §3.3).
    ///
    /// [`Rejection::Host`] unless there is exactly one `Host` header and it is a [`Host`]; RFC 9112
    /// §3.2 demands this for every form of target.
    pub fn host(&self) -> Result<Host<'a>, Rejection> {
        let text = self.only_header("Host").map(str::from_utf8);
        let host = text.and_then(|text| Host::parse(text.ok()?));
        let host = host.ok_or(Rejection::Host)?;
        Ok(self.line.authority.unwrap_or(host))
    }

    /// Value of the last header of this name (ASCII case-insensitive), blanks around it trimmed.
    ///
    /// `None` too if that value is not UTF-8: such a header does not fail the request, it only
    /// cannot be read as text. [`header_values`](Self::header_values) has its bytes.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let named = |header: &&Header<'_>| header.name.eq_ignore_ascii_case(name);
        let header = self.lines().iter().rfind(named)?;
        str::from_utf8(header.value).ok()
    }

    /// Bytes of the header of this name if it occurs exactly once, blanks around it trimmed.
    ///
    /// For headers that must not be repeated, as Host, Content-Length and Sec-WebSocket-Key.
    pub fn only_header(&self, name: &str) -> Option<&'a [u8]> {
        let mut values = self.header_values(name);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }

    /// Bytes of every header of this name in order of arrival, blanks around them trimmed.
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let is_named = move |header: &&Header<'_>| header.name.eq_ignore_ascii_case(name);
        let headers = self.lines().iter().filter(is_named);
        headers.map(|header| header.value)
    }

    /// Whether one of the comma-separated tokens of any header `name` equals `token`, both without
    /// regard to case (RFC 9110 §5.6.1).
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.header_values(name)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .any(|element| trim_blanks(element).eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Every header in order of arrival, as (name, value). Those whose value is not UTF-8 are left
    /// out, as in [`header`](Self::header).
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.lines()
            .iter()
            .filter_map(|header| Some((header.name, str::from_utf8(header.value).ok()?)))
    }

    /// Name of every header in order of arrival, also of those whose value is not UTF-8.
    pub fn names(&self) -> impl Iterator<Item = &'a [u8]> {
        self.lines().iter().map(|header| header.name.as_bytes())
    }

    fn lines(&self) -> &[Header<'a>] {
        self.headers.get(..self.header_count).unwrap_or_default()
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.line.method)
            .field("path", &self.line.path)
            .finish_non_exhaustive()
    }
}

/// `GET /path?query HTTP/1.1` (RFC 9112 §3).
#[derive(Clone, Copy)]
struct RequestLine<'a> {
    method: &'a str,
    authority: Option<Host<'a>>,
    path: &'a str,
    query: &'a str,
    is_http_1_1: bool,
}

impl<'a> RequestLine<'a> {
    /// The library has seen to the method (a token), to the target (no controls, UTF-8), and that
    /// there is one blank between them.
    fn of(parsed: &httparse::Request<'_, 'a>) -> Option<Self> {
        let (method, target) = (parsed.method?, parsed.path?);
        let (authority, origin) = split_target(method, target)?;
        let (path, query) = origin.split_once('?').unwrap_or((origin, ""));
        let path = match path {
            "" if method != CONNECT => "/",
            _ => path,
        };
        Some(Self {
            method,
            authority,
            path,
            query,
            is_http_1_1: parsed.version == Some(1),
        })
    }
}

/// Splits a request target into authority and path with query: origin-form, absolute-form,
/// authority-form (CONNECT only) and `*` (OPTIONS only), RFC 9112 §3.2.
fn split_target<'a>(method: &str, target: &'a str) -> Option<(Option<Host<'a>>, &'a str)> {
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Some((None, target));
    }
    let (authority, origin) = if method == CONNECT {
        (target, "")
    } else {
        let (scheme, rest) = target.split_once("://")?;
        if !is_scheme(scheme) {
            return None;
        }
        rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()))
    };
    Some((Some(Host::parse(authority)?), origin))
}

/// Whether the LF at `at` ends the head, given that none before it does.
///
/// It must end an empty line behind one that is not empty. While the request line is still to come
/// all lines are empty, so the line before tells, and nothing further back need be looked at.
fn ends_head(bytes: &[u8], at: usize) -> bool {
    let before = |line_start: usize| line_start.checked_sub(1);
    let line_before = empty_line_start(bytes, at).and_then(before);
    line_before.is_some_and(|at| empty_line_start(bytes, at).is_none())
}

/// Where the line that the LF at `at` ends starts, if it is empty.
fn empty_line_start(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(..at)? {
        [] | [.., b'\n'] => Some(at),
        [b'\r'] | [.., b'\n', b'\r'] => Some(at - 1),
        _ => None,
    }
}

pub(super) fn trim_blanks(bytes: &[u8]) -> &[u8] {
    let start = bytes
        .iter()
        .position(|&byte| !is_blank(byte))
        .unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(|&byte| !is_blank(byte))
        .map_or(start, |last| last + 1);
    &bytes[start..end]
}

/// OWS: space and horizontal tab (RFC 9110 §5.6.3).
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Whether this is a token (RFC 9110 §5.6.2), as names of headers and parameters are.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether this may be a header's value: no control character but HTAB (RFC 9110 §5.5). Looks at every byte without a branch, which is the fastest way.
pub(super) fn is_field_value(value: &[u8]) -> bool {
    let is_bad = |byte: u8| (byte < b' ' && byte != b'\t') | (byte == 0x7f);
    !value.iter().fold(false, |bad, &byte| bad | is_bad(byte))
}

/// Whether the request line ends in `HTTP/` DIGIT `.` DIGIT, case-sensitive (RFC 9112 §2.3).
fn names_a_version(head: &[u8]) -> bool {
    let line = head.trim_ascii_start().split(|&byte| byte == b'\n').next();
    let mut parts = line
        .unwrap_or_default()
        .trim_ascii_end()
        .split(|&byte| byte == b' ');
    let version = parts.nth(2).and_then(|part| part.strip_prefix(b"HTTP/"));
    let is_digits = |version: &[u8]| matches!(version, [major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit());
    version.is_some_and(is_digits) && parts.next().is_none()
}

/// RFC 3986 §3.1.
fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

const CONNECT: &str = "CONNECT";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &[u8] = b"\r\n\nGET /web?x=1&y HTTP/1.1\r\nHost: localhost:8096\r\n\
        Connection: keep-alive, \t Upgrade\nconnection:\r\nX-Empty:  \r\nX-Latin: J\xfcrgen\r\n\
        Ident: \t my ident \t\r\nIDENT:second\r\n\r\n";

    fn parse(head: &[u8]) -> Result<Request<'_>, Rejection> {
        assert_eq!(
            head_len(head, 0),
            Some(head.len()),
            "{}",
            head.escape_ascii()
        );
        Request::parse(head)
    }

    /// A GET whose header lines are `lines`, each with its line end.
    fn with_lines(lines: &[u8]) -> Vec<u8> {
        [b"GET / HTTP/1.1\r\n", lines, b"\r\n"].concat()
    }

    #[test]
    fn a_request_gives_its_parts() {
        let request = parse(HEAD).unwrap();
        assert_eq!(request.method(), "GET");
        assert_eq!((request.path(), request.query()), ("/web", "x=1&y"));
        assert!(request.is_http_1_1());
        let host = request.host().map(|host| host.as_str());
        assert_eq!(host, Ok("localhost:8096"));
        let headers: Vec<_> = request.headers().collect();
        assert_eq!(
            headers,
            [
                ("Host", "localhost:8096"),
                ("Connection", "keep-alive, \t Upgrade"),
                ("connection", ""),
                ("X-Empty", ""),
                ("Ident", "my ident"),
                ("IDENT", "second"),
            ]
        );
    }

    #[test]
    fn the_last_header_wins_without_regard_to_case() {
        let request = parse(HEAD).unwrap();
        assert_eq!(request.header("iDeNt"), Some("second"));
        assert_eq!(request.header("x-empty"), Some(""));
        assert_eq!(request.header("Iden"), None);
        assert_eq!(request.only_header("Ident"), None);
        assert_eq!(request.only_header("host"), Some(&b"localhost:8096"[..]));
        assert_eq!(
            request.header_values("ident").collect::<Vec<_>>(),
            [&b"my ident"[..], b"second"]
        );
    }

    #[test]
    fn a_value_that_is_not_utf8_reads_as_absent_but_has_its_bytes() {
        let request = parse(HEAD).unwrap();
        assert_eq!(request.header("X-Latin"), None);
        assert_eq!(request.only_header("X-Latin"), Some(&b"J\xfcrgen"[..]));
        let head = with_lines(b"X: fine\r\nX: \xff\r\n");
        assert_eq!(
            parse(&head).unwrap().header("X"),
            None,
            "the last one counts"
        );
        let head = with_lines("X: Jürgen\r\n".as_bytes());
        assert_eq!(parse(&head).unwrap().header("X"), Some("Jürgen"));
    }

    #[test]
    fn tokens_are_found_in_any_line_and_list() {
        let cases: [(&[u8], bool); 10] = [
            (b"Connection: Upgrade\r\n", true),
            (b"CONNECTION:uPGRADE\r\n", true),
            (b"Connection: keep-alive, Upgrade\r\n", true),
            (b"Connection: ,,\tUpgrade\t,keep-alive\r\n", true),
            (b"Connection: Upgrade\r\nConnection: keep-alive\r\n", true),
            (b"Connection: keep-alive\r\nConnection: upgrade\r\n", true),
            (b"Connection: \xff, upgrade\r\n", true),
            (b"Connection: keep-alive Upgrade\r\n", false),
            (b"Connection: Upgrades, xUpgrade\r\n", false),
            (b"X-Connection: Upgrade\r\n", false),
        ];
        for (lines, expected) in cases {
            let head = with_lines(lines);
            let found = parse(&head).unwrap().has_token("Connection", "upgrade");
            assert_eq!(found, expected, "{}", lines.escape_ascii());
        }
    }

    #[test]
    fn targets_are_split_as_the_rfc_says() {
        let cases: [(&str, Option<(&str, &str)>); 28] = [
            ("GET /", Some(("/", ""))),
            ("GET //", Some(("//", ""))),
            ("GET //host/web", Some(("//host/web", ""))),
            ("GET /web?", Some(("/web", ""))),
            ("GET /web?a?b", Some(("/web", "a?b"))),
            ("GET /a%20b?c%3F", Some(("/a%20b", "c%3F"))),
            ("GET /?u=http://x/y", Some(("/", "u=http://x/y"))),
            ("GET /jürgen", Some(("/jürgen", ""))),
            ("GET http://host", Some(("/", ""))),
            ("GET http://host/", Some(("/", ""))),
            ("GET http://host:80/web?x", Some(("/web", "x"))),
            ("GET ws://[::1]:80/web", Some(("/web", ""))),
            ("GET HTTP://host?x=/y", Some(("/", "x=/y"))),
            ("OPTIONS *", Some(("*", ""))),
            ("CONNECT host:443", Some(("", ""))),
            ("post /push", Some(("/push", ""))),
            ("GET *", None),
            ("GET web", None),
            ("GET ?x", None),
            ("GET host:443", None),
            ("GET http://", None),
            ("GET http:///web", None),
            ("GET http:/web", None),
            ("GET ://host/", None),
            ("GET 1http://host/", None),
            ("GET http://user@host/", None),
            ("GET http://localhost:evil.com/", None),
            ("GET http://host:65536/", None),
        ];
        for (start, expected) in cases {
            let head = format!("{start} HTTP/1.1\r\nHost: other\r\n\r\n");
            let request = parse(head.as_bytes());
            let parts = request
                .ok()
                .map(|request| (request.path(), request.query()));
            assert_eq!(parts, expected, "{start}");
        }
    }

    #[test]
    fn an_absolute_target_overrules_the_host_header_but_does_not_replace_it() {
        let host = |head: &'static str| {
            let host = parse(head.as_bytes()).unwrap().host();
            host.map(|host| host.as_str())
        };
        assert_eq!(host("GET http://a:1/ HTTP/1.1\nHost: b\n\n"), Ok("a:1"));
        assert_eq!(host("GET http://a:1/ HTTP/1.1\n\n"), Err(Rejection::Host));
    }

    #[test]
    fn one_valid_host_is_demanded() {
        let cases: [(&[u8], Result<&str, Rejection>); 16] = [
            (b"Host: localhost\r\n", Ok("localhost")),
            (b"HOST:[::1]:8096 \r\n", Ok("[::1]:8096")),
            (b"Host: my_host.example:80\r\n", Ok("my_host.example:80")),
            (b"", Err(Rejection::Host)),
            (b"Host:\r\n", Err(Rejection::Host)),
            (b"Host: \t\r\n", Err(Rejection::Host)),
            (b"Host: a\r\nHost: b\r\n", Err(Rejection::Host)),
            (b"Host: a\r\nhost: a\r\n", Err(Rejection::Host)),
            (b"Host: a b\r\n", Err(Rejection::Host)),
            (b"Host: http://a\r\n", Err(Rejection::Host)),
            (b"Host: user@a\r\n", Err(Rejection::Host)),
            (b"Host: m\xfcller\r\n", Err(Rejection::Host)),
            (b"Host: localhost.\r\n", Ok("localhost.")),
            (b"Host: localhost:\r\n", Err(Rejection::Host)),
            (b"Host: localhost:evil.com\r\n", Err(Rejection::Host)),
            (b"Host: [::1]x\r\n", Err(Rejection::Host)),
        ];
        for (lines, expected) in cases {
            let head = with_lines(lines);
            let host = parse(&head).unwrap().host();
            let host = host.map(|host| host.as_str());
            assert_eq!(host, expected, "{}", lines.escape_ascii());
        }
    }

    #[test]
    fn malformed_request_lines_are_refused() {
        let cases: [&[u8]; 20] = [
            b"GET",
            b"GET /",
            b"GET HTTP/1.1",
            b"GET  / HTTP/1.1",
            b"GET /  HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b" GET / HTTP/1.1",
            b"GET\t/ HTTP/1.1",
            b"GET /a b HTTP/1.1",
            b"GET /a\tb HTTP/1.1",
            b"GET /a\0b HTTP/1.1",
            b"GET /a\rb HTTP/1.1",
            b"GET /a\x7fb HTTP/1.1",
            b"GET /\xff HTTP/1.1",
            b"G@T / HTTP/1.1",
            b"GET / http/1.1",
            b"GET / HTTP/1.10",
            b"GET / HTTP/11",
            b"GET / HTTP/1.1\r",
            b"\r\r\nGET / HTTP/1.1",
        ];
        for line in cases {
            let head = [line, b"\r\nHost: a\r\n\r\n"].concat();
            let got = parse(&head).map(|_| ());
            assert_eq!(got, Err(Rejection::Malformed), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn version_1_0_parses_and_tells_and_others_are_refused() {
        let parse = |version: &str| {
            let head = format!("GET / {version}\r\n\r\n");
            let request = parse(head.as_bytes()).map(|request| request.is_http_1_1());
            (version.to_owned(), request)
        };
        assert_eq!(parse("HTTP/1.1").1, Ok(true));
        assert_eq!(parse("HTTP/1.0").1, Ok(false));
        for version in ["HTTP/1.2", "HTTP/1.9", "HTTP/0.9", "HTTP/2.0", "HTTP/3.0"] {
            let expected = (version.to_owned(), Err(Rejection::HttpVersion));
            assert_eq!(parse(version), expected);
        }
    }

    #[test]
    fn a_connection_persists_as_its_version_and_its_header_say() {
        for (version, connection, expected) in [
            ("1.1", "", None),
            ("1.1", "Connection: keep-alive\r\n", None),
            ("1.1", "Connection: Close\r\n", Some("close")),
            ("1.1", "Connection: keep-alive, close\r\n", Some("close")),
            ("1.0", "", Some("close")),
            ("1.0", "Connection: Keep-Alive\r\n", Some("keep-alive")),
            ("1.0", "Connection: te,keep-alive\r\n", Some("keep-alive")),
            ("1.0", "Connection: keep-alives\r\n", Some("close")),
            ("1.0", "Keep-Alive: 5\r\n", Some("close")),
            (
                "1.0",
                "Connection: close\r\nConnection: keep-alive\r\n",
                Some("close"),
            ),
        ] {
            let head = format!("GET / HTTP/{version}\r\n{connection}\r\n");
            let persistence = parse(head.as_bytes()).unwrap().persistence();
            assert_eq!(persistence.connection_header(), expected, "{head}");
            assert_eq!(persistence.is_persistent(), expected != Some("close"));
        }
    }

    #[test]
    fn what_is_nearly_the_path_of_push_is_seen() {
        for (target, expected) in [
            ("/push", false),
            ("/push?a", false),
            ("/push/", true),
            ("/push//?a", true),
            ("//push", true),
            ("/Push", true),
            ("/push/a", false),
            ("/pushed", false),
            ("/", false),
            ("/web", false),
        ] {
            let head = format!("POST {target} HTTP/1.1\r\n\r\n");
            let got = parse(head.as_bytes()).unwrap().is_near_push();
            assert_eq!(got, expected, "{target}");
        }
    }

    #[test]
    fn a_response_to_head_leaves_its_body_out() {
        for (head, expected) in [
            (&b"HEAD / HTTP/1.1\r\n\r\n"[..], BodyPart::LeftOut),
            (b"\r\n\nHEAD / HTTP/1.1\n\n", BodyPart::LeftOut),
            (b"HEAD what ever\r\n\r\n", BodyPart::LeftOut),
            (b"GET / HTTP/1.1\r\nHEAD: a\r\n\r\n", BodyPart::Sent),
            (b"HEADER / HTTP/1.1\r\n\r\n", BodyPart::Sent),
            (b"head / HTTP/1.1\r\n\r\n", BodyPart::Sent),
            (b"\r\n", BodyPart::Sent),
            (b"", BodyPart::Sent),
        ] {
            let got = BodyPart::of_response_to(head);
            assert_eq!(got, expected, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn malformed_header_lines_are_refused() {
        let cases: [&[u8]; 17] = [
            b"Host : a\r\n",
            b"Host\t: a\r\n",
            b" Host: a\r\n",
            b"Host: a\r\n b\r\n",
            b"Host: a\r\n\tb: c\r\n",
            b"Host\r\n",
            b": a\r\n",
            b"\r: a\r\n",
            b"Ho st: a\r\n",
            b"H\xf6st: a\r\n",
            b"H\0st: a\r\n",
            b"(Host): a\r\n",
            b"X: a\0b\r\n",
            b"X: a\rb\r\n",
            b"X: a\r\r\n",
            b"X: a\x1bb\r\n",
            b"X: a\x7fb\r\n",
        ];
        for lines in cases {
            let head = with_lines(lines);
            let got = parse(&head).map(|_| ());
            assert_eq!(got, Err(Rejection::Malformed), "{}", lines.escape_ascii());
        }
    }

    #[test]
    fn what_is_not_exactly_one_head_is_malformed() {
        let cases: [&[u8]; 6] = [
            b"",
            b"\r\n\r\n",
            b"GET / HTTP/1.1",
            b"GET / HTTP/1.1\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n",
            b"GET / HTTP/1.1\r\n\r\nx",
        ];
        for bytes in cases {
            assert_eq!(Request::parse(bytes).map(|_| ()), Err(Rejection::Malformed));
        }
    }

    #[test]
    fn a_head_ends_at_the_blank_line_behind_the_request_line() {
        let cases: [(&[u8], Option<usize>); 15] = [
            (b"", None),
            (b"\n", None),
            (b"\r\n\r\n\r\n\n\n", None),
            (b"a\n", None),
            (b"a\r\n", None),
            (b"a\n\n", Some(3)),
            (b"a\r\n\r\n", Some(5)),
            (b"a\n\r\n", Some(4)),
            (b"a\r\n\n", Some(4)),
            (b"a\n\n\n", Some(3)),
            (b"\na\n\n", Some(4)),
            (b"\r\n\n\r\na\r\nb\r\n\r\nc\n\n", Some(13)),
            (b"a\r\r\n\r\n", Some(6)),
            (b"a\n\r\r\n", None),
            (b"\r\r\n\r\n", Some(5)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(head_len(bytes, 0), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_head_is_found_whole_byte_by_byte_and_split_anywhere() {
        let bytes = [HEAD, b"\x81\x85\n\n\n\n"].concat();
        assert_eq!(head_len(&bytes, 0), Some(HEAD.len()));
        assert_eq!(arrives_in(&bytes, 1), Some((HEAD.len(), HEAD.len())));
        for split in 0..=bytes.len() {
            let first = head_len(&bytes[..split], 0);
            assert_eq!(
                first,
                (split >= HEAD.len()).then_some(HEAD.len()),
                "{split}"
            );
            if first.is_none() {
                assert_eq!(head_len(&bytes, split), Some(HEAD.len()), "{split}");
            }
        }
    }

    /// The head's length and how many bytes had arrived when it was found, in steps of `step`.
    fn arrives_in(bytes: &[u8], step: usize) -> Option<(usize, usize)> {
        let mut searched = 0;
        for arrived in (step..=bytes.len()).step_by(step) {
            if let Some(len) = head_len(&bytes[..arrived], searched) {
                return Some((len, arrived));
            }
            searched = arrived;
        }
        None
    }

    #[test]
    fn a_wrong_count_of_searched_bytes_does_no_harm() {
        assert_eq!(head_len(b"a\n\n", 99), None);
        assert_eq!(find_head(b"a\n\n", 9999), Ok(None));
    }

    /// A request whose head is exactly `len` bytes long.
    fn head_of(len: usize) -> Vec<u8> {
        let empty = with_lines(b"X: \r\n").len();
        with_lines(&[b"X: ", &vec![b'x'; len - empty][..], b"\r\n"].concat())
    }

    #[test]
    fn heads_up_to_8191_bytes_are_taken() {
        for (len, fits) in [(8190, true), (8191, true), (8192, false)] {
            let mut bytes = head_of(len);
            assert_eq!(bytes.len(), len);
            let expected = if fits {
                Ok(Some(len))
            } else {
                Err(Rejection::HeadTooLarge)
            };
            assert_eq!(find_head(&bytes, 0), expected, "{len}");
            assert_eq!(Request::parse(&bytes).is_ok(), fits, "{len}");
            bytes.extend_from_slice(&[b'\n'; 9000]);
            assert_eq!(find_head(&bytes, 0), expected, "{len} with bytes behind");
        }
    }

    #[test]
    fn a_long_head_is_refused_as_soon_as_it_is_certain() {
        for bytes in [vec![b'a'; 9000], vec![b'\n'; 9000], head_of(9000)] {
            let mut searched = 0;
            for arrived in 0..=8190 {
                assert_eq!(
                    find_head(&bytes[..arrived], searched),
                    Ok(None),
                    "{arrived}"
                );
                searched = arrived;
            }
            assert_eq!(
                find_head(&bytes[..8191], searched),
                Err(Rejection::HeadTooLarge)
            );
        }
    }

    #[test]
    fn up_to_100_header_lines_are_taken() {
        for (count, fits) in [(99, true), (100, true), (101, false)] {
            let head = with_lines(&b"X: y\r\n".repeat(count));
            let got = parse(&head).map(|request| request.headers().count());
            assert_eq!(
                got,
                if fits {
                    Ok(count)
                } else {
                    Err(Rejection::HeadTooLarge)
                }
            );
        }
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let request = b"GET /php?token=secret HTTP/1.1\nAuthorization: Bearer secret\n\n";
        let text = format!("{:?}", parse(request).unwrap());
        assert!(text.contains("/php") && !text.contains("secret"), "{text}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            exercise(&bytes);
        }

        #[test]
        fn no_nearly_valid_head_panics(
            bytes in "(GET|P\u{f6}ST)? ?(/|\\*|ws://)?[a?:]* ?(HTTP/1.1)?\
                (\r?\n[A-Za:, \t\r\u{e4}]*){0,6}(\r?\n)*"
        ) {
            exercise(bytes.as_bytes());
        }

        #[test]
        fn splits_do_not_change_where_a_head_ends(
            bytes in "[a\r\n]{0,24}", cuts in prop::collection::vec(0_usize..24, 0..4)
        ) {
            let bytes = bytes.as_bytes();
            let whole = head_len(bytes, 0);
            let mut cuts: Vec<_> = cuts.into_iter().filter(|&cut| cut < bytes.len()).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let mut searched = 0;
            for cut in cuts {
                let found = head_len(&bytes[..cut], searched);
                prop_assert_eq!(found, whole.filter(|&len| len <= cut));
                if found.is_some() {
                    break;
                }
                searched = cut;
            }
        }

        #[test]
        fn written_headers_are_read_back(
            path in "/[!-~&&[^?]]{0,20}",
            headers in prop::collection::vec(
                (
                    "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}",
                    "([!-~\u{a1}-\u{ff}]([ \t!-~]*[!-~])?)?",
                    "[ \t]{0,3}",
                    "\r?\n",
                ),
                0..20,
            ),
        ) {
            let mut text = format!("GET {path} HTTP/1.1\r\n");
            for (name, value, blanks, line_end) in &headers {
                text += &format!("{name}:{blanks}{value}{blanks}{line_end}");
            }
            text += "\r\n";
            prop_assert_eq!(head_len(text.as_bytes(), 0), Some(text.len()));
            let request = Request::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(request.path(), path);
            let expected = headers.iter().map(|(name, value, ..)| (name.as_str(), value.as_str()));
            prop_assert_eq!(request.headers().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
            for (name, ..) in &headers {
                let last = headers.iter().rfind(|(other, ..)| other.eq_ignore_ascii_case(name));
                let expected = last.map(|(_, value, ..)| value.as_str());
                prop_assert_eq!(request.header(&name.to_ascii_lowercase()), expected);
            }
        }
    }

    fn exercise(bytes: &[u8]) {
        let _ = find_head(bytes, 0);
        let len = head_len(bytes, 0);
        if let Ok(request) = Request::parse(bytes) {
            assert_eq!(len, Some(bytes.len()), "what parses is one whole head");
            assert!(request.headers().count() <= MAX_HEADERS);
            let _ = (
                request.host(),
                request.header("a"),
                request.has_token("a", "a"),
            );
        }
    }
}
