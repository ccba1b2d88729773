//! Listening sockets that are open already: those that the service manager has opened for us
//! (sd_listen_fds(3), `LISTEN_FDS` and `LISTEN_PID`), or those of the server that is taken over.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{SocketAddr as SocketAddress, UnixListener};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;

/// Those that were passed and not taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    tcp: Vec<TcpListener>,
    unix: Vec<(UnixListener, FileOwner)>,
    control: Option<OwnedFd>,
    origin: Origin,
}

/// Who has opened them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Origin {
    /// The service manager: each of them is wanted.
    #[default]
    Manager,
    /// The server that is taken over, whose list may be another.
    Predecessor,
}

/// Who removes the file of a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOwner {
    /// The server, at its end.
    Server,
    /// Somebody else.
    Other,
}

impl Inherited {
    /// Takes over what the environment tells of, and takes it out of the environment. To be called
    /// before any thread is started.
    ///
    /// # Errors
    /// A descriptor that is no listening TCP or Unix stream socket.
    pub fn from_environment() -> io::Result<Self> {
        let mut passed = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..passed.len().min(MAX_PASSED) {
            if let Ok(Some(socket)) = passed.take_tcp_listener(index) {
                inherited.tcp.push(socket);
            } else if let Some(socket) = passed.take_unix_listener(index)? {
                inherited.unix.push((socket, FileOwner::Other));
            }
        }
        Ok(inherited)
    }

    /// Adds a socket of the server that is taken over.
    pub fn succeed_tcp(&mut self, socket: TcpListener) {
        self.origin = Origin::Predecessor;
        self.tcp.push(socket);
    }

    /// Adds a Unix socket of the server that is taken over.
    pub fn succeed_unix(&mut self, socket: UnixListener, owner: FileOwner) {
        self.origin = Origin::Predecessor;
        self.unix.push((socket, owner));
    }

    /// Adds the socket where successors ask.
    pub fn succeed_control(&mut self, socket: OwnedFd) {
        self.origin = Origin::Predecessor;
        self.control = Some(socket);
    }

    /// The one that listens on `address`. Port 0 means any, so the one that the server had who is
    /// taken over.
    pub fn take_tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let takes_any_port = address.port() == 0 && self.origin == Origin::Predecessor;
        let is_it = |socket: &TcpListener| {
            let own = socket.local_addr();
            own.is_ok_and(|own| own == address || (takes_any_port && own.ip() == address.ip()))
        };
        let index = self.tcp.iter().position(is_it)?;
        Some(self.tcp.remove(index))
    }

    /// The one whose file is `path`, and who removes that.
    pub fn take_unix(&mut self, path: &Path) -> Option<(UnixListener, FileOwner)> {
        let is_it = |(socket, _): &(UnixListener, FileOwner)| {
            let own = socket.local_addr();
            own.is_ok_and(|own| own.as_pathname() == Some(path))
        };
        let index = self.unix.iter().position(is_it)?;
        Some(self.unix.swap_remove(index))
    }

    /// The socket where successors ask.
    pub fn take_control(&mut self) -> Option<OwnedFd> {
        self.control.take()
    }

    /// Files of sockets that nobody has taken, and that are to be removed.
    pub fn leftover_files(&self) -> Vec<PathBuf> {
        let owned = self
            .unix
            .iter()
            .filter(|(_, owner)| *owner == FileOwner::Server);
        let addresses = owned.filter_map(|(socket, _)| socket.local_addr().ok());
        let path = |address: SocketAddress| address.as_pathname().map(Path::to_owned);
        addresses.filter_map(path).collect()
    }

    /// What one of them listens on that the service manager has opened; `None` if all are taken.
    pub fn unclaimed_name(&self) -> Option<String> {
        match self.origin {
            Origin::Manager => self.first_name(),
            Origin::Predecessor => None,
        }
    }

    fn first_name(&self) -> Option<String> {
        let tcp = self.tcp.first().map(|socket| match socket.local_addr() {
            Ok(address) => address.to_string(),
            Err(error) => error.to_string(),
        });
        let unix = || {
            let address = self.unix.first()?.0.local_addr().ok();
            let path = address.as_ref().and_then(|address| address.as_pathname());
            Some(path.map_or_else(
                || "a nameless Unix socket".to_owned(),
                |path| format!("unix:{}", path.display()),
            ))
        };
        tcp.or_else(unix)
    }
}

/// More than any unit passes; the environment may say anything.
const MAX_PASSED: usize = 64;
