//! The tabs of each user and of each session.
//!
//! A tab stands in up to two chains: one of its user's tabs, in the order in which they have signed
//! in, and one of its session's. So that adding, removing and finding take constant time, however
//! many tabs somebody opens, and a tab takes about 90 bytes, indexes and its user's name (up to 23
//! bytes) included. Numbers of tabs and users are their own, not slots of connections: whoever is
//! anonymous takes nothing.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;

use hashbrown::HashTable;

use super::ident_index::shrink;
use super::identity::{Identity, SessionDigest, UserId};
use super::numbered::Numbered;

/// Names a tab for as long as it is here.
pub(super) type TabNumber = NonZeroU32;

/// All tabs whose user or session is known.
#[derive(Default)]
pub(super) struct Users {
    tabs: Numbered<Tab>,
    users: Numbered<User>,
    by_user: HashTable<NonZeroU32>,
    /// The first tab of each session.
    by_session: HashTable<TabNumber>,
    hashing: RandomState,
}

struct Tab {
    /// Of its connection.
    slot: u32,
    user: Option<NonZeroU32>,
    session: Option<SessionDigest>,
    state: TabState,
    of_user: Neighbours,
    of_session: Neighbours,
}

/// Whether a tab can be reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TabState {
    Open,
    /// It was logged out, or its connection has ended: it keeps its name until it has gone, and
    /// gets nothing more.
    Ended,
}

/// Before and behind a tab in a chain.
#[derive(Clone, Copy, Default)]
struct Neighbours {
    previous: Option<TabNumber>,
    next: Option<TabNumber>,
}

struct User {
    id: UserId,
    first: TabNumber,
    last: TabNumber,
}

impl Users {
    /// Adds a tab.
    pub(super) fn insert(&mut self, slot: u32, identity: &Identity) -> TabNumber {
        let number = self.tabs.insert(Tab {
            slot,
            user: None,
            session: identity.session,
            state: TabState::Open,
            of_user: Neighbours::default(),
            of_session: Neighbours::default(),
        });
        if let Some(user) = &identity.user {
            self.join_user(number, user);
        }
        self.join_session(number);
        number
    }

    /// Removes a tab.
    pub(super) fn remove(&mut self, number: TabNumber) {
        self.leave_session(number);
        self.leave_user(number);
        self.tabs.remove(number);
    }

    /// Gives a tab a user that it has not had yet, if `identity` names one, and the session.
    pub(super) fn change(&mut self, number: TabNumber, identity: &Identity) {
        if let Some(user) = identity.user.as_ref()
            && self.user(number) != Some(user)
        {
            self.leave_user(number);
            self.join_user(number, user);
        }
        self.leave_session(number);
        if let Some(tab) = self.tabs.get_mut(number) {
            tab.session = identity.session;
        }
        self.join_session(number);
    }

    /// A tab's user.
    pub(super) fn user(&self, number: TabNumber) -> Option<&UserId> {
        let user = self.users.get(self.tabs.get(number)?.user?)?;
        Some(&user.id)
    }

    /// A tab's session.
    pub(super) fn session(&self, number: TabNumber) -> Option<SessionDigest> {
        self.tabs.get(number)?.session
    }

    /// A tab gets nothing more.
    pub(super) fn end(&mut self, number: TabNumber) {
        if let Some(tab) = self.tabs.get_mut(number) {
            tab.state = TabState::Ended;
        }
    }

    /// Whether a tab can be reached.
    pub(super) fn is_open(&self, number: TabNumber) -> bool {
        self.tabs
            .get(number)
            .is_some_and(|tab| tab.state == TabState::Open)
    }

    /// The slots of a user's tabs, first signed in first.
    pub(super) fn tabs_of(&self, user: &str) -> impl Iterator<Item = u32> {
        let first = self.find_user(user).map(|user| user.first);
        self.chain(first, |tab| &tab.of_user)
            .filter_map(|number| self.tabs.get(number))
            .filter(|tab| tab.state == TabState::Open)
            .map(|tab| tab.slot)
    }

    /// Marks the tabs of a user and of a session as logged out; their slots.
    pub(super) fn log_out(&mut self, user: &str, session: Option<SessionDigest>) -> Vec<u32> {
        let first = self.find_user(user).map(|user| user.first);
        let of_user = self.chain(first, |tab| &tab.of_user);
        let first = session.and_then(|session| self.find_session(session));
        let of_session = self.chain(first, |tab| &tab.of_session);
        let numbers: Vec<TabNumber> = of_user.chain(of_session).collect();
        let log_out = |number: TabNumber| {
            let tab = self.tabs.get_mut(number)?;
            let before = std::mem::replace(&mut tab.state, TabState::Ended);
            (before == TabState::Open).then_some(tab.slot)
        };
        numbers.into_iter().filter_map(log_out).collect()
    }

    /// Number of users.
    pub(super) fn user_count(&self) -> usize {
        self.users.len()
    }

    /// Number of tabs whose user or session is known.
    pub(super) fn tab_count(&self) -> usize {
        self.tabs.len()
    }

    /// Whether nobody has ever signed in.
    #[cfg(test)]
    pub(super) fn is_unallocated(&self) -> bool {
        self.tabs.is_unallocated() && self.by_user.capacity() == 0
    }

    fn chain(
        &self,
        first: Option<TabNumber>,
        neighbours: impl Fn(&Tab) -> &Neighbours,
    ) -> impl Iterator<Item = TabNumber> {
        std::iter::successors(first, move |&number| {
            neighbours(self.tabs.get(number)?).next
        })
    }

    fn find_user(&self, user: &str) -> Option<&User> {
        // Most servers have no users, and most packets that name one do so on purpose.
        if self.by_user.is_empty() || user.is_empty() {
            return None;
        }
        let is_named = |&number: &NonZeroU32| {
            let found = self.users.get(number);
            found.is_some_and(|found| found.id.as_str() == user)
        };
        let hash = self.hashing.hash_one(user);
        self.users.get(*self.by_user.find(hash, is_named)?)
    }

    fn find_session(&self, session: SessionDigest) -> Option<TabNumber> {
        let is_held = |&number: &TabNumber| self.session(number) == Some(session);
        let hash = self.hashing.hash_one(session);
        self.by_session.find(hash, is_held).copied()
    }

    /// Puts a tab behind the others of its user.
    fn join_user(&mut self, number: TabNumber, id: &UserId) {
        let hash = self.hashing.hash_one(id.as_str());
        let users = &self.users;
        let is_named = |&user: &NonZeroU32| users.get(user).is_some_and(|user| user.id == *id);
        let found = self.by_user.find(hash, is_named).copied();
        let user = found.unwrap_or_else(|| {
            let user = self.users.insert(User {
                id: id.clone(),
                first: number,
                last: number,
            });
            let Self { users, hashing, .. } = self;
            let hash_of = |&user: &NonZeroU32| hash_of_user(hashing, users, user);
            self.by_user.insert_unique(hash, user, hash_of);
            user
        });
        let last = found.and_then(|user| {
            let user = self.users.get_mut(user)?;
            Some(std::mem::replace(&mut user.last, number))
        });
        if let Some(last) = last.and_then(|last| self.tabs.get_mut(last)) {
            last.of_user.next = Some(number);
        }
        if let Some(tab) = self.tabs.get_mut(number) {
            tab.user = Some(user);
            tab.of_user = Neighbours {
                previous: last,
                next: None,
            };
        }
    }

    /// Takes a tab out of its user's chain, and the user away if it was the last.
    fn leave_user(&mut self, number: TabNumber) {
        let Some(tab) = self.tabs.get_mut(number) else {
            return;
        };
        let neighbours = std::mem::take(&mut tab.of_user);
        let Some(user) = tab.user.take() else {
            return;
        };
        self.join_neighbours(neighbours, |tab| &mut tab.of_user);
        let Neighbours { previous, next } = neighbours;
        match (previous, next, self.users.get_mut(user)) {
            (None, None, _) => self.forget_user(user),
            (None, Some(next), Some(user)) => user.first = next,
            (Some(previous), None, Some(user)) => user.last = previous,
            (Some(_), Some(_), Some(_)) | (_, _, None) => {}
        }
    }

    fn forget_user(&mut self, user: NonZeroU32) {
        let Self { users, hashing, .. } = self;
        let hash_of = |&user: &NonZeroU32| hash_of_user(hashing, users, user);
        if let Ok(entry) = self
            .by_user
            .find_entry(hash_of(&user), |&held| held == user)
        {
            entry.remove();
            shrink(&mut self.by_user, hash_of);
        }
        self.users.remove(user);
    }

    /// Puts a tab in front of the others of its session: in which order they are closed does not
    /// matter.
    fn join_session(&mut self, number: TabNumber) {
        let Some(session) = self.session(number) else {
            return;
        };
        let first = self.find_session(session);
        if let Some(first) = first.and_then(|first| self.tabs.get_mut(first)) {
            first.of_session.previous = Some(number);
        }
        if let Some(tab) = self.tabs.get_mut(number) {
            tab.of_session.next = first;
        }
        self.set_first_of_session(session, first, Some(number));
    }

    fn leave_session(&mut self, number: TabNumber) {
        let Some(session) = self.session(number) else {
            return;
        };
        let Some(tab) = self.tabs.get_mut(number) else {
            return;
        };
        let neighbours = std::mem::take(&mut tab.of_session);
        if neighbours.previous.is_none() {
            self.set_first_of_session(session, Some(number), neighbours.next);
        }
        self.join_neighbours(neighbours, |tab| &mut tab.of_session);
    }

    /// Has the index name another first tab; `None`: none.
    fn set_first_of_session(
        &mut self,
        session: SessionDigest,
        before: Option<TabNumber>,
        first: Option<TabNumber>,
    ) {
        let Self { tabs, hashing, .. } = self;
        let hash_of = |&number: &TabNumber| hash_of_session(hashing, tabs, number);
        let hash = hashing.hash_one(session);
        match (before, first) {
            (None, Some(first)) => {
                self.by_session.insert_unique(hash, first, hash_of);
            }
            (Some(before), Some(first)) => {
                if let Some(held) = self.by_session.find_mut(hash, |&held| held == before) {
                    *held = first;
                }
            }
            (Some(before), None) => {
                if let Ok(entry) = self.by_session.find_entry(hash, |&held| held == before) {
                    entry.remove();
                    shrink(&mut self.by_session, hash_of);
                }
            }
            (None, None) => {}
        }
    }

    /// Joins what stood before and behind a tab that leaves a chain.
    fn join_neighbours(
        &mut self,
        Neighbours { previous, next }: Neighbours,
        chain: impl Fn(&mut Tab) -> &mut Neighbours,
    ) {
        if let Some(tab) = previous.and_then(|number| self.tabs.get_mut(number)) {
            chain(tab).next = next;
        }
        if let Some(tab) = next.and_then(|number| self.tabs.get_mut(number)) {
            chain(tab).previous = previous;
        }
    }
}

fn hash_of_user(hashing: &RandomState, users: &Numbered<User>, number: NonZeroU32) -> u64 {
    let user = users.get(number);
    user.map_or(0, |user| hashing.hash_one(user.id.as_str()))
}

fn hash_of_session(hashing: &RandomState, tabs: &Numbered<Tab>, number: TabNumber) -> u64 {
    let session = tabs.get(number).and_then(|tab| tab.session);
    session.map_or(0, |session| hashing.hash_one(session))
}
