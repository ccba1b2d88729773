//! What a script of bytes says: the setting of a conversation, and its steps.

use std::time::Duration;

use websock::connection::{Keepalive, Limits, PhpFraming};
use websock::protocol::close_code::CloseCode;
use websock::protocol::deflate::Deflater;
use websock::protocol::extension::{CompressionSettings, Context};
use websock::protocol::frame::{self, Opcode};

/// Takes pieces off the front of the input, for oracles that want more than one value.
pub struct Script<'a>(pub &'a [u8]);

impl<'a> Script<'a> {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte, 0 behind the end.
    pub fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    /// The next bytes, fewer at the end.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        front
    }

    /// A masking key.
    pub fn key(&mut self) -> [u8; 4] {
        std::array::from_fn(|_| self.byte())
    }
}

/// What the first bytes of a script decide.
pub struct Setting {
    /// Small ones, or those of the shipped ini.
    pub limits: Limits,
    /// What frames to the peer look like.
    pub framing: PhpFraming,
    /// Whether it is pinged.
    pub keepalive: Keepalive,
    /// A buffer that another connection has left behind.
    pub spare_bytes: usize,
    /// What is agreed with who offers it.
    pub compression: CompressionSettings,
    /// When a request's body is answered.
    pub answers: Answers,
}

/// When a request's body is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// As soon as it is whole.
    AtOnce,
    /// In a step of its own; until then the connection is not read.
    Later,
}

impl Setting {
    /// Reads two bytes.
    pub fn of(script: &mut Script<'_>) -> Self {
        let (first, second) = (script.byte(), script.byte());
        Self {
            limits: if first & 1 == 0 {
                SMALL
            } else {
                Limits::default()
            },
            framing: match first >> 1 & 3 {
                0 => PhpFraming::Padded,
                1 => PhpFraming::Spaced,
                2 => PhpFraming::Records,
                _ => PhpFraming::Stream,
            },
            keepalive: if first & 8 == 0 {
                Keepalive::Pings
            } else {
                Keepalive::None
            },
            spare_bytes: if second & 1 == 0 { 0 } else { 400_000 },
            compression: CompressionSettings {
                is_on: second & 6 != 0,
                threshold_bytes: if second & 2 == 0 { 0 } else { 20 },
                keeps_context: second & 4 != 0,
                level: 1 + second / 16 % 9,
            },
            answers: if second & 8 == 0 {
                Answers::AtOnce
            } else {
                Answers::Later
            },
        }
    }
}

const SMALL: Limits = Limits {
    max_message_bytes: 300,
    max_web_message_bytes: 300,
    max_fragments: 4,
    max_queue_bytes: 600,
    max_control_frames_per_second: 5,
    max_messages_per_second: 7,
    handshake_timeout: Duration::from_secs(1),
    keep_alive_timeout: Duration::from_secs(1),
    ping_interval: Duration::from_secs(3),
    pong_timeout: Duration::from_secs(2),
    close_timeout: Duration::from_secs(1),
    stall_timeout: Duration::from_secs(2),
    min_progress_bytes: 20,
};

/// What happens next.
pub enum Step {
    /// The peer sends.
    Bytes(Vec<u8>),
    /// Time passes.
    Wait(Duration),
    /// We send a message.
    Send(Opcode, Vec<u8>, Ownership),
    /// We answer the request whose body has come.
    Answer,
    /// The peer reads.
    Read(usize),
    /// We close.
    Close(CloseCode, String),
    /// The peer ends its side.
    Eof,
}

/// Whose the bytes of a message are.
#[derive(Clone, Copy)]
pub enum Ownership {
    /// This connection's.
    Copied,
    /// Several connections'.
    Shared,
}

/// All steps, those joined in which the peer sends.
pub fn steps(script: &mut Script<'_>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut deflater = Deflater::new(15, 6, Context::Kept);
    while !script.is_empty() {
        let step = next_step(script, &mut deflater);
        match (steps.last_mut(), step) {
            (Some(Step::Bytes(bytes)), Step::Bytes(more)) => bytes.extend(more),
            (_, step) => steps.push(step),
        }
    }
    steps
}

fn next_step(script: &mut Script<'_>, deflater: &mut Deflater) -> Step {
    let code = script.byte() % 32;
    match code {
        16 | 17 => return Step::Bytes(upgrade(Some(script.byte()))),
        18 | 19 => return Step::Bytes(next_request(script)),
        20 => return Step::Answer,
        21 | 22 => return Step::Bytes(next_deflated(script, deflater)),
        _ => {}
    }
    match code % 16 {
        0 | 1 => Step::Bytes(upgrade(None)),
        2 | 3 => {
            let len = script.byte();
            Step::Bytes(script.bytes(usize::from(len)).to_vec())
        }
        4..=8 => Step::Bytes(next_frame(script)),
        9 => Step::Wait(Duration::from_millis(u64::from(script.byte()).pow(2))),
        10 | 11 => next_send(script),
        12 | 13 => Step::Read(usize::from(script.byte()) * 8),
        14 => {
            let number = u16::from_be_bytes([script.byte(), script.byte()]);
            let len = script.byte();
            let reason = String::from_utf8_lossy(script.bytes(usize::from(len))).into_owned();
            let code = CloseCode::from_wire(number).unwrap_or(CloseCode::GOING_AWAY);
            Step::Close(code, reason)
        }
        _ => Step::Eof,
    }
}

/// A request that is upgraded, with an offer of permessage-deflate.
fn upgrade(offer: Option<u8>) -> Vec<u8> {
    let offer = offer.map_or_else(String::new, |at| {
        let offer = OFFERS[usize::from(at) % OFFERS.len()];
        format!("Sec-WebSocket-Extensions: permessage-deflate{offer}\r\n")
    });
    format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
    )
    .into_bytes()
}

const OFFERS: [&str; 7] = [
    "",
    "; client_no_context_takeover",
    "; server_no_context_takeover",
    "; server_max_window_bits=9",
    "; client_max_window_bits; server_max_window_bits=13; server_no_context_takeover",
    "; unknown, permessage-deflate; client_max_window_bits=8",
    "; server_max_window_bits=12",
];

/// A request that asks for no upgrade, with a body that its head may or may not tell rightly.
fn next_request(script: &mut Script<'_>) -> Vec<u8> {
    let (kind, len) = (script.byte(), script.byte());
    let body = script.bytes(usize::from(len));
    let target = ["POST /push", "POST /push", "GET /", "HEAD /"][usize::from(kind & 3)];
    let minor = if kind & 32 == 0 { 1 } else { 0 };
    let mut text = format!("{target} HTTP/1.{minor}\r\nHost: a\r\n");
    if kind & 8 != 0 {
        text += "Expect: 100-continue\r\n";
    }
    if kind & 16 != 0 {
        text += "Connection: close\r\n";
    }
    let is_chunked = kind & 4 != 0;
    if is_chunked {
        text += "Transfer-Encoding: chunked\r\n";
    } else if kind & 2 == 0 {
        // It may claim a byte of what follows.
        let told = body.len() + usize::from(kind >> 6 & 1);
        text += &format!("Content-Length: {told}\r\n");
    }
    let mut bytes = (text + "\r\n").into_bytes();
    if !is_chunked {
        bytes.extend(body);
        return bytes;
    }
    for piece in body.chunks(usize::from(kind >> 6) * 20 + 3) {
        bytes.extend(format!("{:x};a=b\r\n", piece.len()).bytes());
        bytes.extend([piece, b"\r\n"].concat());
    }
    bytes.extend(b"0\r\nTrailer: x\r\n\r\n");
    bytes
}

/// A masked frame whose header fits its payload; the flags may be anything.
fn next_frame(script: &mut Script<'_>) -> Vec<u8> {
    let (first, len) = (script.byte(), usize::from(script.byte()));
    let len = if len < 200 { len } else { (len - 199) * 40 };
    let key = script.key();
    let mut payload = script.bytes(len.min(250)).to_vec();
    payload.resize(len, b'x');
    masked(first, key, &payload)
}

/// A message that is compressed if that makes it shorter, whole or in two fragments with a ping
/// between them; it may refer to those before it, whether that was agreed on or not.
fn next_deflated(script: &mut Script<'_>, kept: &mut Deflater) -> Vec<u8> {
    let (flags, len) = (script.byte(), script.byte());
    let message = script.bytes(usize::from(len));
    let message = message.repeat(1 + usize::from(flags >> 4));
    let mut payload = Vec::new();
    let is_deflated = if flags & 2 == 0 {
        Deflater::new(15, 6, Context::Dropped).deflate(&message, &mut payload)
    } else {
        kept.deflate(&message, &mut payload)
    };
    let rsv1 = if is_deflated { 0x40 } else { 0 };
    let payload = if is_deflated { payload } else { message };
    let first = rsv1 | (1 + (flags & 1));
    if flags & 4 == 0 {
        return masked(0x80 | first, KEY, &payload);
    }
    let (left, right) = payload.split_at(payload.len() * usize::from(flags >> 4) / 16);
    [
        masked(first, KEY, left),
        masked(0x89, KEY, b"p"),
        masked(0x80, KEY, right),
    ]
    .concat()
}

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

fn masked(first: u8, key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode_masked(Opcode::Text, key, payload, &mut bytes);
    bytes[0] = first;
    bytes
}

fn next_send(script: &mut Script<'_>) -> Step {
    let (kind, len) = (script.byte(), usize::from(script.byte()));
    let ownership = if kind & 1 == 0 {
        Ownership::Copied
    } else {
        Ownership::Shared
    };
    let times = 1 + usize::from(kind >> 4) % 4;
    if kind & 2 == 0 {
        let text = String::from_utf8_lossy(script.bytes(len)).repeat(times);
        Step::Send(Opcode::Text, text.into_bytes(), ownership)
    } else {
        let payload = script.bytes(len).repeat(times);
        Step::Send(Opcode::Binary, payload, ownership)
    }
}

/// Longest frame that a script lets us send, and as much again for an answer and a close frame.
pub const LONGEST_SENT: usize = 8192;
