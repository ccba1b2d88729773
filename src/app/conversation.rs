//! What a message of the dialogue comes to: `next`, chunks that are kept and joined, and what the
//! resource is told.

use super::chunks::TooMuch;
use super::commands::Commands;
use super::resource::{Dialogue, Received};
use super::sessions::{Chunking, Sessions};
use crate::base::{MonotonicTime, free};
use crate::connection::{ConnId, Message};
use crate::protocol::close_code::CloseCode;
use crate::protocol::message::MessageKind;
use crate::protocol::utf8;
use crate::registry::ClientKind;

impl Sessions {
    /// A complete message came.
    pub(super) fn handle_message(
        &mut self,
        id: ConnId,
        message: &Message<'_>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let Some(kind) = self.dialogue_of(id) else {
            return;
        };
        if kind == Dialogue::None {
            return self.pass(id, Received::AsItCame(message), now, commands);
        }
        // protocol.md 2.2: before anything that the message causes.
        commands.reply(MessageKind::Text, NEXT_PACKET.as_bytes());
        let text = as_text(message);
        if self.is_resume(id, &text, now, commands) {
            return;
        }
        match self.buffer(id, &text, now) {
            Buffered::Nothing if message.kind() == text.kind() => {
                self.pass(id, Received::AsItCame(&text), now, commands);
            }
            // What goes back is a text frame (protocol.md 2.7).
            Buffered::Nothing => self.pass(id, Received::Made(&text), now, commands),
            Buffered::Kept => {}
            Buffered::Joined(joined) => {
                let message = Message::Text(joined.as_str().into());
                self.pass(id, Received::Made(&message), now, commands);
                free(joined.into_bytes());
            }
            Buffered::TooBig => {
                let reason = "more than maxChunks chunks, or longer than allowed together";
                commands.close(id, CloseCode::MESSAGE_TOO_BIG, reason);
            }
        }
    }

    fn pass(
        &mut self,
        id: ConnId,
        received: Received<'_>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let message = Some(received);
        self.with_resource(id, message, now, commands, |resource, client, handle| {
            resource.on_data(client, received.message(), handle);
        });
    }

    /// protocol.md 4.2, 4.3.
    fn buffer(&mut self, id: ConnId, message: &Message<'_>, now: MonotonicTime) -> Buffered {
        let Some(session) = self.sessions.get_mut(id.slot as usize) else {
            return Buffered::Kept;
        };
        let Message::Text(text) = message else {
            return Buffered::Nothing;
        };
        match (text.as_bytes(), session.chunking) {
            (b"bufferON", _) => {
                session.chunking = Chunking::On;
                self.chunks.begin(id, now);
                Buffered::Kept
            }
            (b"bufferOFF", _) => {
                session.chunking = Chunking::Off;
                let joined = self.chunks.take(id);
                joined.map_or(Buffered::Kept, Buffered::Joined)
            }
            (_, Chunking::Off) => Buffered::Nothing,
            (_, Chunking::On) => {
                let max_bytes = match session.kind {
                    ClientKind::Web => self.settings.max_web_message_bytes,
                    ClientKind::Php => self.settings.max_message_bytes,
                };
                match self.chunks.add(id, text.as_str(), max_bytes) {
                    Ok(()) => Buffered::Kept,
                    Err(TooMuch) => Buffered::TooBig,
                }
            }
        }
    }
}

/// What `bufferON` and `bufferOFF` make of a message.
enum Buffered {
    /// Nothing: it is handled as it is.
    Nothing,
    /// It is kept, or was one of the two.
    Kept,
    /// All that was kept is handled as one message.
    Joined(String),
    /// It is one chunk or some bytes too many.
    TooBig,
}

/// Answer to every complete data message (protocol.md 2.2).
pub(super) const NEXT_PACKET: &str = r#"{"opcode":"next","fyi":""}"#;

/// protocol.md 2.7: binary messages that are UTF-8 count as text.
fn as_text<'a>(message: &Message<'a>) -> Message<'a> {
    match *message {
        // Most of those who get it need no `str` of a packet that is read already.
        Message::Text(text) if text.outline().is_some() => *message,
        Message::Text(text) => Message::Text(text.as_str().into()),
        Message::Binary(bytes) => match utf8::check(bytes) {
            Some(text) => Message::Text(text.into()),
            None => Message::Binary(bytes),
        },
    }
}
