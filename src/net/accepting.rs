//! Newcomers: taken at the listeners, given room, and entered in the table.

use log::{debug, info};

use super::acceptor::{ACCEPTS_PER_TURN, Accepted, NoRoom};
use super::endpoint::{ListenerOptions, ProxyProtocol, Security};
use super::event_loop::{EventLoop, WantsMemory};
use super::link::Link;
use super::pending_links::Activity;
use super::proxy_protocol::HeaderReader;
use super::system::{Remote, System};
use super::transport::Transport;
use crate::app::peer::Peer;
use crate::base::log_target::CONNECTIONS;
use crate::connection::Connection;

impl<Y: System> EventLoop<Y> {
    /// Accepts a turn's share of what waits at one listener.
    pub(super) fn accept(&mut self, index: usize) {
        if self.handover.is_pausing() {
            // They wait in the kernel for whoever serves then.
            return;
        }
        for _ in 0..ACCEPTS_PER_TURN {
            let now = self.context.now;
            let accepted = self
                .acceptor
                .accept(index, &mut self.system, now, &mut self.timers);
            match accepted {
                Accepted::Connection(stream, remote, options) => self.add(stream, remote, options),
                Accepted::Gone => {}
                Accepted::Nobody => return,
            }
        }
        self.acceptor.put_off();
    }

    pub(super) fn accept_again(&mut self) {
        self.acceptor
            .begin_again()
            .for_each(|index| self.accept(index));
    }

    fn add(&mut self, stream: Y::Stream, remote: Remote, options: ListenerOptions) {
        if let Some(no_room) = self.make_room(remote) {
            return self
                .acceptor
                .refuse(stream, remote, no_room, self.context.now);
        }
        let expects_header = options.proxy_protocol == ProxyProtocol::ProxyHeader;
        if expects_header && !self.proxy_headers.may_open(remote, self.context.now) {
            return;
        }
        let tls = match (options.security, self.certificates.config()) {
            (Security::Plain, _) => None,
            (Security::Tls, Some(config)) => Some(config),
            (Security::Tls, None) => return debug!("{remote} not taken: no certificate"),
        };
        let id = self.links.table.next_id();
        let slot = id.slot as usize;
        let transport = Transport::new(stream, tls).and_then(|mut transport| {
            self.system.watch(transport.below(), slot)?;
            Ok(transport)
        });
        let transport = match transport {
            Ok(transport) => transport,
            Err(error) => return debug!("{remote} not taken: {error}"),
        };
        self.counts.accepted_count += 1;
        info!(target: CONNECTIONS, "New client connecting from {remote} on socket #{slot}");
        let peer = Peer::direct(remote.ip(), options.role);
        let mut link = Link::new(id, Connection::new(&self.context), transport, peer);
        if expects_header {
            link.expect_proxy_header(HeaderReader::default());
        }
        self.links.table.insert(link);
        self.links.pending.set(id, peer.ip, Activity::Busy);
        self.links.rearm(slot, &self.context, &mut self.timers);
    }

    /// Sees to it that a newcomer can be taken; else why not.
    fn make_room(&mut self, remote: Remote) -> Option<NoRoom> {
        if self.is_memory_scarce() {
            self.wants_memory = WantsMemory::Yes;
            return Some(NoRoom::Memory);
        }
        if self.links.pending.len() < self.settings.max_pending {
            return None;
        }
        match self.links.pending.evict_for(remote.ip()) {
            Some(id) => {
                debug!("#{} has to go: maxPending reached", id.slot);
                self.links.abort(id.slot as usize);
                None
            }
            None => Some(NoRoom::Pending),
        }
    }
}
