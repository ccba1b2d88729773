//! Who holds how much: so that whoever holds most pays first, found without looking at everybody.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

/// Where connections come from; `None` is a Unix socket.
type Address = Option<IpAddr>;

/// Those who hold much, by address and by connection.
///
/// Who holds less than [`HEAVY_BYTES`] is not in it, so that a message that comes and goes costs a
/// comparison. Weights are rounded, so that small changes cost no more than that either.
#[derive(Debug, Default)]
pub(super) struct HeavyHolders {
    by_slot: HashMap<usize, Holder>,
    by_address: HashMap<Address, AddressWeight>,
    /// Addresses in order of what their connections hold together.
    ranking: BTreeSet<(usize, Address)>,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    address: Address,
    /// In the connection itself, and in the application for it.
    bytes: [usize; 2],
}

#[derive(Debug, Default)]
struct AddressWeight {
    bytes: usize,
    slots: BTreeSet<(usize, usize)>,
}

/// Which part of a connection's weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeldBy {
    /// Queues, buffers and unfinished messages of the connection.
    Link = 0,
    /// What the application keeps for it.
    App = 1,
}

impl HeavyHolders {
    /// A connection's part weighs so much now.
    pub(super) fn set(&mut self, slot: usize, address: Address, part: HeldBy, bytes: usize) {
        if bytes < HEAVY_BYTES && self.by_slot.is_empty() {
            return;
        }
        let before = self.by_slot.get(&slot).copied();
        if before.is_none() && bytes < HEAVY_BYTES {
            return;
        }
        let mut holder = before.unwrap_or(Holder {
            address,
            bytes: [0; 2],
        });
        holder.bytes[part as usize] = rounded(bytes);
        if before.is_some_and(|b| b.bytes == holder.bytes && b.address == address) {
            return;
        }
        holder.address = address;
        self.remove(slot);
        if holder.weight() >= HEAVY_BYTES {
            self.insert(slot, holder);
        }
    }

    /// The connection is gone.
    pub(super) fn remove(&mut self, slot: usize) {
        let Some(holder) = self.by_slot.remove(&slot) else {
            return;
        };
        let Some(weight) = self.by_address.get_mut(&holder.address) else {
            return;
        };
        self.ranking.remove(&(weight.bytes, holder.address));
        weight.bytes -= holder.weight();
        weight.slots.remove(&(holder.weight(), slot));
        if weight.slots.is_empty() {
            self.by_address.remove(&holder.address);
        } else {
            self.ranking.insert((weight.bytes, holder.address));
        }
    }

    /// The connection that pays first: the heaviest one of the heaviest address. Its slot, and about
    /// how many bytes it holds.
    pub(super) fn heaviest(&self) -> Option<(usize, usize)> {
        let (_, address) = self.ranking.last()?;
        let (bytes, slot) = self.by_address.get(address)?.slots.last()?;
        Some((*slot, *bytes))
    }

    fn insert(&mut self, slot: usize, holder: Holder) {
        let weight = self.by_address.entry(holder.address).or_default();
        self.ranking.remove(&(weight.bytes, holder.address));
        weight.bytes += holder.weight();
        weight.slots.insert((holder.weight(), slot));
        self.ranking.insert((weight.bytes, holder.address));
        self.by_slot.insert(slot, holder);
    }
}

impl Holder {
    fn weight(self) -> usize {
        self.bytes.iter().sum()
    }
}

/// Rounded down to what its upper four bits tell.
fn rounded(bytes: usize) -> usize {
    let digits = usize::BITS - bytes.leading_zeros();
    bytes & (usize::MAX << digits.saturating_sub(4))
}

/// Least weight of a connection that is kept in order.
const HEAVY_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Address {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn the_heaviest_connection_of_the_heaviest_address_pays_first() {
        let mut holders = HeavyHolders::default();
        for slot in 0..100 {
            holders.set(slot, address(1), HeldBy::Link, 65_536);
        }
        holders.set(100, address(2), HeldBy::Link, 1 << 20);
        holders.set(50, address(1), HeldBy::App, 10_000);
        let (slot, bytes) = holders.heaviest().expect("somebody");
        assert_eq!(
            slot, 50,
            "2 MB of one address are less than 6 MB of another"
        );
        assert!((70_000..76_000).contains(&bytes), "{bytes}");
        (0..100).for_each(|slot| holders.remove(slot));
        assert_eq!(holders.heaviest(), Some((100, 1 << 20)));
        holders.set(100, address(2), HeldBy::Link, 10);
        assert_eq!(holders.heaviest(), None);
        assert!(holders.ranking.is_empty() && holders.by_address.is_empty());
    }

    #[test]
    fn who_holds_little_is_not_kept() {
        let mut holders = HeavyHolders::default();
        holders.set(1, None, HeldBy::Link, HEAVY_BYTES - 1);
        assert!(holders.by_slot.is_empty());
        holders.set(1, None, HeldBy::Link, HEAVY_BYTES);
        assert_eq!(holders.heaviest(), Some((1, HEAVY_BYTES)));
    }
}
