//! Where a connection comes from, and how that is known.

use std::net::IpAddr;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address; `None` on a Unix socket.
    pub ip: Option<IpAddr>,
    /// How its address is known.
    pub source: AddressSource,
    /// Whom its listener is for.
    pub role: ListenerRole,
}

impl Peer {
    /// The peer of this socket, of which no proxy has told anything.
    pub const fn direct(ip: Option<IpAddr>, role: ListenerRole) -> Self {
        Self {
            ip,
            source: AddressSource::Known,
            role,
        }
    }

    /// Its address, for a log line.
    pub fn name(self) -> String {
        name_of(self.ip)
    }
}

/// An address for a log line; `None` is the peer of a Unix socket.
pub fn name_of(ip: Option<IpAddr>) -> String {
    ip.map_or_else(|| "a Unix socket".to_owned(), |ip| ip.to_string())
}

/// How the address of a [`Peer`] is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressSource {
    /// It is the socket's, or a trusted proxy has told it.
    Known,
    /// It is the socket's, but a proxy that is not trusted has forwarded the request, or somebody
    /// pretends so.
    Untrusted,
    /// It is that of a trusted proxy, which does not tell whom it has forwarded.
    Unknown,
}

/// Whom a listener is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListenerRole {
    /// Web clients and scripts.
    #[default]
    All,
    /// Web clients only.
    Web,
    /// Scripts only.
    Scripts,
    /// Nobody but who wants to know how the server does (`status`).
    Status,
}
