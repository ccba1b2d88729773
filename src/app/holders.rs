//! Which clients hold an ident, first opened first.
//!
//! [`Index`] keeps slots only; what the idents are is asked of the caller, who has them anyway.
//! An entry takes 16 bytes as long as it has one holder.

use std::collections::BTreeMap;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// One client as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    /// Position in the order of opening; no two are equal.
    pub(super) sequence: u64,
    /// Index in the registry's table.
    pub(super) slot: u32,
}

/// A key's view of the clients: its hash, and which slots hold it.
pub(super) struct Key<M, H> {
    /// The key's hash.
    pub(super) hash: u64,
    /// Whether the client in a slot holds this key.
    pub(super) is_held_by: M,
    /// The hash of the key that the client in a slot holds.
    pub(super) hash_of: H,
}

/// Key → holders, in constant time but for the logarithm of the number of holders.
#[derive(Default)]
pub(super) struct Index {
    table: HashTable<Holders>,
}

enum Holders {
    One(Holder),
    /// At least two, by sequence number.
    #[expect(
        clippy::box_collection,
        reason = "without the box, every entry takes twice the memory"
    )]
    Many(Box<BTreeMap<u64, u32>>),
}

impl Index {
    /// The holder that opened first.
    pub(super) fn first(&self, hash: u64, is_held_by: impl Fn(u32) -> bool) -> Option<Holder> {
        self.table
            .find(hash, |holders| is_held_by(holders.first().slot))
            .map(Holders::first)
    }

    /// Adds a holder of `key`.
    pub(super) fn insert<M, H>(&mut self, key: &Key<M, H>, holder: Holder)
    where
        M: Fn(u32) -> bool,
        H: Fn(u32) -> u64,
    {
        let is_equal = |holders: &Holders| (key.is_held_by)(holders.first().slot);
        let hash_of = |holders: &Holders| (key.hash_of)(holders.first().slot);
        match self.table.entry(key.hash, is_equal, hash_of) {
            Entry::Occupied(mut entry) => entry.get_mut().add(holder),
            Entry::Vacant(entry) => {
                entry.insert(Holders::One(holder));
            }
        }
    }

    /// Takes a holder of `key` out; harmless if it is not there.
    pub(super) fn remove<M, H>(&mut self, key: &Key<M, H>, holder: Holder)
    where
        M: Fn(u32) -> bool,
        H: Fn(u32) -> u64,
    {
        let is_equal = |holders: &Holders| (key.is_held_by)(holders.first().slot);
        let Ok(mut entry) = self.table.find_entry(key.hash, is_equal) else {
            return;
        };
        if entry.get_mut().remove(holder) == Left::Nobody {
            entry.remove();
            shrink(&mut self.table, |holders| {
                (key.hash_of)(holders.first().slot)
            });
        }
    }
}

#[derive(PartialEq, Eq)]
enum Left {
    Somebody,
    Nobody,
}

impl Holders {
    fn first(&self) -> Holder {
        match self {
            Self::One(holder) => *holder,
            Self::Many(map) => {
                let (&sequence, &slot) = map.first_key_value().expect("Many holds at least two");
                Holder { sequence, slot }
            }
        }
    }

    fn add(&mut self, holder: Holder) {
        match self {
            Self::One(first) => {
                let pair = [(first.sequence, first.slot), (holder.sequence, holder.slot)];
                *self = Self::Many(Box::new(BTreeMap::from(pair)));
            }
            Self::Many(map) => {
                map.insert(holder.sequence, holder.slot);
            }
        }
    }

    fn remove(&mut self, holder: Holder) -> Left {
        match self {
            Self::One(only) if *only == holder => return Left::Nobody,
            Self::One(_) => {}
            Self::Many(map) => {
                map.remove(&holder.sequence);
                if map.len() == 1 {
                    *self = Self::One(self.first());
                }
            }
        }
        Left::Somebody
    }
}

/// Gives memory back after a burst. Halving at a quarter keeps the cost per removal constant.
pub(super) fn shrink<T>(table: &mut HashTable<T>, hash_of: impl Fn(&T) -> u64) {
    const SMALL: usize = 64;
    if table.capacity() > SMALL && table.len() < table.capacity() / 4 {
        table.shrink_to(table.len() * 2, hash_of);
    }
}
