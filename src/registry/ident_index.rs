//! Which clients hold an ident, first opened first.
//!
//! [`IdentIndex`] keeps slots only; what the idents are is asked of the caller, who has them anyway.
//! An entry takes 16 bytes as long as it has one client.

use std::collections::BTreeMap;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// One client as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientRef {
    /// Position in the order of opening; no two are equal.
    pub(super) sequence: u64,
    /// IdentIndex in the registry's table.
    pub(super) slot: u32,
}

/// A key's view of the clients: its hash, and which slots hold it.
pub(super) struct IdentKey<M, H> {
    /// The key's hash.
    pub(super) hash: u64,
    /// Whether the client in a slot holds this key.
    pub(super) is_held_by: M,
    /// The hash of the key that the client in a slot holds.
    pub(super) hash_of: H,
}

/// IdentKey → clients, in constant time but for the logarithm of the number of clients.
#[derive(Default)]
pub(super) struct IdentIndex {
    table: HashTable<IdentClients>,
}

enum IdentClients {
    One(ClientRef),
    /// At least two, by sequence number.
    #[expect(
        clippy::box_collection,
        reason = "without the box, every entry takes twice the memory"
    )]
    Many(Box<BTreeMap<u64, u32>>),
}

impl IdentIndex {
    /// The client that opened first.
    pub(super) fn first(&self, hash: u64, is_held_by: impl Fn(u32) -> bool) -> Option<ClientRef> {
        self.table
            .find(hash, |clients| is_held_by(clients.first().slot))
            .map(IdentClients::first)
    }

    /// Adds a client of `key`.
    pub(super) fn insert<M, H>(&mut self, key: &IdentKey<M, H>, client: ClientRef)
    where
        M: Fn(u32) -> bool,
        H: Fn(u32) -> u64,
    {
        let is_equal = |clients: &IdentClients| (key.is_held_by)(clients.first().slot);
        let hash_of = |clients: &IdentClients| (key.hash_of)(clients.first().slot);
        match self.table.entry(key.hash, is_equal, hash_of) {
            Entry::Occupied(mut entry) => entry.get_mut().add(client),
            Entry::Vacant(entry) => {
                entry.insert(IdentClients::One(client));
            }
        }
    }

    /// Takes a client of `key` out; harmless if it is not there.
    pub(super) fn remove<M, H>(&mut self, key: &IdentKey<M, H>, client: ClientRef)
    where
        M: Fn(u32) -> bool,
        H: Fn(u32) -> u64,
    {
        let is_equal = |clients: &IdentClients| (key.is_held_by)(clients.first().slot);
        let Ok(mut entry) = self.table.find_entry(key.hash, is_equal) else {
            return;
        };
        if entry.get_mut().remove(client) == Left::Nobody {
            entry.remove();
            shrink(&mut self.table, |clients| {
                (key.hash_of)(clients.first().slot)
            });
        }
    }
}

#[derive(PartialEq, Eq)]
enum Left {
    Somebody,
    Nobody,
}

impl IdentClients {
    fn first(&self) -> ClientRef {
        match self {
            Self::One(client) => *client,
            Self::Many(map) => {
                let (&sequence, &slot) = map.first_key_value().expect("Many holds at least two");
                ClientRef { sequence, slot }
            }
        }
    }

    fn add(&mut self, client: ClientRef) {
        match self {
            Self::One(first) => {
                let pair = [(first.sequence, first.slot), (client.sequence, client.slot)];
                *self = Self::Many(Box::new(BTreeMap::from(pair)));
            }
            Self::Many(map) => {
                map.insert(client.sequence, client.slot);
            }
        }
    }

    fn remove(&mut self, client: ClientRef) -> Left {
        match self {
            Self::One(only) if *only == client => return Left::Nobody,
            Self::One(_) => {}
            Self::Many(map) => {
                map.remove(&client.sequence);
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
