//! How long what was said is kept, and in how much memory.

use super::log::{Owner, TabNumber};
use super::mailbox::{Mailbox, ReplayFigures, stream_of};
use crate::base::MonotonicTime;

impl Mailbox {
    /// Forgets whoever has been away for too long, and what nobody can ask for any more; at most so
    /// much at once.
    pub fn handle_timeout(&mut self, now: MonotonicTime) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            if let Some((_, number)) = self.tabs.least_heard().filter(|t| self.tab_due(*t) <= now) {
                self.remove(number);
            } else if self.message_due().is_some_and(|due| due <= now) {
                self.drop_oldest();
            } else {
                break;
            }
        }
        if self.position.is_some_and(|position| position.until <= now) {
            self.position = None;
            for number in self.users.numbers() {
                self.drop_if_idle(number);
            }
            self.end();
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn next_deadline(&self) -> Option<MonotonicTime> {
        let tab = self.tabs.least_heard().map(|tab| self.tab_due(tab));
        let position = self.position.map(|position| position.until);
        let deadlines = [tab, self.message_due(), position];
        deadlines.into_iter().flatten().min()
    }

    fn tab_due(&self, (heard, _): (MonotonicTime, TabNumber)) -> MonotonicTime {
        heard + self.settings.time
    }

    /// Twice as long as a tab may be away: so a message is there for one that was heard while it had
    /// not got that far yet, since more was waiting for it.
    fn message_due(&self) -> Option<MonotonicTime> {
        let (_, at) = self.log.oldest()?;
        Some(at + self.settings.time * 2)
    }

    /// Many tabs that are away make room before messages do, those first that were not heard for
    /// longest.
    pub(super) fn keep_within_memory(&mut self) {
        let max_bytes = self.settings.max_bytes;
        loop {
            let (away, messages) = (self.tabs.away_bytes(), self.log.held_bytes());
            if away + messages <= max_bytes {
                return;
            }
            self.counts.dropped += 1;
            match self.tabs.least_heard() {
                Some((_, number)) if away > max_bytes / 2 => self.remove(number),
                _ => self.drop_oldest(),
            }
        }
    }

    fn drop_oldest(&mut self) {
        let Some((owner, _)) = self.log.oldest() else {
            return;
        };
        let Self {
            tabs,
            users,
            everybody,
            log,
            ..
        } = self;
        if let Some(stream) = stream_of(owner, tabs, users, everybody) {
            log.drop_first(stream);
        }
        self.note_hole(owner);
        if let Owner::User(number) = owner {
            self.drop_if_idle(number);
        }
    }

    /// A message of this stream has been dropped.
    pub(super) fn note_hole(&mut self, owner: Owner) {
        if let Owner::Tab(number) = owner
            && let Some(tab) = self.tabs.get_mut(number)
        {
            tab.has_holes = true;
        }
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        self.kept_bytes() + self.log.lent_bytes()
    }

    fn kept_bytes(&self) -> usize {
        self.tabs.held_bytes()
            + self.users.held_bytes()
            + self.log.held_bytes()
            + self.own.held_bytes()
            + self.handed_on_bytes()
    }

    /// How much is kept.
    pub fn figures(&self) -> ReplayFigures {
        let away = self.tabs.away_count();
        ReplayFigures {
            connected: self.tabs.len() - away,
            away,
            streams: self.tabs.len() + self.users.len() + usize::from(self.is_active()),
            messages: self.log.len(),
            bytes: self.kept_bytes(),
            limit_bytes: self.settings.max_bytes,
            counts: self.counts,
        }
    }
}

/// Most tabs and messages that are forgotten in one turn: some milliseconds' work.
const FORGOTTEN_AT_ONCE: usize = 8192;
