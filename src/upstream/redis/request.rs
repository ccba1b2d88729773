//! [`Request`]: commands that are sent together, as the bytes that go out.

use std::fmt;

use crate::protocol::redis::encode_command;

/// One command or several, ready to be sent. Each is answered by one value.
///
/// They leave in one piece, and nobody else's commands stand between them on this connection; on
/// the server those of others may.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    bytes: Vec<u8>,
    command_count: usize,
    is_repeatable: bool,
}

impl Request {
    /// One command. Arguments may hold any bytes.
    ///
    /// Not for commands that are not answered by exactly one value, as `SUBSCRIBE` and `MONITOR`,
    /// nor for those that change the connection (`AUTH`, `SELECT`), which the URL is there for.
    pub fn new(name: &str, arguments: &[&[u8]]) -> Self {
        let empty = Self {
            bytes: Vec::new(),
            command_count: 0,
            is_repeatable: true,
        };
        empty.then(name, arguments)
    }

    /// One more command.
    #[must_use]
    pub fn then(mut self, name: &str, arguments: &[&[u8]]) -> Self {
        debug_assert!(!NOT_FOR_CALLS.contains(&name), "see `new`");
        let parts: Vec<&[u8]> = std::iter::once(name.as_bytes())
            .chain(arguments.iter().copied())
            .collect();
        encode_command(&parts, &mut self.bytes);
        self.command_count += 1;
        self.is_repeatable &= REPEATABLE.contains(&name);
        self
    }

    /// All commands, as they are sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many values the answer has.
    pub fn command_count(&self) -> usize {
        self.command_count
    }

    /// Whether asking twice is as good as asking once: the commands change nothing.
    pub fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }
}

/// Only lengths: keys hold the ids of sessions.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, len) = (self.command_count, self.bytes.len());
        write!(f, "Request({count} commands, {len} bytes)")
    }
}

/// Commands that only read.
const REPEATABLE: &[&str] = &[
    "EXISTS", "GET", "MGET", "PING", "PTTL", "PUBSUB", "ROLE", "TTL",
];

/// Commands with another number of answers than one, or that change the connection.
const NOT_FOR_CALLS: &[&str] = &[
    "AUTH",
    "HELLO",
    "MONITOR",
    "PSUBSCRIBE",
    "PUNSUBSCRIBE",
    "QUIT",
    "RESET",
    "SELECT",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SUNSUBSCRIBE",
    "SYNC",
    "UNSUBSCRIBE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_one_behind_the_other() {
        let request = Request::new("EXISTS", &[b"a_LOCK"]).then("GET", &[b"a"]);
        assert_eq!(
            String::from_utf8_lossy(request.as_bytes()),
            "*2\r\n$6\r\nEXISTS\r\n$6\r\na_LOCK\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
        );
        assert_eq!(request.command_count(), 2);
        assert!(request.is_repeatable());
        assert!(!request.then("PUBLISH", &[b"a", b"b"]).is_repeatable());
    }

    #[test]
    fn keys_are_not_shown() {
        let request = Request::new("GET", &[b"secret"]);
        assert!(!format!("{request:?}").contains("secret"));
    }
}
