//! Where to listen and for whom, as the user has named it: names → addresses.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::app::peer::ListenerRole;
use crate::ops::names;

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub address: ListenAddress,
    /// What is spoken there.
    pub options: ListenerOptions,
}

/// What holds for all connections of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerOptions {
    /// What is spoken below HTTP.
    pub security: Security,
    /// Whom it is for.
    pub role: ListenerRole,
    /// What each connection begins with.
    pub proxy_protocol: ProxyProtocol,
}

/// What a connection begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Nothing besides what [`Security`] has it.
    #[default]
    None,
    /// A PROXY protocol header, version 1 or 2, by which a proxy tells whom it forwards.
    ProxyHeader,
}

/// An address, or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// TCP.
    Tcp {
        /// Host name or address, without brackets. `localhost` means 127.0.0.1 and ::1.
        host: String,
        /// Port; 0 lets the system choose one.
        port: u16,
    },
    /// A Unix socket.
    Unix(SocketFile),
}

/// A Unix socket in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketFile {
    /// Its name.
    pub path: PathBuf,
    /// Who may connect, as the file's permission bits.
    pub mode: u32,
    /// The group that the file is given to; `None`: that of the process.
    pub group: Option<String>,
}

/// What a listener speaks below HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// TCP as it is: `ws://`.
    #[default]
    Plain,
    /// TLS: `wss://`.
    Tls,
}

impl Security {
    /// The scheme of its addresses.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Plain => "ws",
            Self::Tls => "wss",
        }
    }

    /// The scheme of plain HTTP on its addresses.
    pub const fn http_scheme(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Tls => "https",
        }
    }
}

impl Endpoint {
    /// TCP for everybody, plain or with TLS. `localhost` is 127.0.0.1 and ::1.
    pub fn tcp(host: impl Into<String>, port: u16, security: Security) -> Self {
        let (host, role) = (host.into(), ListenerRole::All);
        Self {
            address: ListenAddress::Tcp { host, port },
            options: ListenerOptions {
                security,
                role,
                proxy_protocol: ProxyProtocol::None,
            },
        }
    }

    /// The host's name, if it is no file.
    pub fn host(&self) -> Option<&str> {
        match &self.address {
            ListenAddress::Tcp { host, .. } => Some(host),
            ListenAddress::Unix(_) => None,
        }
    }

    /// The socket addresses that this one stands for, without duplicates; none for a file.
    ///
    /// `localhost` is 127.0.0.1 and ::1, whatever the hosts file says: browsers try both. Other
    /// names are looked up, which can take as long as the system's resolver takes, and fail.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let ListenAddress::Tcp { host, port } = &self.address else {
            return Ok(Vec::new());
        };
        if is_localhost(host) {
            let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            return Ok(both.map(|ip| SocketAddr::new(ip, *port)).to_vec());
        }
        names::resolve(host, *port)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(file) => write!(f, "unix:{}", file.path.display()),
        }
    }
}

/// Whether both loopback addresses are meant.
pub(super) fn is_localhost(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
}
