//! The way bytes take to the peer.

use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{SockRef, TcpKeepalive};

/// A connected socket.
#[derive(Debug)]
pub(super) enum Transport {
    /// TCP as it is.
    Plain(TcpStream),
}

impl Transport {
    /// Takes a fresh TCP connection. Small frames leave at once: TCP_NODELAY.
    pub(super) fn plain(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::Plain(stream))
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
        }
    }

    /// Writes the pieces in order, as many bytes as go.
    pub(super) fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, pieces) {
            (Self::Plain(stream), [piece]) => stream.write(piece),
            (Self::Plain(stream), pieces) => stream.write_vectored(pieces),
        }
    }

    /// Says that nothing more will be sent.
    pub(super) fn shutdown_write(&mut self) {
        match self {
            // An error means that the peer is gone, which the next read will tell.
            Self::Plain(stream) => drop(stream.shutdown(Shutdown::Write)),
        }
    }

    /// The address of ours that the peer has reached.
    pub(super) fn local_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Plain(stream) => stream
                .local_addr()
                .ok()
                .map(|address: SocketAddr| address.ip().to_canonical()),
        }
    }

    /// Lets the kernel find out whether a quiet peer is still there.
    pub(super) fn keep_alive(&self, idle: Duration) {
        let options = TcpKeepalive::new().with_time(idle);
        let result = match self {
            Self::Plain(stream) => SockRef::from(stream).set_tcp_keepalive(&options),
        };
        if let Err(error) = result {
            log::debug!("no TCP keepalive: {error}");
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Plain(stream) => stream,
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(self.source(), token, Interest::READABLE)
    }

    pub(super) fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        registry.reregister(self.source(), token, interest)
    }
}
