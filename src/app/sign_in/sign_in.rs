//! [`SignIn`]: its parts, its door, and who comes and goes.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::decision::{Decision, Judged};
use super::entry::{Answer, Basis, Entry};
use super::fingerprint::Fingerprint;
use super::inquiries::Inquiries;
use super::settings::{SessionStore, SignInSettings};
use super::signed_out::SignedOut;
use super::tab::Tab;
use super::ticket::TicketKey;
use super::verdict::{Grant, Standing};
use super::visit::Visit;
use super::visitor::{KeptAnswers, Question, Visitor, Visitors};
use super::{token, url};
use crate::app::commands::Commands;
use crate::base::{LogLimiter, MonotonicTime, random};
use crate::connection::ConnId;
use crate::protocol::php_session::SessionId;
use crate::registry::{Logout, SessionDigest};
use crate::upstream::{self, Target, UpstreamId};

/// Finds out who somebody is.
pub(crate) struct SignIn {
    pub(super) settings: SignInSettings,
    pub(super) ticket_key: TicketKey,
    pub(super) wall_clock: fn() -> Duration,
    /// Who answers `authUrl`, and where sessions are if that is Redis.
    pub(super) url: Option<UpstreamId>,
    pub(super) redis: Option<UpstreamId>,
    pub(super) inquiries: Inquiries,
    pub(super) kept: KeptAnswers,
    pub(super) visitors: Visitors,
    /// Open connections of those who have signed in.
    pub(super) tabs: HashMap<ConnId, Tab>,
    /// When tokens of open connections end.
    pub(super) token_ends: BTreeSet<(MonotonicTime, ConnId)>,
    /// Who was sent away lately, whose tickets are worth nothing.
    pub(super) signed_out: SignedOut,
    pub(super) decisions: VecDeque<Decision>,
    pub(super) unreadable: LogLimiter,
    pub(super) unanswered: LogLimiter,
}

impl SignIn {
    /// Nobody has come yet. `wall_clock` is asked for the time of day,
    /// since 1970, by tokens and tickets.
    pub(crate) fn new(settings: SignInSettings, wall_clock: fn() -> Duration) -> Self {
        let mut secret = [0; 32];
        random::fill(&mut secret);
        Self {
            inquiries: Inquiries::new(settings.url.concurrency),
            settings,
            ticket_key: TicketKey::new(&secret),
            wall_clock,
            url: None,
            redis: None,
            kept: KeptAnswers::default(),
            visitors: Visitors::default(),
            tabs: HashMap::new(),
            token_ends: BTreeSet::new(),
            signed_out: SignedOut::default(),
            decisions: VecDeque::new(),
            unreadable: LogLimiter::default(),
            unanswered: LogLimiter::default(),
        }
    }

    /// Whether anybody is asked, or nobody let in without that.
    pub(crate) fn is_on(&self) -> bool {
        self.settings.is_on()
    }

    /// Adds the other servers that are asked. `add` says by which name.
    pub(crate) fn add_upstreams(
        &mut self,
        mut add: impl FnMut(Target, upstream::Settings) -> UpstreamId,
    ) {
        if let Some(target) = &self.settings.url.target {
            let settings = upstream::Settings {
                concurrency: self.settings.url.concurrency,
                ..upstream::Settings::default()
            };
            self.url = Some(add(target.clone(), settings));
        }
        if let Some(SessionStore::Redis(redis)) = &self.settings.sessions.store {
            let settings = upstream::Settings::redis();
            self.redis = Some(add(redis.target.clone(), settings));
        }
    }

    /// Tickets are signed with this key from now on.
    pub(crate) fn set_ticket_key(&mut self, key: TicketKey) {
        self.ticket_key = key;
    }

    /// Whether cookies sign in, so that a page of a foreign origin must not use them
    /// (protocol.md 8.12).
    pub(crate) fn is_by_cookie(&self) -> bool {
        self.settings.has_source()
    }

    /// Whether a client that asks for it may send its token as its first message.
    pub(crate) fn takes_first_message(&self) -> bool {
        self.settings.token_key.is_some()
    }

    /// Judges a newcomer.
    pub(crate) fn judge(
        &mut self,
        id: ConnId,
        visit: &Visit<'_>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) -> Judged {
        if !self.settings.is_on() {
            return Judged::Now(Decision::Enter(id, Entry::anonymous()));
        }
        if self.settings.token_key.is_some()
            && let Some(token) = visit.cookie(token::TOKEN_COOKIE)
        {
            let token = str::from_utf8(token).unwrap_or_default();
            return Judged::Now(self.judge_token(id, token, now));
        }
        let question = self.question(visit);
        if question.session.is_none() && self.url.is_none() {
            return Judged::Now(self.judge_nobody(id));
        }
        let print = question.fingerprint();
        if let Some(entry) = self.judge_ticket(visit, print, &question, now) {
            return Judged::Now(Decision::Enter(id, entry));
        }
        self.ask(print, question, id, now, commands);
        // It may have been answered at once.
        let mut decisions = self.decisions.iter();
        let at = decisions.position(|made| made.newcomer() == Some(id));
        match at.and_then(|at| self.decisions.remove(at)) {
            Some(decision) => Judged::Now(decision),
            None => Judged::Later(print),
        }
    }

    /// Judges somebody by a token.
    pub(crate) fn judge_token(&mut self, id: ConnId, token: &str, now: MonotonicTime) -> Decision {
        let key = self.settings.token_key.as_ref();
        let grant = key.and_then(|key| key.check(token, (self.wall_clock)()));
        match grant {
            Some(Grant {
                standing,
                expires_in,
            }) => {
                let ends = now + expires_in.unwrap_or_default();
                let basis = Basis::Token(ends);
                Decision::Enter(id, Entry { standing, basis })
            }
            None => Decision::SendAway(id),
        }
    }

    /// Judges somebody about whom nothing can be asked.
    fn judge_nobody(&self, id: ConnId) -> Decision {
        match self.settings.require {
            true => Decision::SendAway(id),
            false => Decision::Enter(id, Entry::anonymous()),
        }
    }

    fn question(&self, visit: &Visit<'_>) -> Question {
        let sessions = &self.settings.sessions;
        let session = sessions.store.as_ref();
        let session = session.and_then(|_| visit.session(&sessions.cookie_name));
        let headers = self
            .url
            .map(|_| url::headers_of(visit, &self.settings.url.headers));
        Question {
            session,
            headers: headers.unwrap_or_default().into(),
        }
    }

    /// The next thing that has been decided.
    pub(crate) fn next_decision(&mut self) -> Option<Decision> {
        self.decisions.pop_front()
    }

    /// Somebody has come in.
    pub(crate) fn enter(&mut self, id: ConnId, entry: Entry, now: MonotonicTime) {
        match entry.basis {
            Basis::Nothing => {}
            Basis::Token(ends) => {
                self.tabs.insert(id, Tab::OfToken(ends));
                self.token_ends.insert((ends, id));
            }
            Basis::Answer(_) if entry.standing == Standing::Anonymous => {}
            Basis::Answer(answer) => {
                self.tabs.insert(id, Tab::OfVisitor(answer.print));
                self.add_tab(id, &answer, entry.standing, now);
            }
        }
    }

    fn add_tab(&mut self, id: ConnId, answer: &Answer, standing: Standing, now: MonotonicTime) {
        let visitor = self.visitors.get(&answer.print);
        if visitor.is_some_and(|visitor| !visitor.standing.may_become(&standing)) {
            // The same cookies sign in somebody else by now.
            self.sign_out(answer.print, now);
        }
        if let Some(visitor) = self.visitors.get_mut(&answer.print) {
            visitor.tabs.push(id);
            // From here on there is a name that can be lost, and the newest answer's source is asked.
            visitor.standing = standing;
            if answer.answered > visitor.answered {
                visitor.answered = answer.answered;
                // A session that is locked says nothing of its end.
                let is_same_source = visitor.source == answer.source;
                let known = visitor.session_ends.filter(|_| is_same_source);
                visitor.session_ends = answer.session_ends.or(known);
                visitor.source = answer.source;
            }
            return;
        }
        let visitor = Visitor {
            question: Rc::clone(&answer.question),
            source: answer.source,
            standing,
            tabs: vec![id],
            next_check: self.first_check(answer.expires, now),
            ticket_issued: now,
            answered: answer.answered,
            session_ends: answer.session_ends,
        };
        self.visitors.insert(answer.print, visitor);
    }

    /// Somebody has gone, or waits no longer.
    pub(crate) fn leave(&mut self, id: ConnId) {
        match self.tabs.remove(&id) {
            Some(Tab::OfVisitor(print)) => self.visitors.remove_tab(print, id),
            Some(Tab::OfToken(ends)) => {
                self.token_ends.remove(&(ends, id));
            }
            None => {}
        }
    }

    /// Somebody who waits to be judged has gone.
    pub(crate) fn forget(&mut self, id: ConnId, print: Fingerprint) {
        self.inquiries.remove_waiter(print, id);
    }

    /// A user or a session is logged out: whatever was kept of it counts no more. Its open
    /// connections are seen to by whoever calls this.
    pub(crate) fn log_out(&mut self, logout: &Logout<'_>, now: MonotonicTime) {
        let is_it = |id: &SessionId| logout.session == Some(SessionDigest::of(id.as_str()));
        self.kept.drop_logged_out(&logout.user, is_it);
        self.signed_out.note_user(&logout.user, now);
        self.signed_out.note_session(logout.session, now);
    }

    /// Bytes of memory that is held for one connection, beyond what each takes.
    pub(crate) fn held_bytes_of(&self, id: ConnId) -> usize {
        let Some(Tab::OfVisitor(print)) = self.tabs.get(&id) else {
            return 0;
        };
        let visitor = self.visitors.get(print);
        let first = visitor.filter(|visitor| visitor.tabs.first() == Some(&id));
        first.map_or(0, |visitor| visitor.question.held_bytes())
    }
}
