//! Connections that have not become clients: `maxPending` of them at most.
//!
//! When there are too many, whoever has answered requests behind it and rests goes first, the
//! idlest of the address that has most; then the oldest of that address, if it has more than the
//! newcomer's. So one address with thousands of them keeps nobody else out.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;

use crate::connection::ConnId;

/// Where connections come from; `None` is a Unix socket.
type Address = Option<IpAddr>;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct PendingLinks {
    by_id: HashMap<ConnId, Pending>,
    by_address: HashMap<Address, AddressQueues>,
    /// Addresses by how many connections they have.
    ranking: BTreeSet<(usize, Address)>,
    /// Those that rest, of all addresses.
    resting: VecDeque<(u64, ConnId)>,
    changed_count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    address: Address,
    activity: Activity,
    /// Since when: entries of the queues that are older than this do not count.
    since: u64,
}

/// What a connection does before it is a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// It is expected to say what it wants, or waits for an answer.
    Busy,
    /// It has been answered and may ask again.
    Resting,
}

#[derive(Debug, Default)]
struct AddressQueues {
    count: usize,
    busy: VecDeque<(u64, ConnId)>,
    resting: VecDeque<(u64, ConnId)>,
}

impl PendingLinks {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// A connection has come, or does something else than before.
    pub(super) fn set(&mut self, id: ConnId, address: Address, activity: Activity) {
        let before = self.by_id.get(&id);
        if before.is_some_and(|b| b.activity == Activity::Busy && activity == Activity::Busy) {
            return;
        }
        let address = before.map_or(address, |before| before.address);
        if before.is_none() {
            self.count(address, 1);
        }
        self.changed_count += 1;
        let since = self.changed_count;
        let pending = Pending {
            address,
            activity,
            since,
        };
        self.by_id.insert(id, pending);
        let by_id = &self.by_id;
        let queues = self.by_address.entry(address).or_default();
        match activity {
            Activity::Busy => push(&mut queues.busy, (since, id), by_id, queues.count),
            Activity::Resting => {
                push(&mut queues.resting, (since, id), by_id, queues.count);
                push(&mut self.resting, (since, id), by_id, by_id.len());
            }
        }
    }

    /// A connection does something else than before, if it is one of these.
    pub(super) fn update(&mut self, id: ConnId, activity: Activity) {
        if let Some(pending) = self.by_id.get(&id)
            && pending.activity != activity
        {
            self.set(id, pending.address, activity);
        }
    }

    /// A connection has become a client, or gone; harmless if it is none of these.
    pub(super) fn remove(&mut self, id: ConnId) {
        if let Some(pending) = self.by_id.remove(&id) {
            self.count(pending.address, -1);
        }
    }

    /// Who has to go so that a connection from `address` may come; `None`: nobody.
    pub(super) fn evict_for(&mut self, address: Address) -> Option<ConnId> {
        let own_count = self
            .by_address
            .get(&address)
            .map_or(0, |queues| queues.count);
        let (most, heaviest) = *self.ranking.last()?;
        let by_id = &self.by_id;
        let queues = self.by_address.get_mut(&heaviest)?;
        let is_current =
            |(since, id): &(u64, ConnId)| by_id.get(id).is_some_and(|p| p.since == *since);
        let id = match next_current(&mut queues.resting, is_current) {
            Some(id) => Some(id),
            None if most > own_count + 1 => next_current(&mut queues.busy, is_current),
            None => None,
        };
        let id = id.or_else(|| next_current(&mut self.resting, is_current))?;
        self.remove(id);
        Some(id)
    }

    fn count(&mut self, address: Address, change: isize) {
        let queues = self.by_address.entry(address).or_default();
        self.ranking.remove(&(queues.count, address));
        queues.count = queues.count.saturating_add_signed(change);
        if queues.count == 0 {
            self.by_address.remove(&address);
        } else {
            self.ranking.insert((queues.count, address));
        }
    }
}

/// Adds an entry; those that no longer count are swept out when they are the larger part.
fn push(
    queue: &mut VecDeque<(u64, ConnId)>,
    entry: (u64, ConnId),
    by_id: &HashMap<ConnId, Pending>,
    current_count: usize,
) {
    queue.push_back(entry);
    if queue.len() > 2 * current_count + 16 {
        queue.retain(|(since, id)| by_id.get(id).is_some_and(|p| p.since == *since));
    }
}

/// The first entry that still counts.
fn next_current(
    queue: &mut VecDeque<(u64, ConnId)>,
    is_current: impl Fn(&(u64, ConnId)) -> bool,
) -> Option<ConnId> {
    while let Some(entry) = queue.pop_front() {
        if is_current(&entry) {
            return Some(entry.1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Address {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    fn id(slot: u32) -> ConnId {
        ConnId {
            slot,
            generation: 0,
        }
    }

    #[test]
    fn the_idlest_of_the_address_with_most_goes_first() {
        let mut pending = PendingLinks::default();
        for slot in 0..5 {
            pending.set(id(slot), address(1), Activity::Busy);
        }
        pending.set(id(9), address(2), Activity::Resting);
        pending.update(id(3), Activity::Resting);
        pending.update(id(1), Activity::Resting);
        pending.update(id(3), Activity::Busy);
        pending.update(id(3), Activity::Resting);
        let evicted: Vec<_> = (0..4)
            .map_while(|_| pending.evict_for(address(3)))
            .collect();
        assert_eq!(evicted, [id(1), id(3), id(0), id(2)]);
        assert_eq!(pending.len(), 2);
    }

    #[test]
    fn an_address_that_has_most_makes_room_by_its_own_rest_only() {
        let mut pending = PendingLinks::default();
        for slot in 0..5 {
            pending.set(id(slot), address(1), Activity::Busy);
        }
        assert_eq!(pending.evict_for(address(1)), None);
        pending.update(id(4), Activity::Resting);
        assert_eq!(pending.evict_for(address(1)), Some(id(4)));
        (0..4).for_each(|slot| pending.remove(id(slot)));
        assert!(pending.by_address.is_empty() && pending.ranking.is_empty());
    }

    #[test]
    fn among_equals_somebody_who_rests_goes() {
        let mut pending = PendingLinks::default();
        for slot in 0..5 {
            pending.set(id(slot), address(slot as u8), Activity::Busy);
        }
        pending.update(id(2), Activity::Resting);
        assert_eq!(pending.evict_for(address(9)), Some(id(2)));
        assert_eq!(pending.evict_for(address(9)), None);
    }

    #[test]
    fn queues_stay_as_long_as_there_are_connections() {
        let mut pending = PendingLinks::default();
        pending.set(id(0), address(1), Activity::Busy);
        for _ in 0..1000 {
            pending.update(id(0), Activity::Resting);
            pending.update(id(0), Activity::Busy);
        }
        let queues = &pending.by_address[&address(1)];
        assert!(queues.busy.len() < 30 && queues.resting.len() < 30);
    }
}
