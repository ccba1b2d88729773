//! What is asked about an open connection goes with it to another process.

use std::rc::Rc;

use super::entry::{Answer, Basis, Entry};
use super::sign_in::SignIn;
use super::tab::Tab;
use super::verdict::Standing;
use super::visitor::{Header, Question, Source};
use crate::base::{BadRecord, MonotonicTime, Record, RecordWriter};
use crate::connection::ConnId;
use crate::protocol::php_session::SessionId;
use crate::registry::UserId;

impl SignIn {
    /// What has to be asked about a connection from time to time; `None`: nothing.
    pub(crate) fn hand_over(&self, id: ConnId, now: MonotonicTime) -> Option<Vec<u8>> {
        let mut record = RecordWriter::default();
        match self.tabs.get(&id)? {
            Tab::OfToken(ends) => record.put_duration(TOKEN_ENDS, *ends - now),
            Tab::OfVisitor(print) => {
                let visitor = self.visitors.get(print)?;
                record.put_number(SOURCE, visitor.source.number());
                if let Standing::SignedIn(Some(user)) = &visitor.standing {
                    record.put(USER, user.as_str().as_bytes());
                }
                if let Some(session) = &visitor.question.session {
                    record.put(SESSION, session.as_str().as_bytes());
                }
                for (name, value) in &visitor.question.headers {
                    record.put(HEADER_NAME, name.as_bytes());
                    record.put(HEADER_VALUE, value);
                }
                if let Some(ends) = visitor.session_ends {
                    record.put_duration(SESSION_ENDS, ends - now);
                }
            }
        }
        Some(record.into_bytes())
    }

    /// Whose tickets are worth nothing, for
    /// [`take_over_signed_out`](Self::take_over_signed_out).
    pub(crate) fn hand_over_signed_out(&self, now: MonotonicTime) -> Vec<u8> {
        self.signed_out.hand_over(now)
    }

    /// Adds those of another process.
    ///
    /// # Errors
    /// A record that is not understood.
    pub(crate) fn take_over_signed_out(
        &mut self,
        record: Record<'_>,
        now: MonotonicTime,
    ) -> Result<(), BadRecord> {
        self.signed_out.take_over(record, now)
    }

    /// Takes over what [`hand_over`](Self::hand_over) has written. It is asked about soon, by what
    /// is set here; where nothing is that could be asked, the connection stays as it is.
    ///
    /// # Errors
    /// A record that is not understood.
    pub(crate) fn take_over(
        &mut self,
        id: ConnId,
        mut record: Record<'_>,
        now: MonotonicTime,
    ) -> Result<(), BadRecord> {
        if let Some(left) = record.duration_if(TOKEN_ENDS)? {
            record.end()?;
            let entry = Entry {
                standing: Standing::SignedIn(None),
                basis: Basis::Token(now + left),
            };
            self.enter(id, entry, now);
            return Ok(());
        }
        let source = Source::of_number(record.number(SOURCE)?).ok_or(BadRecord::Value(SOURCE))?;
        let user = match record.text_if(USER)? {
            Some(text) => Some(UserId::new(text).ok_or(BadRecord::Value(USER))?),
            None => None,
        };
        let session = match record.take(SESSION) {
            Some(id) => Some(SessionId::parse(id).ok_or(BadRecord::Value(SESSION))?),
            None => None,
        };
        let names = record.take_all(HEADER_NAME);
        let values = record.take_all(HEADER_VALUE);
        if names.len() != values.len() {
            return Err(BadRecord::Missing(HEADER_VALUE));
        }
        let headers = names.iter().zip(values).map(|(name, value)| {
            let name = str::from_utf8(name).map_err(|_| BadRecord::Value(HEADER_NAME))?;
            Ok((name.into(), value.into()))
        });
        let headers = headers.collect::<Result<Vec<Header>, BadRecord>>()?;
        let session_ends = record.duration_if(SESSION_ENDS)?.map(|left| now + left);
        record.end()?;
        let can_be_asked = match source {
            Source::Session => self.settings.sessions.store.is_some() && session.is_some(),
            Source::Url => self.url.is_some(),
        };
        if can_be_asked {
            let question = Question {
                session,
                headers: headers.into(),
            };
            let answer = Answer {
                print: question.fingerprint(),
                question: Rc::new(question),
                source,
                answered: (self.wall_clock)(),
                expires: None,
                session_ends,
            };
            let entry = Entry {
                standing: Standing::SignedIn(user),
                basis: Basis::Answer(Rc::new(answer)),
            };
            self.enter(id, entry, now);
        }
        Ok(())
    }
}

impl Source {
    fn number(self) -> u64 {
        match self {
            Self::Session => 1,
            Self::Url => 2,
        }
    }

    fn of_number(number: u64) -> Option<Self> {
        [Self::Session, Self::Url]
            .into_iter()
            .find(|source| source.number() == number)
    }
}

const TOKEN_ENDS: u8 = 1;
const SOURCE: u8 = 2;
const USER: u8 = 3;
const SESSION: u8 = 4;
const HEADER_NAME: u8 = 5;
const HEADER_VALUE: u8 = 6;
const SESSION_ENDS: u8 = 7;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::signed_out::of_user;
    use super::*;
    use crate::app::sign_in::{SessionSettings, SessionStore, SignInSettings};
    use crate::protocol::php_session::SessionFolder;

    const ID: ConnId = ConnId {
        slot: 1,
        generation: 1,
    };

    fn sign_in() -> SignIn {
        let folder = SessionFolder::parse("/sessions").unwrap();
        let settings = SignInSettings {
            sessions: SessionSettings {
                store: Some(SessionStore::Folder(Arc::new(folder))),
                user_key: "user".to_owned(),
                ..SessionSettings::default()
            },
            ..SignInSettings::default()
        };
        SignIn::new(settings, || Duration::from_secs(1_000_000))
    }

    fn entry() -> Entry {
        let question = Question {
            session: SessionId::parse(b"abc"),
            headers: Box::default(),
        };
        let answer = Answer {
            print: question.fingerprint(),
            question: Rc::new(question),
            source: Source::Session,
            answered: Duration::from_secs(1_000_000),
            expires: None,
            session_ends: Some(MonotonicTime::START + Duration::from_secs(1000)),
        };
        Entry {
            standing: Standing::SignedIn(UserId::new("42")),
            basis: Basis::Answer(Rc::new(answer)),
        }
    }

    #[test]
    fn who_was_handed_over_is_asked_about_again_by_the_other_process() {
        let mut before = sign_in();
        let start = MonotonicTime::START;
        before.enter(ID, entry(), start);
        let record = before
            .hand_over(ID, start + Duration::from_secs(400))
            .unwrap();
        let mut after = sign_in();
        let now = start + Duration::from_secs(5);
        after
            .take_over(ID, Record::parse(&record).unwrap(), now)
            .unwrap();
        let recheck = after.next_deadline().unwrap();
        assert!(recheck > now && recheck <= now + Duration::from_secs(60));
        let ends = after.hand_over(ID, now).unwrap();
        let left = Record::parse(&ends)
            .unwrap()
            .duration(SESSION_ENDS)
            .unwrap();
        assert_eq!(left, Duration::from_secs(600));
        after.leave(ID);
        assert_eq!(after.next_deadline(), None);
        // Nobody can be asked there: it stays as it is.
        let mut without = SignIn::new(SignInSettings::default(), || Duration::ZERO);
        without
            .take_over(ID, Record::parse(&record).unwrap(), now)
            .unwrap();
        assert_eq!(without.next_deadline(), None);
    }

    #[test]
    fn a_token_ends_in_the_other_process_when_it_would_have_ended_here() {
        let mut before = sign_in();
        let start = MonotonicTime::START;
        let ends = start + Duration::from_secs(100);
        let entry = Entry {
            standing: Standing::SignedIn(UserId::new("42")),
            basis: Basis::Token(ends),
        };
        before.enter(ID, entry, start);
        let record = before
            .hand_over(ID, start + Duration::from_secs(30))
            .unwrap();
        let mut after = sign_in();
        after
            .take_over(ID, Record::parse(&record).unwrap(), start)
            .unwrap();
        assert_eq!(after.next_deadline(), Some(start + Duration::from_secs(70)));
    }

    #[test]
    fn a_record_that_is_not_whole_or_not_understood_is_refused() {
        let mut before = sign_in();
        before.enter(ID, entry(), MonotonicTime::START);
        let whole = before.hand_over(ID, MonotonicTime::START).unwrap();
        for tag in [SOURCE, SESSION] {
            let mut fields = RecordWriter::default();
            fields.put(tag, b"\xff/");
            let bytes = fields.into_bytes();
            let record = Record::parse(&bytes).unwrap();
            assert!(
                sign_in()
                    .take_over(ID, record, MonotonicTime::START)
                    .is_err()
            );
        }
        for cut in 0..whole.len() {
            let record = Record::parse(&whole[..cut]);
            assert!(record.is_err(), "{cut}");
        }
    }

    #[test]
    fn whose_tickets_are_worth_nothing_is_known_as_long_as_before() {
        let start = MonotonicTime::START + Duration::from_secs(1_000);
        let mut before = sign_in();
        before.signed_out.note_user("42", start);
        let later = start + Duration::from_secs(100);
        let bytes = before.hand_over_signed_out(later);
        let mut after = sign_in();
        let there = later + Duration::from_secs(5_000);
        let record = Record::parse(&bytes).unwrap();
        after.take_over_signed_out(record, there).unwrap();
        assert_eq!(after.hand_over_signed_out(there), bytes);
        let print = of_user("42");
        let has = |age| {
            after
                .signed_out
                .has(&print, Duration::from_secs(age), there)
        };
        assert!(has(150) && !has(50), "tickets since then are good");
        for cut in 0..bytes.len() {
            let record = Record::parse(&bytes[..cut]);
            let taken = record.and_then(|r| sign_in().take_over_signed_out(r, there));
            assert!(taken.is_err(), "cut at {cut}");
        }
    }
}
