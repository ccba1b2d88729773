//! The opening handshake (RFC 6455 §4.2): [`Request`] → [`Upgrade`] or [`Rejection`], and the
//! bytes of both answers.
//!
//! Owns what makes a request a WebSocket request, and both answers to the byte. It does not judge
//! paths, origins, addresses or numbers of clients; who does so may still answer an [`Upgrade`]
//! with a [`Rejection`]. Subprotocols and extensions are ignored, as §4.2.2 allows (protocol.md
//! 1.12), unless [`Upgrade::choose_subprotocol`] and [`Upgrade::negotiate`] are asked to look at
//! them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::error::Rejection;
use super::extension::{Agreed, CompressionSettings};
use super::http::{BodyPart, Request, is_token};

/// A request that may be upgraded: the proof, and what the answer needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    accept: [u8; 28],
    subprotocol: Option<Box<str>>,
    agreed: Option<Agreed>,
}

impl Upgrade {
    /// Checks the request against RFC 6455 §4.2.1 and protocol.md 1.2 to 1.5. Origin, address and path
    /// are not judged here.
    ///
    /// The first fault in this order is reported: HTTP version, method, Host, Upgrade, Connection,
    /// Sec-WebSocket-Key, Sec-WebSocket-Version. Upgrade and Connection are token lists and may be
    /// spread over several lines. Key and Version must not be repeated, not even with equal values
    /// (§11.3.1, §11.3.5), and Version is compared as text: `013` is not `13`.
    pub fn check(request: &Request<'_>) -> Result<Self, Rejection> {
        if !request.is_http_1_1() {
            return Err(Rejection::HttpVersion);
        }
        if request.method() != "GET" {
            return Err(Rejection::Method);
        }
        request.host()?;
        if !request.has_token("Upgrade", "websocket") {
            return Err(Rejection::Upgrade);
        }
        if !request.has_token("Connection", "upgrade") {
            return Err(Rejection::Connection);
        }
        let key = request
            .only_header("Sec-WebSocket-Key")
            .filter(|key| is_key(key));
        let key = key.ok_or(Rejection::Key)?;
        if request.only_header("Sec-WebSocket-Version") != Some(b"13") {
            return Err(Rejection::Version);
        }
        Ok(Self {
            accept: accept_key(key),
            subprotocol: None,
            agreed: None,
        })
    }

    /// Chooses the first subprotocol that the client offers and `supported` holds (RFC 6455
    /// §4.2.2, protocol.md 1.12). None: nothing is answered, and browsers that have offered some
    /// then fail the connection, as §4.1 wants.
    ///
    /// Names have case. `supported` holds names for which [`is_subprotocol`] is true.
    #[must_use]
    pub fn choose_subprotocol(self, request: &Request<'_>, supported: &[String]) -> Self {
        let mut offered = request
            .header_values("Sec-WebSocket-Protocol")
            .flat_map(|value| value.split(|&byte| byte == b','));
        let chosen = offered.find_map(|name| {
            let name = name.trim_ascii();
            supported.iter().find(|known| known.as_bytes() == name)
        });
        Self {
            subprotocol: chosen.map(|name| name.as_str().into()),
            ..self
        }
    }

    /// The subprotocol that was chosen.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Accepts the first offer of permessage-deflate in `request` that can be (RFC 7692 §5.1), if
    /// compression is wanted.
    #[must_use]
    pub fn negotiate(self, request: &Request<'_>, wanted: &CompressionSettings) -> Self {
        let headers = request.header_values("Sec-WebSocket-Extensions");
        Self {
            agreed: Agreed::choose(headers, wanted),
            ..self
        }
    }

    /// How messages are compressed; `None`: not at all.
    pub fn agreed(&self) -> Option<Agreed> {
        self.agreed
    }

    /// Appends the 101 answer to `out` (protocol.md 1.2): 129 bytes without extension and padding.
    ///
    /// What was agreed is answered behind the accept key. With `padded_len`, which must be at least
    /// 200, a header `X-Websock-Padding: ` is added whose value makes the whole answer exactly that
    /// many bytes long (protocol.md 6.1), if it is not longer anyway. 1024 bytes are enough for
    /// whatever can be agreed on.
    pub fn write_response(&self, padded_len: Option<usize>, out: &mut Vec<u8>) {
        debug_assert!(
            padded_len.is_none_or(|len| len >= 200),
            "no room for the padding header"
        );
        let start = out.len();
        out.reserve(padded_len.unwrap_or(129));
        out.extend_from_slice(SWITCHING_PROTOCOLS);
        out.extend_from_slice(&self.accept);
        if let Some(name) = &self.subprotocol {
            out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
            out.extend_from_slice(name.as_bytes());
        }
        if let Some(agreed) = &self.agreed {
            out.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
            agreed.write_answer(out);
        }
        if let Some(padded_len) = padded_len {
            out.extend_from_slice(b"\r\nX-Websock-Padding: ");
            out.resize(
                out.len()
                    .max(start + padded_len.saturating_sub(HEAD_END.len())),
                b'.',
            );
        }
        out.extend_from_slice(HEAD_END);
    }
}

/// Whether this may be the name of a subprotocol: a token (RFC 6455 §4.1) of at most
/// [`MAX_SUBPROTOCOL_BYTES`].
pub fn is_subprotocol(name: &str) -> bool {
    name.len() <= MAX_SUBPROTOCOL_BYTES && is_token(name.as_bytes())
}

/// Longest name of a subprotocol, in bytes: far beyond those in use, and short enough for a 101 of
/// 1024 bytes (protocol.md 6.1).
pub const MAX_SUBPROTOCOL_BYTES: usize = 128;

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455 §4.2.2), as 28 bytes of base64.
///
/// `key` is the header's value as sent, blanks around it trimmed; it is not decoded.
pub fn accept_key(key: &[u8]) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    let written = STANDARD.encode_slice(digest, &mut accept);
    debug_assert_eq!(written, Ok(accept.len()), "20 bytes are 28 in base64");
    accept
}

/// Whether `key` is base64 of 16 bytes (§4.2.1): 22 characters that carry them and the padding.
///
/// The last 4 of the 22 characters' 132 bits are not looked at. RFC 4648 §3.5 leaves that open, and
/// the key need not be decoded.
fn is_key(key: &[u8]) -> bool {
    let digits = key.strip_suffix(b"==");
    let is_digit = |&byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    digits.is_some_and(|digits| digits.len() == 22 && digits.iter().all(is_digit))
}

impl Rejection {
    /// Appends the complete HTTP/1.1 response: status line, `Content-Type: text/plain`,
    /// `Content-Length`, `Connection: close`, what the status demands (`Allow`,
    /// `Sec-WebSocket-Version`), and [`Rejection::reason`] with a line end as body (RFC 9110 §15),
    /// unless `part` says that only its length is to be told.
    ///
    /// The connection is to be closed after it. There is no `Date`: this layer has no clock
    /// (RFC 9110 §6.6.1).
    pub fn write_response(self, part: BodyPart, out: &mut Vec<u8>) {
        let reason = self.reason();
        let body_len = (reason.len() + 1).to_string();
        let parts = [
            "HTTP/1.1 ",
            self.status_line(),
            "\r\n",
            self.extra_headers(),
            "Content-Type: text/plain\r\nContent-Length: ",
            &body_len,
            "\r\nConnection: close\r\n\r\n",
        ];
        let body = match part {
            BodyPart::Sent => [reason, "\n"],
            BodyPart::LeftOut => ["", ""],
        };
        for text in parts.into_iter().chain(body) {
            out.extend_from_slice(text.as_bytes());
        }
    }

    /// Status code and phrase (RFC 9110 §15, RFC 6585 §5).
    fn status_line(self) -> &'static str {
        match self {
            Self::Malformed
            | Self::HttpVersion
            | Self::Host
            | Self::Upgrade
            | Self::Connection
            | Self::Key
            | Self::IdentTooLong
            | Self::IdentNotUtf8
            | Self::BodyLength
            | Self::Chunk
            | Self::PlainOnTls => "400 Bad Request",
            Self::NearPush => "404 Not Found",
            Self::BodyTooLarge => "413 Content Too Large",
            Self::Expectation => "417 Expectation Failed",
            Self::TransferEncoding => "501 Not Implemented",
            Self::Token => "401 Unauthorized",
            Self::Origin
            | Self::ForeignPage
            | Self::Address
            | Self::Proxy
            | Self::ProxyUnidentified
            | Self::Listener => "403 Forbidden",
            Self::Method => "405 Method Not Allowed",
            Self::Timeout => "408 Request Timeout",
            Self::Version => "426 Upgrade Required",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Overloaded | Self::Restarting | Self::Undecided => "503 Service Unavailable",
        }
    }

    /// Header lines that the status demands: RFC 9110 §10.2.3, §15.5.6, §15.5.22 and RFC 6455 §4.4.
    fn extra_headers(self) -> &'static str {
        match self {
            Self::Method => "Allow: GET\r\n",
            Self::Token => "WWW-Authenticate: Bearer realm=\"websock\"\r\n",
            Self::Version => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            Self::Restarting | Self::Undecided => "Retry-After: 5\r\n",
            Self::Malformed
            | Self::HttpVersion
            | Self::Host
            | Self::Upgrade
            | Self::Connection
            | Self::Key
            | Self::NearPush
            | Self::IdentTooLong
            | Self::IdentNotUtf8
            | Self::Origin
            | Self::ForeignPage
            | Self::Address
            | Self::Proxy
            | Self::ProxyUnidentified
            | Self::Listener
            | Self::Timeout
            | Self::HeadTooLarge
            | Self::PlainOnTls
            | Self::BodyLength
            | Self::Chunk
            | Self::BodyTooLarge
            | Self::Expectation
            | Self::TransferEncoding
            | Self::Overloaded => "",
        }
    }
}

/// The 101 answer up to the accept key. Deployed PHP clients compare these values (protocol.md 1.2).
const SWITCHING_PROTOCOLS: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";

const HEAD_END: &[u8] = b"\r\n\r\n";

/// Appended to the key before it is hashed (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of RFC 6455 §1.3.
    const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    const LINES: [&str; 6] = [
        "GET /chat HTTP/1.1",
        "Host: server.example.com",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ];

    fn check(head: &[u8]) -> Result<Upgrade, Rejection> {
        Upgrade::check(&Request::parse(head)?)
    }

    /// Checks the good request with line `at` replaced by `line`; empty leaves it out.
    fn check_with(at: usize, line: &str) -> Result<(), Rejection> {
        let mut lines = LINES;
        lines[at] = line;
        let kept: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        check(format!("{}\r\n\r\n", kept.join("\r\n")).as_bytes()).map(|_| ())
    }

    fn response(upgrade: &Upgrade, padded_len: Option<usize>) -> String {
        let mut out = b"before".to_vec();
        upgrade.write_response(padded_len, &mut out);
        String::from_utf8(out)
            .unwrap()
            .strip_prefix("before")
            .unwrap()
            .to_owned()
    }

    #[test]
    fn the_key_of_the_rfc_gives_the_accept_of_the_rfc() {
        assert_eq!(&accept_key(KEY), ACCEPT.as_bytes());
    }

    #[test]
    fn an_agreed_extension_is_answered_behind_the_accept_key() {
        let offer = "Sec-WebSocket-Extensions: foo\nsec-websocket-extensions: permessage-deflate";
        let head = format!("{}\n{offer}\n\n", LINES.join("\n"));
        let request = Request::parse(head.as_bytes()).unwrap();
        let plain = Upgrade::check(&request).unwrap();
        let off = CompressionSettings::default();
        assert_eq!(plain.clone().negotiate(&request, &off), plain);
        let on = CompressionSettings { is_on: true, ..off };
        let agreed = plain.clone().negotiate(&request, &on);
        let expected = response(&plain, None).replace(
            ACCEPT,
            &format!(
                "{ACCEPT}\r\nSec-WebSocket-Extensions: permessage-deflate; \
                 server_no_context_takeover"
            ),
        );
        assert_eq!(response(&agreed, None), expected);
        assert_eq!(response(&agreed, Some(1024)).len(), 1024);
    }

    /// The subprotocol that these header lines lead to.
    fn chosen(lines: &str, supported: &[&str]) -> Option<String> {
        let head = format!("{}\n{lines}\n", LINES.join("\n"));
        let request = Request::parse(head.as_bytes()).unwrap();
        let supported: Vec<_> = supported.iter().map(|&name| name.to_owned()).collect();
        let upgrade = Upgrade::check(&request).unwrap();
        let upgrade = upgrade.choose_subprotocol(&request, &supported);
        let answer = response(&upgrade, None);
        let answered = answer
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "));
        assert_eq!(answered, upgrade.subprotocol());
        answered.map(str::to_owned)
    }

    #[test]
    fn the_first_subprotocol_that_is_offered_and_supported_is_answered() {
        for (lines, supported, expected) in [
            ("", &["chat"][..], None),
            ("Sec-WebSocket-Protocol: chat\n", &[], None),
            ("Sec-WebSocket-Protocol: chat\n", &["chat"], Some("chat")),
            ("sec-websocket-protocol:\tchat \n", &["chat"], Some("chat")),
            ("Sec-WebSocket-Protocol: Chat\n", &["chat"], None),
            ("Sec-WebSocket-Protocol: chatter\n", &["chat"], None),
            ("Sec-WebSocket-Protocol: chat v2\n", &["chat"], None),
            ("Sec-WebSocket-Protocol: a,b\n", &["b", "a"], Some("a")),
            ("Sec-WebSocket-Protocol: x, ,b,a\n", &["a", "b"], Some("b")),
            (
                "Sec-WebSocket-Protocol: x\nSec-WebSocket-Protocol: a\n",
                &["a"],
                Some("a"),
            ),
            ("Sec-WebSocket-Protocol:\n", &["a"], None),
            ("X-Protocol: a\n", &["a"], None),
        ] {
            assert_eq!(chosen(lines, supported).as_deref(), expected, "{lines}");
        }
    }

    #[test]
    fn whatever_is_agreed_on_fits_into_a_padded_answer() {
        let name = "x".repeat(MAX_SUBPROTOCOL_BYTES);
        assert!(is_subprotocol(&name) && is_subprotocol("graphql-ws.v1"));
        for name in ["", "a b", "a,b", "a\r\nb", "\u{fc}", &(name.clone() + "x")] {
            assert!(!is_subprotocol(name), "{name}");
        }
        let head = format!(
            "{}\nSec-WebSocket-Protocol: {name}\nSec-WebSocket-Extensions: permessage-deflate; \
             client_no_context_takeover; server_max_window_bits=15\n\n",
            LINES.join("\n")
        );
        let request = Request::parse(head.as_bytes()).unwrap();
        let on = CompressionSettings {
            is_on: true,
            ..CompressionSettings::default()
        };
        let upgrade = Upgrade::check(&request).unwrap();
        let upgrade = upgrade
            .choose_subprotocol(&request, &[name])
            .negotiate(&request, &on);
        assert!(upgrade.subprotocol().is_some() && upgrade.agreed().is_some());
        assert_eq!(response(&upgrade, Some(1024)).len(), 1024);
    }

    #[test]
    fn the_answer_is_the_documented_one_to_the_byte() {
        let upgrade = check(format!("{}\n\n", LINES.join("\n")).as_bytes()).unwrap();
        let expected = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
        );
        assert_eq!(response(&upgrade, None), expected);
        assert_eq!(expected.len(), 129);
    }

    #[test]
    fn a_padded_answer_has_exactly_the_length_asked_for() {
        let upgrade = Upgrade {
            accept: accept_key(KEY),
            subprotocol: None,
            agreed: None,
        };
        let unpadded = response(&upgrade, None);
        for len in [200, 201, 1023, 1024, 1025, 8192] {
            let padded = response(&upgrade, Some(len));
            assert_eq!(padded.len(), len);
            let rest = padded
                .strip_prefix(unpadded.strip_suffix("\r\n").unwrap())
                .unwrap();
            let value = rest.strip_prefix("X-Websock-Padding: ").unwrap();
            let value = value.strip_suffix("\r\n\r\n").unwrap();
            assert!(value.bytes().all(|byte| byte == b'.'), "{value}");
        }
    }

    #[test]
    fn each_header_is_judged_as_the_rfc_says() {
        let bad_key = Err(Rejection::Key);
        let bad_version = Err(Rejection::Version);
        let key = |value: &str| format!("Sec-WebSocket-Key: {value}");
        let cases: Vec<(usize, String, Result<(), Rejection>)> = vec![
            (0, "GET /chat HTTP/1.0".into(), Err(Rejection::HttpVersion)),
            (0, "GET /chat HTTP/2.0".into(), Err(Rejection::HttpVersion)),
            (0, "POST /chat HTTP/1.0".into(), Err(Rejection::HttpVersion)),
            (0, "POST /chat HTTP/1.1".into(), Err(Rejection::Method)),
            (0, "get /chat HTTP/1.1".into(), Err(Rejection::Method)),
            (0, "CONNECT a:443 HTTP/1.1".into(), Err(Rejection::Method)),
            (0, "GET ws://a/chat?x HTTP/1.1".into(), Ok(())),
            (1, String::new(), Err(Rejection::Host)),
            (1, "Host:".into(), Err(Rejection::Host)),
            (1, "Host: a\r\nHost: a".into(), Err(Rejection::Host)),
            (2, String::new(), Err(Rejection::Upgrade)),
            (2, "Upgrade: h2c".into(), Err(Rejection::Upgrade)),
            (2, "Upgrade: websockets".into(), Err(Rejection::Upgrade)),
            (2, "UPGRADE:h2c,WebSocket".into(), Ok(())),
            (2, "Upgrade: websocket\r\nUpgrade: h2c".into(), Ok(())),
            (3, String::new(), Err(Rejection::Connection)),
            (
                3,
                "Connection: keep-alive".into(),
                Err(Rejection::Connection),
            ),
            (3, "connection: keep-alive, UPGRADE".into(), Ok(())),
            (
                3,
                "Connection: keep-alive\r\nConnection: upgrade".into(),
                Ok(()),
            ),
            (4, String::new(), bad_key),
            (4, key(""), bad_key),
            (4, key("dGhlIHNhbXBsZSBub25jZQ"), bad_key),
            (4, key("dGhlIHNhbXBsZSBub25jZQ="), bad_key),
            (4, key("dGhlIHNhbXBsZSBub25jZQ==="), bad_key),
            (4, key("dGhlIHNhbXBsZSBub25jZ==="), bad_key),
            (4, key("dGhlIHNhbXBsZSBub25jZQA="), bad_key),
            (4, key("dGhlIHNhbXBsZSBub25jZQAA"), bad_key),
            (4, key("dGhlIHNhbXBsZSBub25j-_=="), bad_key),
            (4, key("dGhlIHNhbXBs SBub25jZQ=="), bad_key),
            (4, key("c2hvcnQ="), bad_key),
            (4, key("\"dGhlIHNhbXBsZSBub25jZQ==\""), bad_key),
            (4, key("\t dGhlIHNhbXBsZSBub25jZQ== "), Ok(())),
            (4, key("AAAAAAAAAAAAAAAAAAAAAA=="), Ok(())),
            (4, key("+/+/+/+/+/+/+/+/+/+/+w=="), Ok(())),
            (4, [LINES[4], LINES[4]].join("\r\n"), bad_key),
            (
                4,
                format!("{}\r\n{}", LINES[4], key("AAAAAAAAAAAAAAAAAAAAAA==")),
                bad_key,
            ),
            (5, String::new(), bad_version),
            (5, "Sec-WebSocket-Version:".into(), bad_version),
            (5, "Sec-WebSocket-Version: 8".into(), bad_version),
            (5, "Sec-WebSocket-Version: 013".into(), bad_version),
            (5, "Sec-WebSocket-Version: 13, 8".into(), bad_version),
            (
                5,
                "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Version: 13".into(),
                bad_version,
            ),
            (5, "sec-websocket-version:13\t".into(), Ok(())),
        ];
        for (at, line, expected) in cases {
            assert_eq!(check_with(at, &line), expected, "{line:?}");
        }
    }

    #[test]
    fn faults_are_reported_in_order() {
        let order = [
            (0, "POST / HTTP/1.0", Rejection::HttpVersion),
            (0, "POST / HTTP/1.1", Rejection::Method),
            (1, "", Rejection::Host),
            (2, "", Rejection::Upgrade),
            (3, "", Rejection::Connection),
            (4, "", Rejection::Key),
            (5, "", Rejection::Version),
        ];
        for (index, &(_, _, expected)) in order.iter().enumerate() {
            let mut lines = LINES;
            for &(at, line, _) in order[index..].iter().rev() {
                lines[at] = line;
            }
            let kept: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
            let head = format!("{}\r\n\r\n", kept.join("\r\n"));
            assert_eq!(check(head.as_bytes()), Err(expected));
        }
    }

    #[test]
    fn headers_that_mean_nothing_here_are_ignored() {
        let extra: [&[u8]; 4] = [
            b"X-Latin: J\xfcrgen",
            b"Origin:",
            b"Sec-WebSocket-Protocol: chat, superchat",
            b"Sec-WebSocket-Extensions: permessage-deflate",
        ];
        for line in extra {
            let head = [LINES.join("\r\n").as_bytes(), b"\r\n", line, b"\r\n\r\n"].concat();
            assert!(check(&head).is_ok(), "{}", line.escape_ascii());
        }
    }

    type Headers = &'static [(&'static str, &'static str)];

    /// Each rejection, its status line, and the headers that only its status has.
    const REJECTIONS: [(Rejection, &str, Headers); 20] = [
        (Rejection::Malformed, "400 Bad Request", &[]),
        (Rejection::HttpVersion, "400 Bad Request", &[]),
        (Rejection::Host, "400 Bad Request", &[]),
        (Rejection::Upgrade, "400 Bad Request", &[]),
        (Rejection::Connection, "400 Bad Request", &[]),
        (Rejection::Key, "400 Bad Request", &[]),
        (Rejection::IdentTooLong, "400 Bad Request", &[]),
        (Rejection::IdentNotUtf8, "400 Bad Request", &[]),
        (Rejection::NearPush, "404 Not Found", &[]),
        (
            Rejection::Method,
            "405 Method Not Allowed",
            &[("Allow", "GET")],
        ),
        (
            Rejection::Version,
            "426 Upgrade Required",
            &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
        ),
        (Rejection::Origin, "403 Forbidden", &[]),
        (Rejection::Address, "403 Forbidden", &[]),
        (Rejection::Timeout, "408 Request Timeout", &[]),
        (
            Rejection::HeadTooLarge,
            "431 Request Header Fields Too Large",
            &[],
        ),
        (Rejection::PlainOnTls, "400 Bad Request", &[]),
        (Rejection::Overloaded, "503 Service Unavailable", &[]),
        (
            Rejection::Restarting,
            "503 Service Unavailable",
            &[("Retry-After", "5")],
        ),
        (Rejection::ForeignPage, "403 Forbidden", &[]),
        (
            Rejection::Undecided,
            "503 Service Unavailable",
            &[("Retry-After", "5")],
        ),
    ];

    #[test]
    fn every_rejection_is_one_complete_response() {
        for (rejection, status, demanded) in REJECTIONS {
            let written = |part| {
                let mut out = Vec::new();
                rejection.write_response(part, &mut out);
                String::from_utf8(out).unwrap()
            };
            let text = written(BodyPart::Sent);
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(written(BodyPart::LeftOut), format!("{head}\r\n\r\n"));
            let mut lines = head.split("\r\n");
            assert_eq!(lines.next().unwrap(), format!("HTTP/1.1 {status}"));
            assert!(
                status.starts_with(&rejection.status().to_string()),
                "{rejection:?}"
            );

            let headers: Vec<_> = lines.map(|line| line.split_once(": ").unwrap()).collect();
            let length = body.len().to_string();
            let common = [
                ("Content-Type", "text/plain"),
                ("Content-Length", &length),
                ("Connection", "close"),
            ];
            assert_eq!(headers, [demanded, &common].concat(), "{rejection:?}");
            assert_eq!(body, format!("{}\n", rejection.reason()));
        }
    }

    #[test]
    fn reasons_are_single_distinct_sentences() {
        let mut reasons: Vec<_> = REJECTIONS.map(|(rejection, ..)| rejection.reason()).into();
        for reason in &reasons {
            assert!(reason.ends_with('.') && reason.contains(": "), "{reason}");
            assert!(
                reason.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                "{reason}"
            );
        }
        reasons.sort_unstable();
        reasons.dedup();
        assert_eq!(reasons.len(), REJECTIONS.len());
    }

    proptest! {
        #[test]
        fn every_16_bytes_make_a_key(bytes: [u8; 16]) {
            prop_assert!(is_key(STANDARD.encode(bytes).as_bytes()));
        }

        #[test]
        fn no_other_length_makes_a_key(bytes: Vec<u8>) {
            prop_assert_eq!(is_key(STANDARD.encode(&bytes).as_bytes()), bytes.len() == 16);
        }
    }
}
