//! What the trunk and the connections of each protocol tell each other.

use std::collections::VecDeque;

use super::call::{Answer, Call, CallId, Response};
use super::counts::Counts;
use super::error::CallError;
use super::redis::Subscriptions;
use super::settings::Settings;
use crate::base::time::MonotonicTime;

/// What a wire may use, and where its answers go.
#[derive(Debug)]
pub(super) struct WireContext<'a> {
    pub(super) now: MonotonicTime,
    pub(super) settings: &'a Settings,
    pub(super) answers: &'a mut VecDeque<Answer>,
    pub(super) counts: &'a mut Counts,
    pub(super) subscriptions: &'a mut Subscriptions,
}

/// What has become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Fate {
    /// It goes on.
    Open,
    /// It has done its work; nobody waits for anything from it.
    Close,
    /// It is lost; what can be sent once more is.
    Lost(CallError),
    /// It is of no use any more; whatever it carries has failed.
    Failed(CallError),
}

/// What a connection has carried before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum History {
    /// It has just been established.
    Fresh,
    /// It has been quiet for a while, and the other end may have closed it.
    Kept,
}

/// What a connection has done before it was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// It has never answered: another one will hardly do better.
    None,
    /// It has answered.
    Some,
}

/// A call that a connection has left without an answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) call: Call,
    /// Whether it does no harm to send it once more.
    pub(super) can_be_repeated: bool,
}

impl WireContext<'_> {
    /// Gives the caller what it waits for.
    pub(super) fn answer(&mut self, call: CallId, result: Result<Response, CallError>) {
        match result {
            Ok(_) => self.counts.answered += 1,
            Err(_) => self.counts.failed += 1,
        }
        self.answers.push_back(Answer { call, result });
    }
}
