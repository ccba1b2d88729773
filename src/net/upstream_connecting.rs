//! How [`Upstreams`] opens connections: whom to trust first, then the socket and TLS on it.

use std::io;

use log::{debug, warn};
use rustls::pki_types::ServerName;

use super::system::{Stream, System};
use super::tls_client;
use super::tls_roots::RootsRead;
use super::upstream_link::{ClientTransport, EstablishError, UpstreamLink};
use super::upstreams::{Attempt, Machine, Turn, Upstreams};
use crate::upstream::{Address, ConnectError, LinkId, UpstreamId};

impl<S: Stream> Upstreams<S> {
    /// Opens a connection, now or when it is known whom to trust.
    pub(super) fn prepare<Y: System<Stream = S>>(
        &mut self,
        upstream: UpstreamId,
        link: LinkId,
        address: Address,
        server_name: Option<String>,
        turn: &mut Turn<'_, Y>,
    ) {
        let server_name = server_name.map(ServerName::try_from).transpose();
        let attempt = server_name.map(|server_name| Attempt {
            upstream,
            link,
            address,
            server_name,
        });
        let attempt = match attempt {
            Ok(attempt) => attempt,
            Err(error) => {
                let error = EstablishError::Tls(io::Error::other(error));
                return self.fail(upstream, link, &error, turn);
            }
        };
        let roots = self.roots_of(upstream);
        if attempt.server_name.is_none() || self.roots[roots].config().is_some() {
            return self.connect(attempt, turn);
        }
        match self.roots[roots].read() {
            Ok(()) => self.awaiting_roots.push(attempt),
            Err(error) => self.fail(upstream, link, &EstablishError::Connect(error), turn),
        }
    }

    fn connect<Y: System<Stream = S>>(&mut self, attempt: Attempt, turn: &mut Turn<'_, Y>) {
        let (upstream, link) = (attempt.upstream, attempt.link);
        let key = self.next_key;
        self.next_key += 1;
        let socket = turn.system.connect(&attempt.address, key);
        let transport = socket.map_err(EstablishError::Connect).and_then(|socket| {
            let roots = &self.roots[self.roots_of(upstream)];
            let tls = roots.config().zip(attempt.server_name);
            ClientTransport::new(socket, tls)
        });
        match transport {
            Ok(transport) => {
                let link = UpstreamLink::new(key, (upstream, link), transport);
                self.links.push(link);
            }
            Err(error) => self.fail(upstream, link, &error, turn),
        }
    }

    /// A connection could not be established.
    pub(super) fn fail<Y: System<Stream = S>>(
        &mut self,
        id: UpstreamId,
        link: LinkId,
        error: &EstablishError,
        turn: &mut Turn<'_, Y>,
    ) {
        if let Some(Machine { upstream, .. }) = self.machines.get(id.0) {
            let target = upstream.target();
            match error {
                EstablishError::Connect(error) => debug!("not connected to {target}: {error}"),
                EstablishError::Tls(error) => {
                    debug!("TLS with {target}: {error:?}");
                    if let Some(count) = self.tls_failures.count(turn.now) {
                        let reason = tls_client::reason_of(error);
                        warn!("TLS with {target} has failed ({count} times in all): {reason}");
                    }
                }
            }
        }
        let error = ConnectError::from(error);
        self.tell(id, turn, |upstream, context| {
            upstream.handle_connect_failed(link, error, context);
        });
    }

    /// Opens the connections that have waited for these roots.
    pub(super) fn go_on_with_roots<Y: System<Stream = S>>(
        &mut self,
        roots: usize,
        outcome: RootsRead,
        turn: &mut Turn<'_, Y>,
    ) {
        for attempt in std::mem::take(&mut self.awaiting_roots) {
            match outcome {
                _ if self.roots_of(attempt.upstream) != roots => self.awaiting_roots.push(attempt),
                RootsRead::Done => self.connect(attempt, turn),
                RootsRead::Failed => self.tell(attempt.upstream, turn, |upstream, context| {
                    let error = ConnectError::TlsFailed;
                    upstream.handle_connect_failed(attempt.link, error, context);
                }),
            }
        }
    }

    /// Whom a target trusts, among `roots`.
    fn roots_of(&self, id: UpstreamId) -> usize {
        self.machines.get(id.0).map_or(0, |machine| machine.roots)
    }
}
