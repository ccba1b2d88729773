//! The far end: frames as a client makes and reads them, by RFC 6455 alone.

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// The key of RFC 6455 §1.3, and what the server must make of it.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A masking key without two equal bytes, so that a wrong offset shows.
pub(crate) const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A good request head of exactly 178 bytes without `extra` header lines.
pub(crate) fn request(extra: &str) -> Vec<u8> {
    format!(
        "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
    )
    .into_bytes()
}

/// A good request head of `len` bytes.
pub(crate) fn request_of(len: usize) -> Vec<u8> {
    let frame = request("X: \r\n").len();
    let head = request(&format!("X: {}\r\n", "a".repeat(len - frame)));
    assert_eq!(head.len(), len);
    head
}

/// A masked frame: `first` is its first byte without FIN.
pub(crate) fn fragment(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame_with(u8::from(fin) << 7 | opcode, MASK, payload)
}

/// A masked frame with FIN.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    fragment(true, opcode, payload)
}

/// A masked text frame.
pub(crate) fn text(payload: &str) -> Vec<u8> {
    frame(TEXT, payload.as_bytes())
}

/// A masked close frame.
pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// A masked frame whose first byte and key are given.
pub(crate) fn frame_with(first: u8, key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, 0x80, payload.len() as u64);
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(p, k)| p ^ k));
    bytes
}

/// The header of a masked frame that promises `len` bytes.
pub(crate) fn promise(first: u8, len: u64) -> Vec<u8> {
    let mut bytes = header(first, 0x80, len);
    bytes.extend(MASK);
    bytes
}

/// An unmasked frame with FIN, as a server may send it.
pub(crate) fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(0x80 | opcode, 0, payload.len() as u64);
    bytes.extend(payload);
    bytes
}

fn header(first: u8, mask: u8, len: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    if len < 126 {
        bytes.push(mask | len as u8);
    } else if len < 65_536 {
        bytes.push(mask | 126);
        bytes.extend((len as u16).to_be_bytes());
    } else {
        bytes.push(mask | 127);
        bytes.extend(len.to_be_bytes());
    }
    bytes
}

/// A frame of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
    /// RSV1 (RFC 7692 §6).
    pub(crate) is_compressed: bool,
    /// Header and payload, in bytes.
    pub(crate) wire_len: usize,
}

impl Frame {
    pub(crate) fn close_code(&self) -> Option<u16> {
        assert_eq!(self.opcode, CLOSE, "{self:?}");
        self.payload.first_chunk().map(|c| u16::from_be_bytes(*c))
    }

    pub(crate) fn close_reason(&self) -> &str {
        std::str::from_utf8(self.payload.get(2..).unwrap_or_default()).unwrap()
    }
}

/// Everything that a server has said on one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The HTTP response, body included if it is no 101.
    pub(crate) head: String,
    pub(crate) frames: Vec<Frame>,
    /// Bytes of a frame that is not complete.
    pub(crate) rest: usize,
}

impl Said {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap_or("0").parse().unwrap()
    }

    /// The frames with one of these opcodes.
    pub(crate) fn payloads(&self, opcode: u8) -> Vec<&[u8]> {
        let of_kind = self.frames.iter().filter(|frame| frame.opcode == opcode);
        of_kind.map(|frame| frame.payload.as_slice()).collect()
    }

    /// Code and reason of the close frame, which must be the last frame.
    #[track_caller]
    pub(crate) fn close(&self) -> (Option<u16>, &str) {
        let last = self.frames.last().expect("no frame, and none that closes");
        (last.close_code(), last.close_reason())
    }
}

/// Reads a server's stream as it comes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reader {
    pub(crate) said: Said,
    unread: Vec<u8>,
}

impl Reader {
    /// Takes the next bytes, and panics with what is not legal in a server's stream: an incomplete or
    /// second response, a mask, a length that is not minimal, fragments, reserved bits or opcodes,
    /// a control frame over 125 bytes, text that is not UTF-8, anything behind a close frame.
    #[track_caller]
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        if self.said.head.is_empty() && !self.read_head() {
            return;
        }
        if self.said.status() != 101 {
            let body = std::mem::take(&mut self.unread);
            self.said.head.push_str(std::str::from_utf8(&body).unwrap());
            return check_refusal(&self.said.head);
        }
        let mut start = 0;
        let rsv1 = u8::from(self.is_compression_agreed()) << 6;
        while let Some(frame) = read_frame(&self.unread[start..], rsv1) {
            assert!(!self.is_closed(), "{frame:?} follows a close frame");
            start += frame.wire_len;
            self.said.frames.push(frame);
        }
        self.unread.drain(..start);
        self.said.rest = self.unread.len();
        assert!(
            !self.is_closed() || self.said.rest == 0,
            "bytes follow a close frame"
        );
    }

    fn read_head(&mut self) -> bool {
        let end = self.unread.windows(4).position(|four| four == b"\r\n\r\n");
        self.said.rest = self.unread.len();
        let Some(end) = end else {
            return false;
        };
        let behind = self.unread.split_off(end + 4);
        let head = std::mem::replace(&mut self.unread, behind);
        self.said.head = String::from_utf8(head).unwrap();
        self.said.rest = 0;
        let proof = format!("\r\nSec-WebSocket-Accept: {ACCEPT}\r\n");
        assert!(self.said.status() != 101 || self.said.head.contains(&proof));
        true
    }

    fn is_compression_agreed(&self) -> bool {
        let extension = "\r\nSec-WebSocket-Extensions: permessage-deflate";
        self.said.head.contains(extension)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.said
            .frames
            .last()
            .is_some_and(|last| last.opcode == CLOSE)
    }
}

/// A whole stream; see [`Reader::read`].
#[track_caller]
pub(crate) fn read_server(wire: &[u8]) -> Said {
    let mut reader = Reader::default();
    reader.read(wire);
    reader.said
}

#[track_caller]
fn check_refusal(response: &str) {
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.ends_with("\r\nConnection: close"), "{head}");
    let length = head
        .split("\r\nContent-Length: ")
        .nth(1)
        .expect("no length");
    let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
    assert!(body.len() <= length, "{} bytes, not {length}", body.len());
}

#[track_caller]
fn read_frame(bytes: &[u8], rsv1: u8) -> Option<Frame> {
    let [first, second, ..] = *bytes else {
        return None;
    };
    assert_eq!(second & 0x80, 0, "a server's frame is masked");
    let flags = first & 0xF0 & !rsv1;
    assert_eq!(flags, 0x80, "reserved bits or no FIN: {first:#x}");
    let is_compressed = first & 0x40 != 0;
    let (len, start) = match second {
        126 => {
            let len = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
            assert!(len > 125, "length {len} in 16 bits");
            (usize::from(len), 4)
        }
        127 => {
            let len = u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
            assert!(len > 65_535 && len >> 63 == 0, "length {len} in 64 bits");
            (len as usize, 10)
        }
        short => (usize::from(short), 2),
    };
    let opcode = first & 0x0F;
    match opcode {
        TEXT | BINARY => {}
        CLOSE | PING | PONG => {
            assert!(len <= 125, "a control frame of {len} bytes");
            assert!(!is_compressed, "a compressed control frame");
        }
        _ => panic!("opcode {opcode:#x} from a server"),
    }
    let wire_len = start + len;
    let payload = bytes.get(start..wire_len)?.to_vec();
    if opcode == TEXT && !is_compressed {
        assert!(std::str::from_utf8(&payload).is_ok(), "text is not UTF-8");
    }
    if opcode == CLOSE {
        check_close(&payload);
    }
    Some(Frame {
        opcode,
        payload,
        is_compressed,
        wire_len,
    })
}

#[track_caller]
fn check_close(payload: &[u8]) {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return assert!(payload.is_empty(), "a close payload of one byte");
    };
    let code = u16::from_be_bytes(*code);
    let is_legal = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    assert!(is_legal, "close code {code} on the wire");
    assert!(std::str::from_utf8(reason).is_ok(), "reason is not UTF-8");
}

#[test]
fn frames_read_back_as_they_were_made() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536] {
        let wire = server_frame(BINARY, &vec![7; len]);
        let frame = read_frame(&wire, 0).unwrap();
        assert_eq!((frame.payload.len(), frame.wire_len), (len, wire.len()));
        assert!(read_frame(&wire[..wire.len() - 1], 0).is_none());
    }
}
