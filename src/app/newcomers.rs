//! Newcomers of whom it is not known yet who they are: those whose upgrade waits for an answer, and
//! those who are to send a token as their first message (protocol.md 8.5).

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use super::event::{Encryption, IncomingRequest};
use super::peer::Peer;
use super::sign_in::{Decision, Fingerprint};
use crate::base::MonotonicTime;
use crate::connection::ConnId;

/// Newcomers who wait.
#[derive(Default)]
pub(super) struct Newcomers {
    /// Their upgrade is not answered.
    undecided: HashMap<ConnId, Undecided>,
    /// Their upgrade is, and their first message is to be a token.
    without_token: HashMap<ConnId, Arrival>,
    /// When those end whose token does not come, in this order.
    token_deadlines: VecDeque<(MonotonicTime, ConnId)>,
    held_bytes: usize,
}

/// A request whose answer waits.
pub(super) struct Undecided {
    pub(super) arrival: Arrival,
    /// Whose visit it is.
    print: Fingerprint,
    decision: Option<Decision>,
}

/// A request as it came, to be judged once more when it is known whose it is: what holds for all may
/// have changed meanwhile.
pub(super) struct Arrival {
    pub(super) head: Vec<u8>,
    pub(super) peer: Peer,
    pub(super) encryption: Encryption,
    pub(super) local_ip: Option<IpAddr>,
    /// Logouts before it do not concern it.
    pub(super) logout_stamp: u64,
}

impl Arrival {
    pub(super) fn of(incoming: &IncomingRequest<'_>, logout_stamp: u64) -> Self {
        Self {
            head: incoming.head.to_vec(),
            peer: incoming.peer,
            encryption: incoming.encryption,
            local_ip: (incoming.local_ip)(),
            logout_stamp,
        }
    }

    fn held_bytes(&self) -> usize {
        size_of::<Undecided>() + self.head.capacity()
    }
}

impl Newcomers {
    /// A request is to be answered when the decision about it is made.
    pub(super) fn wait(&mut self, id: ConnId, arrival: Arrival, print: Fingerprint) {
        self.held_bytes += arrival.held_bytes();
        let undecided = Undecided {
            arrival,
            print,
            decision: None,
        };
        self.undecided.insert(id, undecided);
    }

    /// The decision about one who waits is made; whether there is one.
    pub(super) fn decide(&mut self, id: ConnId, decision: Decision) -> bool {
        let Some(undecided) = self.undecided.get_mut(&id) else {
            return false;
        };
        undecided.decision = Some(decision);
        true
    }

    /// Takes one who was decided about.
    pub(super) fn take_decided(&mut self, id: ConnId) -> Option<(Arrival, Decision)> {
        self.undecided.get(&id)?.decision.as_ref()?;
        let Undecided {
            arrival, decision, ..
        } = self.undecided.remove(&id)?;
        self.held_bytes -= arrival.held_bytes();
        Some((arrival, decision?))
    }

    /// One who waited for a decision has gone; whose visit it was.
    pub(super) fn forget(&mut self, id: ConnId) -> Option<Fingerprint> {
        let undecided = self.undecided.remove(&id)?;
        self.held_bytes -= undecided.arrival.held_bytes();
        Some(undecided.print)
    }

    /// One is let in whose first message is to be a token.
    pub(super) fn await_token(&mut self, id: ConnId, arrival: Arrival, deadline: MonotonicTime) {
        self.held_bytes += arrival.held_bytes();
        self.without_token.insert(id, arrival);
        self.token_deadlines.push_back((deadline, id));
    }

    /// Whether the next message of this connection is to be a token.
    pub(super) fn is_awaiting_token(&self, id: ConnId) -> bool {
        !self.without_token.is_empty() && self.without_token.contains_key(&id)
    }

    /// Takes one whose first message has come, or who has gone.
    pub(super) fn take_without_token(&mut self, id: ConnId) -> Option<Arrival> {
        let arrival = self.without_token.remove(&id)?;
        self.held_bytes -= arrival.held_bytes();
        if self.without_token.is_empty() {
            self.token_deadlines.clear();
        }
        Some(arrival)
    }

    /// The next one whose token has not come in time.
    pub(super) fn next_late(&mut self, now: MonotonicTime) -> Option<(ConnId, Arrival)> {
        while let Some(&(deadline, id)) = self.token_deadlines.front()
            && deadline <= now
        {
            self.token_deadlines.pop_front();
            if let Some(arrival) = self.take_without_token(id) {
                return Some((id, arrival));
            }
        }
        None
    }

    /// When [`next_late`](Self::next_late) has something to say.
    pub(super) fn next_deadline(&self) -> Option<MonotonicTime> {
        self.token_deadlines.front().map(|(deadline, _)| *deadline)
    }

    /// Bytes of memory held for all of them.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Bytes of memory held for one of them.
    pub(super) fn held_bytes_of(&self, id: ConnId) -> usize {
        let undecided = self.undecided.get(&id).map(|undecided| &undecided.arrival);
        let arrival = undecided.or_else(|| self.without_token.get(&id));
        arrival.map_or(0, Arrival::held_bytes)
    }
}
