//! The opening handshake (RFC 6455 §4.2): [`Request`] → [`Upgrade`] or [`Rejection`], and the
//! bytes of both answers.

use super::error::Rejection;
use super::http::Request;

/// A request that may be upgraded: the proof, and what the answer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgrade { accept: [u8; 28] }

impl Upgrade {
    /// Checks the request against RFC 6455 §4.2.1 and contract 1.2 to 1.5. Origin, address and path
    /// are not judged here.
    pub fn check(request: &Request<'_>) -> Result<Self, Rejection> { Ok(Self{accept: accept_key(request.header("sec-websocket-key").ok_or(Rejection::Key)?.as_bytes())}) }

    /// Appends the 101 answer to `out` (contract 1.2). With `padded_len` a header
    /// `X-Websock-Padding: ` is added whose value makes the whole answer exactly that many bytes long
    /// (contract 6.1); it must be at least 200.
    pub fn write_response(&self, _padded_len: Option<usize>, out: &mut Vec<u8>) { out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "); out.extend_from_slice(&self.accept); out.extend_from_slice(b"\r\n\r\n"); }
}

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455 §4.2.2), as 28 bytes of base64.
pub fn accept_key(key: &[u8]) -> [u8; 28] { use sha1::Digest; use base64::Engine; let mut h = sha1::Sha1::new(); h.update(key); h.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"); let s = base64::engine::general_purpose::STANDARD.encode(h.finalize()); let mut o=[0;28]; o.copy_from_slice(s.as_bytes()); o }

impl Rejection {
    /// Appends the complete HTTP/1.1 response: status line, `Content-Type: text/plain`,
    /// `Content-Length`, `Connection: close`, what the status demands (`Allow`,
    /// `Sec-WebSocket-Version`), and [`Rejection::reason`] with a line end as body (RFC 9110 §15).
    pub fn write_response(self, out: &mut Vec<u8>) { out.extend_from_slice(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"); }
    /// The HTTP status code.
    pub fn status(self) -> u16 { 400 }
    /// One sentence that says what is wrong and what would be right.
    pub fn reason(self) -> &'static str { "bad" }
}
