//! Connections that come through proxies: who is at the other end, and what is logged of it.

use std::net::IpAddr;

use log::{info, warn};

use super::server::Core;
use crate::app::admission::Peer;
use crate::connection::ConnId;
use crate::protocol::http::Request;

impl Core {
    /// Whose `request` is: the peer's, or of whom it was forwarded for.
    pub(super) fn locate(&mut self, id: ConnId, request: &Request<'_>) -> Peer {
        let peer = self.peer_of(id);
        self.app.locate(request, peer)
    }

    /// The connection is from here on that of `peer`, of whom a proxy has told.
    pub(super) fn settle_peer(&mut self, id: ConnId, peer: Peer) {
        let Some(entry) = self.table.get_mut(id) else {
            return;
        };
        if entry.peer.ip != peer.ip
            && let Some(ip) = peer.ip
        {
            let proxy = shown(entry.peer.ip);
            info!("Socket #{} is {ip}, forwarded by {proxy}", id.slot);
        }
        entry.peer = peer;
    }

    /// A script's request was refused because somebody has forwarded it who is not trusted.
    pub(super) fn tell_untrusted(&mut self, id: ConnId) {
        let ip = self.peer_of(id).ip;
        if let Some(count) = self.untrusted.count(self.now) {
            let (proxy, value) = (shown(ip), ip.map_or("unix".to_owned(), |ip| ip.to_string()));
            warn!(
                "{count} requests of scripts refused that {proxy} has forwarded; if this is your \
                 proxy, set trustedProxies={value}"
            );
        }
    }
}

fn shown(ip: Option<IpAddr>) -> String {
    ip.map_or_else(|| "a peer on a Unix socket".to_owned(), |ip| ip.to_string())
}
