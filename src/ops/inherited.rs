//! Sockets that the service manager has opened for us (sd_listen_fds(3)): `LISTEN_FDS` and
//! `LISTEN_PID`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;

/// Those that were passed and not taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    tcp: Vec<TcpListener>,
    unix: Vec<UnixListener>,
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
                inherited.unix.push(socket);
            }
        }
        Ok(inherited)
    }

    /// The one that listens on `address`.
    pub fn take_tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let is_it = |socket: &TcpListener| socket.local_addr().is_ok_and(|own| own == address);
        let index = self.tcp.iter().position(is_it)?;
        Some(self.tcp.swap_remove(index))
    }

    /// The one whose file is `path`.
    pub fn take_unix(&mut self, path: &Path) -> Option<UnixListener> {
        let is_it = |socket: &UnixListener| {
            let own = socket.local_addr();
            own.is_ok_and(|own| own.as_pathname() == Some(path))
        };
        let index = self.unix.iter().position(is_it)?;
        Some(self.unix.swap_remove(index))
    }

    /// What one of them listens on; `None` if all are taken.
    pub fn first_name(&self) -> Option<String> {
        let tcp = self.tcp.first().map(|socket| match socket.local_addr() {
            Ok(address) => address.to_string(),
            Err(error) => error.to_string(),
        });
        let unix = || {
            let address = self.unix.first()?.local_addr().ok();
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
