//! Frames on the wire (RFC 6455 §5.2).
//!
//! ```text
//!  byte 0: FIN RSV1 RSV2 RSV3 opcode(4)    byte 1: MASK payload_len(7)
//!  then 0, 2 or 8 bytes of length, then 0 or 4 bytes of masking key, then the payload
//! ```
//!
//! A [`Header`] that exists is legal: every rule about a single header is enforced here, with the
//! first byte that breaks it.

use super::error::Violation;

/// Longest header in bytes: 2, a 64-bit length, the masking key (§5.2).
pub const MAX_HEADER_BYTES: usize = 14;

/// Longest payload of a control frame, in bytes (§5.5).
pub const MAX_CONTROL_BYTES: usize = 125;

/// A frame's opcode (§5.2, §11.8). Reserved ones are refused before one of these exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation = 0x0,
    /// Begins a text message.
    Text = 0x1,
    /// Begins a binary message.
    Binary = 0x2,
    /// Closes the connection.
    Close = 0x8,
    /// Asks for a pong.
    Ping = 0x9,
    /// Answers a ping, or says nothing.
    Pong = 0xA,
}

impl Opcode {
    /// Whether this is a control frame's opcode (§5.5).
    pub const fn is_control(self) -> bool {
        (self as u8) & 0x8 != 0
    }

    const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }
}

/// Which end of the connection reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We are the server: frames that arrive must be masked (§5.1).
    Server,
    /// We are the client: frames that arrive must not be masked (§5.1).
    Client,
}

/// Who may set RSV1 (§5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rsv1 {
    /// No extension is in force.
    Forbidden,
    /// permessage-deflate is: the first frame of a message may be marked as compressed (RFC 7692 §6).
    MarksCompressed,
}

/// One legal frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Last frame of its message.
    pub fin: bool,
    /// The message is compressed (RFC 7692 §6).
    pub rsv1: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The key if the frame is masked; zero if not, which leaves the payload as it is.
    pub masking_key: [u8; 4],
    /// Bytes of payload that follow, at most 2^63 - 1.
    pub payload_len: u64,
}

impl Header {
    /// Reads the header at the start of `bytes`, with the number of bytes it takes.
    ///
    /// `Ok(None)`: more bytes are needed. A violation is reported with the first byte that shows it.
    #[inline]
    pub fn parse(bytes: &[u8], role: Role, rsv1: Rsv1) -> Result<Option<(Self, usize)>, Violation> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        let (fin, opcode) = check_first(first, rsv1)?;
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        check_second(second, opcode, role)?;
        let Some((payload_len, mask_at)) = read_len(bytes, second & 0x7F)? else {
            return Ok(None);
        };
        let mut header = Self {
            fin,
            rsv1: first & RSV1 != 0,
            opcode,
            masking_key: [0; 4],
            payload_len,
        };
        if second & MASK == 0 {
            return Ok(Some((header, mask_at)));
        }
        let Some(key) = bytes.get(mask_at..).and_then(|rest| rest.first_chunk()) else {
            return Ok(None);
        };
        header.masking_key = *key;
        Ok(Some((header, mask_at + 4)))
    }
}

/// How many bytes the header that begins like this still lacks, as far as that can be told.
pub fn header_bytes_wanted(start: &[u8]) -> usize {
    let &[_, second, ..] = start else {
        return 2 - start.len();
    };
    let length_len = match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let key_len = if second & MASK == 0 { 0 } else { 4 };
    (2_usize + length_len + key_len).saturating_sub(start.len())
}

/// Appends the header of a server's frame, which carries no mask (§5.1), to `out`.
pub fn encode_header(fin: bool, opcode: Opcode, payload_len: usize, out: &mut Vec<u8>) {
    let first = if fin { FIN } else { 0 } | opcode as u8;
    encode_start(first, 0, payload_len, out);
}

/// Appends the header of a server's frame that holds a whole compressed message (RFC 7692 §6).
pub fn encode_compressed_header(opcode: Opcode, payload_len: usize, out: &mut Vec<u8>) {
    encode_start(FIN | RSV1 | opcode as u8, 0, payload_len, out);
}

/// Whether this frame, or the first one of these bytes, is marked as compressed (RFC 7692 §6).
pub fn is_compressed(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| first & RSV1 != 0)
}

/// The frames that `bytes` consists of: whole, without masks, as [`encode`] writes them.
pub fn split(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (header, header_len) =
            Header::parse(bytes, Role::Client, Rsv1::MarksCompressed).ok()??;
        let payload_len = usize::try_from(header.payload_len).ok()?;
        let (frame, rest) = bytes.split_at_checked(header_len.checked_add(payload_len)?)?;
        bytes = rest;
        Some(frame)
    })
}

/// Appends a whole unmasked frame to `out`.
pub fn encode(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(payload.len() + MAX_HEADER_BYTES);
    encode_header(true, opcode, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Appends a whole frame as a client sends it, masked with `masking_key` (§5.3), to `out`.
pub fn encode_masked(opcode: Opcode, masking_key: [u8; 4], payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(payload.len() + MAX_HEADER_BYTES);
    encode_start(FIN | opcode as u8, MASK, payload.len(), out);
    out.extend_from_slice(&masking_key);
    let start = out.len();
    out.extend_from_slice(payload);
    super::mask::apply(masking_key, 0, &mut out[start..]);
}

/// Bytes of the header of an unmasked frame with a payload of this length.
pub const fn header_len(payload_len: usize) -> usize {
    match payload_len {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    }
}

/// Bytes of an unmasked frame with a payload of this length. Longer payloads make longer frames.
pub const fn frame_len(payload_len: usize) -> usize {
    header_len(payload_len).saturating_add(payload_len)
}

fn encode_start(first: u8, mask: u8, payload_len: usize, out: &mut Vec<u8>) {
    match payload_len {
        0..=125 => out.extend_from_slice(&[first, mask | payload_len as u8]),
        126..=0xFFFF => {
            let [a, b] = (payload_len as u16).to_be_bytes();
            out.extend_from_slice(&[first, mask | LEN_16, a, b]);
        }
        _ => {
            out.extend_from_slice(&[first, mask | LEN_64]);
            out.extend_from_slice(&(payload_len as u64).to_be_bytes());
        }
    }
}

#[inline]
fn check_first(first: u8, rsv1: Rsv1) -> Result<(bool, Opcode), Violation> {
    let opcode = Opcode::from_bits(first & 0x0F).ok_or(Violation::ReservedOpcode)?;
    let may_compress =
        rsv1 == Rsv1::MarksCompressed && matches!(opcode, Opcode::Text | Opcode::Binary);
    let allowed = if may_compress { RSV1 } else { 0 };
    if first & RSV & !allowed != 0 {
        return Err(Violation::ReservedBits);
    }
    let fin = first & FIN != 0;
    if opcode.is_control() && !fin {
        return Err(Violation::FragmentedControl);
    }
    Ok((fin, opcode))
}

#[inline]
fn check_second(second: u8, opcode: Opcode, role: Role) -> Result<(), Violation> {
    match (role, second & MASK != 0) {
        (Role::Server, false) => return Err(Violation::Unmasked),
        (Role::Client, true) => return Err(Violation::Masked),
        (Role::Server, true) | (Role::Client, false) => {}
    }
    if opcode.is_control() && usize::from(second & 0x7F) > MAX_CONTROL_BYTES {
        return Err(Violation::LongControl);
    }
    Ok(())
}

/// The payload length and where the header goes on behind it.
#[inline]
fn read_len(bytes: &[u8], short: u8) -> Result<Option<(u64, usize)>, Violation> {
    match short {
        LEN_16 => {
            let Some(len) = bytes.get(2..).and_then(|rest| rest.first_chunk()) else {
                return Ok(None);
            };
            match u16::from_be_bytes(*len) {
                0..=125 => Err(Violation::NonMinimalLength),
                len => Ok(Some((u64::from(len), 4))),
            }
        }
        LEN_64 => {
            if bytes.get(2).is_some_and(|byte| byte & 0x80 != 0) {
                return Err(Violation::LengthTopBit);
            }
            let Some(len) = bytes.get(2..).and_then(|rest| rest.first_chunk()) else {
                // Six zero bytes decide, whatever the last two are.
                let is_short = bytes.get(2..8).is_some_and(|high| high == [0; 6]);
                return if is_short {
                    Err(Violation::NonMinimalLength)
                } else {
                    Ok(None)
                };
            };
            match u64::from_be_bytes(*len) {
                0..=0xFFFF => Err(Violation::NonMinimalLength),
                len => Ok(Some((len, 10))),
            }
        }
        len => Ok(Some((u64::from(len), 2))),
    }
}

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV: u8 = 0x70;
const MASK: u8 = 0x80;
/// Length byte that announces 16 bits of length.
const LEN_16: u8 = 126;
/// Length byte that announces 64 bits of length.
const LEN_64: u8 = 127;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
        Header::parse(bytes, Role::Server, Rsv1::Forbidden)
    }

    #[test]
    fn the_examples_of_rfc_6455_5_7() {
        let hello = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        let (header, len) = parse(&hello).unwrap().unwrap();
        assert_eq!(
            (header.fin, header.opcode, header.payload_len, len),
            (true, Opcode::Text, 5, 6)
        );
        let mut payload = hello[len..].to_vec();
        super::super::mask::apply(header.masking_key, 0, &mut payload);
        assert_eq!(payload, b"Hello");

        let mut out = Vec::new();
        encode(Opcode::Text, b"Hello", &mut out);
        assert_eq!(out, b"\x81\x05Hello");
        out.clear();
        encode_masked(Opcode::Text, [0x37, 0xfa, 0x21, 0x3d], b"Hello", &mut out);
        assert_eq!(out, hello);
        out.clear();
        encode_header(false, Opcode::Text, 3, &mut out);
        encode_header(true, Opcode::Continuation, 2, &mut out);
        encode_header(true, Opcode::Binary, 256, &mut out);
        encode_header(true, Opcode::Binary, 65_536, &mut out);
        assert_eq!(
            out,
            b"\x01\x03\x80\x02\x82\x7e\x01\x00\x82\x7f\0\0\0\0\0\x01\0\0"
        );
    }

    #[test]
    fn every_broken_rule_is_named_by_its_first_certain_byte() {
        use Violation as V;
        let cases: [(&str, &[u8], Violation); 16] = [
            ("rsv1", b"\xc1", V::ReservedBits),
            ("rsv2", b"\xa1", V::ReservedBits),
            ("rsv3", b"\x91", V::ReservedBits),
            ("opcode 3", b"\x83", V::ReservedOpcode),
            ("opcode 7", b"\x87", V::ReservedOpcode),
            ("opcode b", b"\x8b", V::ReservedOpcode),
            ("opcode f", b"\x8f", V::ReservedOpcode),
            ("ping without fin", b"\x09", V::FragmentedControl),
            ("close without fin", b"\x08", V::FragmentedControl),
            ("unmasked", b"\x81\x05", V::Unmasked),
            ("ping of 126", b"\x89\xfe", V::LongControl),
            ("close of 64 bits", b"\x88\xff", V::LongControl),
            ("125 in 16 bits", b"\x82\xfe\x00\x7d", V::NonMinimalLength),
            ("0 in 16 bits", b"\x82\xfe\x00\x00", V::NonMinimalLength),
            (
                "65535 in 64 bits",
                b"\x82\xff\0\0\0\0\0\0",
                V::NonMinimalLength,
            ),
            ("top bit", b"\x82\xff\x80", V::LengthTopBit),
        ];
        for (name, bytes, violation) in cases {
            assert_eq!(parse(bytes), Err(violation), "{name}");
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), Ok(None), "{name} cut at {cut}");
            }
        }
        assert_eq!(
            Header::parse(b"\x81\x85", Role::Client, Rsv1::Forbidden),
            Err(Violation::Masked)
        );
    }

    #[test]
    fn rsv1_marks_only_the_first_frame_of_a_data_message() {
        let rsv1 = |first: u8| {
            Header::parse(
                &[first, 0x80, 0, 0, 0, 0],
                Role::Server,
                Rsv1::MarksCompressed,
            )
        };
        assert!(rsv1(0xC1).unwrap().unwrap().0.rsv1);
        assert!(rsv1(0xC2).unwrap().unwrap().0.rsv1);
        assert!(!rsv1(0x81).unwrap().unwrap().0.rsv1);
        for first in [0xC0, 0xC8, 0xC9, 0xCA, 0xE1, 0xD1] {
            assert_eq!(rsv1(first), Err(Violation::ReservedBits), "{first:#x}");
        }
    }

    #[test]
    fn lengths_read_back_at_every_form_and_split() {
        for len in [0, 1, 125, 126, 127, 65_534, 65_535, 65_536, 1 << 20] {
            for opcode in [Opcode::Continuation, Opcode::Text, Opcode::Binary] {
                let mut bytes = Vec::new();
                encode_start(FIN | opcode as u8, MASK, len, &mut bytes);
                bytes.extend_from_slice(&[9, 8, 7, 6]);
                let expected = Header {
                    fin: true,
                    rsv1: false,
                    opcode,
                    masking_key: [9, 8, 7, 6],
                    payload_len: len as u64,
                };
                for cut in 0..bytes.len() {
                    assert_eq!(parse(&bytes[..cut]), Ok(None), "{len} cut at {cut}");
                }
                assert_eq!(parse(&bytes), Ok(Some((expected, bytes.len()))));
                assert_eq!(bytes.len(), header_len(len) + 4);
            }
        }
    }
}
