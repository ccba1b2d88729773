//! Coming back: what a client keeps so that the server can send what it has missed.

use serde_json::Value;

use super::message::{Message, string_of};

/// What came of [`Client::reconnect`](super::Client::reconnect).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// How many messages were missed; they come next, in order. 0 with a gap.
    pub replayed: u64,
    /// Why what was missed does not come: the server's `restart`, `overflow`, `expired`,
    /// `backplane` or `unknown`, or `unsupported` if it keeps nothing at all. `None`: nothing is
    /// missing.
    pub gap: Option<String>,
}

impl Resumed {
    /// Of a server that keeps nothing.
    pub(super) fn unsupported() -> Self {
        Self {
            replayed: 0,
            gap: Some("unsupported".to_owned()),
        }
    }
}

/// Where a client is in what the server keeps for it.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Empty: the server keeps nothing, or was not asked to.
    cursor: String,
    secret: String,
}

impl Place {
    /// What `ready` says.
    pub(super) fn of_ready(ready: &Value) -> Self {
        Self {
            cursor: string_of(ready, "cursor").unwrap_or_default(),
            secret: string_of(ready, "resume").unwrap_or_default(),
        }
    }

    /// Whether the server keeps anything for this client.
    pub(super) fn is_kept(&self) -> bool {
        !self.cursor.is_empty() && !self.secret.is_empty()
    }

    /// The packet that asks for what `uuid` has missed.
    pub(super) fn request(&self, uuid: &str) -> String {
        let [uuid, secret, cursor] = [uuid, &self.secret, &self.cursor].map(Value::from);
        format!(r#"{{"opcode":"resume","uuid":{uuid},"secret":{secret},"cursor":{cursor}}}"#)
    }

    /// Goes by the answer. `early` came before it; what is returned of it is to be handed out before
    /// anything else.
    pub(super) fn resume(
        &mut self,
        answer: &Value,
        early: Vec<Message>,
    ) -> (Resumed, Vec<Message>) {
        let is_whole = answer.get("gap").is_none_or(Value::is_null);
        let gap = string_of(answer, "gap").unwrap_or_else(|| "unknown".to_owned());
        let replayed = answer.get("replayed").and_then(Value::as_u64);
        let replayed = replayed.filter(|_| is_whole).unwrap_or_default();
        self.cursor = string_of(answer, "cursor").unwrap_or_default();
        self.secret = string_of(answer, "resume").unwrap_or_default();
        // What is kept is among what was missed, and follows; perhaps under another cursor.
        let is_repeated = |message: &Message| is_whole && cursor_of(message).is_some();
        let early = early.into_iter();
        let first = early.filter(|message| !is_repeated(message)).collect();
        let gap = (!is_whole).then_some(gap);
        (Resumed { replayed, gap }, first)
    }

    /// Takes note of a message that came.
    pub(super) fn pass(&mut self, message: &Message) {
        // Whoever has not asked for it gets no cursors, and others' keys of that name are theirs.
        if !self.cursor.is_empty()
            && let Some(cursor) = cursor_of(message)
        {
            self.cursor = cursor;
        }
    }
}

/// The cursor that the server has given a message. An echo has none: what is there is the sender's.
fn cursor_of(message: &Message) -> Option<String> {
    let Message::Text(text) = message else {
        return None;
    };
    let packet: Value = serde_json::from_str(text).ok()?;
    let opcode = packet.get("opcode")?.as_str()?;
    let cursor = string_of(&packet, "cursor")?;
    (opcode != "echo").then_some(cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u32) -> Message {
        Message::Text(format!(
            r#"{{"opcode":"broadcast","n":{number},"cursor":"e-{number}"}}"#
        ))
    }

    fn place() -> Place {
        Place::of_ready(&serde_json::json!({"uuid": "U", "cursor": "e-1", "resume": "S1"}))
    }

    fn resumed(replayed: u64, gap: Value) -> Value {
        serde_json::json!({
            "opcode": "resumed", "uuid": "U", "replayed": replayed, "gap": gap,
            "cursor": "e-1", "resume": "S2",
        })
    }

    #[test]
    fn what_came_before_the_replay_comes_once() {
        let mut place = place();
        let unnumbered = Message::Text("[1]".to_owned());
        let early = vec![message(3), unnumbered.clone(), message(4)];
        let (resumed, first) = place.resume(&resumed(3, Value::Null), early);
        assert_eq!((resumed.replayed, resumed.gap), (3, None));
        assert_eq!(first, [unnumbered]);
        // Another server may have numbered them anew.
        (7..10).for_each(|number| place.pass(&message(number)));
        assert!(
            place
                .request("U")
                .ends_with(r#""secret":"S2","cursor":"e-9"}"#)
        );
    }

    #[test]
    fn with_a_gap_all_that_came_early_is_handed_out() {
        let mut place = place();
        let early = vec![message(2), message(3)];
        let (told, first) = place.resume(&resumed(0, "overflow".into()), early);
        assert_eq!(first, [message(2), message(3)]);
        assert_eq!(told.gap.as_deref(), Some("overflow"));
    }

    #[test]
    fn only_the_servers_cursors_count() {
        let mut place = place();
        for text in [
            r#"{"opcode":"echo","cursor":"mine"}"#,
            r#"{"opcode":"broadcast","cursor":7}"#,
            "[1]",
        ] {
            place.pass(&Message::Text(text.to_owned()));
        }
        assert!(place.request("U").ends_with(r#""cursor":"e-1"}"#));
        // The last key of the name wins, and that is the server's.
        let twice = r#"{"opcode":"feedback","cursor":"mine","cursor":"e-2"}"#;
        place.pass(&Message::Text(twice.to_owned()));
        assert!(place.request("U").ends_with(r#""cursor":"e-2"}"#));
        let gap = r#"{"opcode":"gap","gap":"backplane","cursor":"e-9"}"#;
        place.pass(&Message::Text(gap.to_owned()));
        assert!(place.request("U").ends_with(r#""cursor":"e-9"}"#));
        // Who has not opted in has no place.
        let mut none = Place::of_ready(&serde_json::json!({"uuid": "U"}));
        none.pass(&message(2));
        assert!(!none.is_kept());
    }
}
