//! A connected socket, TCP or Unix, and a listening one: what mio has two types for.

use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token, event};
use socket2::{Domain, SockRef, TcpKeepalive};

use super::socket_file::Cleanup;
use super::system::{Remote, Stream};
use crate::base::plain;
use crate::upstream::Address;

/// A connected socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A listening socket.
#[derive(Debug)]
pub(super) enum ListenSocket {
    Tcp(TcpListener),
    /// With what removes its file, unless that is another's.
    Unix(UnixListener, Option<Cleanup>),
}

impl Socket {
    /// Begins to connect.
    pub(super) fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(*address)?;
                // The end of a request must not wait until its beginning is acknowledged.
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            Address::Unix(path) => UnixStream::connect(path).map(Self::Unix),
        }
    }

    /// A connected socket that another process has handed over.
    pub(super) fn from_descriptor(descriptor: OwnedFd) -> io::Result<Self> {
        let is_unix = SockRef::from(&descriptor).domain()? == Domain::UNIX;
        Ok(if is_unix {
            let stream = std::os::unix::net::UnixStream::from(descriptor);
            stream.set_nonblocking(true)?;
            Self::Unix(UnixStream::from_std(stream))
        } else {
            let stream = std::net::TcpStream::from(descriptor);
            stream.set_nonblocking(true)?;
            Self::Tcp(TcpStream::from_std(stream))
        })
    }

    fn source(&mut self) -> &mut dyn event::Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Stream for Socket {
    fn local_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(stream) => Some(stream.local_addr().ok()?.ip().to_canonical()),
            Self::Unix(_) => None,
        }
    }

    fn shutdown_write(&self) {
        // An error means that the peer is gone, which the next read will tell.
        drop(match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        });
    }

    fn is_connected(&self) -> io::Result<bool> {
        let (error, peer) = match self {
            Self::Tcp(stream) => (stream.take_error()?, stream.peer_addr().map(drop)),
            Self::Unix(stream) => (stream.take_error()?, stream.peer_addr().map(drop)),
        };
        match (error, peer) {
            (Some(error), _) => Err(error),
            (None, Ok(())) => Ok(true),
            (None, Err(error)) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            (None, Err(error)) => Err(error),
        }
    }

    /// On this machine the kernel always knows.
    fn keep_alive(&self) {
        if let Self::Tcp(stream) = self
            && let Err(error) = watch_peer(SockRef::from(stream))
        {
            log::debug!("no TCP keepalive: {}", plain(&error));
        }
    }
}

/// Probes a quiet peer, and gives up one that does not acknowledge what it was sent.
fn watch_peer(socket: SockRef<'_>) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    // Without this, what was sent and not acknowledged is sent again for a quarter of an hour.
    socket.set_tcp_user_timeout(Some(KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_PROBES))
}

/// Silence after which the kernel asks a script's machine for a sign of life. A script whose network
/// has died keeps its ident until it is found out, which is to take less than a minute.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(20);

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

const KEEPALIVE_PROBES: u32 = 3;

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(pieces),
            Self::Unix(stream) => stream.write_vectored(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl event::Source for Socket {
    fn register(&mut self, r: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.source().register(r, token, interest)
    }

    fn reregister(&mut self, r: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.source().reregister(r, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }
}

impl ListenSocket {
    pub(super) fn accept(&self) -> io::Result<(Socket, Remote)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                // Small frames leave at once. On Linux they do so already: the listener has handed
                // the option on.
                if !cfg!(target_os = "linux") {
                    stream.set_nodelay(true)?;
                }
                Ok((Socket::Tcp(stream), Remote::Tcp(address)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                Ok((Socket::Unix(stream), Remote::Unix))
            }
        }
    }

    /// `None` for a Unix socket.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }

    pub(super) fn source(&mut self) -> &mut dyn event::Source {
        match self {
            Self::Tcp(listener) => listener,
            Self::Unix(listener, _) => listener,
        }
    }

    /// Another process listens there: the file stays when this one ends.
    pub(super) fn leave_file(&mut self) {
        if let Self::Unix(_, Some(cleanup)) = self {
            cleanup.disarm();
        }
    }

    /// The other way round.
    pub(super) fn claim_file(&mut self) {
        if let Self::Unix(_, Some(cleanup)) = self {
            cleanup.arm();
        }
    }
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener, _) => listener.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only connections that are watched: pages have pings of their own.
    #[test]
    fn a_watched_peer_whose_machine_is_gone_is_found_out_within_a_minute() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _peer = std::net::TcpStream::connect(address).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let socket = Socket::Tcp(TcpStream::from_std(stream));
        let Socket::Tcp(stream) = &socket else {
            unreachable!("it was made so");
        };
        let options = SockRef::from(stream);
        assert!(!options.keepalive().unwrap());
        assert_eq!(options.tcp_user_timeout().unwrap(), None);

        socket.keep_alive();
        assert!(options.keepalive().unwrap());
        let minute = Duration::from_secs(60);
        let probes =
            options.tcp_keepalive_interval().unwrap() * options.tcp_keepalive_retries().unwrap();
        // If it is silent, and if something that was sent to it is not acknowledged.
        assert!(options.tcp_keepalive_time().unwrap() + probes < minute);
        let unacknowledged = options.tcp_user_timeout().unwrap();
        assert!(unacknowledged.is_some_and(|time| time < minute));
    }

    #[test]
    fn a_unix_socket_needs_no_watch() {
        let (_near, far) = UnixStream::pair().unwrap();
        Socket::Unix(far).keep_alive();
    }
}
