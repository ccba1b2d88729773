//! [`ConnId`] → connection. Slots of removed connections come back after the event batch only, so
//! that no event can reach a successor in the same slot.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::link::Link;
use crate::base::{CHUNK_SLOTS, SlotMap};
use crate::connection::ConnId;

/// All connections.
pub(super) struct LinkTable<S> {
    links: SlotMap<Link<S>>,
    names: Names,
}

impl<S> Default for LinkTable<S> {
    fn default() -> Self {
        Self {
            links: SlotMap::default(),
            names: Names::default(),
        }
    }
}

impl<S> LinkTable<S> {
    /// Number of connections.
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    /// One more than the highest slot that may be taken.
    pub(super) fn slot_count(&self) -> usize {
        self.links.end()
    }

    /// The name of the next connection that is [inserted](Self::insert).
    pub(super) fn next_id(&self) -> ConnId {
        self.names.next()
    }

    /// Adds the link whose id [`next_id`](Self::next_id) has told.
    pub(super) fn insert(&mut self, link: Link<S>) {
        self.names.take(link.id);
        let before = self.links.insert(link.id.slot as usize, link);
        debug_assert!(before.is_none(), "a slot was given twice");
    }

    /// The connection in a slot.
    #[inline]
    pub(super) fn slot_mut(&mut self, slot: usize) -> Option<&mut Link<S>> {
        self.links.get_mut(slot)
    }

    /// The same, only to be looked at.
    pub(super) fn slot(&self, slot: usize) -> Option<&Link<S>> {
        self.links.get(slot)
    }

    /// The connection of this name, only to be looked at.
    pub(super) fn get(&self, id: ConnId) -> Option<&Link<S>> {
        self.slot(id.slot as usize).filter(|link| link.id == id)
    }

    /// All connections.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Link<S>> {
        self.links.iter()
    }

    /// The connection of this name.
    #[inline]
    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Link<S>> {
        self.slot_mut(id.slot as usize).filter(|link| link.id == id)
    }

    /// Removes a connection; its slot stays empty until [`release`](Self::release).
    pub(super) fn remove(&mut self, slot: usize) -> Option<Link<S>> {
        let link = self.links.remove(slot)?;
        self.names.give_back(link.id);
        Some(link)
    }

    /// Makes the slots of removed connections usable again: after the event batch.
    pub(super) fn release(&mut self) {
        self.names.release(self.links.end());
    }
}

/// Which names are next. The lowest free slot comes first: connections gather at the front, so that
/// what lies behind them can be freed.
#[derive(Default)]
struct Names {
    /// Slots below `end` that are free.
    free: BinaryHeap<Reverse<u32>>,
    /// Slots whose connections have been removed in this turn.
    freed: Vec<u32>,
    /// No slot from here on is taken, free or freed.
    end: u32,
    /// Connections there have ever been, modulo 2^32.
    opened_count: u32,
}

impl Names {
    fn next(&self) -> ConnId {
        let free = self.free.peek().map(|Reverse(slot)| *slot);
        ConnId {
            slot: free.unwrap_or(self.end),
            generation: self.opened_count,
        }
    }

    /// The next one is taken.
    fn take(&mut self, next: ConnId) {
        if self.free.pop().is_none() {
            self.end = next.slot + 1;
        }
        self.opened_count = self.opened_count.wrapping_add(1);
    }

    fn give_back(&mut self, id: ConnId) {
        self.freed.push(id.slot);
    }

    /// What was given back is free. `end`: one more than the highest slot that is taken, or more.
    fn release(&mut self, end: usize) {
        if self.freed.is_empty() {
            return;
        }
        self.free.extend(self.freed.drain(..).map(Reverse));
        if self.end as usize - end >= CHUNK_SLOTS {
            self.end = end as u32;
            self.free.retain(|Reverse(slot)| (*slot as usize) < end);
            self.free.shrink_to(CHUNK_SLOTS);
            self.freed.shrink_to(CHUNK_SLOTS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// As the table does, with nothing behind the names.
    #[derive(Default)]
    struct Taken {
        names: Names,
        ids: SlotMap<ConnId>,
    }

    impl Taken {
        fn open(&mut self) -> ConnId {
            let id = self.names.next();
            self.names.take(id);
            assert_eq!(self.ids.insert(id.slot as usize, id), None, "given twice");
            id
        }

        fn close(&mut self, slot: usize) {
            let id = self.ids.remove(slot).expect("it is open");
            self.names.give_back(id);
        }

        fn end_turn(&mut self) {
            self.names.release(self.ids.end());
        }
    }

    #[test]
    fn the_lowest_free_slot_is_next_once_the_turn_is_over() {
        let mut taken = Taken::default();
        (0..5).for_each(|slot| assert_eq!(taken.open().slot, slot));
        taken.close(3);
        taken.close(1);
        assert_eq!(taken.open().slot, 5);
        taken.end_turn();
        let slots = [taken.open(), taken.open(), taken.open()].map(|id| id.slot);
        assert_eq!(slots, [1, 3, 6]);
    }

    #[test]
    fn a_crowd_that_has_gone_leaves_no_slots_behind_and_no_name_comes_twice() {
        let mut taken = Taken::default();
        let mut seen = HashSet::new();
        for _ in 0..3 {
            for _ in taken.ids.len()..3 * CHUNK_SLOTS {
                assert!(seen.insert(taken.open()));
            }
            for slot in 2..3 * CHUNK_SLOTS {
                taken.close(slot);
                taken.end_turn();
            }
            assert!(taken.names.free.len() <= 2 * CHUNK_SLOTS);
            assert_eq!((taken.names.next().slot, taken.ids.len()), (2, 2));
        }
        (0..2).for_each(|slot| taken.close(slot));
        taken.end_turn();
        assert_eq!((taken.names.next().slot, taken.ids.end()), (0, 0));
    }
}
