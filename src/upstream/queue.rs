//! [`CallQueue`]: the calls that wait for a connection, first come, first served.

use std::collections::VecDeque;

use super::call::{Call, CallId};
use crate::base::time::MonotonicTime;

/// Calls that wait for a connection. Whoever adds one has asked for the limits before.
#[derive(Debug, Default)]
pub(super) struct CallQueue {
    calls: VecDeque<Waiting>,
    bytes: usize,
    /// No call expires before; there may be none any more that expires then.
    earliest: Option<MonotonicTime>,
}

/// A call that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) call: Call,
    pub(super) attempt: Attempt,
}

/// Whether a call has been sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Not yet.
    First,
    /// On a kept connection that was dead. It is sent once more, on a connection that has carried
    /// nothing yet.
    Second,
}

impl CallQueue {
    /// Adds a call behind the others.
    pub(super) fn push(&mut self, call: Call) {
        self.count(&call);
        self.calls.push_back(Waiting {
            call,
            attempt: Attempt::First,
        });
    }

    /// Adds a call before the others, to be sent for the second time.
    pub(super) fn push_again(&mut self, call: Call) {
        self.count(&call);
        self.calls.push_front(Waiting {
            call,
            attempt: Attempt::Second,
        });
    }

    fn count(&mut self, call: &Call) {
        self.bytes += call.request.as_bytes().len();
        let earliest = self
            .earliest
            .map_or(call.deadline, |e| e.min(call.deadline));
        self.earliest = Some(earliest);
    }

    /// The next call for a connection that has carried nothing yet.
    pub(super) fn next_for_fresh(&mut self) -> Option<Waiting> {
        self.remove_if(|_| true)
    }

    /// The next call for a connection that was kept.
    pub(super) fn next_for_kept(&mut self) -> Option<Waiting> {
        self.remove_if(|waiting| waiting.attempt == Attempt::First)
    }

    /// The call of this name, if it waits here.
    pub(super) fn remove(&mut self, id: CallId) -> Option<Waiting> {
        self.remove_if(|waiting| waiting.call.id == id)
    }

    /// The next call that has to be answered by `now`.
    pub(super) fn next_expired(&mut self, now: MonotonicTime) -> Option<Waiting> {
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return None;
        }
        let expired = self.remove_if(|waiting| waiting.call.deadline <= now);
        if expired.is_none() {
            self.earliest = self.calls.iter().map(|waiting| waiting.call.deadline).min();
        }
        expired
    }

    fn remove_if(&mut self, is_it: impl Fn(&Waiting) -> bool) -> Option<Waiting> {
        let at = self.calls.iter().position(is_it)?;
        let waiting = self.calls.remove(at)?;
        self.bytes -= waiting.call.request.as_bytes().len();
        if self.calls.is_empty() {
            self.earliest = None;
        }
        Some(waiting)
    }

    /// Calls that wait.
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Bytes of their requests.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// No call expires before.
    pub(super) fn next_deadline(&self) -> Option<MonotonicTime> {
        self.earliest
    }
}
