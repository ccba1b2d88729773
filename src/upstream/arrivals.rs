//! What comes from outside: names, connections, bytes, ends, and the time.

use std::net::SocketAddr;

use super::error::{CallError, ConnectError, ResolveError};
use super::http::AfterAnswer;
use super::link::{AwaitedBy, History, LinkId, LinkState};
use super::settings::UpstreamContext;
use super::target::Address;
use super::upstream::Upstream;

impl Upstream {
    /// The name that [`Action::Resolve`](super::Action::Resolve) has given has these addresses, in
    /// the order in which they are to be tried.
    pub fn handle_resolved(
        &mut self,
        result: Result<Vec<SocketAddr>, ResolveError>,
        context: &mut UpstreamContext<'_>,
    ) {
        let tcp = |list: Vec<_>| {
            list.into_iter()
                .map(Address::Tcp)
                .take(MAX_ADDRESSES)
                .collect()
        };
        let result = result.map(tcp).map_err(CallError::from);
        self.counts.connect_failures += u64::from(result.is_err());
        self.route.handle_resolved(result, &self.settings, context);
        self.dispatch(context);
    }

    /// The connection is established, TLS included.
    pub fn handle_connected(&mut self, link: LinkId, context: &mut UpstreamContext<'_>) {
        let Some(at) = self.find(link) else {
            return;
        };
        let LinkState::Connecting(connecting) = &self.links[at].state else {
            return;
        };
        self.route.handle_success(&connecting.address);
        self.counts.connected += 1;
        self.keep(at, context.now);
        if let Some(waiting) = self.queue.next_for_fresh() {
            self.start(at, waiting.call, History::Fresh);
        }
        self.dispatch(context);
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
        if self.links[at].is_connecting() {
            self.try_next_address(at, error, context);
            self.dispatch(context);
        }
    }

    /// These bytes have come. All of them are taken.
    pub fn receive(&mut self, link: LinkId, mut input: &[u8], context: &mut UpstreamContext<'_>) {
        let Some(at) = self.find(link).filter(|_| !input.is_empty()) else {
            return;
        };
        match &mut self.links[at].state {
            LinkState::Connecting(_) => debug_assert!(false, "handle_connected comes first"),
            LinkState::Kept { .. } => {
                self.counts.unsolicited += 1;
                self.close(at);
            }
            // What comes before a request has left is no answer to it, but somebody else's.
            LinkState::Busy(exchange) if exchange.sent == 0 => {
                self.counts.unsolicited += 1;
                self.lose(at, CallError::Malformed);
            }
            LinkState::Busy(exchange) => match exchange.reader.push(&mut input) {
                Ok(None) => return,
                Ok(Some((response, after))) => {
                    let after = match input.is_empty() {
                        true => after,
                        false => AfterAnswer::Close,
                    };
                    self.counts.unsolicited += u64::from(!input.is_empty());
                    self.finish(at, response, after, context.now);
                }
                Err(error) => self.fail(at, error),
            },
        }
        self.dispatch(context);
    }

    /// The other end will send nothing more, and has said so: by closing and, under TLS, by its
    /// close_notify. An end without that is [`handle_lost`](Self::handle_lost): somebody between
    /// may have cut the answer.
    pub fn handle_eof(&mut self, link: LinkId, context: &mut UpstreamContext<'_>) {
        let Some(at) = self.find(link) else {
            return;
        };
        if let LinkState::Busy(exchange) = &mut self.links[at].state
            && let Some((response, _)) = exchange.reader.handle_eof()
        {
            self.finish(at, response, AfterAnswer::Close, context.now);
            self.dispatch(context);
        } else {
            self.handle_lost(link, context);
        }
    }

    /// The connection has ended by an error.
    pub fn handle_lost(&mut self, link: LinkId, context: &mut UpstreamContext<'_>) {
        let Some(at) = self.find(link) else {
            return;
        };
        match &self.links[at].state {
            LinkState::Connecting(_) => {
                self.try_next_address(at, ConnectError::Unreachable, context);
            }
            LinkState::Kept { .. } => self.close(at),
            LinkState::Busy(_) => self.lose(at, CallError::Closed),
        }
        self.dispatch(context);
    }

    /// Ends what has taken too long. Harmless if it comes too early.
    pub fn handle_timeout(&mut self, context: &mut UpstreamContext<'_>) {
        self.route.handle_timeout(&self.settings, context);
        // Each one that is due is given another deadline or removed.
        let now = context.now;
        while let Some(at) = self.links.iter().position(|link| link.deadline() <= now) {
            match &self.links[at].state {
                LinkState::Connecting(_) => {
                    self.try_next_address(at, ConnectError::Unreachable, context);
                }
                LinkState::Kept { .. } => self.close(at),
                LinkState::Busy(exchange) => match exchange.awaited_by {
                    AwaitedBy::Caller => {
                        let id = exchange.call.id;
                        self.answer(id, Err(CallError::Timeout));
                        self.abandon(at, now);
                    }
                    AwaitedBy::Nobody => self.close(at),
                },
            }
        }
        while let Some(waiting) = self.queue.next_expired(now) {
            self.answer(waiting.call.id, Err(self.why_not_sent()));
        }
        self.dispatch(context);
    }
}

/// Most addresses of a name that are tried: each takes a part of the time.
const MAX_ADDRESSES: usize = 8;
