//! The two tables of what a peer's fault is answered with: [`Violation`] → close code,
//! [`Rejection`] → HTTP status.

use super::close_code::CloseCode;

/// A rule of RFC 6455 that the peer broke, or a limit it passed, after the upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// RSV1, RSV2 or RSV3 set without an extension that defines it (§5.2).
    ReservedBits,
    /// Opcode 3–7 or 0xB–0xF (§5.2).
    ReservedOpcode,
    /// A client's frame without mask (§5.1).
    Unmasked,
    /// A server's frame with mask (§5.1).
    Masked,
    /// A length in more bytes than it needs (§5.2).
    NonMinimalLength,
    /// A 64-bit length with its top bit set (§5.2).
    LengthTopBit,
    /// A control frame with FIN clear (§5.4).
    FragmentedControl,
    /// A control frame over 125 bytes (§5.5).
    LongControl,
    /// A continuation frame without a message begun (§5.4).
    UnexpectedContinuation,
    /// A new text or binary frame inside an unfinished message (§5.4).
    UnfinishedMessage,
    /// A close payload of one byte (§5.5.1).
    ShortClosePayload,
    /// A close code that must not be sent (§7.4).
    InvalidCloseCode,
    /// A text message or close reason that is not UTF-8 (§5.6, §8.1).
    InvalidUtf8,
    /// A compressed message that is not DEFLATE (RFC 7692 §7.2.2).
    CorruptDeflate,
    /// A message over `maxMessageSize`, compressed or inflated.
    MessageTooBig,
    /// A message in more than `maxFragments` fragments.
    TooManyFragments,
    /// More than `maxControlFrames` control frames in one second.
    TooManyControlFrames,
    /// More than `maxMessages` messages in one second.
    TooManyMessages,
    /// A message that gained less than `minProgress` bytes within `stallTimeout`.
    MessageStalled,
}

impl Violation {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::ReservedBits,
        Self::ReservedOpcode,
        Self::Unmasked,
        Self::Masked,
        Self::NonMinimalLength,
        Self::LengthTopBit,
        Self::FragmentedControl,
        Self::LongControl,
        Self::UnexpectedContinuation,
        Self::UnfinishedMessage,
        Self::ShortClosePayload,
        Self::InvalidCloseCode,
        Self::InvalidUtf8,
        Self::CorruptDeflate,
        Self::MessageTooBig,
        Self::TooManyFragments,
        Self::TooManyControlFrames,
        Self::TooManyMessages,
        Self::MessageStalled,
    ];

    /// The code of the close frame that answers this.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode
            | Self::Unmasked
            | Self::Masked
            | Self::NonMinimalLength
            | Self::LengthTopBit
            | Self::FragmentedControl
            | Self::LongControl
            | Self::UnexpectedContinuation
            | Self::UnfinishedMessage
            | Self::ShortClosePayload
            | Self::InvalidCloseCode => CloseCode::PROTOCOL_ERROR,
            Self::InvalidUtf8 | Self::CorruptDeflate => CloseCode::INVALID_PAYLOAD,
            Self::MessageTooBig | Self::TooManyFragments => CloseCode::MESSAGE_TOO_BIG,
            Self::TooManyControlFrames | Self::TooManyMessages | Self::MessageStalled => {
                CloseCode::POLICY_VIOLATION
            }
        }
    }

    /// One sentence for the close frame and the log; at most 123 bytes, so that it fits in.
    pub fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bit set",
            Self::ReservedOpcode => "reserved opcode",
            Self::Unmasked => "client frame without mask",
            Self::Masked => "server frame with mask",
            Self::NonMinimalLength => "length not in its shortest form",
            Self::LengthTopBit => "length with its top bit set",
            Self::FragmentedControl => "fragmented control frame",
            Self::LongControl => "control frame over 125 bytes",
            Self::UnexpectedContinuation => "continuation without a message",
            Self::UnfinishedMessage => "new message inside an unfinished one",
            Self::ShortClosePayload => "close payload of one byte",
            Self::InvalidCloseCode => "invalid close code",
            Self::InvalidUtf8 => "invalid UTF-8",
            Self::CorruptDeflate => {
                "compressed message is corrupt: the client may ignore a parameter of the answer"
            }
            Self::MessageTooBig => "message over maxMessageSize",
            Self::TooManyFragments => "message in more than maxFragments fragments",
            Self::TooManyControlFrames => "more than maxControlFrames control frames per second",
            Self::TooManyMessages => "more than maxMessages messages per second",
            Self::MessageStalled => "message gained less than minProgress within stallTimeout",
        }
    }
}

/// Why a request is not upgraded: one HTTP response each (protocol.md 1.4 to 1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// 400: a request line or header line that is not HTTP/1.1 (RFC 9112 §3, §5).
    Malformed,
    /// 400: a version other than HTTP/1.0 and HTTP/1.1, or HTTP/1.0 for an upgrade.
    HttpVersion,
    /// 400: no, an empty, an impossible, or more than one Host (RFC 9112 §3.2).
    Host,
    /// 400: `Upgrade` does not name websocket.
    Upgrade,
    /// 400: `Connection` does not name upgrade.
    Connection,
    /// 400: `Sec-WebSocket-Key` missing, repeated, or not 16 bytes of base64.
    Key,
    /// 405, with `Allow: GET`.
    Method,
    /// 426, with `Sec-WebSocket-Version: 13`: another version, none, or more than one.
    Version,
    /// 403: `Origin` missing or not in `allowedOrigins`.
    Origin,
    /// 403: cookies sign in, and the page is on another host than the one that `Host` names
    /// (protocol.md 8.12).
    ForeignPage,
    /// 503: it could not be found out within `handshakeTimeout` whose request this is.
    Undecided,
    /// 401: a Client-Type php connection without the token that `pushToken` has.
    Token,
    /// 403: a Client-Type php connection from an address that `allowedIP` does not hold.
    Address,
    /// 403: a script's request that a proxy has forwarded which `trustedProxies` does not hold.
    Proxy,
    /// 403: a script's request of which the proxy does not tell where it comes from.
    ProxyUnidentified,
    /// 403: a listener that is not for this kind of client.
    Listener,
    /// 408: the head was not complete within `handshakeTimeout`.
    Timeout,
    /// 431: a head of 8192 bytes or more, or more header lines than
    /// [`MAX_HEADERS`](super::http::MAX_HEADERS).
    HeadTooLarge,
    /// 503: no memory or descriptors left.
    Overloaded,
    /// 503, with `Retry-After`: the server is about to end, and another one will be here.
    Restarting,
    /// 400: plain HTTP sent to a port that speaks TLS.
    PlainOnTls,
    /// 404: `/push/` or the like, where [`is_near_push`](super::http::Request::is_near_push) holds.
    NearPush,
    /// 400: the header `Ident` is longer than `maxIdent`.
    IdentTooLong,
    /// 400: the header `Ident` is not UTF-8.
    IdentNotUtf8,
    /// 400: the length of the body is ambiguous or no number (RFC 9112 §6.3).
    BodyLength,
    /// 400: the body's chunks are malformed (RFC 9112 §7.1).
    Chunk,
    /// 413: a body over `maxMessageSize`.
    BodyTooLarge,
    /// 417: an `Expect` other than `100-continue`.
    Expectation,
    /// 501: a transfer coding other than `chunked`.
    TransferEncoding,
}

impl Rejection {
    /// All of them.
    pub const ALL: [Self; 29] = [
        Self::Malformed,
        Self::HttpVersion,
        Self::Host,
        Self::Upgrade,
        Self::Connection,
        Self::Key,
        Self::Method,
        Self::Version,
        Self::Origin,
        Self::ForeignPage,
        Self::Undecided,
        Self::Token,
        Self::Address,
        Self::Proxy,
        Self::ProxyUnidentified,
        Self::Listener,
        Self::Timeout,
        Self::HeadTooLarge,
        Self::Overloaded,
        Self::Restarting,
        Self::PlainOnTls,
        Self::NearPush,
        Self::IdentTooLong,
        Self::IdentNotUtf8,
        Self::BodyLength,
        Self::Chunk,
        Self::BodyTooLarge,
        Self::Expectation,
        Self::TransferEncoding,
    ];

    /// The HTTP status code of the response.
    pub fn status(self) -> u16 {
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
            | Self::Chunk => 400,
            Self::NearPush => 404,
            Self::BodyTooLarge => 413,
            Self::Expectation => 417,
            Self::TransferEncoding => 501,
            Self::Token => 401,
            Self::Origin
            | Self::ForeignPage
            | Self::Address
            | Self::Proxy
            | Self::ProxyUnidentified
            | Self::Listener => 403,
            Self::Method => 405,
            Self::Timeout => 408,
            Self::Version => 426,
            Self::HeadTooLarge => 431,
            Self::PlainOnTls => 400,
            Self::Overloaded | Self::Restarting | Self::Undecided => 503,
        }
    }

    /// One sentence that says what is wrong and what would be right, without a line end.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => {
                "The request is malformed: send a request line and header lines as in RFC 9112."
            }
            Self::HttpVersion => "The HTTP version is not supported: send HTTP/1.1.",
            Self::Host => {
                "Host is missing, repeated or invalid: send exactly one, as Host: example.org."
            }
            Self::Upgrade => "This is a WebSocket server: send Upgrade: websocket.",
            Self::Connection => "Connection does not name the upgrade: send Connection: Upgrade.",
            Self::Key => {
                "Sec-WebSocket-Key is missing, repeated or invalid: send 16 bytes in base64, once."
            }
            Self::Method => "The method is not allowed: a WebSocket is opened with GET.",
            Self::Version => {
                "The WebSocket version is not supported: send Sec-WebSocket-Version: 13, once."
            }
            Self::Origin => "The origin is not allowed: allowedOrigins must name it.",
            Self::ForeignPage => {
                "The page is on another host than this server: allowedOrigins must name its origin."
            }
            Self::Undecided => "It could not be found out who you are: try again later.",
            Self::Token => "A token is needed: connect to /php?token= with what pushToken has.",
            Self::Address => {
                "Client-Type php is not allowed from this address: allowedIP must name it."
            }
            Self::Proxy => {
                "Scripts are not allowed through a proxy unless trustedProxies names it."
            }
            Self::ProxyUnidentified => {
                "Scripts are not allowed from a place that the proxy does not tell: \
                 let it set X-Forwarded-For."
            }
            Self::Listener => {
                "This listener is not for such clients: use another one that adress names."
            }
            Self::Timeout => {
                "The request was too slow: send the whole head within handshakeTimeout."
            }
            Self::HeadTooLarge => {
                "The request head is too large: send at most 8191 bytes and 100 header lines."
            }
            Self::NearPush => "There is nothing at this path: packets are pushed to /push.",
            Self::IdentTooLong => "Ident is too long: send at most maxIdent bytes.",
            Self::IdentNotUtf8 => "Ident is not UTF-8: send it in UTF-8.",
            Self::BodyLength => {
                "The length of the body is unclear: send one Content-Length, or chunks."
            }
            Self::Chunk => {
                "The body's chunks are malformed: send them as in RFC 9112, section 7.1."
            }
            Self::BodyTooLarge => "The body is too large: maxMessageSize bounds it.",
            Self::Expectation => {
                "The expectation is not known: send Expect: 100-continue, or none."
            }
            Self::TransferEncoding => "The transfer coding is not known: send chunks or a length.",
            Self::PlainOnTls => "This port speaks TLS: use https:// or wss://.",
            Self::Overloaded => "The server is overloaded: try again later.",
            Self::Restarting => "The server restarts: try again in a few seconds.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of an enum's variants, as this file has them.
    fn variants(name: &str) -> Vec<&'static str> {
        let source = include_str!("error.rs");
        let (_, rest) = source.split_once(&format!("pub enum {name} {{")).unwrap();
        let (body, _) = rest.split_once("\n}\n").unwrap();
        let lines = body.lines().filter(|line| !line.contains("///"));
        lines
            .filter_map(|line| line.trim().strip_suffix(','))
            .collect()
    }

    #[test]
    fn all_are_all_in_their_order() {
        let violations = Violation::ALL.map(|violation| format!("{violation:?}"));
        assert_eq!(violations.to_vec(), variants("Violation"));
        let rejections = Rejection::ALL.map(|rejection| format!("{rejection:?}"));
        assert_eq!(rejections.to_vec(), variants("Rejection"));
    }
}
