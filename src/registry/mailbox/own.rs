//! What tabs have said to everybody themselves: when they come back, it is not missing.
//!
//! A tab is not told the cursors of its own broadcasts. So after some of them, or after one that is
//! long past, its cursor stands behind messages that are no longer kept; but they were its own.

use std::collections::HashMap;

use super::log::TabNumber;

/// The last broadcasts of each tab that has made any.
#[derive(Debug, Default)]
pub(super) struct OwnBroadcasts {
    by_tab: HashMap<TabNumber, Run>,
    /// Number of the last message to everybody, whoever has sent it.
    newest: u64,
}

/// Broadcasts of one tab with nobody else's between them.
#[derive(Debug)]
struct Run {
    /// Number of the last message to everybody before them.
    before: u64,
    last: u64,
}

impl OwnBroadcasts {
    /// Nothing is known of whose the messages up to this number are, until they are
    /// [put](Self::put) in.
    pub(super) fn from_number(newest: u64) -> Self {
        Self {
            by_tab: HashMap::new(),
            newest,
        }
    }

    /// Somebody, perhaps a tab that has opted in, has sent the message of this number to everybody.
    pub(super) fn note(&mut self, sender: Option<TabNumber>, number: u64) {
        let before = self.newest;
        self.newest = number;
        let Some(sender) = sender else {
            return;
        };
        let run = self.by_tab.entry(sender).or_insert(Run {
            before,
            last: before,
        });
        if run.last != before {
            run.before = before;
        }
        run.last = number;
    }

    /// Up to which number a tab knows what everybody was told, if its cursor has this one.
    pub(super) fn known(&self, tab: TabNumber, number: u64) -> u64 {
        match self.by_tab.get(&tab) {
            Some(run) if run.before <= number => number.max(run.last),
            _ => number,
        }
    }

    /// Number of the last message to everybody.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// The last broadcasts of a tab with nobody else's between them: the numbers of the last message
    /// before them and of the last of them.
    pub(super) fn run_of(&self, tab: TabNumber) -> Option<(u64, u64)> {
        let run = self.by_tab.get(&tab)?;
        Some((run.before, run.last))
    }

    /// The same of a tab that comes from another process.
    pub(super) fn put(&mut self, tab: TabNumber, (before, last): (u64, u64)) {
        self.by_tab.insert(tab, Run { before, last });
    }

    pub(super) fn remove(&mut self, tab: TabNumber) {
        if self.by_tab.remove(&tab).is_some() && self.by_tab.is_empty() {
            self.by_tab = HashMap::new();
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.by_tab.capacity() * ENTRY_BYTES
    }
}

/// With the table's byte for each place.
const ENTRY_BYTES: usize = size_of::<(TabNumber, Run)>() + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_own_broadcasts_and_the_cursor_is_missing() {
        let tab = |number: u32| TabNumber::new(number).unwrap_or(TabNumber::MIN);
        let (one, other) = (tab(1), tab(2));
        let mut own = OwnBroadcasts::from_number(10);
        assert_eq!(own.known(one, 5), 5);
        own.note(Some(one), 11);
        own.note(Some(one), 14); // 12 and 13 were for single tabs
        assert_eq!(own.known(one, 9), 9, "10 is somebody's");
        assert_eq!(own.known(one, 10), 14);
        assert_eq!(own.known(one, 12), 14);
        assert_eq!(own.known(one, 20), 20);
        assert_eq!(own.known(other, 10), 10);
        own.note(Some(other), 15);
        own.note(None, 16);
        assert_eq!(own.known(one, 10), 14);
        assert_eq!(own.known(other, 14), 15);
        own.note(Some(one), 17);
        assert_eq!(own.known(one, 10), 10, "15 and 16 are others'");
        assert_eq!(own.known(one, 16), 17);
        own.remove(one);
        assert_eq!(own.known(one, 16), 16);
    }
}
