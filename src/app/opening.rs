//! What a client gets first, and which of the new words it has opted in to by its query.

use crate::registry::{ClientUuid, UserId};

/// Whether a client has opted in to any of the new words.
pub(super) fn knows_restarts(query: &str) -> bool {
    has_word(query, "user=1") || has_word(query, "resume=1")
}

/// Whether a query string has this field and value.
pub(super) fn has_word(query: &str, word: &str) -> bool {
    query.split('&').any(|field| field == word)
}

/// protocol.md 2.1, 8.8, 9.9. `user` and `ticket`: of a client that has opted in. `secret`: of one
/// that reads events, for what it sends.
pub(super) fn ready_packet(
    uuid: &ClientUuid,
    user: Option<&UserId>,
    ticket: Option<&str>,
    secret: Option<&str>,
) -> String {
    let mut packet = format!(r#"{{"opcode":"ready","uuid":"{uuid}""#);
    if let Some(user) = user {
        let user = serde_json::Value::from(user.as_str());
        packet.push_str(&format!(r#","user":{user}"#));
    }
    if let Some(ticket) = ticket {
        packet.push_str(&format!(r#","ticket":"{ticket}""#));
    }
    if let Some(secret) = secret {
        packet.push_str(&format!(r#","send":"{secret}""#));
    }
    packet.push('}');
    packet
}
