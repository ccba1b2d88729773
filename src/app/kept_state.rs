//! What is kept for those who come back, as the bytes of a file that outlives the server (protocol.md
//! 9.7).
//!
//! ```text
//! file = MAGIC, record, SHA-256 of all before
//! ```

use std::collections::HashSet;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use super::App;
use crate::base::{BadRecord, MonotonicTime, Record, RecordWriter};
use crate::registry::ReplaySettings;

impl App {
    /// What is to outlive the server, if there is anything. `time_of_day`: since 1970.
    pub fn kept_state(&self, now: MonotonicTime, time_of_day: Duration) -> Option<Vec<u8>> {
        let mailbox = &self.sessions.mailbox;
        if !mailbox.is_active() {
            return None;
        }
        let mut record = RecordWriter::default();
        record.put_duration(SAVED_AT, time_of_day);
        record.put(MAILBOX, &mailbox.hand_over(&self.sessions.clients, now));
        let backplane = self.sessions.backplane.as_deref();
        if let Some(deaf_for) = backplane.and_then(|backplane| backplane.deaf_for(now)) {
            record.put_duration(DEAF_FOR, deaf_for);
        }
        if let Some(backplane) = backplane {
            record.put(PAST, &backplane.hand_over_past());
        }
        let away = mailbox.away();
        let users: HashSet<&str> = away.filter_map(|(them, id, _)| them.user(id)).collect();
        let is_away = |user: &[u8]| str::from_utf8(user).is_ok_and(|user| users.contains(user));
        for user in backplane.into_iter().flat_map(|b| b.heard_users(is_away)) {
            record.put(HEARD_USER, &user);
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&record.into_bytes());
        let sum = digest(&SHA256, &bytes);
        bytes.extend_from_slice(sum.as_ref());
        Some(bytes)
    }

    /// Goes on with what another server has kept; how many tabs may come back.
    ///
    /// # Errors
    /// Why nothing of it is believed.
    pub fn restore(
        &mut self,
        bytes: &[u8],
        now: MonotonicTime,
        time_of_day: Duration,
    ) -> Result<usize, String> {
        let record = checked(bytes)?;
        let not_understood = |error: BadRecord| format!("it is not understood: {error}");
        let mut record = Record::parse(record).map_err(not_understood)?;
        let saved_at = record.duration(SAVED_AT).map_err(not_understood)?;
        let mailbox = record.record(MAILBOX).map_err(not_understood)?;
        let deaf_for = record.duration_if(DEAF_FOR).map_err(not_understood)?;
        let heard_users = record.take_all(HEARD_USER);
        let past = record.take(PAST).map(Record::parse).transpose();
        let past = past.map_err(not_understood)?;
        record.end().map_err(not_understood)?;
        // A clock that was put back says nothing.
        let ago = time_of_day.saturating_sub(saved_at);
        let ReplaySettings { time, .. } = self.sessions.mailbox.settings();
        if ago >= time {
            return Err("it is older than replayTime".to_owned());
        }
        let taken = self.sessions.mailbox.take_over(mailbox, ago, now);
        taken.map_err(not_understood)?;
        self.sessions.mailbox.settle();
        if let Some(backplane) = self.sessions.backplane.as_deref_mut() {
            backplane.note_deaf_since(now - (ago + deaf_for.unwrap_or_default()));
        }
        let mut gone_on = self.sessions.go_on_hearing(&heard_users);
        if let (Some(past), Some(backplane)) = (past, self.sessions.backplane.as_deref_mut()) {
            gone_on = gone_on.and_then(|()| backplane.take_over_past(past));
        }
        if let Err(error) = gone_on {
            self.sessions.mailbox.clear();
            return Err(not_understood(error));
        }
        Ok(self.sessions.mailbox.figures().away)
    }

    /// Longest file that is read, in bytes: what is kept takes no more, with its names and numbers.
    pub fn max_kept_bytes(&self) -> usize {
        let ReplaySettings { max_bytes, .. } = self.sessions.mailbox.settings();
        max_bytes.saturating_mul(2).saturating_add(1 << 20)
    }

    /// Another process goes on with what was kept, as the node that this one was.
    pub fn be_replaced(&mut self) {
        self.sessions.mailbox.clear();
        if let Some(backplane) = self.sessions.backplane.as_deref_mut() {
            backplane.be_replaced();
        }
    }
}

/// The record in a file.
fn checked(bytes: &[u8]) -> Result<&[u8], String> {
    let (version, _) = MAGIC.split_at(MAGIC.len() - VERSION_LEN);
    if !bytes.starts_with(version) {
        return Err("it was not written by websock".to_owned());
    }
    if !bytes.starts_with(MAGIC) {
        return Err("another version of websock has written it".to_owned());
    }
    let split = bytes.len().checked_sub(SUM_LEN);
    let (before, sum) = split
        .and_then(|at| bytes.split_at_checked(at))
        .ok_or("it is cut off")?;
    let record = before.get(MAGIC.len()..).ok_or("it is cut off")?;
    match digest(&SHA256, before).as_ref() == sum {
        true => Ok(record),
        false => Err("it is cut off or was changed".to_owned()),
    }
}

/// The last bytes say which version it is.
const MAGIC: &[u8] = b"websock replay 1\n";
const VERSION_LEN: usize = 2;
const SUM_LEN: usize = 32;

const SAVED_AT: u8 = 1;
const MAILBOX: u8 = 2;
/// There only if not all that other servers have said was heard.
const DEAF_FOR: u8 = 128;
/// Since when others are heard about a user who may come back.
const HEARD_USER: u8 = 129;
/// How far this one was, which its successor tells others.
const PAST: u8 = 130;
