//! Who waits for which answer: a [`CallId`] for each question, with its asker.

use std::collections::HashMap;

use crate::connection::ConnId;
pub use crate::upstream::CallId;

/// Names one request of another thread for as long as the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// What became of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Queues that took it.
    pub queued: usize,
    /// Queues that were full.
    pub full: usize,
    /// Tabs that get it when they come back (protocol.md 9.6).
    pub kept: usize,
}

impl Receipt {
    /// What became of it at these and at other receivers.
    pub fn add(&mut self, other: Self) {
        self.queued = self.queued.saturating_add(other.queued);
        self.full = self.full.saturating_add(other.full);
        self.kept = self.kept.saturating_add(other.kept);
    }
}

/// The questions that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Calls {
    asked_count: u64,
    waiting: HashMap<CallId, Call>,
}

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// Who waits for the answer.
    pub(super) asker: Asker,
    /// Position of the packet that is asked about, among those of that request.
    pub(super) index: usize,
    /// Whom the packet is for.
    pub(super) recipients: Recipients,
}

/// Who has asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A connection, by a request that waits for the answer.
    Request(ConnId),
    /// Another thread of the program.
    Thread(Ticket),
}

/// Whom a pushed packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recipients {
    /// The one receiver that protocol.md 3.1 names.
    One,
    /// All tabs of a user.
    User,
    /// Every web client.
    All,
    /// The tabs that a logout closes.
    Tabs,
}

impl Calls {
    /// A new question.
    pub(super) fn ask(&mut self, call: Call) -> CallId {
        self.asked_count += 1;
        let id = CallId(self.asked_count);
        self.waiting.insert(id, call);
        id
    }

    /// The answer has come; `None`: nobody waits for it any more.
    pub(super) fn answer(&mut self, id: CallId) -> Option<Call> {
        self.waiting.remove(&id)
    }
}
