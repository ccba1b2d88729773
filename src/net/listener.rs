//! Listening sockets: names → addresses → sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use mio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};

/// Where to listen, as the user has named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address, without brackets. `localhost` means 127.0.0.1 and ::1.
    pub host: String,
    /// Port; 0 lets the system choose one.
    pub port: u16,
    /// What is spoken there.
    pub security: Security,
}

/// What a listener speaks below HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TCP as it is: `ws://`.
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

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) security: Security,
}

/// Why an endpoint cannot be listened on.
#[derive(Debug)]
pub enum BindError {
    /// The host's name has no address.
    Unresolved(Endpoint, io::Error),
    /// The system refused the address.
    Refused(SocketAddr, io::Error),
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unresolved(endpoint, error) => {
                write!(f, "host {} is not known: {error}", endpoint.host)
            }
            Self::Refused(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "{address} is in use: stop the program that listens there, or choose another port"
                )
            }
            Self::Refused(address, error)
                if error.kind() == io::ErrorKind::PermissionDenied && address.port() < 1024 =>
            {
                write!(
                    f,
                    "{address}: {error}; ports below 1024 need root or CAP_NET_BIND_SERVICE"
                )
            }
            Self::Refused(address, error) => write!(f, "cannot listen on {address}: {error}"),
        }
    }
}

impl std::error::Error for BindError {}

/// Opens all sockets of one endpoint, non-blocking.
///
/// For `localhost` both loopback addresses are opened on the same port, since browsers try both; a
/// machine without IPv6 gets the other one alone, with a warning.
pub(super) fn bind(endpoint: &Endpoint, backlog: u32) -> Result<Vec<Listener>, BindError> {
    let security = endpoint.security;
    let listener = |socket| Listener { socket, security };
    Ok(open_all(endpoint, backlog)?
        .into_iter()
        .map(listener)
        .collect())
}

fn open_all(endpoint: &Endpoint, backlog: u32) -> Result<Vec<TcpListener>, BindError> {
    if !endpoint.host.eq_ignore_ascii_case("localhost") {
        return resolve(endpoint)?
            .into_iter()
            .map(|address| open(address, backlog))
            .collect();
    }
    let v4 = open((Ipv4Addr::LOCALHOST, endpoint.port).into(), backlog)?;
    let port = v4
        .local_addr()
        .map_or(endpoint.port, |address| address.port());
    match open((Ipv6Addr::LOCALHOST, port).into(), backlog) {
        Ok(v6) => Ok(vec![v4, v6]),
        Err(BindError::Refused(address, error)) if error.kind() != io::ErrorKind::AddrInUse => {
            log::warn!("localhost is served on 127.0.0.1 only; no {address} here: {error}");
            Ok(vec![v4])
        }
        Err(error) => Err(error),
    }
}

fn resolve(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, BindError> {
    if let Ok(ip) = endpoint.host.parse::<IpAddr>() {
        return Ok(vec![(ip, endpoint.port).into()]);
    }
    let found = (endpoint.host.as_str(), endpoint.port)
        .to_socket_addrs()
        .map_err(|error| BindError::Unresolved(endpoint.clone(), error))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

fn open(address: SocketAddr, backlog: u32) -> Result<TcpListener, BindError> {
    let refused = |error| BindError::Refused(address, error);
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )
    .map_err(refused)?;
    socket.set_reuse_address(true).map_err(refused)?;
    if address.is_ipv6() {
        // [::] means IPv6 and IPv4 alike, whatever the system's default is; other addresses are
        // one family anyway.
        socket
            .set_only_v6(!address.ip().is_unspecified())
            .map_err(refused)?;
    }
    socket.set_nonblocking(true).map_err(refused)?;
    socket.bind(&address.into()).map_err(refused)?;
    socket
        .listen(i32::try_from(backlog).unwrap_or(i32::MAX))
        .map_err(refused)?;
    Ok(TcpListener::from_std(socket.into()))
}
