//! What tabs are told that come back (protocol.md §9).

use std::rc::Rc;

use log::debug;
use serde_json::Value;

use super::commands::Commands;
use crate::protocol::message::MessageKind;
use crate::registry::mailbox::{Missed, Resumed};
use crate::registry::{Cursor, Gap};

/// What a page gets behind `ready` that has come with `since` (protocol.md 9.8).
pub(super) fn reply_missed(missed: &Missed, commands: &mut Commands) {
    if let Err(gap) = missed.texts {
        debug!("a page has come with a gap: {}", gap.name());
        let packet = gap_packet(gap, missed.cursor);
        commands.reply(MessageKind::Text, packet.as_bytes());
    }
    reply_texts(missed, commands);
}

/// protocol.md 9.8.
pub(super) fn gap_packet(gap: Gap, cursor: Cursor) -> String {
    let gap = gap.name();
    format!(r#"{{"opcode":"gap","gap":"{gap}","cursor":"{cursor}"}}"#)
}

pub(super) fn reply_texts(missed: &Missed, commands: &mut Commands) {
    let texts = missed.texts.iter().flatten();
    commands.replay(texts.map(|text| Rc::clone(text.frame())));
}

/// protocol.md 9.3.
pub(super) fn resumed_packet(uuid: &str, resumed: &Resumed) -> String {
    let Missed { cursor, texts } = &resumed.missed;
    let uuid = Value::from(uuid);
    let (count, gap) = match texts {
        Ok(texts) => (texts.len(), Value::Null),
        Err(gap) => (0, Value::from(gap.name())),
    };
    let secret = &resumed.secret;
    format!(
        r#"{{"opcode":"resumed","uuid":{uuid},"replayed":{count},"gap":{gap},"cursor":"{cursor}","resume":"{secret}"}}"#
    )
}
