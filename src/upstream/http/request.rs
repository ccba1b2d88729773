//! [`Request`]: what is asked, as the bytes that go out.

use std::fmt;

use super::super::target::Protocol;

/// A request, ready to be sent.
///
/// One that exists is one request and no more, whatever its parts came from: no part of it can end
/// a line, and nobody but this file says how long its body is.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    method: Method,
    bytes: Vec<u8>,
}

/// What a request wants (RFC 9110 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`: as GET, but the answer has no body.
    Head,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `DELETE`.
    Delete,
}

/// Why a request cannot be made of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The path does not begin with `/`, or holds a blank, a control character or one beyond
    /// ASCII.
    Path,
    /// The name of a header is no token (RFC 9110 §5.6.2).
    HeaderName,
    /// The value of a header holds a line end or another control character.
    HeaderValue,
    /// A header that says how the message is framed or what becomes of the connection.
    ReservedHeader,
    /// The target speaks another protocol.
    Protocol,
}

impl Method {
    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    /// Whether asking twice is as good as asking once (RFC 9110 §9.2.2).
    pub const fn is_idempotent(self) -> bool {
        match self {
            Self::Get | Self::Head | Self::Put | Self::Delete => true,
            Self::Post => false,
        }
    }

    /// Whether a request with this method tells the length of its body even if that is 0
    /// (RFC 9110 §8.6).
    const fn has_body(self) -> bool {
        match self {
            Self::Post | Self::Put => true,
            Self::Get | Self::Head | Self::Delete => false,
        }
    }
}

impl Request {
    /// A request for `path`, which holds the query, too. `protocol` is the target's, which gives
    /// the header `Host` unless `headers` holds one. `Content-Length` is added.
    ///
    /// Values of headers may hold any bytes but control characters, tabs excepted.
    pub fn new<'a>(
        method: Method,
        protocol: &Protocol,
        path: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        body: &[u8],
    ) -> Result<Self, RequestError> {
        if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(RequestError::Path);
        }
        let mut bytes = format!("{} {path} HTTP/1.1\r\n", method.as_str()).into_bytes();
        let mut hosts = 0;
        for (name, value) in headers {
            check_header(name, value)?;
            hosts += usize::from(name.eq_ignore_ascii_case("Host"));
            write_header(&mut bytes, name, value);
        }
        match hosts {
            0 => {
                let Protocol::Http { authority, .. } = protocol else {
                    return Err(RequestError::Protocol);
                };
                write_header(&mut bytes, "Host", authority.as_bytes());
            }
            1 => {}
            // RFC 9112 §3.2: two would be answered with 400.
            _ => return Err(RequestError::ReservedHeader),
        }
        if method.has_body() || !body.is_empty() {
            let length = body.len().to_string();
            write_header(&mut bytes, "Content-Length", length.as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        Ok(Self { method, bytes })
    }

    /// A `GET` of the path that the target's URL names.
    pub fn get<'a>(
        protocol: &Protocol,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, RequestError> {
        let Protocol::Http { path, .. } = protocol else {
            return Err(RequestError::Protocol);
        };
        Self::new(Method::Get, protocol, path, headers, &[])
    }

    /// What it wants.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Head and body.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Only method and length: headers hold cookies.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({:?}, {} bytes)", self.method, self.bytes.len())
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => {
                "the path of a request has to begin with / and to be percent-encoded beyond \
                 visible ASCII"
            }
            Self::HeaderName => {
                "the name of a header may hold letters, digits and !#$%&'*+-.^_`|~ only"
            }
            Self::HeaderValue => "the value of a header holds a control character: leave it out",
            Self::ReservedHeader => {
                "a header about the message's length or the connection is set by this program: \
                 leave it out"
            }
            Self::Protocol => "the target of a request over HTTP has to be a URL of HTTP",
        })
    }
}

impl std::error::Error for RequestError {}

fn check_header(name: &str, value: &[u8]) -> Result<(), RequestError> {
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(RequestError::HeaderName);
    }
    if RESERVED
        .iter()
        .any(|reserved| name.eq_ignore_ascii_case(reserved))
    {
        return Err(RequestError::ReservedHeader);
    }
    let is_text = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    if !value.iter().all(is_text) {
        return Err(RequestError::HeaderValue);
    }
    Ok(())
}

/// `tchar` (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn write_header(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(b"\r\n");
}

/// Headers that frame a message or belong to one connection (RFC 9110 §7.6.1, RFC 9112 §6).
const RESERVED: &[&str] = &[
    "Connection",
    "Content-Length",
    "Expect",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];

#[cfg(test)]
mod tests {
    use super::super::super::target::Target;
    use super::*;

    fn request(
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<String, RequestError> {
        let target = Target::http("http://a:81/auth?x=1").unwrap();
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()));
        let request = Request::new(method, target.protocol(), path, headers, body.as_bytes())?;
        Ok(String::from_utf8(request.bytes).unwrap())
    }

    #[test]
    fn requests_are_written() {
        for (method, path, headers, body, expected) in [
            (
                Method::Get,
                "/",
                &[][..],
                "",
                "GET / HTTP/1.1\r\nHost: a:81\r\n\r\n",
            ),
            (
                Method::Get,
                "/a?b=%20",
                &[("Cookie", "PHPSESSID=x; ä=\t"), ("host", "shop.example")],
                "",
                "GET /a?b=%20 HTTP/1.1\r\nCookie: PHPSESSID=x; ä=\t\r\n\
                 host: shop.example\r\n\r\n",
            ),
            (
                Method::Post,
                "/",
                &[],
                "a\r\nb",
                "POST / HTTP/1.1\r\nHost: a:81\r\nContent-Length: 4\r\n\r\na\r\nb",
            ),
            (
                Method::Put,
                "/",
                &[],
                "",
                "PUT / HTTP/1.1\r\nHost: a:81\r\nContent-Length: 0\r\n\r\n",
            ),
        ] {
            assert_eq!(
                request(method, path, headers, body).as_deref(),
                Ok(expected)
            );
        }
        let target = Target::http("unix:/s:/auth?x=1").unwrap();
        let get = Request::get(target.protocol(), []).unwrap();
        assert_eq!(
            get.as_bytes(),
            b"GET /auth?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        );
    }

    #[test]
    fn no_part_can_begin_another_line() {
        use RequestError::*;
        let path = |path| request(Method::Get, path, &[], "");
        for wrong in [
            "",
            "a",
            "*",
            "/ ",
            "/\r\nX: y",
            "/\n",
            "/\0",
            "/ä",
            "http://a/",
        ] {
            assert_eq!(path(wrong), Err(Path), "{wrong:?}");
        }
        let header = |name, value| request(Method::Get, "/", &[(name, value)], "");
        for wrong in ["", " X", "X ", "X:", "X\r\nY", "X\n", "X\0", "ä", "X\t"] {
            assert_eq!(header(wrong, "y"), Err(HeaderName), "{wrong:?}");
        }
        for wrong in ["\r\nY: z", "a\r", "a\n", "a\0", "\u{1b}[1m", "\u{7f}"] {
            assert_eq!(header("X", wrong), Err(HeaderValue), "{wrong:?}");
        }
        for reserved in [
            "content-length",
            "Transfer-Encoding",
            "CONNECTION",
            "Upgrade",
        ] {
            assert_eq!(header(reserved, "1"), Err(ReservedHeader), "{reserved}");
        }
        let two_hosts = [("Host", "a"), ("HOST", "b")];
        let request = request(Method::Get, "/", &two_hosts, "");
        assert_eq!(request, Err(ReservedHeader));
    }

    #[test]
    fn cookies_are_not_shown() {
        let target = Target::http("http://a").unwrap();
        let headers = [("Cookie", b"secret".as_slice())];
        let request = Request::get(target.protocol(), headers).unwrap();
        assert!(!format!("{request:?}").contains("secret"));
    }
}
