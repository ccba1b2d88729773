//! [`Introduction`]: what is said on a connection before the first call, all at once, and what has
//! to be answered.

use std::collections::VecDeque;

use super::super::error::CallError;
use super::login::Login;
use crate::protocol::redis::{Decoded, Decoder, ErrorKind, Value, encode_command};

/// `AUTH`, `SELECT`, `CLIENT SETNAME`, `INFO cluster`, `PING`, as far as they are needed.
#[derive(Debug)]
pub(in super::super) struct Introduction {
    output: Vec<u8>,
    sent: usize,
    decoder: Decoder,
    unanswered: VecDeque<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Has to succeed.
    Auth,
    /// Has to succeed.
    Select,
    /// A name for `CLIENT LIST`. An ACL may forbid it.
    SetName,
    /// Says whether it is in cluster mode: the first key would, too, but not each one. An ACL may
    /// forbid it.
    Info,
    /// Shows whether it answers at all: not while it loads its data.
    Ping,
}

impl Introduction {
    pub(in super::super) fn new(login: &Login) -> Self {
        let mut introduction = Self {
            output: Vec::new(),
            sent: 0,
            decoder: Decoder::default(),
            unanswered: VecDeque::new(),
        };
        if let Some(password) = &login.password {
            match &login.user {
                Some(user) => {
                    introduction.say(Step::Auth, &[b"AUTH", user.as_bytes(), password.as_bytes()])
                }
                None => introduction.say(Step::Auth, &[b"AUTH", password.as_bytes()]),
            }
        }
        if login.database > 0 {
            let database = login.database.to_string();
            introduction.say(Step::Select, &[b"SELECT", database.as_bytes()]);
        }
        introduction.say(Step::SetName, &[b"CLIENT", b"SETNAME", CLIENT_NAME]);
        introduction.say(Step::Info, &[b"INFO", b"cluster"]);
        introduction.say(Step::Ping, &[b"PING"]);
        introduction
    }

    fn say(&mut self, step: Step, command: &[&[u8]]) {
        encode_command(command, &mut self.output);
        self.unanswered.push_back(step);
    }

    /// Bytes have come; whether all has been answered as it has to be.
    pub(in super::super) fn receive(&mut self, mut input: &[u8]) -> Result<bool, CallError> {
        // Nobody has been told anything yet; some servers complain first all the same.
        while let Some(decoded) = self.decoder.push(&mut input, MAX_ANSWER_BYTES)? {
            let Decoded::Value(value) = decoded else {
                return Err(CallError::TooLarge);
            };
            let Some(step) = self.unanswered.pop_front() else {
                return Err(CallError::Malformed);
            };
            check(step, &value)?;
        }
        Ok(self.unanswered.is_empty() && !self.decoder.has_begun())
    }

    pub(in super::super) fn output(&self) -> &[u8] {
        self.output.get(self.sent..).unwrap_or_default()
    }

    pub(in super::super) fn consume_output(&mut self, byte_count: usize) {
        debug_assert!(byte_count <= self.output().len());
        self.sent += byte_count.min(self.output().len());
    }
}

fn check(step: Step, value: &Value) -> Result<(), CallError> {
    match (step, value) {
        (Step::SetName | Step::Info, Value::Error(kind)) => match kind {
            ErrorKind::Forbidden | ErrorKind::Other => Ok(()),
            kind => Err(CallError::Rejected(*kind)),
        },
        (Step::Ping, Value::Error(ErrorKind::Forbidden)) => Ok(()),
        (_, Value::Error(kind)) => Err(CallError::Rejected(*kind)),
        (Step::Info, Value::Bytes(text)) => match is_in_cluster_mode(text) {
            true => Err(CallError::Rejected(ErrorKind::Cluster)),
            false => Ok(()),
        },
        (Step::Ping, Value::Bytes(text)) if text == b"PONG" => Ok(()),
        (Step::Auth | Step::Select | Step::SetName, Value::Bytes(text)) if text == b"OK" => Ok(()),
        (_, Value::Nil | Value::Integer(_) | Value::Bytes(_) | Value::Array(_)) => {
            Err(CallError::Malformed)
        }
    }
}

fn is_in_cluster_mode(info: &[u8]) -> bool {
    let mut lines = info.split(|byte| *byte == b'\n');
    lines.any(|line| line.trim_ascii() == b"cluster_enabled:1")
}

/// What `CLIENT LIST` shows.
const CLIENT_NAME: &[u8] = b"websock";

/// Longest answer; all of `INFO` has some 6 KiB.
const MAX_ANSWER_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::super::login::Secret;
    use super::*;

    const OK: &str = "+OK\r\n$30\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n+PONG\r\n";

    #[test]
    fn all_that_is_needed_is_said_at_once() {
        let login = |user: Option<&str>, password: Option<&str>, database| Login {
            user: user.map(str::to_owned),
            password: password.map(|text| Secret::new(text.to_owned())),
            database,
            prefix: String::new(),
        };
        for (login, expected) in [
            (login(None, None, 0), ""),
            (login(None, Some("p"), 0), "AUTH p"),
            (login(Some("u"), Some(""), 3), "AUTH u  SELECT 3"),
        ] {
            let introduction = Introduction::new(&login);
            let text = String::from_utf8_lossy(introduction.output()).into_owned();
            let words = text
                .split("\r\n")
                .filter(|word| !word.starts_with(['*', '$']));
            let words: Vec<_> = words.collect();
            let expected = format!("{expected} CLIENT SETNAME websock INFO cluster PING");
            assert_eq!(words.join(" ").trim(), expected.trim());
            assert!(!format!("{login:?}").contains("\"p\""));
        }
    }

    #[test]
    fn who_is_let_in_is_told_by_the_answers() {
        use ErrorKind::*;
        let rejected = |kind| Err(CallError::Rejected(kind));
        for (answers, expected) in [
            (OK, Ok(true)),
            ("+OK\r\n", Ok(false)),
            ("+OK\r\n-NOPERM x\r\n+PONG\r\n", Ok(true)),
            ("-ERR x\r\n-ERR x\r\n-NOPERM x\r\n", Ok(true)),
            ("-NOAUTH x\r\n", rejected(PasswordMissing)),
            ("-DENIED x\r\n", rejected(ProtectedMode)),
            (
                "-ERR max number of clients reached\r\n",
                rejected(TooManyClients),
            ),
            ("+OK\r\n$17\r\ncluster_enabled:1\r\n", rejected(Cluster)),
            ("+OK\r\n$0\r\n\r\n-LOADING x\r\n", rejected(NotReady)),
            ("+OK\r\n$0\r\n\r\n-ERR x\r\n", rejected(Other)),
            ("+OK\r\n$0\r\n\r\n+OK\r\n", Err(CallError::Malformed)),
            (":1\r\n", Err(CallError::Malformed)),
            (
                "+OK\r\n$0\r\n\r\n+PONG\r\n+x\r\n",
                Err(CallError::Malformed),
            ),
            ("+OK\r\n$0\r\n\r\n+PONG\r\n+", Ok(false)),
            ("SSH-2.0-OpenSSH_9.2\r\n", Err(CallError::Malformed)),
            ("$999999999\r\n", Err(CallError::TooLarge)),
        ] {
            let mut introduction = Introduction::new(&Login::default());
            let outcome = introduction.receive(answers.as_bytes());
            assert_eq!(outcome, expected, "{answers:?}");
            let mut introduction = Introduction::new(&Login::default());
            let mut pieces = answers.as_bytes().chunks(1);
            let split = pieces.try_fold(false, |_, piece| introduction.receive(piece));
            assert_eq!(split, expected, "{answers:?} byte by byte");
        }
    }
}
