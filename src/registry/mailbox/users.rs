//! Users whose messages are kept.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;

use hashbrown::HashTable;

use super::super::ident_index::shrink;
use super::super::identity::UserId;
use super::super::numbered::Numbered;
use super::log::Stream;

/// A user whose messages are kept.
#[derive(Debug)]
pub(super) struct UserStream {
    pub(super) user: UserId,
    /// Tabs that have opted in, connected or away.
    pub(super) tab_count: u32,
    pub(super) stream: Stream,
}

/// All of them.
#[derive(Default)]
pub(super) struct Users {
    all: Numbered<UserStream>,
    by_name: HashTable<NonZeroU32>,
    hashing: RandomState,
}

impl Users {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, number: NonZeroU32) -> Option<&UserStream> {
        self.all.get(number)
    }

    pub(super) fn get_mut(&mut self, number: NonZeroU32) -> Option<&mut UserStream> {
        self.all.get_mut(number)
    }

    pub(super) fn find(&self, user: &str) -> Option<NonZeroU32> {
        let is_it = |&number: &NonZeroU32| self.name(number) == user;
        let hash = self.hashing.hash_one(user);
        self.by_name.find(hash, is_it).copied()
    }

    /// The stream of a user; one from `floor` on if there was none.
    pub(super) fn find_or_add(&mut self, user: &UserId, floor: u64) -> NonZeroU32 {
        if let Some(number) = self.find(user.as_str()) {
            return number;
        }
        let number = self.all.insert(UserStream {
            user: user.clone(),
            tab_count: 0,
            stream: Stream::from_floor(floor),
        });
        let Self {
            all,
            by_name,
            hashing,
        } = self;
        let hash_of = |&number: &NonZeroU32| hash_of(hashing, all, number);
        by_name.insert_unique(hash_of(&number), number, hash_of);
        number
    }

    pub(super) fn remove(&mut self, number: NonZeroU32) {
        let Self {
            all,
            by_name,
            hashing,
        } = self;
        let hash_of = |&number: &NonZeroU32| hash_of(hashing, all, number);
        if let Ok(entry) = by_name.find_entry(hash_of(&number), |&held| held == number) {
            entry.remove();
            shrink(by_name, hash_of);
        }
        all.remove(number);
    }

    /// Their numbers.
    pub(super) fn numbers(&self) -> Vec<NonZeroU32> {
        self.by_name.iter().copied().collect()
    }

    fn name(&self, number: NonZeroU32) -> &str {
        self.all.get(number).map_or("", |user| user.user.as_str())
    }

    /// Bytes of memory held, but for messages.
    pub(super) fn held_bytes(&self) -> usize {
        self.all.len() * USER_BYTES
    }
}

fn hash_of(hashing: &RandomState, all: &Numbered<UserStream>, number: NonZeroU32) -> u64 {
    let user = all.get(number).map_or("", |user| user.user.as_str());
    hashing.hash_one(user)
}

/// What a user costs: the stream, and the way to it from the name.
const USER_BYTES: usize = size_of::<Option<UserStream>>() + 8;
