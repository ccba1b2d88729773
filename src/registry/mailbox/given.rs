//! [`GivenTabs`]: tabs that other servers were given, until one of them says that it has it.

use std::collections::HashMap;

use super::log::TabNumber;
use crate::base::MonotonicTime;

/// All that other servers were given, and may have by now.
#[derive(Default)]
pub(super) struct GivenTabs {
    all: HashMap<TabNumber, Handings>,
}

/// Who asks for a tab: the number of the question, of which no server has another one that is the
/// same. A server may have another number by the time that it says that it has the tab, or another
/// process may go on in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker(pub u64);

/// A tab that is given away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handing {
    pub(super) asker: Asker,
    /// What stands behind it in its own stream has not been given.
    pub(super) number: u64,
    /// When it was given.
    pub(super) at: MonotonicTime,
}

/// To whom a tab was given of late: which of them has it is known when one says so.
struct Handings {
    last: Handing,
    before: Option<Handing>,
}

impl GivenTabs {
    /// Another server is given a tab.
    pub(super) fn give(&mut self, number: TabNumber, handing: Handing) {
        let others = self.all.remove(&number);
        let before = others.and_then(|others| match others.last.asker == handing.asker {
            true => others.before,
            false => Some(others.last),
        });
        let last = handing;
        self.all.insert(number, Handings { last, before });
    }

    /// To whom a tab was given last.
    pub(super) fn last(&self, number: TabNumber) -> Option<&Handing> {
        self.all.get(&number).map(|handings| &handings.last)
    }

    /// To whom a tab was given of late, the latest first.
    pub(super) fn of(&self, number: TabNumber) -> impl Iterator<Item = &Handing> {
        let handings = self.all.get(&number).into_iter();
        handings.flat_map(|all| [Some(&all.last), all.before.as_ref()].into_iter().flatten())
    }

    /// How a tab was given to this one.
    pub(super) fn to(&self, number: TabNumber, asker: Asker) -> Option<&Handing> {
        let mut handings = self.of(number);
        handings.find(|handing| handing.asker == asker)
    }

    /// The one to whom a tab was given last does not have it; whether one before may.
    pub(super) fn end_last(&mut self, number: TabNumber) -> bool {
        let Some(last) = self.all.remove(&number).and_then(|both| both.before) else {
            return false;
        };
        self.all.insert(number, Handings { last, before: None });
        true
    }

    /// No other server has a tab.
    pub(super) fn end(&mut self, number: TabNumber) {
        self.all.remove(&number);
    }

    /// Bytes of memory held.
    pub(super) fn held_bytes(&self) -> usize {
        self.all.len() * GIVEN_BYTES
    }
}

/// What it costs that a tab is given away.
const GIVEN_BYTES: usize = size_of::<(TabNumber, Handings)>() * 3 / 2;
