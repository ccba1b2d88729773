//! The part of the registry that knows who somebody is.

use super::{Clients, at, index};
use crate::connection::ConnId;
use crate::registry::identity::{Identity, Logout, SessionDigest};

impl Clients {
    /// Says who is at the other end of a client that is here; whether that is so now.
    ///
    /// May be said again: another session, or another user. But whoever has a user never becomes
    /// anonymous (protocol.md 8.6), and whoever was logged out stays so: then nothing changes.
    pub fn identify(&mut self, id: ConnId, identity: &Identity) -> bool {
        let Some(record) = self.record(id) else {
            return false;
        };
        match record.tab {
            None if identity.is_empty() => true,
            None => {
                let tab = self.users.insert(id.slot, identity);
                if let Some(record) = self.records.get_mut(index(id.slot)) {
                    record.tab = Some(tab);
                }
                true
            }
            Some(tab) => {
                let loses_user = self.users.user(tab).is_some() && identity.user.is_none();
                let is_possible = !loses_user && self.users.is_open(tab);
                if is_possible {
                    self.users.change(tab, identity);
                }
                is_possible
            }
        }
    }

    /// The client's user; `None`: it has none.
    pub fn user(&self, id: ConnId) -> Option<&str> {
        let tab = self.record(id)?.tab?;
        Some(self.users.user(tab)?.as_str())
    }

    /// The session by which the client has signed in.
    pub fn session(&self, id: ConnId) -> Option<SessionDigest> {
        self.users.session(self.record(id)?.tab?)
    }

    /// Whether the client is an open tab of this user.
    pub fn is_tab_of(&self, id: ConnId, user: &str) -> bool {
        let tab = self.record(id).and_then(|record| record.tab);
        tab.is_some_and(|tab| self.users.is_open(tab)) && self.user(id) == Some(user)
    }

    /// The client's connection has ended: it keeps its user until it is closed here, and is not
    /// found by it any more.
    pub fn end(&mut self, id: ConnId) {
        if let Some(tab) = self.record(id).and_then(|record| record.tab) {
            self.users.end(tab);
        }
    }

    /// A user's open tabs, first signed in first. Each step takes constant time.
    pub fn tabs_of(&self, user: &str) -> impl Iterator<Item = ConnId> {
        let to_id = |slot| {
            let generation = at(&self.records, slot)?.generation;
            Some(ConnId { slot, generation })
        };
        self.users.tabs_of(user).filter_map(to_id)
    }

    /// Number of users who have a tab.
    pub fn user_count(&self) -> usize {
        self.users.user_count()
    }

    /// Number of clients whose user or session is known.
    pub fn signed_in_count(&self) -> usize {
        self.users.tab_count()
    }

    /// Logs a user or a session out: its tabs, which are to be closed by the caller. They keep
    /// their user until they have gone, but are not found by it any more.
    ///
    /// Every logout comes by here, whoever asks for it.
    pub fn log_out(&mut self, logout: &Logout<'_>) -> Vec<ConnId> {
        if logout.is_empty() {
            return Vec::new();
        }
        self.logouts.note(logout);
        self.new_logouts.push(Logout {
            user: logout.user.to_string().into(),
            session: logout.session,
        });
        let slots = self.users.log_out(&logout.user, logout.session);
        let to_id = |slot| {
            let generation = at(&self.records, slot)?.generation;
            Some(ConnId { slot, generation })
        };
        slots.into_iter().filter_map(to_id).collect()
    }

    /// Whether somebody was logged out since [`take_logouts`](Self::take_logouts) was called.
    pub fn has_new_logouts(&self) -> bool {
        !self.new_logouts.is_empty()
    }

    /// Who was logged out since this was called last, for whoever keeps what was found out.
    pub fn take_logouts(&mut self) -> Vec<Logout<'static>> {
        std::mem::take(&mut self.new_logouts)
    }

    /// A number that changes with each logout: to be taken when one begins to find out who somebody
    /// is, or keeps what was found out.
    pub fn logout_stamp(&self) -> u64 {
        self.logouts.stamp()
    }

    /// Whether this user or session was logged out after `stamp` was taken: then what was found out
    /// does not count. A stamp that is older than the logouts that are kept counts as such, too.
    pub fn was_logged_out_since(&self, stamp: u64, identity: &Identity) -> bool {
        self.logouts.has_since(stamp, identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{ClientKind, ClientUuid, UserId};
    use proptest::prelude::*;

    fn id(slot: u32) -> ConnId {
        ConnId {
            slot,
            generation: 1,
        }
    }

    fn identity(user: &str, session: &str) -> Identity {
        Identity {
            user: UserId::new(user),
            session: (!session.is_empty()).then(|| SessionDigest::of(session)),
        }
    }

    fn logout(user: &'static str, session: &str) -> Logout<'static> {
        Logout {
            user: user.into(),
            session: identity("", session).session,
        }
    }

    fn open(clients: &mut Clients, slot: u32, user: &str, session: &str) {
        let uuid = ClientUuid::Standard(u128::from(slot));
        clients.open(id(slot), ClientKind::Web, uuid, "");
        assert!(clients.identify(id(slot), &identity(user, session)));
    }

    fn tabs_of(clients: &Clients, user: &str) -> Vec<u32> {
        clients.tabs_of(user).map(|id| id.slot).collect()
    }

    #[test]
    fn a_user_has_tabs_in_the_order_in_which_they_have_signed_in() {
        let mut clients = Clients::default();
        for (slot, user) in [(5, "42"), (1, "7"), (2, "42"), (9, "42"), (3, "")] {
            open(&mut clients, slot, user, "");
        }
        assert_eq!(tabs_of(&clients, "42"), [5, 2, 9]);
        assert_eq!(tabs_of(&clients, "7"), [1]);
        assert!(tabs_of(&clients, "042").is_empty());
        assert!(tabs_of(&clients, "").is_empty());
        assert_eq!(
            (clients.user(id(2)), clients.user(id(3))),
            (Some("42"), None)
        );
        assert_eq!((clients.user_count(), clients.signed_in_count()), (2, 4));
        for (slot, left) in [(2, &[5, 9][..]), (9, &[5]), (5, &[])] {
            clients.close(id(slot));
            assert_eq!(tabs_of(&clients, "42"), left);
        }
        assert_eq!((clients.user_count(), clients.signed_in_count()), (1, 1));
    }

    #[test]
    fn whoever_has_a_user_never_becomes_anonymous() {
        let mut clients = Clients::default();
        open(&mut clients, 1, "42", "a");
        assert!(!clients.identify(id(1), &Identity::default()));
        assert!(!clients.identify(id(1), &identity("", "b")));
        assert_eq!(clients.user(id(1)), Some("42"));
        assert_eq!(clients.session(id(1)), Some(SessionDigest::of("a")));

        open(&mut clients, 2, "", "s");
        assert!(clients.identify(id(2), &identity("42", "s")));
        assert!(clients.identify(id(1), &identity("7", "")));
        assert_eq!(
            (tabs_of(&clients, "42"), tabs_of(&clients, "7")),
            (vec![2], vec![1])
        );
        assert_eq!(clients.session(id(1)), None);
        assert!(
            !clients.identify(id(8), &identity("42", "")),
            "nobody is there"
        );
    }

    #[test]
    fn a_logout_by_user_or_session_names_each_open_tab_once() {
        let mut clients = Clients::default();
        let tabs = [
            ("42", "a"),
            ("42", "a"),
            ("42", "b"),
            ("7", "c"),
            ("", "d"),
            ("", ""),
        ];
        for (slot, (user, session)) in (0..).zip(tabs) {
            open(&mut clients, slot, user, session);
        }
        let mut logged_out = |user, session| {
            let ids = clients.log_out(&logout(user, session));
            let mut slots: Vec<u32> = ids.into_iter().map(|id| id.slot).collect();
            slots.sort_unstable();
            (slots, tabs_of(&clients, "42"))
        };
        assert_eq!(logged_out("", ""), (vec![], vec![0, 1, 2]));
        assert_eq!(logged_out("1", "x"), (vec![], vec![0, 1, 2]));
        assert_eq!(logged_out("", "a"), (vec![0, 1], vec![2]));
        assert_eq!(logged_out("42", "a"), (vec![2], vec![]));
        assert_eq!(logged_out("7", "d"), (vec![3, 4], vec![]));
        assert_eq!(logged_out("42", "b"), (vec![], vec![]));
        // Until it has gone it has its name; nothing brings it back.
        assert_eq!(clients.user(id(0)), Some("42"));
        assert!(!clients.identify(id(0), &identity("42", "new")));
        open(&mut clients, 9, "42", "a");
        assert_eq!(tabs_of(&clients, "42"), [9]);
        for slot in 0..5 {
            clients.close(id(slot));
        }
        assert_eq!(tabs_of(&clients, "42"), [9]);
        assert_eq!((clients.user_count(), clients.signed_in_count()), (1, 1));
    }

    #[test]
    fn a_sign_in_that_a_logout_has_overtaken_does_not_count() {
        let mut clients = Clients::default();
        let stamp = clients.logout_stamp();
        assert!(clients.log_out(&logout("42", "")).is_empty());
        assert!(clients.was_logged_out_since(stamp, &identity("42", "a")));
        assert!(!clients.was_logged_out_since(stamp, &identity("7", "a")));
        let stamp = clients.logout_stamp();
        assert!(!clients.was_logged_out_since(stamp, &identity("42", "a")));
    }

    #[test]
    fn whoever_is_anonymous_takes_no_memory_here() {
        let mut clients = Clients::default();
        for slot in 0..100 {
            open(&mut clients, slot, "", "");
        }
        assert_eq!(clients.signed_in_count(), 0);
        assert!(clients.users.is_unallocated());
    }

    /// The same by lists that are searched.
    #[derive(Default)]
    struct Model {
        /// Slot, user, session, whether it was logged out.
        tabs: Vec<(u32, &'static str, &'static str, bool)>,
    }

    #[derive(Clone, Debug)]
    enum Step {
        Open(u32, &'static str, &'static str),
        Identify(u32, &'static str, &'static str),
        Close(u32),
        LogOut(&'static str, &'static str),
    }

    const USERS: [&str; 4] = ["", "1", "2", "a name too long to stand in the table itself"];
    const SESSIONS: [&str; 3] = ["", "r", "s"];

    impl Model {
        fn put(&mut self, slot: u32, user: &'static str, session: &'static str) {
            let place = self.tabs.iter().position(|tab| tab.0 == slot);
            match place {
                Some(place) if self.tabs[place].1 == user => self.tabs[place].2 = session,
                Some(place) => {
                    self.tabs.remove(place);
                    self.tabs.push((slot, user, session, false));
                }
                None => self.tabs.push((slot, user, session, false)),
            }
        }

        fn tabs_of(&self, user: &str) -> Vec<u32> {
            let mut tabs = self.tabs.clone();
            tabs.retain(|tab| tab.1 == user && !user.is_empty() && !tab.3);
            tabs.into_iter().map(|tab| tab.0).collect()
        }

        fn log_out(&mut self, user: &str, session: &str) -> Vec<u32> {
            let is_meant = |tab: &&mut (u32, &str, &str, bool)| {
                let is_user = tab.1 == user && !user.is_empty();
                !tab.3 && (is_user || (tab.2 == session && !session.is_empty()))
            };
            let tabs = self.tabs.iter_mut().filter(is_meant);
            tabs.map(|tab| {
                tab.3 = true;
                tab.0
            })
            .collect()
        }
    }

    fn step() -> impl Strategy<Value = Step> {
        let who = || {
            let (user, session) = (0..USERS.len(), 0..SESSIONS.len());
            (user, session).prop_map(|(user, session)| (USERS[user], SESSIONS[session]))
        };
        let slot = || 0_u32..8;
        prop_oneof![
            3 => (slot(), who()).prop_map(|(slot, (user, session))| Step::Open(slot, user, session)),
            2 => (slot(), who())
                .prop_map(|(slot, (user, session))| Step::Identify(slot, user, session)),
            2 => slot().prop_map(Step::Close),
            1 => who().prop_map(|(user, session)| Step::LogOut(user, session)),
        ]
    }

    proptest! {
        #[test]
        fn users_and_sessions_agree_with_a_scan(steps in prop::collection::vec(step(), 0..80)) {
            let (mut clients, mut model) = (Clients::default(), Model::default());
            for step in steps {
                match step {
                    Step::Open(slot, user, session) => {
                        model.tabs.retain(|tab| tab.0 != slot);
                        open(&mut clients, slot, user, session);
                        model.put(slot, user, session);
                    }
                    Step::Identify(slot, user, session) => {
                        let before = model.tabs.iter().find(|tab| tab.0 == slot).copied();
                        let is_possible = before.is_some_and(|tab| {
                            !tab.3 && (tab.1.is_empty() || !user.is_empty())
                        });
                        let is_so = clients.identify(id(slot), &identity(user, session));
                        prop_assert_eq!(is_so, is_possible);
                        if is_possible {
                            model.put(slot, user, session);
                        }
                    }
                    Step::Close(slot) => {
                        model.tabs.retain(|tab| tab.0 != slot);
                        clients.close(id(slot));
                    }
                    Step::LogOut(user, session) => {
                        let mut expected = model.log_out(user, session);
                        let out = clients.log_out(&logout(user, session));
                        let mut out: Vec<u32> = out.into_iter().map(|id| id.slot).collect();
                        expected.sort_unstable();
                        out.sort_unstable();
                        prop_assert_eq!(out, expected);
                    }
                }
                for user in USERS {
                    prop_assert_eq!(tabs_of(&clients, user), model.tabs_of(user));
                }
                for (slot, user, ..) in &model.tabs {
                    prop_assert_eq!(clients.user(id(*slot)).unwrap_or(""), *user);
                }
                let users = USERS.iter().skip(1);
                let user_count = users.filter(|user| model.tabs.iter().any(|tab| tab.1 == **user));
                prop_assert_eq!(clients.user_count(), user_count.count());
            }
        }
    }
}
