//! Those who have signed in: asked about again as long as they stay, sent away when they may no
//! longer be here, and given tickets to come back by (protocol.md 8.7).

use std::rc::Rc;
use std::time::Duration;

use super::decision::Decision;
use super::entry::{Answer, Basis, Entry};
use super::fingerprint::Fingerprint;
use super::sign_in::SignIn;
use super::signed_out::names_of;
use super::tab::Tab;
use super::ticket;
use super::verdict::Verdict;
use super::visit::Visit;
use super::visitor::{Question, Source};
use crate::app::commands::Commands;
use crate::base::{MonotonicTime, random};
use crate::connection::ConnId;

impl SignIn {
    // ---- asking again

    /// When somebody who has just come in is asked about: at a random time within `authRecheck`, so
    /// that those who come together are not asked about together ever after.
    pub(super) fn first_check(
        &self,
        expires: Option<MonotonicTime>,
        now: MonotonicTime,
    ) -> Option<MonotonicTime> {
        let interval = self.settings.recheck_interval;
        let check = (!interval.is_zero()).then(|| now + random_part_of(interval));
        check.into_iter().chain(expires).min()
    }

    /// Has a visitor asked about again after `authRecheck`.
    pub(super) fn set_next_check(&mut self, print: Fingerprint, now: MonotonicTime) {
        let interval = self.settings.recheck_interval;
        let at = (!interval.is_zero()).then(|| now + interval);
        self.visitors.set_check(print, at);
    }

    /// Asks about those whose time has come, and ends those whose token has ended.
    pub(super) fn recheck_due(&mut self, now: MonotonicTime, commands: &mut Commands) {
        while let Some(&(at, id)) = self.token_ends.first()
            && at <= now
        {
            self.token_ends.remove(&(at, id));
            self.tabs.remove(&id);
            self.decisions.push_back(Decision::SignOut(id));
        }
        while let Some(print) = self.visitors.next_due(now) {
            self.recheck(print, now, commands);
        }
    }

    /// What was answered is held against those who are here.
    pub(super) fn apply(
        &mut self,
        print: Fingerprint,
        verdict: &Verdict,
        (source, session_ends): (Source, Option<MonotonicTime>),
        now: MonotonicTime,
    ) {
        let Some(visitor) = self.visitors.get_mut(&print) else {
            return;
        };
        if visitor.source != source {
            return self.set_next_check(print, now);
        }
        match verdict {
            Verdict::Yes(grant) if visitor.standing.may_become(&grant.standing) => {
                visitor.session_ends = session_ends.or(visitor.session_ends);
                visitor.answered = (self.wall_clock)();
                if now - visitor.ticket_issued >= ticket::LIFETIME / 2 {
                    visitor.ticket_issued = now;
                    let tabs = visitor.tabs.iter().map(|&id| Decision::Renew(id));
                    self.decisions.extend(tabs);
                }
                self.set_next_check(print, now);
                if let Some(time) = grant.expires_in {
                    let check = self.visitors.get(&print).and_then(|v| v.next_check);
                    let first = check.into_iter().chain([now + time]).min();
                    self.visitors.set_check(print, first);
                }
            }
            Verdict::Yes(_) | Verdict::No => self.sign_out(print, now),
            Verdict::Unknown(_) => self.set_next_check(print, now),
        }
    }

    /// All open connections of this visitor end, and its tickets are worth nothing.
    pub(super) fn sign_out(&mut self, print: Fingerprint, now: MonotonicTime) {
        let Some(visitor) = self.visitors.remove(print) else {
            return;
        };
        self.signed_out.note(print, now);
        for id in visitor.tabs {
            self.tabs.remove(&id);
            self.decisions.push_back(Decision::SignOut(id));
        }
    }

    // ---- tickets

    /// A ticket for an open connection, which is good for a while after the source has said yes:
    /// whoever comes by one gets none that lasts longer before that. `None` if whoever comes by it
    /// would never be asked about.
    pub(crate) fn ticket_for(&self, id: ConnId) -> Option<String> {
        if self.settings.recheck_interval.is_zero() {
            return None;
        }
        let Tab::OfVisitor(print) = self.tabs.get(&id)? else {
            return None;
        };
        let visitor = self.visitors.get(print)?;
        self.ticket_key
            .issue(&visitor.standing, visitor.source, print, visitor.answered)
    }

    /// Somebody who comes back by a ticket is who it says, and asked about soon.
    pub(super) fn judge_ticket(
        &self,
        visit: &Visit<'_>,
        print: Fingerprint,
        question: &Question,
        now: MonotonicTime,
    ) -> Option<Entry> {
        if self.settings.recheck_interval.is_zero() {
            return None;
        }
        let text = visit.query_value("ticket")?;
        let wall_now = (self.wall_clock)();
        let ticket = self.ticket_key.open(text, &print, wall_now)?;
        // Another answer is known by now.
        let visitor = self.visitors.get(&print);
        if visitor.is_some_and(|visitor| visitor.standing != ticket.standing) {
            return None;
        }
        let mut names = names_of(print, question, &ticket.standing);
        if names.any(|name| self.signed_out.has(&name, ticket.age, now)) {
            return None;
        }
        let source = ticket.source;
        let can_be_asked = match source {
            Source::Session => question.session.is_some(),
            Source::Url => self.url.is_some(),
        };
        if !can_be_asked {
            return None;
        }
        let answer = Answer {
            print,
            question: Rc::new(question.clone()),
            source,
            answered: wall_now.saturating_sub(ticket.age),
            expires: None,
            session_ends: None,
        };
        Some(Entry {
            standing: ticket.standing,
            basis: Basis::Answer(Rc::new(answer)),
        })
    }
}

/// A random part of this time, at least a tenth of it.
pub(super) fn random_part_of(time: Duration) -> Duration {
    let mut bytes = [0; 4];
    random::fill(&mut bytes);
    let share = u32::from_be_bytes(bytes);
    time.mul_f64(0.1 + 0.9 * f64::from(share) / f64::from(u32::MAX))
}
