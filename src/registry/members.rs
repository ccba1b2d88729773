//! Who gets a broadcast: sets of connections by slot.

use std::rc::Rc;

use fixedbitset::FixedBitSet;

/// The members of one audience.
///
/// A bit for each slot, so that walking them costs what the members cost and goes through their
/// memory in order. A [`snapshot`](Self::snapshot) is shared, not copied, unless members come or go
/// while it is kept.
#[derive(Clone, Debug, Default)]
pub struct Members(Rc<SlotSet>);

/// Some connections' slots.
#[derive(Clone, Debug, Default)]
pub struct SlotSet {
    bits: FixedBitSet,
    len: usize,
}

impl Members {
    /// Adds a slot; harmless if it is there.
    pub fn insert(&mut self, slot: u32) {
        let set = Rc::make_mut(&mut self.0);
        set.bits.grow(slot as usize + 1);
        set.len += usize::from(!set.bits.put(slot as usize));
    }

    /// Removes a slot; harmless if it is not there.
    pub fn remove(&mut self, slot: u32) {
        if self.0.bits.contains(slot as usize) {
            let set = Rc::make_mut(&mut self.0);
            set.bits.remove(slot as usize);
            set.len -= 1;
        }
    }

    /// The members as they are now.
    pub fn snapshot(&self) -> Rc<SlotSet> {
        Rc::clone(&self.0)
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl SlotSet {
    /// Number of slots.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slots, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.bits.ones()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_keeps_its_members_while_others_come_and_go() {
        let mut members = Members::default();
        for slot in [3, 0, 3, 70] {
            members.insert(slot);
        }
        assert_eq!(members.len(), 3);
        let snapshot = members.snapshot();
        members.remove(0);
        members.remove(0);
        members.remove(9_999);
        members.insert(5);
        assert_eq!(snapshot.iter().collect::<Vec<_>>(), [0, 3, 70]);
        assert_eq!(members.snapshot().iter().collect::<Vec<_>>(), [3, 5, 70]);
        assert_eq!((members.len(), snapshot.len()), (3, 3));
    }
}
