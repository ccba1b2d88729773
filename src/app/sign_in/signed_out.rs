//! [`SignedOut`]: whose tickets are worth nothing.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::fingerprint::Fingerprint;
use super::ticket;
use super::verdict::Standing;
use super::visitor::Question;
use crate::base::{BadRecord, MonotonicTime, Record, RecordWriter};
use crate::registry::SessionDigest;

/// Who was signed out within the lifetime of a ticket.
#[derive(Debug, Default)]
pub(super) struct SignedOut {
    last: HashMap<Fingerprint, MonotonicTime>,
    ends: BTreeSet<(MonotonicTime, Fingerprint)>,
}

impl SignedOut {
    pub(super) fn note_user(&mut self, user: &str, now: MonotonicTime) {
        if !user.is_empty() {
            self.note(of_user(user), now);
        }
    }

    pub(super) fn note_session(&mut self, session: Option<SessionDigest>, now: MonotonicTime) {
        if let Some(session) = session {
            self.note(of_session(session), now);
        }
    }

    pub(super) fn note(&mut self, print: Fingerprint, now: MonotonicTime) {
        if let Some(before) = self.last.insert(print, now) {
            self.ends.remove(&(before + ticket::LIFETIME, print));
        }
        self.ends.insert((now + ticket::LIFETIME, print));
    }

    /// All of them, for [`take_over`](Self::take_over).
    pub(super) fn hand_over(&self, now: MonotonicTime) -> Vec<u8> {
        let mut record = RecordWriter::default();
        for (print, at) in &self.last {
            let mut one = RecordWriter::default();
            one.put(PRINT, print.as_bytes());
            one.put_duration(AGO, now - *at);
            record.put(SIGNED_OUT, &one.into_bytes());
        }
        record.into_bytes()
    }

    /// Adds those of another process.
    ///
    /// # Errors
    /// A record that is not understood.
    pub(super) fn take_over(
        &mut self,
        mut record: Record<'_>,
        now: MonotonicTime,
    ) -> Result<(), BadRecord> {
        for bytes in record.take_all(SIGNED_OUT) {
            let mut one = Record::parse(bytes)?;
            let print = Fingerprint::from_bytes(one.bytes(PRINT)?);
            let at = now - one.duration(AGO)?;
            one.end()?;
            self.note(print.ok_or(BadRecord::Value(PRINT))?, at);
        }
        record.end()
    }

    /// Whether this was noted less than `age` ago.
    pub(super) fn has(&self, print: &Fingerprint, age: Duration, now: MonotonicTime) -> bool {
        // Tickets tell their age in whole seconds.
        let issued = now - age - Duration::from_secs(1);
        self.last.get(print).is_some_and(|at| *at >= issued)
    }

    /// Whether this was noted at or after a time.
    pub(super) fn has_since(&self, print: &Fingerprint, since: MonotonicTime) -> bool {
        self.last.get(print).is_some_and(|at| *at >= since)
    }

    pub(super) fn drop_ended(&mut self, now: MonotonicTime) {
        while let Some(&(at, print)) = self.ends.first()
            && at <= now
        {
            self.ends.remove(&(at, print));
            self.last.remove(&print);
        }
    }
}

const SIGNED_OUT: u8 = 1;

/// Of one of them.
const PRINT: u8 = 1;
const AGO: u8 = 2;

/// Under which a sign-out of this visitor is noted: itself, its session, its user.
pub(super) fn names_of(
    print: Fingerprint,
    question: &Question,
    standing: &Standing,
) -> impl Iterator<Item = Fingerprint> + use<> {
    let session = question.session.as_ref();
    let session = session.map(|id| of_session(SessionDigest::of(id.as_str())));
    let user = match standing {
        Standing::SignedIn(Some(user)) => Some(of_user(user.as_str())),
        Standing::SignedIn(None) | Standing::Anonymous => None,
    };
    [Some(print), session, user].into_iter().flatten()
}

pub(super) fn of_user(user: &str) -> Fingerprint {
    Fingerprint::of(&[b"user", user.as_bytes()])
}

fn of_session(session: SessionDigest) -> Fingerprint {
    Fingerprint::of(&[b"session", session.as_bytes()])
}
