//! Connections that come through proxies: who is at the other end, and what is logged of it.

use std::fmt;
use std::io::ErrorKind;
use std::net::IpAddr;

use log::{info, warn};

use super::endpoint::{ListenerOptions, ProxyProtocol};
use super::proxy_protocol::Forwarded;
use super::server::Core;
use super::socket::Remote;
use crate::app::peer::{AddressSource, Peer};
use crate::connection::ConnId;
use crate::protocol::error::Rejection;
use crate::protocol::http::Request;

impl Core {
    /// Whose `request` is: the peer's, or of whom it was forwarded for.
    pub(super) fn locate(&mut self, id: ConnId, request: &Request<'_>) -> Peer {
        let peer = self.peer_of(id);
        self.app.locate(request, peer)
    }

    /// Whether somebody may connect: where a PROXY header is expected, only proxies may.
    pub(super) fn may_open(&mut self, remote: Remote, options: ListenerOptions) -> bool {
        let is_fine = match options.proxy_protocol {
            ProxyProtocol::None => true,
            ProxyProtocol::ProxyHeader => {
                self.settings.policy.trusted_proxies.contains(remote.ip())
            }
        };
        if !is_fine {
            let value = value_of(remote.ip());
            self.warn_without_proxy_header(format_args!(
                "{remote} is no trusted proxy; if it is yours, set trustedProxies={value}"
            ));
        }
        is_fine
    }

    /// Reads on in the PROXY header, and behind it if it is whole.
    pub(super) fn read_proxy_header(&mut self, slot: usize) {
        let Some(link) = self.table.slot_mut(slot) else {
            return;
        };
        let Some((reader, transport)) = link.proxy_header() else {
            return;
        };
        match reader.read(transport.below()) {
            Ok(forwarded) => {
                link.end_proxy_header();
                self.take_forwarded(slot, forwarded);
                // The kernel does not tell again of what has come with it.
                self.put_on_backlog(slot);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => {
                if error.kind() == ErrorKind::InvalidData {
                    let value = shown(link.peer.ip);
                    self.warn_without_proxy_header(format_args!("{value} sends: {error}"));
                }
                self.lose(slot, &error);
            }
        }
    }

    fn take_forwarded(&mut self, slot: usize, forwarded: Forwarded) {
        let Some(link) = self.table.slot_mut(slot) else {
            return;
        };
        match forwarded {
            Forwarded::For(address) => {
                let proxy = shown(link.peer.ip);
                info!("Socket #{slot} is {address}, forwarded by {proxy}");
                link.peer.ip = Some(address.ip().to_canonical());
            }
            Forwarded::ProxyUnidentified => link.peer.source = AddressSource::Unknown,
        }
    }

    /// A connection timed out: whether for want of a PROXY header.
    pub(super) fn warn_missing_header(&mut self, id: ConnId, rejection: Rejection) {
        let link = self.table.get_mut(id);
        if rejection == Rejection::Timeout
            && let Some(link) = link.and_then(|link| link.proxy_header().is_some().then_some(link))
        {
            let proxy = shown(link.peer.ip);
            self.warn_without_proxy_header(format_args!("{proxy} sends no PROXY header"));
        }
    }

    fn warn_without_proxy_header(&mut self, what: fmt::Arguments<'_>) {
        if let Some(count) = self.without_proxy_header.count(self.now) {
            warn!("PROXY protocol: {count} connections closed, the last one since {what}");
        }
    }

    /// The connection is from here on that of `peer`, of whom a proxy has told.
    pub(super) fn store_peer(&mut self, id: ConnId, peer: Peer) {
        let Some(link) = self.table.get_mut(id) else {
            return;
        };
        if link.peer.ip != peer.ip
            && let Some(ip) = peer.ip
        {
            let proxy = shown(link.peer.ip);
            info!("Socket #{} is {ip}, forwarded by {proxy}", id.slot);
        }
        link.peer = peer;
    }

    /// A script's request was refused because somebody has forwarded it who is not trusted.
    pub(super) fn warn_untrusted(&mut self, id: ConnId) {
        let ip = self.peer_of(id).ip;
        if let Some(count) = self.untrusted.count(self.now) {
            let (proxy, value) = (shown(ip), value_of(ip));
            warn!(
                "{count} requests of scripts refused that {proxy} has forwarded; if this is your \
                 proxy, set trustedProxies={value}"
            );
        }
    }
}

/// As `trustedProxies` names it.
fn value_of(ip: Option<IpAddr>) -> String {
    ip.map_or_else(|| "unix".to_owned(), |ip| ip.to_string())
}

fn shown(ip: Option<IpAddr>) -> String {
    ip.map_or_else(|| "a peer on a Unix socket".to_owned(), |ip| ip.to_string())
}
