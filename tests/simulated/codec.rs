//! The far end's half of permessage-deflate, by RFC 7692 and zlib alone.

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush};

/// Both directions, as the answer to an offer sets them.
pub(crate) struct Codec {
    inflate: Inflate,
    deflate: Deflate,
    /// Whether the server's messages may refer to those before them.
    server_keeps: bool,
    /// Whether the own messages may.
    client_keeps: bool,
}

/// Offers, each with other parameters.
pub(crate) const OFFERS: [&str; 6] = [
    "",
    "; client_max_window_bits",
    "; client_no_context_takeover",
    "; server_no_context_takeover; client_max_window_bits=10",
    "; server_max_window_bits=13",
    "; server_max_window_bits=12; client_no_context_takeover",
];

impl Codec {
    /// What the head of a 101 has agreed on.
    pub(crate) fn of(head: &str) -> Option<Self> {
        let (_, answer) = head.split_once("\r\nSec-WebSocket-Extensions: permessage-deflate")?;
        let (answer, _) = answer.split_once("\r\n").unwrap();
        let bits = answer
            .split_once("; server_max_window_bits=")
            .map_or("15", |(_, bits)| bits.split(';').next().unwrap());
        Some(Self {
            inflate: Inflate::new(false, bits.parse().unwrap()),
            deflate: Deflate::new(6, false, 15),
            server_keeps: !answer.contains("server_no_context_takeover"),
            client_keeps: !answer.contains("client_no_context_takeover"),
        })
    }

    /// The text of a compressed frame. Small steps, so that little but the window can be referred
    /// to.
    pub(crate) fn inflate(&mut self, payload: &[u8]) -> String {
        let bytes = [payload, TAIL].concat();
        let (mut input, mut text) = (bytes.as_slice(), Vec::new());
        loop {
            let mut step = [0; 64];
            let (taken, made) = (self.inflate.total_in(), self.inflate.total_out());
            let result = self
                .inflate
                .decompress(input, &mut step, InflateFlush::NoFlush);
            result.expect("no DEFLATE, or beyond the window");
            input = &input[(self.inflate.total_in() - taken) as usize..];
            let made = (self.inflate.total_out() - made) as usize;
            text.extend(&step[..made]);
            if made == 0 {
                break;
            }
        }
        assert!(input.is_empty(), "the message ends too early");
        if !self.server_keeps {
            self.inflate.reset(false);
        }
        String::from_utf8(text).expect("text is not UTF-8")
    }

    /// The payload of a compressed frame.
    pub(crate) fn deflate(&mut self, text: &str) -> Vec<u8> {
        let before = self.deflate.total_out();
        let mut out = vec![0; text.len() + 100];
        let flush = DeflateFlush::SyncFlush;
        let result = self.deflate.compress(text.as_bytes(), &mut out, flush);
        result.expect("there is room");
        out.truncate((self.deflate.total_out() - before) as usize);
        if !self.client_keeps {
            self.deflate.reset();
        }
        out.strip_suffix(TAIL).expect("it was flushed").to_vec()
    }
}

/// RFC 7692 §7.2.1.
const TAIL: &[u8] = &[0x00, 0x00, 0xFF, 0xFF];
