//! The PROXY protocol: headers that come before everything else, and tell who is behind a proxy.

use std::fmt;
use std::io::{self, ErrorKind};

use log::{info, warn};

use super::link::Link;
use super::proxy_protocol::Forwarded;
use super::system::{Remote, Stream};
use crate::app::admission::trusted_proxies_value;
use crate::app::peer::{AddressSource, Peer};
use crate::app::trusted_proxies::TrustedProxies;
use crate::base::{LogLimiter, MonotonicTime};

/// Who may send such headers, and what is logged of those who do not.
#[derive(Debug, Default)]
pub struct ProxyHeaders {
    trusted: TrustedProxies,
    closed: LogLimiter,
}

/// What a read of a header has brought.
pub(super) enum HeaderRead {
    /// It is whole.
    Whole,
    /// Some of it has not come.
    Unfinished,
    /// It is none, or the connection is lost.
    Failed(io::Error),
}

impl ProxyHeaders {
    /// Believes these proxies.
    pub fn new(trusted: TrustedProxies) -> Self {
        Self {
            trusted,
            closed: LogLimiter::default(),
        }
    }

    /// Whether somebody may connect where a header is expected: only proxies may.
    pub(super) fn may_open(&mut self, remote: Remote, now: MonotonicTime) -> bool {
        let is_trusted = self.trusted.contains(remote.ip());
        if !is_trusted {
            let value = trusted_proxies_value(remote.ip());
            self.warn(
                now,
                format_args!(
                    "{remote} is no trusted proxy; if it is yours, set trustedProxies={value}"
                ),
            );
        }
        is_trusted
    }

    /// Reads on in the header of a connection.
    pub(super) fn read<S: Stream>(&mut self, link: &mut Link<S>, now: MonotonicTime) -> HeaderRead {
        let slot = link.id.slot;
        let proxy = link.peer.name();
        let Some((reader, transport)) = link.proxy_header() else {
            return HeaderRead::Whole;
        };
        match reader.read(transport.below()) {
            Ok(Forwarded::For(address)) => {
                info!("Socket #{slot} is {address}, forwarded by {proxy}");
                link.peer.ip = Some(address.ip().to_canonical());
            }
            Ok(Forwarded::ProxyUnidentified) => link.peer.source = AddressSource::Unknown,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return HeaderRead::Unfinished,
            Err(error) => {
                if error.kind() == ErrorKind::InvalidData {
                    self.warn(now, format_args!("{proxy} sends: {error}"));
                }
                return HeaderRead::Failed(error);
            }
        }
        link.end_proxy_header();
        HeaderRead::Whole
    }

    /// A connection timed out for want of a header.
    pub(super) fn warn_missing(&mut self, peer: Peer, now: MonotonicTime) {
        let proxy = peer.name();
        self.warn(now, format_args!("{proxy} sends no PROXY header"));
    }

    fn warn(&mut self, now: MonotonicTime, what: fmt::Arguments<'_>) {
        if let Some(count) = self.closed.count(now) {
            warn!("PROXY protocol: {count} connections closed, the last one since {what}");
        }
    }
}
