//! Frames of RFC 6455 §5.2 as a test needs them: legal ones in one call, illegal ones by hand.

use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

pub(crate) const FIN: u8 = 0x80;
/// Marks a message as compressed (RFC 7692 §6).
pub(crate) const RSV1: u8 = 0x40;

/// A frame that the server has sent. That it is legal was checked when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    /// Its message is compressed (RFC 7692 §6).
    pub(crate) rsv1: bool,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
    /// Header and payload together, in bytes.
    pub(crate) wire_len: usize,
}

/// In how many bytes a length is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LengthForm {
    Seven,
    Sixteen,
    SixtyFour,
}

impl LengthForm {
    pub(crate) fn shortest(len: u64) -> Self {
        match len {
            0..=125 => Self::Seven,
            126..=65_535 => Self::Sixteen,
            _ => Self::SixtyFour,
        }
    }
}

/// A whole masked frame: `first` is its first byte (FIN, reserved bits, opcode).
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u64;
    masked_as(first, LengthForm::shortest(len), len, payload)
}

/// A masked frame that announces `len` in `form`, whatever `payload` holds.
pub(crate) fn masked_as(first: u8, form: LengthForm, len: u64, payload: &[u8]) -> Vec<u8> {
    let masking_key = next_masking_key();
    let mut bytes = header(first, 0x80, form, len);
    bytes.extend(masking_key);
    let start = bytes.len();
    bytes.extend(payload);
    for four in bytes[start..].chunks_mut(4) {
        for (byte, key_byte) in four.iter_mut().zip(masking_key) {
            *byte ^= key_byte;
        }
    }
    bytes
}

/// A whole frame as only a server may send it.
pub(crate) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u64;
    let mut bytes = header(first, 0, LengthForm::shortest(len), len);
    bytes.extend(payload);
    bytes
}

/// A text message in one frame.
pub(crate) fn text(message: &str) -> Vec<u8> {
    masked(FIN | TEXT, message.as_bytes())
}

/// A close payload.
pub(crate) fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

fn header(first: u8, mask_bit: u8, form: LengthForm, len: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match form {
        LengthForm::Seven => bytes.push(mask_bit | u8::try_from(len).expect("fits in 7 bits")),
        LengthForm::Sixteen => {
            bytes.push(mask_bit | 126);
            bytes.extend(u16::try_from(len).expect("fits in 16 bits").to_be_bytes());
        }
        LengthForm::SixtyFour => {
            bytes.push(mask_bit | 127);
            bytes.extend(len.to_be_bytes());
        }
    }
    bytes
}

/// Differs from call to call, and no two of its bytes are equal: a mask applied at the wrong offset
/// shows.
fn next_masking_key() -> [u8; 4] {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let step = COUNT.fetch_add(1, Ordering::Relaxed) as u8;
    [0x37, 0xfa, 0x21, 0x3d].map(|byte: u8| byte.wrapping_add(step))
}

/// Reads the first frame of `bytes`, or says `None` if it is not all there.
///
/// # Panics
///
/// If a server must not send it: masked, reserved bits or opcodes, long or fragmented control
/// frames, a length that is not in its shortest form.
#[track_caller]
pub(crate) fn read(bytes: &[u8]) -> Option<Frame> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (fin, opcode) = (first & FIN != 0, first & 0x0f);
    let rsv1 = first & RSV1 != 0 && matches!(opcode, TEXT | BINARY);
    let reserved = if rsv1 { 0x30 } else { 0x70 };
    assert_eq!(first & reserved, 0, "reserved bit in {first:#04x}");
    assert!(
        matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG),
        "reserved opcode in {first:#04x}"
    );
    assert_eq!(second & 0x80, 0, "a server's frame with mask");
    let (len, header_len) = match second {
        126 => (
            u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
            4,
        ),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        short => (u64::from(short), 2),
    };
    let shortest = header(first, 0, LengthForm::shortest(len), len).len();
    assert_eq!(
        header_len, shortest,
        "length {len} not in its shortest form"
    );
    if opcode >= CLOSE {
        assert!(
            fin && len <= 125,
            "control frame {first:#04x} of {len} bytes"
        );
    }
    let wire_len = header_len + usize::try_from(len).expect("a length that fits in memory");
    let payload = bytes.get(header_len..wire_len)?.to_vec();
    Some(Frame {
        fin,
        rsv1,
        opcode,
        payload,
        wire_len,
    })
}

// RFC 6455 §5.7
#[test]
fn the_harness_writes_and_reads_the_frames_of_the_rfc() {
    let hello = Frame {
        fin: true,
        rsv1: false,
        opcode: TEXT,
        payload: b"Hello".to_vec(),
        wire_len: 7,
    };
    assert_eq!(read(b"\x81\x05Hello more"), Some(hello));
    assert_eq!(unmasked(FIN | TEXT, b"Hello"), b"\x81\x05Hello");
    assert_eq!(read(b"\x81\x05Hell"), None);

    let bytes = text("Hello");
    assert_eq!(&bytes[..2], b"\x81\x85");
    let plain: Vec<u8> = (0..5).map(|i| bytes[6 + i] ^ bytes[2 + i % 4]).collect();
    assert_eq!(plain, b"Hello");

    assert_eq!(unmasked(FIN | BINARY, &[0; 256])[..4], *b"\x82\x7e\x01\x00");
    let long = unmasked(FIN | BINARY, &[0; 65_536]);
    assert_eq!(long[..10], *b"\x82\x7f\0\0\0\0\0\x01\0\0");
    assert_eq!(read(&long).map(|f| f.wire_len), Some(65_546));
}
