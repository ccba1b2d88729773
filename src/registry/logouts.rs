//! Who was logged out lately, so that nobody slips in who was still being asked about.
//!
//! A sign-in takes a while: a file, a question to a URL. The [`stamp`](Logouts::stamp) of its
//! beginning tells afterwards whether a logout has overtaken it. Logouts are kept by a hash of whom
//! they were for, the last [`MAX_KEPT`] of them. Whoever is asked about an older stamp, or shares a
//! hash by chance, counts as logged out: that costs one question more, and lets nobody in.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use super::identity::{Identity, Logout, SessionDigest};

/// Logouts that are remembered: far more than come while one sign-in is decided.
const MAX_KEPT: usize = 16_384;

/// The last logouts.
#[derive(Default)]
pub(super) struct Logouts {
    /// Logouts ever.
    count: u64,
    /// The number of the last logout of each user and session, by hash.
    last: HashMap<u64, u64>,
    /// The same in the order in which they came.
    order: VecDeque<(u64, u64)>,
    /// All logouts up to this number may have been forgotten.
    forgotten: u64,
    hashing: RandomState,
}

impl Logouts {
    /// Changes with each logout.
    pub(super) fn stamp(&self) -> u64 {
        self.count
    }

    /// Notes a logout.
    pub(super) fn note(&mut self, logout: &Logout<'_>) {
        self.count += 1;
        let user = Some(logout.user.as_ref()).filter(|user| !user.is_empty());
        for key in self.keys(user, logout.session) {
            self.last.insert(key, self.count);
            self.order.push_back((key, self.count));
        }
        while self.order.len() > MAX_KEPT {
            self.forget_first();
        }
    }

    /// Whether this user or session was logged out after `stamp` was taken.
    pub(super) fn has_since(&self, stamp: u64, identity: &Identity) -> bool {
        let user = identity.user.as_ref().map(|user| user.as_str());
        let mut keys = self.keys(user, identity.session);
        stamp < self.forgotten
            || keys.any(|key| self.last.get(&key).is_some_and(|&number| number > stamp))
    }

    fn forget_first(&mut self) {
        let Some((key, number)) = self.order.pop_front() else {
            return;
        };
        self.forgotten = number;
        if self.last.get(&key) == Some(&number) {
            self.last.remove(&key);
        }
    }

    fn keys(
        &self,
        user: Option<&str>,
        session: Option<SessionDigest>,
    ) -> impl Iterator<Item = u64> + use<> {
        let user = user.map(|user| self.hashing.hash_one(user));
        let session = session.map(|session| self.hashing.hash_one(session));
        user.into_iter().chain(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::UserId;

    fn user(name: &str) -> Identity {
        Identity {
            user: UserId::new(name),
            session: None,
        }
    }

    fn session(id: &str) -> Identity {
        Identity {
            user: UserId::new("42"),
            session: Some(SessionDigest::of(id)),
        }
    }

    fn of_user(name: &str) -> Logout<'_> {
        Logout {
            user: name.into(),
            session: None,
        }
    }

    fn of_session(id: &str) -> Logout<'static> {
        Logout {
            user: "".into(),
            session: Some(SessionDigest::of(id)),
        }
    }

    #[test]
    fn a_logout_counts_for_those_who_began_before_it() {
        let mut logouts = Logouts::default();
        let before = logouts.stamp();
        logouts.note(&of_user("42"));
        let between = logouts.stamp();
        logouts.note(&of_session("b"));
        let after = logouts.stamp();
        for (stamp, identity, expected) in [
            (before, user("42"), true),
            (before, session("a"), true),
            (before, user("4"), false),
            (before, Identity::default(), false),
            (between, user("42"), false),
            (between, session("a"), false),
            (between, session("b"), true),
            (after, session("b"), false),
        ] {
            let is_out = logouts.has_since(stamp, &identity);
            assert_eq!(is_out, expected, "{stamp} {identity:?}");
        }
    }

    #[test]
    fn a_stamp_from_before_what_is_kept_counts_as_logged_out() {
        let mut logouts = Logouts::default();
        logouts.note(&of_user("first"));
        let stamp = logouts.stamp();
        for number in 0..MAX_KEPT - 1 {
            logouts.note(&of_user(&number.to_string()));
        }
        assert!(!logouts.has_since(stamp, &user("anybody")));
        assert!(logouts.has_since(stamp - 1, &user("first")));
        logouts.note(&of_user("one more"));
        assert!(!logouts.has_since(stamp, &user("anybody")));
        assert!(logouts.has_since(stamp - 1, &user("anybody")));
        for _ in 0..2 * MAX_KEPT {
            logouts.note(&of_user("42"));
        }
        assert_eq!((logouts.last.len(), logouts.order.len()), (1, MAX_KEPT));
        assert!(!logouts.has_since(logouts.stamp(), &user("42")));
    }
}
