//! Visitors: what is asked about them, and what was answered.
//!
//! All tabs of one browser that come with the same cookies are one visitor: they share one question,
//! one answer, and one memory of what was asked.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::fingerprint::Fingerprint;
use super::verdict::{Standing, Verdict};
use crate::base::MonotonicTime;
use crate::connection::ConnId;
use crate::protocol::php_session::SessionId;

/// A header of a question: name and value.
pub(super) type Header = (Box<str>, Box<[u8]>);

/// What is asked about a visitor.
#[derive(Clone)]
pub(super) struct Question {
    /// The session that the cookie names, if sessions are looked at.
    pub(super) session: Option<SessionId>,
    /// What the URL is asked with, if one is.
    pub(super) headers: Box<[Header]>,
}

impl Question {
    /// Who is asked first.
    pub(super) fn first_source(&self) -> Source {
        match self.session {
            Some(_) => Source::Session,
            None => Source::Url,
        }
    }

    /// What the answer depends on: the session, what the URL is asked with, and, where there are no
    /// cookies to tell visitors apart, where they are.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut parts: Vec<&[u8]> = vec![match &self.session {
            Some(id) => id.as_str().as_bytes(),
            None => b"",
        }];
        let is_cookie = |(name, value): &Header| {
            &**name == "Cookie" && !value.iter().all(|byte| b" ;\t".contains(byte))
        };
        let has_cookies = self.headers.iter().any(is_cookie);
        for (name, value) in &self.headers {
            let counts =
                !DESCRIPTIVE.contains(&&**name) && (&**name != "X-Forwarded-For" || !has_cookies);
            if counts {
                parts.push(name.as_bytes());
                parts.push(value);
            }
        }
        Fingerprint::of(&parts)
    }

    /// Bytes of memory that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| size_of::<Header>() + name.len() + value.len());
        size_of::<Self>() + headers.sum::<usize>()
    }
}

/// It holds what signs the visitor in.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

/// Headers that two requests of one visitor may differ in.
const DESCRIPTIVE: [&str; 4] = ["Accept", "User-Agent", "Accept-Language", "X-Original-URI"];

/// Who has answered, and so is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Session,
    Url,
}

/// A visitor with open tabs who has signed in.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) question: Rc<Question>,
    pub(super) source: Source,
    pub(super) standing: Standing,
    pub(super) tabs: Vec<ConnId>,
    /// When it is asked again.
    pub(super) next_check: Option<MonotonicTime>,
    /// When PHP may collect the session as garbage, at the earliest.
    pub(super) session_ends: Option<MonotonicTime>,
    /// When its tabs were last given tickets.
    pub(super) ticket_issued: MonotonicTime,
    /// When the source last said yes, since 1970.
    pub(super) answered: Duration,
}

/// All visitors who have signed in, by fingerprint.
#[derive(Debug, Default)]
pub(super) struct Visitors {
    visitors: HashMap<Fingerprint, Visitor>,
    checks: BTreeSet<(MonotonicTime, Fingerprint)>,
}

impl Visitors {
    pub(super) fn get(&self, print: &Fingerprint) -> Option<&Visitor> {
        self.visitors.get(print)
    }

    pub(super) fn get_mut(&mut self, print: &Fingerprint) -> Option<&mut Visitor> {
        self.visitors.get_mut(print)
    }

    /// All of them.
    pub(super) fn prints(&self) -> Vec<Fingerprint> {
        self.visitors.keys().copied().collect()
    }

    pub(super) fn insert(&mut self, print: Fingerprint, visitor: Visitor) {
        if let Some(at) = visitor.next_check {
            self.checks.insert((at, print));
        }
        self.visitors.insert(print, visitor);
    }

    /// Has it asked again at that time, or never.
    pub(super) fn set_check(&mut self, print: Fingerprint, at: Option<MonotonicTime>) {
        let Some(visitor) = self.visitors.get_mut(&print) else {
            return;
        };
        if let Some(before) = std::mem::replace(&mut visitor.next_check, at) {
            self.checks.remove(&(before, print));
        }
        if let Some(at) = at {
            self.checks.insert((at, print));
        }
    }

    /// A tab has gone; who has none left is forgotten.
    pub(super) fn remove_tab(&mut self, print: Fingerprint, id: ConnId) {
        let Some(visitor) = self.visitors.get_mut(&print) else {
            return;
        };
        visitor.tabs.retain(|tab| *tab != id);
        if visitor.tabs.is_empty() {
            self.remove(print);
        }
    }

    /// Forgets a visitor.
    pub(super) fn remove(&mut self, print: Fingerprint) -> Option<Visitor> {
        let visitor = self.visitors.remove(&print)?;
        if let Some(at) = visitor.next_check {
            self.checks.remove(&(at, print));
        }
        Some(visitor)
    }

    /// The next one who is to be asked about at `now`; its check is taken off the list.
    pub(super) fn next_due(&mut self, now: MonotonicTime) -> Option<Fingerprint> {
        let &(at, print) = self.checks.first()?;
        if at > now {
            return None;
        }
        self.set_check(print, None);
        Some(print)
    }

    pub(super) fn next_check(&self) -> Option<MonotonicTime> {
        self.checks.first().map(|(at, _)| *at)
    }
}

/// Answers of the URL that hold for a while.
#[derive(Debug, Default)]
pub(super) struct KeptAnswers {
    answers: HashMap<Fingerprint, KeptAnswer>,
    ends: BTreeSet<(MonotonicTime, Fingerprint)>,
}

#[derive(Debug)]
struct KeptAnswer {
    verdict: Verdict,
    /// When it was given, since 1970 and by the other clock.
    answered: (Duration, MonotonicTime),
    until: MonotonicTime,
    session: Option<SessionId>,
}

impl KeptAnswers {
    /// Keeps an answer. The one that would end first goes if there are too many.
    pub(super) fn keep(
        &mut self,
        print: Fingerprint,
        verdict: Verdict,
        session: Option<SessionId>,
        answered: (Duration, MonotonicTime),
        until: MonotonicTime,
    ) {
        self.forget(&print);
        if self.answers.len() >= MAX_KEPT
            && let Some(&(_, first)) = self.ends.first()
        {
            self.forget(&first);
        }
        self.ends.insert((until, print));
        let answer = KeptAnswer {
            verdict,
            answered,
            until,
            session,
        };
        self.answers.insert(print, answer);
    }

    /// What was answered, and when, if that still holds. It ends no later for being used.
    pub(super) fn get(
        &self,
        print: &Fingerprint,
        now: MonotonicTime,
    ) -> Option<(Verdict, Duration)> {
        let kept = self.answers.get(print).filter(|kept| kept.until > now)?;
        let (since_1970, at) = kept.answered;
        let mut verdict = kept.verdict.clone();
        if let Verdict::Yes(grant) = &mut verdict {
            let left = grant.expires_in.map(|time| time.saturating_sub(now - at));
            grant.expires_in = left;
        }
        Some((verdict, since_1970))
    }

    /// Drops what was answered about a user or a session that was logged out.
    pub(super) fn drop_logged_out(&mut self, user: &str, is_it: impl Fn(&SessionId) -> bool) {
        let gone = |kept: &KeptAnswer| {
            let is_user = match &kept.verdict {
                Verdict::Yes(grant) => match &grant.standing {
                    Standing::SignedIn(Some(known)) => known.as_str() == user,
                    Standing::SignedIn(None) | Standing::Anonymous => false,
                },
                Verdict::No | Verdict::Unknown(_) => false,
            };
            is_user || kept.session.as_ref().is_some_and(&is_it)
        };
        let prints: Vec<_> = self
            .answers
            .iter()
            .filter(|(_, kept)| gone(kept))
            .map(|(print, _)| *print)
            .collect();
        for print in prints {
            self.forget(&print);
        }
    }

    /// Drops what no longer holds.
    pub(super) fn drop_ended(&mut self, now: MonotonicTime) {
        while let Some(&(until, print)) = self.ends.first()
            && until <= now
        {
            self.forget(&print);
        }
    }

    pub(super) fn next_end(&self) -> Option<MonotonicTime> {
        self.ends.first().map(|(until, _)| *until)
    }

    fn forget(&mut self, print: &Fingerprint) {
        if let Some(kept) = self.answers.remove(print) {
            self.ends.remove(&(kept.until, *print));
        }
    }
}

/// Most answers that are kept: each is some hundred bytes.
const MAX_KEPT: usize = 10_000;
