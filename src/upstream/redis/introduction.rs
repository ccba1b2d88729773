//! [`Introduction`]: what is said on a connection before the first call, all at once, and what has
//! to be answered.

use std::collections::VecDeque;

use super::super::error::CallError;
use super::login::Login;
use crate::protocol::redis::{Decoded, Decoder, ErrorKind, Value, encode_command};

/// `AUTH`, `SELECT`, `ROLE`, `CLIENT SETNAME`, `INFO cluster`, `PING`, as far as they are needed; to
/// a Sentinel, its one question.
#[derive(Debug, Default)]
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
    /// Has to be that of a master: a Sentinel may not know better yet. An ACL may forbid it.
    Role,
    /// Says where the master is.
    Master,
    /// Shows whether it answers at all: not while it loads its data.
    Ping,
}

/// How far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Progress {
    /// Not all has been answered.
    Pending,
    /// The connection carries calls from now on.
    LetIn,
    /// The master is there: host and port.
    Master(String, u16),
}

impl Introduction {
    /// To a server that is the target.
    pub(in super::super) fn new(login: &Login) -> Self {
        let mut introduction = Self::default();
        introduction.log_in(login);
        introduction.look_around();
        introduction
    }

    /// To a server that is the target as long as it is a master.
    pub(in super::super) fn to_master(login: &Login) -> Self {
        let mut introduction = Self::default();
        introduction.log_in(login);
        introduction.say(Step::Role, &[b"ROLE"]);
        introduction.look_around();
        introduction
    }

    /// To a Sentinel.
    pub(in super::super) fn to_sentinel(login: &Login, master: &str) -> Self {
        let mut introduction = Self::default();
        introduction.log_in(login);
        let question: [&[u8]; 3] = [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", master.as_bytes()];
        introduction.say(Step::Master, &question);
        introduction
    }

    fn log_in(&mut self, login: &Login) {
        if let Some(password) = &login.password {
            let password = password.as_bytes();
            match &login.user {
                Some(user) => self.say(Step::Auth, &[b"AUTH", user.as_bytes(), password]),
                None => self.say(Step::Auth, &[b"AUTH", password]),
            }
        }
        if login.database > 0 {
            let database = login.database.to_string();
            self.say(Step::Select, &[b"SELECT", database.as_bytes()]);
        }
    }

    fn look_around(&mut self) {
        self.say(Step::SetName, &[b"CLIENT", b"SETNAME", CLIENT_NAME]);
        self.say(Step::Info, &[b"INFO", b"cluster"]);
        self.say(Step::Ping, &[b"PING"]);
    }

    fn say(&mut self, step: Step, command: &[&[u8]]) {
        encode_command(command, &mut self.output);
        self.unanswered.push_back(step);
    }

    /// Bytes have come. It has come to its end when all has been answered as it has to be.
    pub(in super::super) fn receive(&mut self, mut input: &[u8]) -> Result<Progress, CallError> {
        // Nobody has been told anything yet; some servers complain first all the same.
        while let Some(decoded) = self.decoder.push(&mut input, MAX_ANSWER_BYTES)? {
            let Decoded::Value(value) = decoded else {
                return Err(CallError::TooLarge);
            };
            let Some(step) = self.unanswered.pop_front() else {
                return Err(CallError::Malformed);
            };
            if step == Step::Master {
                let (host, port) = read_master(&value)?;
                return Ok(Progress::Master(host, port));
            }
            check(step, &value)?;
        }
        match self.unanswered.is_empty() && !self.decoder.has_begun() {
            true => Ok(Progress::LetIn),
            false => Ok(Progress::Pending),
        }
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
        (Step::Ping | Step::Role, Value::Error(ErrorKind::Forbidden)) => Ok(()),
        (_, Value::Error(kind)) => Err(CallError::Rejected(*kind)),
        (Step::Info, Value::Bytes(text)) => match is_in_cluster_mode(text) {
            true => Err(CallError::Rejected(ErrorKind::Cluster)),
            false => Ok(()),
        },
        (Step::Role, Value::Array(parts)) => match parts.first().and_then(Value::as_bytes) {
            Some(b"master") => Ok(()),
            Some(_) | None => Err(CallError::Rejected(ErrorKind::ReadOnly)),
        },
        (Step::Ping, Value::Bytes(text)) if text == b"PONG" => Ok(()),
        (Step::Auth | Step::Select | Step::SetName, Value::Bytes(text)) if text == b"OK" => Ok(()),
        (_, Value::Nil | Value::Integer(_) | Value::Bytes(_) | Value::Array(_)) => {
            Err(CallError::Malformed)
        }
    }
}

/// `["127.0.0.1", "6379"]`, or nothing.
fn read_master(value: &Value) -> Result<(String, u16), CallError> {
    match value {
        Value::Nil | Value::Error(ErrorKind::Other) => {
            Err(CallError::Rejected(ErrorKind::UnknownMaster))
        }
        Value::Error(kind) => Err(CallError::Rejected(*kind)),
        Value::Array(parts) => {
            let text = |at: usize| str::from_utf8(parts.get(at)?.as_bytes()?).ok();
            let port = text(1).and_then(|port| port.parse().ok());
            let host = text(0).filter(|host| !host.is_empty() && host.len() <= 253);
            let (host, port) = host.zip(port).ok_or(CallError::Malformed)?;
            Ok((host.to_ascii_lowercase(), port))
        }
        Value::Integer(_) | Value::Bytes(_) => Err(CallError::Malformed),
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
        use Progress::{LetIn, Pending};
        let rejected = |kind| Err(CallError::Rejected(kind));
        for (answers, expected) in [
            (OK, Ok(LetIn)),
            ("+OK\r\n", Ok(Pending)),
            ("+OK\r\n-NOPERM x\r\n+PONG\r\n", Ok(LetIn)),
            ("-ERR x\r\n-ERR x\r\n-NOPERM x\r\n", Ok(LetIn)),
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
            ("+OK\r\n$0\r\n\r\n+PONG\r\n+", Ok(Pending)),
            ("SSH-2.0-OpenSSH_9.2\r\n", Err(CallError::Malformed)),
            ("$999999999\r\n", Err(CallError::TooLarge)),
        ] {
            let mut introduction = Introduction::new(&Login::default());
            let outcome = introduction.receive(answers.as_bytes());
            assert_eq!(outcome, expected, "{answers:?}");
            let mut introduction = Introduction::new(&Login::default());
            let mut pieces = answers.as_bytes().chunks(1);
            let split = pieces.try_fold(Pending, |_, piece| introduction.receive(piece));
            assert_eq!(split, expected, "{answers:?} byte by byte");
        }
    }
}
