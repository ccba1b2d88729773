//! Listening sockets: endpoints → sockets, opened here or passed by the service manager.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::endpoint::{Endpoint, ListenAddress, ListenerOptions, SocketFile, is_localhost};
use super::socket::ListenSocket;
use super::socket_file::{self, Cleanup};
use crate::ops::inherited::{FileOwner, Inherited};

/// A listening socket, and what holds for those who come.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: ListenSocket,
    pub(super) options: ListenerOptions,
    /// For the log: scheme and address, or the file.
    pub(super) name: String,
}

/// Why an endpoint cannot be listened on.
#[derive(Debug)]
pub enum BindError {
    /// The host's name has no address.
    Unresolved(String, io::Error),
    /// The system refused the address.
    Refused(SocketAddr, io::Error),
    /// The file cannot be made.
    File(PathBuf, io::Error),
    /// The service manager has passed a socket that no endpoint stands for.
    Unclaimed(String),
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let in_use = "is in use: stop the program that listens there, or choose another";
        match self {
            Self::Unresolved(host, error) => write!(f, "host {host} is not known: {error}"),
            Self::Refused(address, error) if is_in_use(error) => {
                write!(f, "{address} {in_use} port")
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
            Self::File(path, error) if is_in_use(error) => {
                write!(f, "unix:{} {in_use} name", path.display())
            }
            Self::File(path, error) => write!(f, "unix:{}: {error}", path.display()),
            Self::Unclaimed(name) => write!(
                f,
                "the service manager passes a socket for {name}, which is not in the list"
            ),
        }
    }
}

impl std::error::Error for BindError {}

/// Opens the sockets of all endpoints, non-blocking; those that `inherited` holds are taken. What is
/// left of these comes back.
pub(super) fn bind(
    endpoints: &[Endpoint],
    inherited: Inherited,
    backlog: u32,
) -> Result<(Vec<Listener>, Inherited), BindError> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    let mut binder = Binder {
        endpoints,
        inherited,
        backlog,
    };
    let mut listeners = Vec::new();
    for endpoint in endpoints {
        match &endpoint.address {
            ListenAddress::Tcp { host, port } if is_localhost(host) => {
                for socket in binder.open_localhost(*port)? {
                    listeners.push(Listener::tcp(socket, endpoint.options));
                }
            }
            ListenAddress::Tcp { host, .. } => {
                let unresolved = |error| BindError::Unresolved(host.clone(), error);
                for address in endpoint.resolve().map_err(unresolved)? {
                    listeners.push(Listener::tcp(binder.open(address)?, endpoint.options));
                }
            }
            ListenAddress::Unix(file) => listeners.push(Listener {
                socket: binder.open_file(file)?,
                options: endpoint.options,
                name: endpoint.address.to_string(),
            }),
        }
    }
    match binder.inherited.unclaimed_name() {
        Some(name) => Err(BindError::Unclaimed(name)),
        None => Ok((listeners, binder.inherited)),
    }
}

impl Listener {
    fn tcp(socket: TcpListener, options: ListenerOptions) -> Self {
        let scheme = options.security.scheme();
        let name = match socket.local_addr() {
            Ok(address) => format!("{scheme}://{address}"),
            Err(error) => format!("{scheme}: {error}"),
        };
        Self {
            socket: ListenSocket::Tcp(socket),
            options,
            name,
        }
    }
}

/// Whether `address` could be listened on now.
///
/// # Errors
/// What would stop the start.
pub fn try_listen(address: SocketAddr) -> Result<(), BindError> {
    let mut binder = Binder {
        endpoints: &[],
        inherited: Inherited::default(),
        backlog: 1,
    };
    binder.open(address).map(drop)
}

struct Binder<'a> {
    endpoints: &'a [Endpoint],
    inherited: Inherited,
    backlog: i32,
}

impl Binder<'_> {
    /// Both loopback addresses on the same port, since browsers try both; a machine without IPv6
    /// gets the other one alone, with a warning.
    fn open_localhost(&mut self, port: u16) -> Result<Vec<TcpListener>, BindError> {
        let v4 = self.open(([127, 0, 0, 1], port).into())?;
        let port = v4.local_addr().map_or(port, |address| address.port());
        match self.open(([0, 0, 0, 0, 0, 0, 0, 1], port).into()) {
            Ok(v6) => Ok(vec![v4, v6]),
            Err(BindError::Refused(address, error)) if !is_in_use(&error) => {
                log::warn!("localhost is served on 127.0.0.1 only; no {address} here: {error}");
                Ok(vec![v4])
            }
            Err(error) => Err(error),
        }
    }

    fn open(&mut self, address: SocketAddr) -> Result<TcpListener, BindError> {
        let refused = |error| BindError::Refused(address, error);
        let socket = match self.inherited.take_tcp(address) {
            Some(socket) => socket.set_nonblocking(true).map(|()| socket),
            None => self.listen(address),
        }
        .map_err(refused)?;
        // Who is accepted has it from here, which saves a call for each.
        SockRef::from(&socket)
            .set_tcp_nodelay(true)
            .map_err(refused)?;
        Ok(TcpListener::from_std(socket))
    }

    fn listen(&self, address: SocketAddr) -> io::Result<std::net::TcpListener> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(!self.is_dual(address))?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(self.backlog)?;
        Ok(socket.into())
    }

    /// `[::]` means IPv6 and IPv4 alike, whatever the system's default is, unless 0.0.0.0 is listed
    /// with the same port; other addresses are one family anyway.
    fn is_dual(&self, address: SocketAddr) -> bool {
        let has_v4 = self
            .endpoints
            .iter()
            .any(|endpoint| match &endpoint.address {
                ListenAddress::Tcp { host, port } => host == "0.0.0.0" && *port == address.port(),
                ListenAddress::Unix(_) => false,
            });
        address.ip().is_unspecified() && !(has_v4 && address.port() != 0)
    }

    fn open_file(&mut self, file: &SocketFile) -> Result<ListenSocket, BindError> {
        let failed = |error| BindError::File(file.path.clone(), error);
        if let Some((socket, owner)) = self.inherited.take_unix(&file.path) {
            socket.set_nonblocking(true).map_err(failed)?;
            let cleanup = match owner {
                FileOwner::Server => Some(Cleanup::later(&file.path).map_err(failed)?),
                FileOwner::Other => None,
            };
            return Ok(ListenSocket::Unix(UnixListener::from_std(socket), cleanup));
        }
        let (socket, cleanup) = socket_file::open(file, self.backlog).map_err(failed)?;
        Ok(ListenSocket::Unix(socket, Some(cleanup)))
    }
}

fn is_in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

#[cfg(test)]
mod tests {
    use super::{Binder, Inherited};

    #[test]
    fn who_is_accepted_sends_small_frames_at_once() {
        let mut binder = Binder {
            endpoints: &[],
            inherited: Inherited::default(),
            backlog: 1,
        };
        let listener = binder.open(([127, 0, 0, 1], 0).into()).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // The listener does not block.
        let accepted = std::iter::repeat_with(|| listener.accept()).find_map(Result::ok);
        assert!(accepted.unwrap().0.nodelay().unwrap());
    }
}
