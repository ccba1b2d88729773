//! Questions under way: at most one about each visitor, however many wait for its answer.
//!
//! A question is put to PHP's session first, if there is one, and then to the URL. Each step has a
//! deadline: a session is asked again while a script has it locked, and given up when the store does
//! not answer; the URL is asked a few at a time, newcomers first.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use super::fingerprint::Fingerprint;
use super::visitor::Question;
use crate::app::calls::CallId;
use crate::base::MonotonicTime;
use crate::connection::ConnId;

/// All questions under way.
#[derive(Debug)]
pub(super) struct Inquiries {
    pub(super) open: HashMap<Fingerprint, Inquiry>,
    calls: HashMap<CallId, Fingerprint>,
    call_count: u64,
    /// When something has to happen to them.
    deadlines: BTreeSet<(MonotonicTime, Fingerprint)>,
    /// Those that the URL is to be asked about: newcomers, and those who are here already.
    pub(super) newcomers: VecDeque<Fingerprint>,
    pub(super) rechecks: VecDeque<Fingerprint>,
    /// Questions that were chosen to be asked.
    turn: u32,
    /// Questions that the URL has not answered.
    pub(super) asked_count: usize,
    max_asked: usize,
    /// The URL has asked to be left alone until then.
    pub(super) quiet_until: Option<MonotonicTime>,
}

/// A question under way.
#[derive(Debug)]
pub(super) struct Inquiry {
    pub(super) question: Rc<Question>,
    /// A logout since then makes a yes worth nothing.
    pub(super) began: MonotonicTime,
    pub(super) step: Step,
    /// Newcomers who wait for the answer.
    pub(super) waiters: Vec<ConnId>,
    /// Whether it is asked for those who are here already, too.
    pub(super) purpose: Purpose,
    /// The call that is answered next.
    pub(super) call: Option<CallId>,
    pub(super) deadline: Option<MonotonicTime>,
}

/// Whom a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Newcomers only.
    Newcomers,
    /// Those who are here already, and perhaps newcomers, too.
    Recheck,
}

/// Who is being asked.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A logout has overtaken the answer: it is asked anew.
    Anew,
    /// The session, since this time, for so many times.
    Session { began: MonotonicTime, attempts: u32 },
    /// The URL is to be asked when it is its turn.
    UrlQueued,
    /// The URL.
    Url,
}

impl Inquiries {
    pub(super) fn new(max_asked: usize) -> Self {
        Self {
            open: HashMap::new(),
            calls: HashMap::new(),
            call_count: 0,
            deadlines: BTreeSet::new(),
            newcomers: VecDeque::new(),
            rechecks: VecDeque::new(),
            turn: 0,
            asked_count: 0,
            max_asked,
            quiet_until: None,
        }
    }

    pub(super) fn get_mut(&mut self, print: &Fingerprint) -> Option<&mut Inquiry> {
        self.open.get_mut(print)
    }

    /// A name for a call about this visitor.
    pub(super) fn begin_call(&mut self, print: Fingerprint) -> CallId {
        self.call_count += 1;
        let call = CallId(self.call_count);
        self.calls.insert(call, print);
        if let Some(inquiry) = self.open.get_mut(&print) {
            inquiry.call = Some(call);
        }
        call
    }

    /// Whom an answer is about; `None` if nobody waits for it any more.
    pub(super) fn end_call(&mut self, call: CallId) -> Option<Fingerprint> {
        let print = self.calls.remove(&call)?;
        let inquiry = self.open.get_mut(&print)?;
        if inquiry.call != Some(call) {
            return None;
        }
        inquiry.call = None;
        Some(print)
    }

    pub(super) fn set_deadline(&mut self, print: Fingerprint, at: Option<MonotonicTime>) {
        let Some(inquiry) = self.open.get_mut(&print) else {
            return;
        };
        if let Some(before) = std::mem::replace(&mut inquiry.deadline, at) {
            self.deadlines.remove(&(before, print));
        }
        if let Some(at) = at {
            self.deadlines.insert((at, print));
        }
    }

    /// Takes a question out, which has been answered or is asked no more.
    pub(super) fn close(&mut self, print: Fingerprint) -> Option<Inquiry> {
        self.set_deadline(print, None);
        let inquiry = self.open.remove(&print)?;
        // An answer of the URL is still counted when it comes.
        if let (Some(call), Step::Session { .. }) = (inquiry.call, &inquiry.step) {
            self.calls.remove(&call);
        }
        Some(inquiry)
    }

    /// Has a question asked anew that was closed, by whoever sees to what is due.
    pub(super) fn ask_anew(&mut self, print: Fingerprint, inquiry: Inquiry, now: MonotonicTime) {
        let inquiry = Inquiry {
            began: now,
            step: Step::Anew,
            call: None,
            ..inquiry
        };
        self.open.insert(print, inquiry);
        self.set_deadline(print, Some(now));
    }

    /// A newcomer waits no longer. A question that nobody waits for is not asked.
    pub(super) fn remove_waiter(&mut self, print: Fingerprint, id: ConnId) {
        let Some(inquiry) = self.open.get_mut(&print) else {
            return;
        };
        inquiry.waiters.retain(|waiter| *waiter != id);
        let is_idle = !matches!(inquiry.step, Step::Url);
        if inquiry.waiters.is_empty() && inquiry.purpose == Purpose::Newcomers && is_idle {
            self.close(print);
        }
    }

    /// The next one to ask the URL about, if it may be asked.
    pub(super) fn next_for_url(&mut self) -> Option<Fingerprint> {
        while self.asked_count < self.max_asked {
            // However many come, those who are here have their turn.
            self.turn = self.turn.wrapping_add(1);
            let recheck = match self.turn % NEWCOMERS_PER_RECHECK {
                0 => self.rechecks.pop_front(),
                _ => None,
            };
            let next = recheck.or_else(|| self.newcomers.pop_front());
            let print = next.or_else(|| self.rechecks.pop_front())?;
            let inquiry = self.open.get(&print);
            if inquiry.is_some_and(|inquiry| matches!(inquiry.step, Step::UrlQueued)) {
                return Some(print);
            }
        }
        None
    }

    pub(super) fn next_deadline(&self) -> Option<MonotonicTime> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(super) fn next_due(&mut self, now: MonotonicTime) -> Option<Fingerprint> {
        let &(at, print) = self.deadlines.first()?;
        if at > now {
            return None;
        }
        self.set_deadline(print, None);
        Some(print)
    }
}

/// Of so many questions, one is for those who are here already, if there are any.
const NEWCOMERS_PER_RECHECK: u32 = 5;
