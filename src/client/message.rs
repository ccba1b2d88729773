//! Messages, and the packets in them.

use serde_json::Value;

/// A message from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// UTF-8 text.
    Text(String),
    /// Any bytes.
    Binary(Vec<u8>),
}

pub(super) fn packet_of(message: &Message) -> Option<Value> {
    match message {
        Message::Text(text) => serde_json::from_str(text).ok(),
        Message::Binary(_) => None,
    }
}

pub(super) fn string_of(packet: &Value, name: &str) -> Option<String> {
    packet.get(name)?.as_str().map(str::to_owned)
}

pub(super) fn error_of(packet: &Value) -> String {
    let error = string_of(packet, "error");
    error.unwrap_or_else(|| "the server closes, and does not say why".into())
}
