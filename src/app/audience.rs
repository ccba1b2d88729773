//! Who is connected, as the status page shows it: grouped, cut to what a page can show, and found by
//! what the page asks for.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use super::report::LinkFigures;
use super::sessions::Sessions;
use crate::api::status::{Audience, ClientFigures, Filter, Group};
use crate::connection::ConnId;
use crate::registry::ClientKind;

/// `links` with what is known of them here.
pub(super) fn audience(links: &[LinkFigures], filter: &Filter, sessions: &Sessions) -> Audience {
    let mut addresses: Groups<Option<IpAddr>> = Groups::default();
    let mut users: Groups<&str> = Groups::default();
    let mut found = Vec::new();
    for link in links {
        let Some(kind) = sessions.clients().kind(link.id) else {
            continue;
        };
        let user = sessions.clients().user(link.id);
        addresses.add(link.ip, link.queued_bytes);
        if let Some(user) = user {
            users.add(user, link.queued_bytes);
        }
        if filter.takes(|| name_of(link.ip), user.unwrap_or_default()) {
            found.push((link, kind, user));
        }
    }
    let client_count = found.len();
    // Whoever has most waiting is most worth a look.
    if client_count > MAX_CLIENTS {
        found.select_nth_unstable_by_key(MAX_CLIENTS, |(link, ..)| Reverse(link.queued_bytes));
        found.truncate(MAX_CLIENTS);
    }
    found.sort_by_key(|(link, ..)| (Reverse(link.queued_bytes), link.id.slot));
    let client = |(link, kind, user): (&LinkFigures, ClientKind, Option<&str>)| ClientFigures {
        id: shown(link.id),
        kind: match kind {
            ClientKind::Web => "web",
            ClientKind::Php => "php",
        },
        address: name_of(link.ip),
        user: user.unwrap_or_default().to_owned(),
        uuid: beginning_of_uuid(link.id, sessions),
        queue_bytes: link.queued_bytes,
    };
    Audience {
        address_count: addresses.0.len(),
        addresses: addresses.largest(|ip| name_of(*ip)),
        user_count: users.0.len(),
        users: users.largest(|user| (*user).to_owned()),
        clients: found.into_iter().map(client).collect(),
        client_count,
    }
}

/// A connection's name for the page.
pub(super) fn shown(id: ConnId) -> String {
    format!("{}-{}", id.slot, id.generation)
}

/// The connection of that name.
pub(super) fn named(text: &str) -> Option<ConnId> {
    let (slot, generation) = text.split_once('-')?;
    Some(ConnId {
        slot: slot.parse().ok()?,
        generation: generation.parse().ok()?,
    })
}

/// How many there are and what waits for them.
struct Groups<K>(HashMap<K, (usize, usize)>);

impl<K> Default for Groups<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq> Groups<K> {
    fn add(&mut self, key: K, queued_bytes: usize) {
        let (count, bytes) = self.0.entry(key).or_default();
        *count += 1;
        *bytes += queued_bytes;
    }

    fn largest(&self, name: impl Fn(&K) -> String) -> Vec<Group> {
        let mut all: Vec<_> = self.0.iter().collect();
        if all.len() > MAX_GROUPS {
            all.select_nth_unstable_by_key(MAX_GROUPS, |(_, (count, _))| Reverse(*count));
            all.truncate(MAX_GROUPS);
        }
        let groups = all.into_iter().map(|(key, (count, queue_bytes))| Group {
            name: name(key),
            count: *count,
            queue_bytes: *queue_bytes,
        });
        let mut groups: Vec<_> = groups.collect();
        groups.sort_by(|one, other| (other.count, &one.name).cmp(&(one.count, &other.name)));
        groups
    }
}

fn name_of(ip: Option<IpAddr>) -> String {
    ip.map_or_else(|| "unix".to_owned(), |ip| ip.to_string())
}

fn beginning_of_uuid(id: ConnId, sessions: &Sessions) -> String {
    let uuid = sessions.clients().uuid(id).map(|uuid| uuid.to_string());
    let mut uuid = uuid.unwrap_or_default();
    uuid.truncate(uuid.floor_char_boundary(SHOWN_UUID_BYTES));
    uuid
}

/// Most addresses and most users that are listed.
const MAX_GROUPS: usize = 50;

/// Most clients that are listed one by one.
const MAX_CLIENTS: usize = 100;

/// So much of a uuid is found in the log, and sent to by nobody.
const SHOWN_UUID_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_connections_read_back() {
        let id = ConnId {
            slot: 7,
            generation: u32::MAX,
        };
        assert_eq!(named(&shown(id)), Some(id));
        for text in ["", "7", "7-", "-7", "7-8-9", "a-1", "4294967296-1"] {
            assert_eq!(named(text), None, "{text}");
        }
    }

    #[test]
    fn the_largest_groups_are_listed_first() {
        let mut groups = Groups::default();
        (0..200_usize).for_each(|n| (0..=n % 100).for_each(|_| groups.add(n, 1)));
        let largest = groups.largest(usize::to_string);
        assert_eq!(largest.len(), MAX_GROUPS);
        assert_eq!((&*largest[0].name, &*largest[1].name), ("199", "99"));
        assert_eq!((largest[0].count, largest[0].queue_bytes), (100, 100));
        assert!(largest.windows(2).all(|w| w[0].count >= w[1].count));
    }
}
