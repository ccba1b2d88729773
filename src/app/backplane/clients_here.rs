//! The clients of this node: by which channels others reach them.

use std::time::Duration;

use log::debug;

use super::backplane::{Backplane, ClientPlace, OpenClient};
use super::channel::{node_of, with_node};
use super::clock::micros;
use super::published::QUEUE_TIME;
use crate::base::MonotonicTime;
use crate::connection::ConnId;
use crate::protocol::packet::Ident;
use crate::registry::{ClientKind, ClientUuid, Clients};

impl Backplane {
    /// The uuid of a newcomer: it says where the client is.
    pub(crate) fn stamp(&self, uuid: u128, now: MonotonicTime) -> u128 {
        with_node(uuid, self.claim.number_for_newcomers(now))
    }

    /// A client has come, or has opened before and comes from another process. `number`: of the last
    /// message that is kept.
    pub(crate) fn enter(
        &mut self,
        id: ConnId,
        clients: &Clients,
        (opened_at, number): (MonotonicTime, u64),
    ) {
        if !self.is_subscribed {
            self.deaf_since.get_or_insert(opened_at);
        }
        let uuid = clients.uuid(id);
        let is_web = clients.kind(id) == Some(ClientKind::Web);
        let uuid = uuid.filter(|uuid| is_web && !self.leads_here(uuid));
        let client = OpenClient {
            opened_at,
            is_by_name: uuid.is_some(),
            place: ClientPlace {
                number,
                origin_count: self.origins.count(),
            },
        };
        self.clients.insert(id, client);
        let name = uuid.map(|uuid| self.channels.of_name(&uuid.to_string()));
        let channels = name.into_iter().chain(self.channels_of(id, clients));
        channels.for_each(|channel| self.interest.want_since(channel, number));
    }

    /// A client goes, of whom the registry still knows; so long it may come back.
    pub(crate) fn leave(
        &mut self,
        id: ConnId,
        clients: &Clients,
        (now, stays): (MonotonicTime, Duration),
    ) {
        let Some(client) = self.clients.remove(&id) else {
            return;
        };
        let until = now + stays;
        if !stays.is_zero() {
            self.note_left(now);
        }
        let uuid = clients.uuid(id).filter(|_| client.is_by_name);
        let name = uuid.map(|uuid| self.channels.of_name(&uuid.to_string()));
        let channels = name.into_iter().chain(self.channels_of(id, clients));
        channels.for_each(|channel| self.interest.give_back(&channel, until));
    }

    /// Somebody was here before this process was, and may come back until then: what is said to it
    /// meanwhile is to be kept here.
    pub(crate) fn expect_back(&mut self, id: ConnId, clients: &Clients, until: MonotonicTime) {
        let is_web = clients.kind(id) == Some(ClientKind::Web);
        let uuid = clients.uuid(id);
        let uuid = uuid.filter(|uuid| is_web && !self.leads_here(uuid));
        let name = uuid.map(|uuid| self.channels.of_name(&uuid.to_string()));
        for channel in name.into_iter().chain(self.channels_of(id, clients)) {
            self.interest.want(channel.clone());
            self.interest.give_back(&channel, until);
        }
    }

    /// Nothing has been heard since then for those who may come back.
    pub(crate) fn note_deaf_since(&mut self, since: MonotonicTime) {
        let since = self.deaf_since.map_or(since, |before| before.min(since));
        self.deaf_since = Some(since);
    }

    /// For how long not all was heard that is for those who may come back; `None`: all was.
    pub(crate) fn deaf_for(&self, now: MonotonicTime) -> Option<Duration> {
        let since = self.deaf_since.map(|since| now - since);
        // Something is missing, of which they have not been told.
        let gap = self.gap_at.map(|_| QUEUE_TIME);
        since.max(gap)
    }

    /// For how long everything was heard that others have said to those who are here.
    pub(super) fn heard_for(&self, now: MonotonicTime) -> Duration {
        match self.had_deaf {
            true => now - self.connected_at,
            false => Duration::MAX,
        }
    }

    /// Whether everything that others have said until now to everybody, and to this user, was heard
    /// here.
    pub(super) fn has_heard_all(&self, user: Option<&str>, now: MonotonicTime) -> bool {
        let is_after_outage = self.outage_check.is_some() && self.counts.outages > 0;
        let hears = |user| self.interest.is_confirmed(&self.channels.of_user(user));
        let doubts = [
            (!self.is_connected(), "Redis is away"),
            (self.gap_at.is_some(), "something is missing"),
            (is_after_outage, "Redis was away"),
            // Of what is held it is not known yet whether it counts.
            (
                self.freshness.held_bytes() > 0,
                "a server has proven nothing",
            ),
            (
                self.peers.has_uncertain(self.heard_for(now), now),
                "a server has not told how far it is",
            ),
            (!user.is_none_or(hears), "its user is not heard yet"),
        ];
        let doubt = doubts.iter().find(|(is_so, _)| *is_so);
        if let Some((_, why)) = doubt {
            debug!("backplane: a tab cannot be given: {why}");
        }
        doubt.is_none()
    }

    /// Behind which number of what is kept here it is also heard what others say to this user;
    /// `None`: nobody of it is here, or has been lately.
    pub(crate) fn user_heard_from(&self, user: &str) -> Option<u64> {
        self.interest.heard_from(&self.channels.of_user(user))
    }

    /// Whether this uuid says that its client was at another node, of which this one has heard.
    pub(crate) fn leads_elsewhere(&self, uuid: &str) -> bool {
        match ClientUuid::from_text(uuid) {
            ClientUuid::Standard(bits) => self.peers.has_node(node_of(bits)),
            ClientUuid::Chosen(_) => false,
        }
    }

    /// A client has another uuid than before.
    pub(crate) fn rename(
        &mut self,
        id: ConnId,
        (before, after): (&ClientUuid, &ClientUuid),
        now: MonotonicTime,
    ) {
        let is_by_name = !self.leads_here(after);
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        if is_by_name {
            self.interest
                .want(self.channels.of_name(&after.to_string()));
        }
        if std::mem::replace(&mut client.is_by_name, is_by_name) {
            let name = self.channels.of_name(&before.to_string());
            self.interest.give_back(&name, now);
        }
    }

    /// The number has changed: whoever has a uuid of the old one is to be found by name.
    pub(crate) fn find_by_name(&mut self, clients: &Clients) {
        let number = self.claim.number();
        for (id, client) in &mut self.clients {
            let is_web = clients.kind(*id) == Some(ClientKind::Web);
            if let Some(uuid) = clients.uuid(*id).filter(|_| is_web && !client.is_by_name)
                && !leads_to(&uuid, number)
            {
                client.is_by_name = true;
                self.interest.want(self.channels.of_name(&uuid.to_string()));
            }
        }
    }

    /// This node has the number that its clients' uuids name.
    pub(super) fn find_by_number(&mut self, clients: &Clients, now: MonotonicTime) {
        let number = self.claim.number();
        for (id, client) in &mut self.clients {
            if let Some(uuid) = clients.uuid(*id).filter(|_| client.is_by_name)
                && leads_to(&uuid, number)
            {
                client.is_by_name = false;
                let name = self.channels.of_name(&uuid.to_string());
                self.interest.give_back(&name, now);
            }
        }
    }

    /// What is for this node by its number is to come here.
    pub(super) fn begin_to_listen(&mut self) {
        let number = self.claim.number();
        self.interest.want(self.channels.of_node(number));
    }

    pub(super) fn opened_at(&self, id: ConnId) -> Option<MonotonicTime> {
        self.clients.get(&id).map(|client| client.opened_at)
    }

    fn channels_of(&self, id: ConnId, clients: &Clients) -> impl Iterator<Item = Vec<u8>> + use<> {
        let ident = match clients.ident(id) {
            "" => Ident::None,
            ident => Ident::Text(ident.into()),
        };
        let user = clients.user(id);
        let user = user.map(|user| self.channels.of_user(user));
        user.into_iter().chain(self.channels.of_ident(&ident))
    }

    /// Whether this uuid says that its client is here.
    pub(super) fn leads_here(&self, uuid: &ClientUuid) -> bool {
        leads_to(uuid, self.claim.number())
    }

    /// When a client here has opened, as others are told: by the clock here, in microseconds.
    pub(super) fn found(&self, client: ConnId, now: MonotonicTime) -> u64 {
        micros(self.opened_at(client).unwrap_or(now))
    }
}

fn leads_to(uuid: &ClientUuid, number: u16) -> bool {
    match uuid {
        ClientUuid::Standard(bits) => number != 0 && node_of(*bits) == number,
        ClientUuid::Chosen(_) => false,
    }
}
