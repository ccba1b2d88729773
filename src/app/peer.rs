//! Where a connection comes from, and how that is known.

use std::net::IpAddr;

use crate::base::{BadRecord, Record, RecordWriter};

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

    /// Where it is, for [`take_over`](Self::take_over).
    pub fn hand_over(self) -> Vec<u8> {
        let mut record = RecordWriter::default();
        match self.ip {
            Some(IpAddr::V4(ip)) => record.put(IP, &ip.octets()),
            Some(IpAddr::V6(ip)) => record.put(IP, &ip.octets()),
            None => {}
        }
        record.put_number(SOURCE, self.source.number());
        record.put_number(ROLE, self.role.number());
        record.into_bytes()
    }

    /// Where another process has seen a peer.
    ///
    /// # Errors
    /// A record that is not understood.
    pub fn take_over(mut record: Record<'_>) -> Result<Self, BadRecord> {
        let ip = match record.take(IP) {
            None => None,
            Some(octets) => Some(ip_of(octets).ok_or(BadRecord::Value(IP))?),
        };
        let (source, role): (u64, u64) = (record.number(SOURCE)?, record.number(ROLE)?);
        record.end()?;
        let source = AddressSource::ALL
            .into_iter()
            .find(|s| s.number() == source);
        let role = ListenerRole::ALL.into_iter().find(|r| r.number() == role);
        Ok(Self {
            ip,
            source: source.ok_or(BadRecord::Value(SOURCE))?,
            role: role.ok_or(BadRecord::Value(ROLE))?,
        })
    }

    /// Its address, for a log line.
    pub fn name(self) -> String {
        name_of(self.ip)
    }
}

fn ip_of(octets: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(octets).map(IpAddr::from);
    v4().or_else(|_| v6()).ok()
}

const IP: u8 = 1;
const SOURCE: u8 = 2;
const ROLE: u8 = 3;

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

impl AddressSource {
    const ALL: [Self; 3] = [Self::Known, Self::Untrusted, Self::Unknown];

    /// How it is called where it is handed over.
    fn number(self) -> u64 {
        match self {
            Self::Known => 0,
            Self::Untrusted => 1,
            Self::Unknown => 2,
        }
    }
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

impl ListenerRole {
    const ALL: [Self; 4] = [Self::All, Self::Web, Self::Scripts, Self::Status];

    /// How it is called where it is handed over.
    fn number(self) -> u64 {
        match self {
            Self::All => 0,
            Self::Web => 1,
            Self::Scripts => 2,
            Self::Status => 3,
        }
    }
}
