//! What comes from outside: names, connections, bytes, ends, and the time.

use std::net::SocketAddr;

use super::action::Action;
use super::error::{CallError, ConnectError, ResolveError};
use super::link::{Destination, Introducing, Link, LinkId, LinkState};
use super::redis::{Introduction, Progress};
use super::settings::UpstreamContext;
use super::target::{Address, Place, Protocol};
use super::upstream::{Purpose, Upstream};
use super::wire::Wire;
use super::wire_context::{Fate, History, WireContext};
use super::{http, redis};
use crate::base::time::MonotonicTime;

impl Upstream {
    /// The name that [`Action::Resolve`](super::Action::Resolve) has given has these addresses, in
    /// the order in which they are to be tried.
    pub fn handle_resolved(
        &mut self,
        result: Result<Vec<SocketAddr>, ResolveError>,
        context: &mut UpstreamContext<'_>,
    ) {
        let few = |mut list: Vec<_>| {
            list.truncate(MAX_ADDRESSES);
            list
        };
        let result = result.map(few);
        self.counts.connect_failures += u64::from(result.is_err());
        match self.target.place() {
            Place::Sentinels { .. } => self.handle_search_resolved(result, context),
            Place::Tcp { .. } | Place::Unix(_) => {
                self.give_addresses(result.map_err(CallError::from), context);
            }
        }
        self.dispatch(context);
    }

    /// The route has what it has waited for.
    pub(super) fn give_addresses(
        &mut self,
        result: Result<Vec<SocketAddr>, CallError>,
        context: &mut UpstreamContext<'_>,
    ) {
        let addresses = result.map(|list| list.into_iter().map(Address::Tcp).collect());
        self.route
            .handle_resolved(addresses, &self.settings, context);
    }

    /// The connection is established, TLS included.
    pub fn handle_connected(&mut self, link: LinkId, context: &mut UpstreamContext<'_>) {
        let Some(at) = self.find(link) else {
            return;
        };
        let LinkState::Connecting(connecting) = &self.links[at].state else {
            return;
        };
        let address = connecting.address.clone();
        let destination = connecting.attempt.destination;
        match self.target.protocol() {
            Protocol::Http { .. } => {
                self.route.handle_success(&address);
                let until = context.now + self.settings.idle_timeout;
                self.open(at, Wire::Http(http::Wire::new(until)));
            }
            Protocol::Redis(login) => {
                let introduction = match (destination, self.target.place()) {
                    (Destination::Sentinel, Place::Sentinels { login, master, .. }) => {
                        Introduction::to_sentinel(login, master)
                    }
                    (_, Place::Sentinels { .. }) => Introduction::to_master(login),
                    (_, Place::Tcp { .. } | Place::Unix(_)) => Introduction::new(login),
                };
                let introducing = Introducing {
                    destination,
                    address,
                    deadline: connecting.attempt.last_deadline,
                    introduction,
                };
                self.links[at].state = LinkState::Introducing(Box::new(introducing));
                self.actions.push_back(Action::Write(link));
            }
        }
        self.dispatch(context);
    }

    /// The connection carries calls from now on.
    fn open(&mut self, at: usize, wire: Wire) {
        self.counts.connected += 1;
        self.links[at].state = LinkState::Open(wire);
        if let Some(waiting) = self.queue.next_for_fresh() {
            self.start(at, waiting, History::Fresh);
        }
    }

    fn open_redis(&mut self, at: usize, context: &mut UpstreamContext<'_>) {
        match self.purpose {
            Purpose::Calls => {
                let wire = redis::Wire::new(self.settings.upkeep, context.now);
                self.open(at, Wire::Redis(Box::new(wire)));
            }
            Purpose::Subscriptions => {
                self.subscriptions.handle_connected();
                let wire = redis::Subscriber::new(context.now);
                self.open(at, Wire::Subscriber(Box::new(wire)));
                self.serve(at, context, Wire::tell_changes);
            }
        }
    }

    /// The connection could not be established.
    pub fn handle_connect_failed(
        &mut self,
        link: LinkId,
        error: ConnectError,
        context: &mut UpstreamContext<'_>,
    ) {
        let Some(at) = self.find(link) else {
            return;
        };
        if let LinkState::Connecting(_) = &self.links[at].state {
            self.try_next_address(at, error, context);
            self.dispatch(context);
        }
    }

    /// These bytes have come. All of them are taken.
    pub fn receive(&mut self, link: LinkId, input: &[u8], context: &mut UpstreamContext<'_>) {
        let Some(at) = self.find(link).filter(|_| !input.is_empty()) else {
            return;
        };
        match &mut self.links[at].state {
            LinkState::Connecting(_) => debug_assert!(false, "handle_connected comes first"),
            LinkState::Introducing(introducing) => match introducing.introduction.receive(input) {
                Ok(Progress::Pending) => {}
                Ok(Progress::Master(host, port)) => {
                    self.close(at);
                    self.handle_master((host, port), context);
                }
                Ok(Progress::LetIn) => {
                    self.route.handle_established(&introducing.address);
                    self.open_redis(at, context);
                }
                Err(error) => self.turned_away(at, error, context),
            },
            LinkState::Open(_) => self.serve(at, context, |wire, own| wire.receive(input, own)),
        }
        self.dispatch(context);
    }

    /// The other end will send nothing more, and has said so: by closing and, under TLS, by its
    /// close_notify. An end without that is [`handle_lost`](Self::handle_lost): somebody between
    /// may have cut the answer.
    pub fn handle_eof(&mut self, link: LinkId, context: &mut UpstreamContext<'_>) {
        self.handle_end(link, context, Wire::handle_eof);
    }

    /// The connection has ended by an error.
    pub fn handle_lost(&mut self, link: LinkId, context: &mut UpstreamContext<'_>) {
        self.handle_end(link, context, |wire, _| wire.handle_lost());
    }

    fn handle_end(
        &mut self,
        link: LinkId,
        context: &mut UpstreamContext<'_>,
        tell: impl FnOnce(&mut Wire, &mut WireContext<'_>) -> Fate,
    ) {
        let Some(at) = self.find(link) else {
            return;
        };
        match &self.links[at].state {
            LinkState::Connecting(_) => {
                self.try_next_address(at, ConnectError::Unreachable, context);
            }
            LinkState::Introducing(_) => self.turned_away(at, CallError::Closed, context),
            LinkState::Open(_) => self.serve(at, context, tell),
        }
        self.dispatch(context);
    }

    /// Ends what has taken too long. Harmless if it comes too early.
    pub fn handle_timeout(&mut self, context: &mut UpstreamContext<'_>) {
        self.route.handle_timeout(&self.settings, context);
        self.end_search_in_vain(context);
        // Each one that is due is given another deadline or removed.
        let now = context.now;
        while let Some(at) = self.next_due(now) {
            match &self.links[at].state {
                LinkState::Connecting(_) => {
                    self.try_next_address(at, ConnectError::Unreachable, context);
                }
                LinkState::Introducing(_) => self.turned_away(at, CallError::Timeout, context),
                LinkState::Open(_) => self.serve(at, context, Wire::handle_timeout),
            }
        }
        while let Some(waiting) = self.queue.next_expired(now) {
            self.answer(waiting.call.id, Err(self.why_not_sent()));
        }
        self.dispatch(context);
    }

    fn next_due(&self, now: MonotonicTime) -> Option<usize> {
        let is_due = |link: &Link| link.deadline(&self.settings) <= now;
        self.links.iter().position(is_due)
    }
}

/// Most addresses of a name that are tried: each takes a part of the time.
const MAX_ADDRESSES: usize = 8;
