//! Who waits for which answer: a [`CallId`] for each question, with its asker.

use std::collections::HashMap;

use crate::connection::ConnId;
pub use crate::upstream::CallId;

/// What became of a message: queues that took it, and queues that were full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Queues that took it.
    pub queued: usize,
    /// Queues that were full.
    pub full: usize,
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
    /// The connection whose request waits for the answer.
    pub(super) asker: ConnId,
    /// Position of the packet that is asked about, among those of that request.
    pub(super) index: usize,
    /// Whom the packet is for.
    pub(super) recipients: Recipients,
}

/// Whom a pushed packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recipients {
    /// The one receiver that protocol.md 3.1 names.
    One,
    /// Every web client.
    All,
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
