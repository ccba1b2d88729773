//! Asking Sentinels where the master is: the steps of a [`SentinelSearch`](super::sentinel_search).

use std::net::SocketAddr;

use super::action::Action;
use super::error::{CallError, ResolveError};
use super::link::{Attempt, Destination, LinkState};
use super::sentinel_search::{Lookup, Stage};
use super::settings::UpstreamContext;
use super::target::{Address, Place, literal_addresses};
use super::upstream::Upstream;

impl Upstream {
    /// Begins to ask, with the Sentinel that has known last.
    pub(super) fn begin_search(&mut self, context: &mut UpstreamContext<'_>) {
        self.search.tried = 0;
        self.search.first_error = None;
        self.try_sentinel(context);
    }

    /// The Sentinel whose turn it is, and how many there are.
    fn sentinel(&self) -> Option<((String, u16), usize)> {
        let Place::Sentinels { hosts, .. } = self.target.place() else {
            return None;
        };
        let count = hosts.len();
        let index = (self.search.first + self.search.tried) % count.max(1);
        hosts.get(index).cloned().map(|host| (host, count))
    }

    fn try_sentinel(&mut self, context: &mut UpstreamContext<'_>) {
        let Some(((host, port), _)) = self.sentinel() else {
            return;
        };
        let addresses = literal_addresses(&host);
        if addresses.is_empty() {
            self.search.stage = Stage::LookingUp;
            self.look_up(host, port);
        } else {
            let tcp = |ip| SocketAddr::new(ip, port);
            self.connect_to_sentinel(addresses.into_iter().map(tcp).collect(), context);
        }
    }

    fn look_up(&mut self, host: String, port: u16) {
        if self.search.lookup == Lookup::None {
            self.search.lookup = Lookup::Wanted;
            self.actions.push_back(Action::Resolve { host, port });
        }
    }

    fn connect_to_sentinel(
        &mut self,
        addresses: Vec<SocketAddr>,
        context: &mut UpstreamContext<'_>,
    ) {
        let Some(((host, _), count)) = self.sentinel() else {
            return;
        };
        self.search.stage = Stage::Asking;
        // One that never answers leaves time for the others.
        let share = self.settings.connect_timeout / u32::try_from(count).unwrap_or(u32::MAX);
        let attempt = Attempt {
            untried: addresses.into_iter().map(Address::Tcp).collect(),
            last_deadline: context.now + share,
            first_error: None,
            destination: Destination::Sentinel,
            server_name: self.target.is_encrypted().then_some(host),
        };
        self.begin_to_connect(attempt, context.now);
    }

    /// A name has been looked up for the search.
    pub(super) fn handle_search_resolved(
        &mut self,
        result: Result<Vec<SocketAddr>, ResolveError>,
        context: &mut UpstreamContext<'_>,
    ) {
        let lookup = std::mem::take(&mut self.search.lookup);
        match (self.search.stage, lookup) {
            (Stage::Idle | Stage::Asking, _) => {}
            // It was for another name; this one's turn comes now.
            (Stage::LookingUp, Lookup::GivenUp) => self.try_sentinel(context),
            (Stage::LookingUpMaster, Lookup::GivenUp) => {
                if let Some((host, port)) = self.search.master.clone() {
                    self.look_up(host, port);
                }
            }
            (Stage::LookingUp, Lookup::Wanted | Lookup::None) => match result {
                Ok(addresses) if !addresses.is_empty() => {
                    self.connect_to_sentinel(addresses, context);
                }
                Ok(_) | Err(_) => self.try_next_sentinel(CallError::Unresolved, context),
            },
            (Stage::LookingUpMaster, Lookup::Wanted | Lookup::None) => {
                self.search.stage = Stage::Idle;
                self.give_addresses(result.map_err(CallError::from), context);
            }
        }
    }

    /// This Sentinel does not help.
    pub(super) fn try_next_sentinel(
        &mut self,
        error: CallError,
        context: &mut UpstreamContext<'_>,
    ) {
        let first_error = *self.search.first_error.get_or_insert(error);
        self.search.tried += 1;
        match self.sentinel() {
            Some((_, count)) if self.search.tried < count => self.try_sentinel(context),
            Some(_) | None => {
                self.search.stage = Stage::Idle;
                self.give_addresses(Err(first_error), context);
            }
        }
    }

    /// A Sentinel has said where the master is.
    pub(super) fn handle_master(
        &mut self,
        (host, port): (String, u16),
        context: &mut UpstreamContext<'_>,
    ) {
        if let Some((_, count)) = self.sentinel() {
            self.search.first = (self.search.first + self.search.tried) % count;
            self.search.tried = 0;
        }
        let addresses = literal_addresses(&host);
        self.search.master = Some((host.clone(), port));
        if addresses.is_empty() {
            self.search.stage = Stage::LookingUpMaster;
            self.look_up(host, port);
        } else {
            self.search.stage = Stage::Idle;
            let tcp = |ip| SocketAddr::new(ip, port);
            self.give_addresses(Ok(addresses.into_iter().map(tcp).collect()), context);
        }
    }

    /// Ends a search that the route does not wait for any more.
    pub(super) fn end_search_in_vain(&mut self, context: &mut UpstreamContext<'_>) {
        if self.search.stage == Stage::Idle || self.route.is_resolving() {
            return;
        }
        self.search.stage = Stage::Idle;
        if self.search.lookup == Lookup::Wanted {
            self.search.lookup = Lookup::GivenUp;
        }
        // Whatever it waits for, it may ask anew.
        self.give_addresses(Err(CallError::Unresolved), context);
        let is_asking = |state: &LinkState| state.destination() == Destination::Sentinel;
        if let Some(at) = self.links.iter().position(|link| is_asking(&link.state)) {
            self.close(at);
        }
    }
}
