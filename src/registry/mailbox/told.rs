//! The uuids by which tabs were told their secrets, where they have chosen others since (protocol.md
//! 2.9, 9.3): what a tab knows of itself is the uuid of its `ready`, or of its last `resumed`.
//!
//! Of most tabs there is none, and so it costs nothing.

use std::collections::{BTreeMap, HashMap};

use super::log::TabNumber;
use crate::registry::clients::ClientUuid;

/// Uuids to and from the tabs that know themselves by them; at most one of each tab.
#[derive(Default)]
pub(super) struct ToldUuids {
    by_tab: HashMap<TabNumber, (Told, u64)>,
    /// Several may have been called the same, one after the other: those of one uuid in the order in
    /// which they came, so that nobody who chooses it later stands before the one who was given it.
    by_uuid: BTreeMap<(ClientUuid, u64), TabNumber>,
    last_order: u64,
    held_bytes: usize,
}

/// By which uuid a tab was told its secret before it chose another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) uuid: ClientUuid,
    /// The tab has come back since and was told what it is called; perhaps that was lost on the way.
    pub(super) is_past: bool,
}

impl ToldUuids {
    pub(super) fn is_empty(&self) -> bool {
        self.by_tab.is_empty()
    }

    /// Bytes of memory held.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) fn get(&self, number: TabNumber) -> Option<&Told> {
        self.by_tab.get(&number).map(|(told, _)| told)
    }

    /// The tabs that may know themselves by this uuid, but for very many.
    pub(super) fn find(&self, uuid: &ClientUuid) -> impl Iterator<Item = TabNumber> {
        let range = (uuid.clone(), 0)..=(uuid.clone(), u64::MAX);
        let alike = self.by_uuid.range(range).map(|(_, &number)| number);
        alike.take(MOST_ALIKE)
    }

    /// A tab has chosen the name `after` in place of `before`.
    pub(super) fn rename(&mut self, number: TabNumber, before: ClientUuid, after: &ClientUuid) {
        if self.get(number).is_none_or(|told| told.is_past) {
            let uuid = before;
            let is_past = false;
            self.put(number, Told { uuid, is_past });
        }
        if self.get(number).is_some_and(|told| told.uuid == *after) {
            self.remove(number);
        }
    }

    pub(super) fn put(&mut self, number: TabNumber, told: Told) {
        self.remove(number);
        self.last_order += 1;
        let order = self.last_order;
        self.by_uuid.insert((told.uuid.clone(), order), number);
        self.held_bytes += told.held_bytes();
        self.by_tab.insert(number, (told, order));
    }

    /// A tab is told what it is called now.
    pub(super) fn tell(&mut self, number: TabNumber) {
        if let Some((told, _)) = self.by_tab.get_mut(&number) {
            told.is_past = true;
        }
    }

    pub(super) fn remove(&mut self, number: TabNumber) {
        if let Some((told, order)) = self.by_tab.remove(&number) {
            self.held_bytes -= told.held_bytes();
            self.by_uuid.remove(&(told.uuid, order));
        }
        if self.by_tab.is_empty() {
            *self = Self::default();
        }
    }
}

impl Told {
    /// Bytes of memory held.
    pub(super) fn held_bytes(&self) -> usize {
        let name_len = match &self.uuid {
            ClientUuid::Standard(_) => 0,
            ClientUuid::Chosen(name) => name.len(),
        };
        TOLD_BYTES + 2 * name_len
    }
}

/// Most tabs of one uuid among which the one is looked for whose secret is said.
const MOST_ALIKE: usize = 64;

/// What one costs, both ways, but for a name.
const TOLD_BYTES: usize =
    (size_of::<(TabNumber, Told, u64)>() + size_of::<(ClientUuid, u64, TabNumber)>()) * 3 / 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn uuid(text: &str) -> ClientUuid {
        ClientUuid::from_text(text)
    }

    fn number(number: u32) -> TabNumber {
        TabNumber::new(number).unwrap()
    }

    fn found(told: &ToldUuids, text: &str) -> Vec<u32> {
        told.find(&uuid(text)).map(TabNumber::get).collect()
    }

    // protocol.md 9.3
    #[test]
    fn a_tab_is_found_by_what_it_was_told_last_before_it_chose() {
        let mut told = ToldUuids::default();
        told.rename(number(1), uuid("first"), &uuid("a"));
        told.rename(number(1), uuid("a"), &uuid("b"));
        assert_eq!(found(&told, "first"), [1]);
        assert!(found(&told, "a").is_empty(), "it was never told that");
        told.tell(number(1));
        assert_eq!(found(&told, "first"), [1], "if that is lost");
        told.rename(number(1), uuid("b"), &uuid("c"));
        assert!(found(&told, "first").is_empty());
        assert_eq!(found(&told, "b"), [1]);
        told.rename(number(1), uuid("c"), &uuid("b"));
        assert!(told.is_empty(), "it is its name again");
        assert_eq!((told.held_bytes(), told.by_tab.capacity()), (0, 0));
    }

    #[test]
    fn nobody_takes_from_a_tab_what_it_was_told() {
        let mut told = ToldUuids::default();
        told.rename(number(1000), uuid("first"), &uuid("name"));
        for other in 1..1000 {
            told.rename(number(other), uuid("first"), &uuid("another"));
        }
        let alike = found(&told, "first");
        assert_eq!((alike.len(), alike[0]), (MOST_ALIKE, 1000));
        told.remove(number(1));
        assert_eq!(found(&told, "first")[0], 1000);
        (1..=1000).for_each(|one| told.remove(number(one)));
        assert!(told.is_empty());
        assert_eq!((told.held_bytes(), told.by_uuid.len()), (0, 0));
    }
}
