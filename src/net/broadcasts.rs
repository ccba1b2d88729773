//! Broadcasts to many: they go on over several turns, a slice of each turn by the clock.
//!
//! A broadcast to a few is queued for all of them at once. One to many is put down here with those who
//! are still to get it, and `Links::deliver_next` goes through them by slot: each member gets all that
//! is under way in one go, and is flushed right away.
//!
//! ```text
//! under_way   A: members 7 8 9 …       ◄ deliver_next: member 7 gets A and B, and leaves the loop
//!             B: members 3 7 8 9 …       when all have A, it goes on with the rest of B
//! ```
//!
//! Whoever queues something for a connection calls `Links::catch_up` first, so that nothing
//! overtakes a broadcast that was sent before it: what one receiver gets is in the same order as if
//! every broadcast were queued for all when it is sent. What is under way is bounded by
//! [`MAX_UNDER_WAY`] and [`MAX_BYTES`]: beyond them the oldest is queued for all of its members at once.

use std::collections::VecDeque;

use super::shared_frame::SharedFrame;
use crate::app::Receipt;
use crate::connection::ConnId;
use crate::registry::Members;
use crate::upstream::CallId;

/// What is under way, oldest first.
#[derive(Debug, Default)]
pub(super) struct Broadcasts {
    under_way: VecDeque<Broadcast>,
    /// Bytes of the frames under way.
    frame_bytes: usize,
    max_bytes: usize,
    /// Bytes of memory that the members under way take.
    member_bytes: usize,
    /// Deliveries that may still be made at once in this turn; a long frame counts as several.
    at_once_budget: usize,
    /// What the application wanted to know of those that are through.
    receipts: VecDeque<(CallId, Receipt)>,
}

/// One to many, and how far it has come.
#[derive(Debug)]
pub(super) struct Broadcast {
    pub(super) from: ConnId,
    pub(super) frame: SharedFrame,
    pub(super) call: Option<CallId>,
    pub(super) receipt: Receipt,
    /// Slots of those who are still to get it. A slot leaves when its connection does.
    members: Members,
    member_bytes: usize,
    /// None of them is below this one.
    next: usize,
}

impl Broadcast {
    /// One that nobody has got.
    pub(super) fn new(
        from: ConnId,
        members: Members,
        frame: SharedFrame,
        call: Option<CallId>,
    ) -> Self {
        Self {
            from,
            frame,
            call,
            receipt: Receipt::default(),
            member_bytes: members.held_bytes(),
            members,
            next: 0,
        }
    }

    /// The lowest slot that is still to get it.
    pub(super) fn next_slot(&mut self) -> Option<usize> {
        self.next = self.members.next_from(self.next)?;
        Some(self.next)
    }
}

impl Broadcasts {
    /// Puts one down behind all others.
    pub(super) fn push(&mut self, broadcast: Broadcast) {
        self.frame_bytes += broadcast.frame.len();
        self.member_bytes += broadcast.member_bytes;
        self.under_way.push_back(broadcast);
    }

    /// Takes the oldest one out.
    pub(super) fn pop(&mut self) -> Option<Broadcast> {
        let broadcast = self.under_way.pop_front()?;
        self.frame_bytes -= broadcast.frame.len();
        self.member_bytes -= broadcast.member_bytes;
        Some(broadcast)
    }

    /// Whether one of so many bytes is sent to so many receivers at once. It counts then.
    pub(super) fn may_send_at_once(&mut self, receiver_count: usize, len: usize) -> bool {
        let deliveries = receiver_count.saturating_mul(1 + len / BYTES_PER_DELIVERY);
        let left = self.at_once_budget.checked_sub(deliveries);
        self.at_once_budget = left.unwrap_or(self.at_once_budget);
        left.is_some()
    }

    /// Number of those under way.
    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// One of them by its age; 0 is the oldest.
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Broadcast> {
        self.under_way.get_mut(index)
    }

    /// The same, if a slot is still to get it; it counts as having got it then.
    pub(super) fn take(&mut self, index: usize, slot: usize) -> Option<&mut Broadcast> {
        let broadcast = self.under_way.get_mut(index)?;
        // Lossless: slots are numbers of 32 bits.
        let slot = slot as u32;
        if !broadcast.members.contains(slot) {
            return None;
        }
        broadcast.members.remove(slot);
        Some(broadcast)
    }

    /// Whether the oldest has to be queued for all of its members now.
    pub(super) fn is_over_limit(&self) -> bool {
        let count = self.under_way.len();
        count > MAX_UNDER_WAY || (count > 1 && self.frame_bytes > self.max_bytes)
    }

    /// A turn begins. What is under way comes to a member all at once: it must neither fill its queue
    /// of `max_queue_bytes` nor much of `memory_limit_bytes`.
    pub(super) fn begin_turn(&mut self, max_queue_bytes: usize, memory_limit_bytes: usize) {
        self.at_once_budget = AT_ONCE_PER_TURN;
        self.max_bytes = MAX_BYTES
            .min(max_queue_bytes / 8)
            .min(memory_limit_bytes / 128);
    }

    /// A connection has gone: whoever comes into its slot gets nothing of it.
    pub(super) fn forget(&mut self, slot: usize) {
        for index in 0..self.under_way.len() {
            self.take(index, slot);
        }
    }

    /// Whether some members are still to get something.
    pub(super) fn is_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Whether what a member gets takes longer than a call of the system does.
    pub(super) fn is_long(&self) -> bool {
        self.frame_bytes > BYTES_PER_DELIVERY
    }

    /// Whether there is something to do for broadcasts.
    pub(super) fn has_work(&self) -> bool {
        self.is_under_way() || !self.receipts.is_empty()
    }

    /// Keeps what became of one that is through.
    pub(super) fn keep_receipt(&mut self, call: CallId, receipt: Receipt) {
        self.receipts.push_back((call, receipt));
    }

    /// What became of a broadcast that is through, if somebody wants to know.
    pub(super) fn next_receipt(&mut self) -> Option<(CallId, Receipt)> {
        self.receipts.pop_front()
    }

    /// Bytes of memory held, but for the frames.
    pub(super) fn held_bytes(&self) -> usize {
        self.member_bytes
    }
}

/// Most deliveries of one turn that are made at once, of broadcasts that have fewer receivers: one
/// slice's worth of calls of the system, which follow at the end of the turn.
const AT_ONCE_PER_TURN: usize = 128;

/// Bytes of a frame that take the system about as long as a call does.
const BYTES_PER_DELIVERY: usize = 16 << 10;

/// Most broadcasts under way. Whatever is queued for a member looks through them, some nanoseconds
/// each; and a member gets so many in one write, so that a storm costs no more calls than it has to.
const MAX_UNDER_WAY: usize = 64;

/// Most bytes of their frames, unless it is one alone; fewer where queues or memory are small.
const MAX_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::app::NOBODY;
    use crate::protocol::extension::CompressionSettings;

    fn broadcast(slots: &[u32], len: usize) -> Broadcast {
        let mut members = Members::default();
        slots.iter().for_each(|&slot| members.insert(slot));
        let frame = Rc::new(vec![0; len].into());
        let frame = SharedFrame::new(frame, 0..len, &CompressionSettings::default());
        Broadcast::new(NOBODY, members, frame, None)
    }

    #[test]
    fn whoever_comes_into_the_slot_of_one_who_has_gone_gets_nothing() {
        let mut broadcasts = Broadcasts::default();
        broadcasts.push(broadcast(&[3, 7, 8], 10));
        broadcasts.push(broadcast(&[7], 10));
        broadcasts.forget(7);
        assert!((0..2).all(|index| broadcasts.take(index, 7).is_none()));
        let mut oldest = broadcasts.pop().expect("two are under way");
        assert_eq!(oldest.next_slot(), Some(3));
        oldest.members.remove(3);
        assert_eq!(oldest.next_slot(), Some(8));
        let mut last = broadcasts.pop().expect("one is under way");
        assert_eq!(last.next_slot(), None);
        assert_eq!((broadcasts.frame_bytes, broadcasts.held_bytes()), (0, 0));
    }

    #[test]
    fn what_is_under_way_is_little_beside_a_queue_and_beside_memory() {
        const MIB: usize = 1 << 20;
        for (max_queue_bytes, memory_limit_bytes, len, is_over) in [
            (8 * MIB, 128 * MIB, MIB / 2, false),
            (8 * MIB, 128 * MIB, MIB / 2 + 1, true),
            (8 * MIB - 16, 128 * MIB, MIB / 2, true),
            (8 * MIB, 128 * MIB - 256, MIB / 2, true),
            (100 * MIB, 1000 * MIB, MIB / 2 + 1, true),
        ] {
            let mut broadcasts = Broadcasts::default();
            broadcasts.begin_turn(max_queue_bytes, memory_limit_bytes);
            broadcasts.push(broadcast(&[1], len));
            assert!(!broadcasts.is_over_limit(), "one alone may be long");
            broadcasts.push(broadcast(&[1], len));
            assert_eq!(
                broadcasts.is_over_limit(),
                is_over,
                "{len} of {max_queue_bytes}"
            );
        }
    }
}
