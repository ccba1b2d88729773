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

/// Web clients who get broadcasts, in two groups.
#[derive(Clone, Debug, Default)]
pub struct Speakers {
    plain: Members,
    resuming: Members,
}

impl Speakers {
    /// Adds a slot; `is_resuming`: it gets messages with their cursor.
    pub fn insert(&mut self, slot: u32, is_resuming: bool) {
        match is_resuming {
            true => self.resuming.insert(slot),
            false => self.plain.insert(slot),
        }
    }

    /// Removes a slot; harmless if it is not there.
    pub fn remove(&mut self, slot: u32) {
        self.plain.remove(slot);
        self.resuming.remove(slot);
    }

    /// Whether a slot is in one of the two.
    pub fn contains(&self, slot: u32) -> bool {
        self.plain.contains(slot) || self.resuming.contains(slot)
    }

    /// Those who get messages as they are.
    pub fn plain(&self) -> &Members {
        &self.plain
    }

    /// Those who get messages with their cursor.
    pub fn resuming(&self) -> &Members {
        &self.resuming
    }
}

/// Who gets one and the same message.
#[derive(Clone, Debug)]
pub enum Audience {
    /// Members of an audience as they were: walking them costs their number and that of all slots,
    /// divided by 64.
    Members(Rc<SlotSet>),
    /// Some slots, such as those of one user's tabs: walking them costs their number.
    Slots(Box<[u32]>),
}

impl Audience {
    /// Number of receivers.
    pub fn len(&self) -> usize {
        match self {
            Self::Members(set) => set.len(),
            Self::Slots(slots) => slots.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `visit` for each slot.
    pub fn for_each(&self, mut visit: impl FnMut(usize)) {
        match self {
            Self::Members(set) => set.iter().for_each(visit),
            // Lossless: no supported target has pointers of less than 32 bits.
            Self::Slots(slots) => slots.iter().for_each(|&slot| visit(slot as usize)),
        }
    }

    /// The receivers as a set, which can be taken out one by one.
    pub fn to_members(&self) -> Members {
        match self {
            Self::Members(set) => Members(Rc::clone(set)),
            Self::Slots(slots) => {
                let mut members = Members::default();
                slots.iter().for_each(|&slot| members.insert(slot));
                members
            }
        }
    }
}

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

    /// Whether a slot is in it.
    pub fn contains(&self, slot: u32) -> bool {
        self.0.bits.contains(slot as usize)
    }

    /// The lowest member that is not below `slot`.
    pub fn next_from(&self, slot: usize) -> Option<usize> {
        let bits = usize::BITS as usize;
        let words = self.0.bits.as_slice();
        let mut at = slot / bits;
        let mut word = words.get(at)? & (usize::MAX << (slot % bits));
        while word == 0 {
            at += 1;
            word = *words.get(at)?;
        }
        Some(at * bits + word.trailing_zeros() as usize)
    }

    /// Bytes of memory that it takes by itself.
    pub fn held_bytes(&self) -> usize {
        size_of_val(self.0.bits.as_slice())
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

    /// Whether this slot is among them.
    pub fn contains(&self, slot: usize) -> bool {
        self.bits.contains(slot)
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
    fn members_are_found_from_any_slot_on() {
        let slots = [0, 1, 63, 64, 65, 127, 128, 300];
        let set = Audience::Slots(slots.into()).to_members();
        for from in 0..400 {
            let expected = slots.iter().map(|&slot| slot as usize).find(|&s| s >= from);
            assert_eq!(set.next_from(from), expected, "from {from}");
        }
        assert_eq!(Members::default().next_from(0), None);
    }

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
