//! What a client gets first, and which of the new words it has opted in to by its query.

use crate::base::Secret;
use crate::registry::{ClientUuid, Cursor, UserId};

/// Whether a client has opted in to any of the new words.
pub(super) fn knows_restarts(query: &str) -> bool {
    has_word(query, "user=1") || has_word(query, "resume=1")
}

/// Whether a query string has this field and value.
pub(super) fn has_word(query: &str, word: &str) -> bool {
    query.split('&').any(|field| field == word)
}

/// The value of the first field of this name in a query string.
pub(super) fn field<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|field| {
        let value = field.strip_prefix(name)?;
        value.strip_prefix('=')
    })
}

/// protocol.md 2.1, 8.8, 9.1, 9.9. `user` and `ticket`: of a client that has opted in to users;
/// `send`: by what one that reads events may send; `replay`: where one stands that has opted in to
/// that, and by what it comes back.
pub(super) fn ready_packet(
    uuid: &ClientUuid,
    user: Option<&UserId>,
    ticket: Option<&str>,
    send: Option<&Secret>,
    replay: Option<(Cursor, Option<&Secret>)>,
) -> String {
    let mut packet = format!(r#"{{"opcode":"ready","uuid":"{uuid}""#);
    if let Some(user) = user {
        let user = serde_json::Value::from(user.as_str());
        packet.push_str(&format!(r#","user":{user}"#));
    }
    if let Some(ticket) = ticket {
        packet.push_str(&format!(r#","ticket":"{ticket}""#));
    }
    if let Some(send) = send {
        packet.push_str(&format!(r#","send":"{send}""#));
    }
    if let Some((cursor, secret)) = replay {
        packet.push_str(&format!(r#","cursor":"{cursor}""#));
        if let Some(secret) = secret {
            packet.push_str(&format!(r#","resume":"{secret}""#));
        }
    }
    packet.push('}');
    packet
}
