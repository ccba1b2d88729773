//! PHP's session as the source: asking the store, and what the session says (protocol.md 8.1 to 8.3).

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use log::warn;

use super::fingerprint::Fingerprint;
use super::inquiries::{Purpose, Step};
use super::settings::{IdleSession, SessionSettings, SessionStore};
use super::sign_in::SignIn;
use super::verdict::{Standing, Verdict};
use super::visitor::Source;
use crate::app::calls::CallId;
use crate::app::commands::Commands;
use crate::base::MonotonicTime;
use crate::protocol::php_session::{
    DEFAULT_MAX_SESSION_BYTES, Session, SessionError, SessionFile, SessionId, SessionOutcome,
    StoredSession, Unreadable, Value as PhpValue,
};
use crate::registry::UserId;
use crate::upstream::redis::{Request, Value};
use crate::upstream::{Answer, Call};

impl SignIn {
    /// Asks the store for the session.
    pub(super) fn ask_session(
        &mut self,
        print: Fingerprint,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let Some(inquiry) = self.inquiries.get_mut(&print) else {
            return;
        };
        let (Some(store), Some(id)) = (&self.settings.sessions.store, &inquiry.question.session)
        else {
            return self.conclude_nobody(print, now);
        };
        if let Step::Session { attempts, .. } = &mut inquiry.step {
            *attempts += 1;
        }
        let id = id.clone();
        match store {
            SessionStore::Folder(folder) => {
                let file = SessionFile {
                    folder: Arc::clone(folder),
                    id,
                    max_bytes: DEFAULT_MAX_SESSION_BYTES,
                };
                let call = self.inquiries.begin_call(print);
                commands.read_session(call, file);
            }
            SessionStore::Redis(redis) => {
                let Some(upstream) = self.redis else {
                    return self.conclude(print, Verdict::Unknown(None), SESSION, now);
                };
                let call = Call {
                    id: self.inquiries.begin_call(print),
                    request: redis_question(&redis.prefix, &id).into(),
                    deadline: now + REDIS_TIMEOUT,
                    max_body_bytes: DEFAULT_MAX_SESSION_BYTES + REDIS_SYNTAX_BYTES,
                };
                commands.call(upstream, call);
            }
        }
        self.inquiries
            .set_deadline(print, Some(now + STORE_TIMEOUT));
    }

    /// Redis has answered.
    pub(super) fn handle_redis(
        &mut self,
        answer: Answer,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let Some(print) = self.inquiries.end_call(answer.call) else {
            return;
        };
        self.inquiries.set_deadline(print, None);
        let values = match answer.into_redis() {
            Ok(values) => values,
            Err(error) => return self.handle_no_answer(print, &error, now),
        };
        match values.as_slice() {
            [
                Value::Integer(0),
                Value::Bytes(session),
                Value::Integer(left),
            ] => {
                let left = u64::try_from(*left).ok().map(Duration::from_millis);
                let ends = left.map(|left| now + left);
                self.judge_content(print, session, ends, now);
            }
            // A script is at it, or has not ended that begins it.
            [
                Value::Integer(lock),
                session @ (Value::Bytes(_) | Value::Nil),
                Value::Integer(_),
            ] => match (self.next_attempt(print, now), session) {
                (Some(at), _) => self.inquiries.set_deadline(print, Some(at)),
                (None, Value::Bytes(session)) => {
                    self.judge_content(print, session, None, now);
                }
                (None, _) if *lock == 0 => self.handle_no_session(print, now, commands),
                (None, _) => self.judge_locked(print, &[], now),
            },
            values => {
                let mut errors = values.iter().filter_map(|value| match value {
                    Value::Error(kind) => Some(kind.to_string()),
                    _ => None,
                });
                let error = errors.next();
                let error = error.unwrap_or_else(|| "the answer is none to GET".to_owned());
                self.handle_no_answer(print, &error, now);
            }
        }
    }

    fn handle_no_answer(&mut self, print: Fingerprint, error: &dyn Display, now: MonotonicTime) {
        if let Some(count) = self.unanswered.count(now) {
            warn!("sessions: {count} questions to Redis without an answer: {error}");
        }
        self.conclude(print, Verdict::Unknown(None), SESSION, now);
    }

    /// The store has answered.
    pub(crate) fn handle_session(
        &mut self,
        call: CallId,
        outcome: SessionOutcome,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let Some(print) = self.inquiries.end_call(call) else {
            return;
        };
        self.inquiries.set_deadline(print, None);
        match outcome {
            SessionOutcome::Found(session) => self.judge_session(print, &session, now, commands),
            SessionOutcome::Locked(session) => match self.next_attempt(print, now) {
                Some(at) => self.inquiries.set_deadline(print, Some(at)),
                None => self.judge_locked(print, &session.bytes, now),
            },
            SessionOutcome::Missing => self.handle_no_session(print, now, commands),
            SessionOutcome::Unreadable(why) => self.handle_unreadable(print, why, now),
        }
    }

    /// When a locked session is asked for again; `None`: it has been waited for long enough.
    fn next_attempt(&mut self, print: Fingerprint, now: MonotonicTime) -> Option<MonotonicTime> {
        let Step::Session { began, attempts } = self.inquiries.get_mut(&print)?.step else {
            return None;
        };
        let pause = FIRST_PAUSE
            .saturating_mul(1 << attempts.min(5))
            .min(LONGEST_PAUSE);
        let end = began + self.settings.sessions.wait;
        (now < end).then(|| (now + pause).min(end))
    }

    /// A script has had the session locked for as long as is waited: what can be read counts. What
    /// is empty may be about to be written, which is no reason to send anybody away who is here.
    fn judge_locked(&mut self, print: Fingerprint, session: &[u8], now: MonotonicTime) {
        let inquiry = self.inquiries.get_mut(&print);
        let is_recheck = inquiry.is_some_and(|inquiry| inquiry.purpose == Purpose::Recheck);
        if session.is_empty() && is_recheck {
            return self.conclude(print, Verdict::Unknown(None), SESSION, now);
        }
        self.judge_content(print, session, None, now);
    }

    fn judge_session(
        &mut self,
        print: Fingerprint,
        session: &StoredSession,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        match self.settings.sessions.max_age.checked_sub(session.age) {
            Some(left) => self.judge_content(print, &session.bytes, Some(now + left), now),
            None => self.handle_no_session(print, now, commands),
        }
    }

    /// `ends`: when PHP may collect the session as garbage, at the earliest.
    fn judge_content(
        &mut self,
        print: Fingerprint,
        session: &[u8],
        ends: Option<MonotonicTime>,
        now: MonotonicTime,
    ) {
        let verdict = judge(session, &self.settings.sessions, self.settings.require);
        if let Err(error) = &verdict
            && let Some(count) = self.unreadable.count(now)
        {
            warn!("{count} sessions could not be understood: {error}");
        }
        let verdict = verdict.unwrap_or(Verdict::Unknown(None));
        self.conclude(print, verdict, (Source::Session, ends), now);
    }

    /// There is no session of that id, or it is too old to count.
    fn handle_no_session(
        &mut self,
        print: Fingerprint,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        if let Some(visitor) = self.visitors.get(&print)
            && visitor.source == Source::Session
        {
            let is_swept = visitor.session_ends.is_some_and(|ends| ends <= now);
            match (is_swept, self.settings.idle) {
                (true, IdleSession::Keep) => self.set_next_check(print, now),
                (true, IdleSession::Close) | (false, _) => self.sign_out(print, now),
            }
        }
        let has_url = self.url.is_some();
        let visitor = self.visitors.get(&print);
        let is_of_url = visitor.is_some_and(|visitor| visitor.source == Source::Url);
        match self.inquiries.get_mut(&print) {
            Some(inquiry) if has_url && (is_of_url || !inquiry.waiters.is_empty()) => {
                // Those whom the URL let in are still to be asked about, and anew.
                if !is_of_url {
                    inquiry.purpose = Purpose::Newcomers;
                }
                self.queue_for_url(print, now, commands);
            }
            Some(_) | None => self.conclude_nobody(print, now),
        }
    }

    fn handle_unreadable(&mut self, print: Fingerprint, why: Unreadable, now: MonotonicTime) {
        if let Some(count) = self.unreadable.count(now) {
            warn!("{count} sessions could not be read: {why}");
        }
        self.conclude(print, Verdict::Unknown(None), SESSION, now);
    }
}

/// What a session says (protocol.md 8.1).
///
/// # Errors
/// It is not known what it says.
pub(super) fn judge(
    bytes: &[u8],
    settings: &SessionSettings,
    require: bool,
) -> Result<Verdict, SessionError> {
    let session = Session::parse(bytes)?;
    let SessionSettings { key, user_key, .. } = settings;
    let find = |path: &str| match path {
        "" => Ok(None),
        path => session.find(path),
    };
    let is_let_in = find(key)?.is_some_and(PhpValue::is_true);
    if !key.is_empty() && !is_let_in {
        return Ok(nobody(require));
    }
    let user = find(user_key)?.and_then(user_of);
    Ok(match user {
        Some(user) => Verdict::user(user),
        // `key` alone says yes or no, never who.
        None if user_key.is_empty() && is_let_in => Verdict::yes(Standing::SignedIn(None)),
        None if is_let_in && !require => Verdict::yes(Standing::SignedIn(None)),
        None => nobody(require),
    })
}

/// The session is there, and nobody has signed in by it.
fn nobody(require: bool) -> Verdict {
    match require {
        true => Verdict::No,
        false => Verdict::yes(Standing::Anonymous),
    }
}

/// A text or an integer names a user, whatever else is there does not.
fn user_of(value: PhpValue<'_>) -> Option<UserId> {
    match value {
        PhpValue::String(bytes) => UserId::new(str::from_utf8(bytes).ok()?),
        PhpValue::Integer(number) => UserId::new(&number.to_string()),
        _ => None,
    }
}

/// What is asked about a session in Redis. The lock comes first: a script that ends between the two
/// has written its session before it gives the lock back.
fn redis_question(prefix: &str, id: &SessionId) -> Request {
    let key = format!("{prefix}{}", id.as_str());
    Request::new("EXISTS", &[format!("{key}_LOCK").as_bytes()])
        .then("GET", &[key.as_bytes()])
        .then("PTTL", &[key.as_bytes()])
}

/// The session as a source that says nothing of its end.
const SESSION: (Source, Option<MonotonicTime>) = (Source::Session, None);

/// How long Redis may take to answer.
const REDIS_TIMEOUT: Duration = Duration::from_secs(2);

/// Of the answer to a question, beyond the session: three numbers and the ends of lines.
const REDIS_SYNTAX_BYTES: usize = 256;

/// How long a store may take to answer.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two looks at a locked session, at first and in the end: scripts are mostly short.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
