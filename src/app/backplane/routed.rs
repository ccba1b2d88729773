//! [`Routed`]: messages of which somebody here wants to know what became of them at other nodes.
//!
//! A message has its answer when its local receivers have, when Redis has said how many nodes have
//! got it, and when as many receipts have come; or after `backplaneTimeout`, with what is known then.
//! What this node has published itself comes back to it where it has subscribed: that is no other
//! node, and is taken off.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::envelope::NodeReceipt;
use super::moved_tab::{TabClaim, Taking};
use crate::api::{PushError, Reach};
use crate::app::calls::{CallId, Receipt};
use crate::base::MonotonicTime;
use crate::protocol::packet::Ident;

/// All that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Routed {
    calls: HashMap<CallId, RoutedCall>,
    /// By deadline; some may have been answered, or wait anew and have another one by now.
    deadlines: VecDeque<(MonotonicTime, CallId)>,
    held_bytes: usize,
}

/// One message, or the question who is to get one.
#[derive(Debug)]
pub(super) struct RoutedCall {
    /// Who wants to know; `None`: nobody, it is only to find its receiver.
    pub(super) asker: Option<Asker>,
    pub(super) stage: Stage,
    /// What was delivered.
    pub(super) receipt: Receipt,
    /// Tabs of each user that was asked about.
    pub(super) tabs: Vec<u64>,
    /// Receivers here have not got it yet.
    pub(super) awaits_local: bool,
    /// When it began to be waited for.
    pub(super) asked_at: MonotonicTime,
    deadline: MonotonicTime,
    /// Nobody elsewhere is waited for any more.
    is_overdue: bool,
    /// What was published and not answered.
    pub(super) publishing_count: usize,
    /// Nodes that have got it, this one perhaps included.
    pub(super) reached_count: usize,
    /// How often this node was one of them.
    pub(super) own_count: usize,
    pub(super) answered_count: usize,
    /// Nodes that were asked before, and have not answered.
    pub(super) silent_count: usize,
    /// Something could not be published.
    pub(super) is_partial: bool,
    /// What it was counted for.
    counted_bytes: usize,
}

/// Who wants to know what became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// Whoever has made this call.
    Call(CallId),
    /// The log, if nobody has got it (protocol.md 3.5): the connection that has sent it, and what it
    /// is to be told.
    Log(u32, PushError),
}

/// What is done about it.
#[derive(Debug)]
pub(super) enum Stage {
    /// It is on its way to all who are to get it.
    Deliver,
    /// It is on its way to where its receiver was when it got its uuid. If nobody is there, there may
    /// be somebody who knows it by name.
    ByNode(Box<Message>),
    /// It is asked who has this uuid or ident.
    Find {
        message: Box<Message>,
        best: Option<Candidate>,
        /// Where somebody of that name is away, who gets it if nobody is there; `None` in it: here.
        away: Option<Option<u16>>,
    },
    /// It is asked who has this tab.
    Claim(Box<TabClaim>),
    /// Whoever has given a tab is told that it is here.
    Take(Box<Taking>),
}

/// A message and whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(super) uuid: String,
    pub(super) ident: OwnIdent,
    pub(super) text: String,
}

/// An ident that outlives its packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OwnIdent {
    None,
    Text(String),
    Number(String),
}

impl OwnIdent {
    pub(super) fn of(ident: &Ident<'_>) -> Self {
        match ident {
            Ident::None => Self::None,
            Ident::Text(text) => Self::Text(text.to_string()),
            Ident::Number(number) => Self::Number((*number).to_owned()),
        }
    }

    pub(super) fn as_ident(&self) -> Ident<'_> {
        match self {
            Self::None => Ident::None,
            Self::Text(text) => Ident::Text(text.as_str().into()),
            Self::Number(number) => Ident::Number(number),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Text(text) | Self::Number(text) => text.len(),
        }
    }
}

/// A client that may be the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// At which node; `None`: here.
    pub(super) node: Option<u16>,
    /// When it has opened, by the clock here, in microseconds.
    pub(super) opened_at: i64,
}

/// What became of a message at all nodes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    /// Here and elsewhere.
    pub(crate) receipt: Receipt,
    /// Other nodes that have got it.
    pub(crate) asked_count: usize,
    /// Those of them that have answered.
    pub(crate) answered_count: usize,
    /// It may not have gone to all who should get it.
    pub(crate) is_partial: bool,
}

impl Total {
    /// What has gone to nobody but clients here.
    pub(crate) fn local(receipt: Receipt) -> Self {
        Self {
            receipt,
            ..Self::default()
        }
    }

    /// Which other nodes have said something.
    pub(crate) fn reach(&self) -> Reach {
        Reach {
            asked: self.asked_count,
            answered: self.answered_count,
            is_partial: self.is_partial,
        }
    }
}

impl RoutedCall {
    pub(super) fn new(asker: Option<Asker>, stage: Stage) -> Self {
        Self {
            asker,
            stage,
            receipt: Receipt::default(),
            tabs: Vec::new(),
            awaits_local: false,
            asked_at: MonotonicTime::START,
            deadline: MonotonicTime::START,
            is_overdue: false,
            publishing_count: 0,
            reached_count: 0,
            own_count: 0,
            answered_count: 0,
            silent_count: 0,
            is_partial: false,
            counted_bytes: 0,
        }
    }

    /// Its receiver is found: the log has nothing to tell of it.
    pub(super) fn forget_log(&mut self) {
        self.asker = self.asker.filter(|asker| matches!(asker, Asker::Call(_)));
    }

    /// It goes on its way anew, to somebody else.
    pub(super) fn begin_stage(&mut self, stage: Stage) -> Stage {
        let total = self.total();
        self.silent_count = total.asked_count - total.answered_count;
        self.is_partial = total.is_partial;
        self.publishing_count = 0;
        self.reached_count = 0;
        self.own_count = 0;
        self.answered_count = 0;
        std::mem::replace(&mut self.stage, stage)
    }

    /// Whether all that can be known is.
    pub(super) fn is_complete(&self) -> bool {
        // Nobody sends a receipt that was not asked for.
        let is_unasked = self.asker.is_none() && matches!(self.stage, Stage::ByNode(_));
        let is_answered = self.answered_count + self.own_count >= self.reached_count;
        let is_known = self.publishing_count == 0 && (is_answered || is_unasked);
        !self.awaits_local && (is_known || self.is_overdue)
    }

    /// Whether nobody waits for it any more.
    pub(super) fn is_late(&self, now: MonotonicTime) -> bool {
        self.deadline <= now
    }

    /// Adds what another node says, whose clock is so far behind the one here.
    pub(super) fn add(&mut self, node: u16, receipt: &NodeReceipt, clock_offset: i64) {
        self.answered_count += 1;
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        self.receipt.add(Receipt {
            queued: count(receipt.queued),
            full: count(receipt.full),
            kept: count(receipt.kept),
        });
        if self.tabs.len() == receipt.tabs.len() {
            let sums = self.tabs.iter_mut().zip(&receipt.tabs);
            sums.for_each(|(sum, more)| *sum = sum.saturating_add(*more));
        }
        if receipt.is_away
            && let Stage::Find { away, .. } = &mut self.stage
        {
            away.get_or_insert(Some(node));
        }
        if let Some(opened_at) = receipt.found {
            self.consider(Candidate {
                node: Some(node),
                opened_at: opened_at.cast_signed().saturating_add(clock_offset),
            });
        }
    }

    /// The one that opened first is the receiver (protocol.md 3.1).
    pub(super) fn consider(&mut self, candidate: Candidate) {
        if let Stage::Find { best, .. } = &mut self.stage {
            let is_better = |best: &Candidate| {
                // Of two of the same age each node has to choose the same one.
                let rank = |candidate: &Candidate| (candidate.opened_at, candidate.node);
                rank(&candidate) < rank(best)
            };
            if best.as_ref().is_none_or(is_better) {
                *best = Some(candidate);
            }
        }
    }

    pub(super) fn total(&self) -> Total {
        let asked_count = self.reached_count.saturating_sub(self.own_count);
        Total {
            receipt: self.receipt,
            asked_count: self.silent_count + asked_count,
            answered_count: self.answered_count.min(asked_count),
            is_partial: self.is_partial || self.publishing_count > 0,
        }
    }

    fn is_message(&self) -> bool {
        !matches!(self.stage, Stage::Take(_) | Stage::Claim(_))
    }

    fn held_bytes(&self) -> usize {
        let message = match &self.stage {
            Stage::Deliver => 0,
            Stage::ByNode(message) | Stage::Find { message, .. } => message.held_bytes(),
            Stage::Claim(claim) => claim.held_bytes(),
            Stage::Take(taking) => taking.held_bytes(),
        };
        ENTRY_BYTES + message + self.tabs.capacity() * size_of::<u64>()
    }
}

impl Message {
    fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.uuid.capacity() + self.text.capacity() + self.ident.len()
    }
}

impl Routed {
    /// Waits for what becomes of one, for so long.
    pub(super) fn insert(
        &mut self,
        id: CallId,
        mut call: RoutedCall,
        (now, timeout): (MonotonicTime, Duration),
    ) {
        call.asked_at = now;
        call.deadline = now + timeout;
        call.counted_bytes = call.held_bytes();
        self.held_bytes += call.counted_bytes;
        // Not all wait for the same time; of those that do the last one is at the end.
        let at = self
            .deadlines
            .partition_point(|(deadline, _)| *deadline <= call.deadline);
        self.deadlines.insert(at, (call.deadline, id));
        self.calls.insert(id, call);
    }

    pub(super) fn get_mut(&mut self, id: CallId) -> Option<&mut RoutedCall> {
        self.calls.get_mut(&id)
    }

    /// Takes one out if everything is known of it.
    pub(super) fn take_complete(&mut self, id: CallId) -> Option<RoutedCall> {
        match self.calls.get(&id).is_some_and(RoutedCall::is_complete) {
            true => self.take(id),
            false => None,
        }
    }

    /// Takes one out.
    pub(super) fn take(&mut self, id: CallId) -> Option<RoutedCall> {
        let call = self.calls.remove(&id)?;
        self.held_bytes -= call.counted_bytes;
        if self.calls.is_empty() {
            self.deadlines.clear();
        }
        Some(call)
    }

    /// Takes one out whose time is over, and of which all is known here.
    pub(super) fn take_late(&mut self, now: MonotonicTime) -> Option<(CallId, RoutedCall)> {
        while let Some((deadline, id)) = self.deadlines.front().copied() {
            let call = self.calls.get_mut(&id);
            let call = call.filter(|call| call.deadline == deadline);
            if deadline > now && call.is_some() {
                return None;
            }
            self.deadlines.pop_front();
            match call {
                // A large broadcast takes its time; whoever gets it here is counted in any case.
                Some(call) if call.awaits_local => call.is_overdue = true,
                Some(_) => return self.take(id).map(|call| (id, call)),
                None => {}
            }
        }
        None
    }

    /// Tabs that are here, of which those who have given them are still to be told.
    pub(super) fn takings(&self) -> impl Iterator<Item = &Taking> {
        let calls = self.calls.values();
        calls.filter_map(|call| match &call.stage {
            Stage::Take(taking) => Some(&**taking),
            Stage::Deliver | Stage::ByNode(_) | Stage::Find { .. } | Stage::Claim(_) => None,
        })
    }

    /// Another process tells of them from now on.
    pub(super) fn forget_takings(&mut self) {
        let of_taking = |call: &RoutedCall| matches!(call.stage, Stage::Take(_));
        let calls = self.calls.iter().filter(|(_, call)| of_taking(call));
        for id in calls.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.take(id);
        }
    }

    /// Whether there are messages among them.
    pub(super) fn has_messages(&self) -> bool {
        self.calls.values().any(RoutedCall::is_message)
    }

    /// Whether this is a message.
    pub(super) fn is_message(&self, id: CallId) -> bool {
        self.calls.get(&id).is_some_and(RoutedCall::is_message)
    }

    /// When the next one's time is over.
    pub(super) fn next_deadline(&self) -> Option<MonotonicTime> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    /// Number of those that are not answered.
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Bytes of memory held.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}

/// What one takes in the table and among the deadlines.
const ENTRY_BYTES: usize = size_of::<(CallId, RoutedCall)>() + size_of::<(MonotonicTime, CallId)>();

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn after(millis: u64) -> MonotonicTime {
        MonotonicTime::START + Duration::from_millis(millis)
    }

    fn receipt(queued: u64) -> NodeReceipt {
        NodeReceipt {
            queued,
            ..NodeReceipt::default()
        }
    }

    #[test]
    fn it_is_complete_when_everybody_has_answered_but_this_node() {
        let mut call = RoutedCall::new(None, Stage::Deliver);
        call.awaits_local = true;
        call.publishing_count = 1;
        call.add(2, &receipt(3), 0);
        assert!(!call.is_complete(), "Redis has not answered");
        call.publishing_count = 0;
        call.reached_count = 3;
        call.own_count = 1;
        assert!(!call.is_complete());
        call.add(3, &receipt(1), 0);
        assert!(!call.is_complete(), "those here have not got it");
        call.awaits_local = false;
        call.receipt.queued += 5;
        assert!(call.is_complete());
        let total = call.total();
        assert_eq!((total.asked_count, total.answered_count), (2, 2));
        assert_eq!(total.receipt.queued, 9);
        assert!(!total.is_partial);
    }

    // protocol.md 3.1
    #[test]
    fn the_oldest_client_is_the_receiver_whoever_answers_first() {
        let message = Message {
            uuid: String::new(),
            ident: OwnIdent::Text("i".into()),
            text: "t".into(),
        };
        // Node, when it has opened by the clock there, how far that is behind.
        let answers = [(7, 10_050, -10_000), (2, 70, 0), (9, 7, 33)];
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut call = RoutedCall::new(
                None,
                Stage::Find {
                    message: Box::new(message.clone()),
                    best: None,
                    away: None,
                },
            );
            call.consider(Candidate {
                node: None,
                opened_at: 60,
            });
            for (node, opened_at, offset) in order.map(|at| answers[at]) {
                let receipt = NodeReceipt {
                    found: Some(opened_at),
                    ..NodeReceipt::default()
                };
                call.add(node, &receipt, offset);
            }
            let Stage::Find { best, .. } = call.stage else {
                panic!("it has not changed");
            };
            assert_eq!(best.unwrap().node, Some(9));
        }
    }

    #[test]
    fn those_whose_time_is_over_come_out_with_what_is_known() {
        let mut routed = Routed::default();
        for n in 0..4 {
            let mut call = RoutedCall::new(Some(Asker::Call(CallId(n))), Stage::Deliver);
            call.reached_count = 2;
            routed.insert(CallId(n), call, (after(n), Duration::from_millis(100)));
        }
        assert!(routed.take_complete(CallId(1)).is_none());
        routed.get_mut(CallId(1)).unwrap().answered_count = 2;
        assert!(routed.take_complete(CallId(1)).is_some());
        assert_eq!(routed.next_deadline(), Some(after(100)));
        assert!(routed.take_late(after(99)).is_none());
        let late: Vec<_> = std::iter::from_fn(|| routed.take_late(after(102)))
            .map(|(id, call)| (id.0, call.total().asked_count))
            .collect();
        assert_eq!(late, [(0, 2), (2, 2)]);
        assert_eq!(routed.len(), 1);
        // Those here have not all got it: they will.
        routed.get_mut(CallId(3)).unwrap().awaits_local = true;
        assert!(routed.take_late(after(500)).is_none());
        assert!(routed.take_complete(CallId(3)).is_none());
        routed.get_mut(CallId(3)).unwrap().awaits_local = false;
        assert!(routed.take_complete(CallId(3)).is_some());
        assert_eq!((routed.len(), routed.held_bytes()), (0, 0));
        assert_eq!(routed.next_deadline(), None);
    }

    // protocol.md 11.6
    #[test]
    fn one_that_waits_anew_is_late_once_and_not_before_its_time() {
        let mut routed = Routed::default();
        let timeout = Duration::from_millis(100);
        let one = || {
            let mut call = RoutedCall::new(None, Stage::Deliver);
            call.publishing_count = 1;
            call
        };
        routed.insert(CallId(1), one(), (after(0), timeout));
        routed.insert(CallId(2), one(), (after(90), timeout));
        for millis in [10, 20, 95] {
            let again = routed.take(CallId(1)).unwrap();
            routed.insert(CallId(1), again, (after(millis), timeout));
        }
        assert!(routed.take_late(after(189)).is_none());
        let late = std::iter::from_fn(|| routed.take_late(after(194)));
        assert_eq!(late.map(|(id, _)| id.0).collect::<Vec<_>>(), [2]);
        let mut late_count = 0;
        while let Some((id, call)) = routed.take_late(after(195)) {
            routed.insert(id, call, (after(195), timeout));
            late_count += 1;
        }
        assert_eq!((late_count, routed.deadlines.len()), (1, 1));
    }
}
