//! [`Traffic`]: how many frames and messages have come and gone.

use super::frame::{Header, Opcode, Role, Rsv1};
use super::message::MessageKind;

/// What all connections have received and sent since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// What has come while its connection was open, and the close frames that ended one.
    pub received: Counts,
    /// What has been queued.
    pub sent: Counts,
    /// Bytes read from sockets: of HTTP and frames, decrypted.
    pub received_bytes: u64,
    /// Bytes that sockets have taken, before they were encrypted.
    pub sent_bytes: u64,
}

/// One direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By opcode; those between hold nothing.
    frames: [u64; Opcode::Pong as usize + 1],
    messages: MessageCounts,
}

/// Whole messages and their payload, uncompressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// Text, binary.
    counts: [u64; 2],
    bytes: [u64; 2],
}

impl Counts {
    /// A frame.
    #[inline]
    pub fn add_frame(&mut self, opcode: Opcode) {
        self.frames[opcode as usize] += 1;
    }

    /// A whole message in one frame.
    #[inline]
    pub fn add_single(&mut self, kind: MessageKind, len: usize) {
        self.add_frame(kind.opcode());
        self.messages.add(kind, len, 1);
    }

    /// A whole message, whose frames have been counted.
    #[inline]
    pub fn add_message(&mut self, kind: MessageKind, len: usize) {
        self.messages.add(kind, len, 1);
    }

    /// A whole message in one frame without mask, which so many get.
    #[inline]
    pub fn add_copies(&mut self, frame: &[u8], copies: usize) {
        let parsed = Header::parse(frame, Role::Client, Rsv1::MarksCompressed);
        let Ok(Some((header, _))) = parsed else {
            return debug_assert!(false, "what is sent begins with a header");
        };
        let kind = match header.opcode {
            Opcode::Text => MessageKind::Text,
            _ => MessageKind::Binary,
        };
        self.frames[header.opcode as usize] += copies as u64;
        self.messages
            .add(kind, header.payload_len as usize, copies as u64);
    }

    /// Several messages, each in one frame.
    #[inline]
    pub fn add_all(&mut self, messages: &MessageCounts) {
        for kind in [MessageKind::Text, MessageKind::Binary] {
            let index = index(kind);
            self.frames[kind.opcode() as usize] += messages.counts[index];
            self.messages.counts[index] += messages.counts[index];
            self.messages.bytes[index] += messages.bytes[index];
        }
    }

    /// Frames of this opcode.
    pub fn frames(&self, opcode: Opcode) -> u64 {
        self.frames[opcode as usize]
    }

    /// Messages of this kind.
    pub fn messages(&self, kind: MessageKind) -> u64 {
        self.messages.counts[index(kind)]
    }

    /// Bytes of their payload.
    pub fn message_bytes(&self, kind: MessageKind) -> u64 {
        self.messages.bytes[index(kind)]
    }
}

impl MessageCounts {
    /// So many messages of the same length.
    #[inline]
    pub fn add(&mut self, kind: MessageKind, len: usize, copies: u64) {
        self.counts[index(kind)] += copies;
        self.bytes[index(kind)] += len as u64 * copies;
    }
}

#[inline]
fn index(kind: MessageKind) -> usize {
    match kind {
        MessageKind::Text => 0,
        MessageKind::Binary => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::frame;

    #[test]
    fn frames_and_messages_count_however_they_are_told() {
        let mut counts = Counts::default();
        counts.add_single(MessageKind::Text, 5);
        counts.add_frame(Opcode::Binary);
        counts.add_frame(Opcode::Continuation);
        counts.add_message(MessageKind::Binary, 7);
        let mut bytes = Vec::new();
        frame::encode(Opcode::Text, b"hello", &mut bytes);
        counts.add_copies(&bytes, 3);
        let mut replies = MessageCounts::default();
        replies.add(MessageKind::Text, 2, 1);
        replies.add(MessageKind::Binary, 70_000, 1);
        counts.add_all(&replies);
        counts.add_frame(Opcode::Pong);
        let frames = [
            (Opcode::Continuation, 1),
            (Opcode::Text, 5),
            (Opcode::Binary, 2),
            (Opcode::Close, 0),
            (Opcode::Ping, 0),
            (Opcode::Pong, 1),
        ];
        for (opcode, count) in frames {
            assert_eq!(counts.frames(opcode), count, "{opcode:?}");
        }
        for (kind, count, bytes) in [(MessageKind::Text, 5, 22), (MessageKind::Binary, 2, 70_007)] {
            assert_eq!(
                (counts.messages(kind), counts.message_bytes(kind)),
                (count, bytes)
            );
        }
    }
}
