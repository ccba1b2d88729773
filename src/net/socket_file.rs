//! The file of a Unix socket: made with its mode and group before anybody can connect, and removed
//! at the end.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use mio::net::UnixListener;
use socket2::{Domain, SockAddr, Socket, Type};

use super::endpoint::SocketFile;
use crate::base::plain;
use crate::ops::names;

/// Removes the file when it is dropped, unless another has taken its place.
#[derive(Debug)]
pub(super) struct Cleanup {
    path: PathBuf,
    identity: (u64, u64),
    is_armed: bool,
}

impl Cleanup {
    /// Removes this file, as it is now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity(path)?,
            is_armed: true,
        })
    }

    /// The same, once it is [armed](Self::arm).
    pub(super) fn later(path: &Path) -> io::Result<Self> {
        let mut cleanup = Self::of(path)?;
        cleanup.disarm();
        Ok(cleanup)
    }

    /// Does not, unless it is [armed](Self::arm) again: another process needs it.
    pub(super) fn disarm(&mut self) {
        self.is_armed = false;
    }

    /// See [`disarm`](Self::disarm).
    pub(super) fn arm(&mut self) {
        self.is_armed = true;
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        if self.is_armed
            && identity(&self.path).is_ok_and(|now| now == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("{} is left behind: {}", self.path.display(), plain(&error));
        }
    }
}

/// Makes the file and listens. Who is quick finds a socket that refuses, never one with another
/// mode.
pub(super) fn open(file: &SocketFile, backlog: i32) -> io::Result<(UnixListener, Cleanup)> {
    remove_stale(&file.path, Type::STREAM)?;
    let gid = file.group.as_deref().map(group_id).transpose()?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(&file.path)?)?;
    let cleanup = Cleanup::of(&file.path)?;
    chown(&file.path, None, gid)?;
    fs::set_permissions(&file.path, fs::Permissions::from_mode(file.mode))?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok((UnixListener::from_std(socket.into()), cleanup))
}

/// A server that was killed leaves its file behind, on which nobody listens.
pub(super) fn remove_stale(path: &Path, kind: Type) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => return Err(io::Error::other("is there and is no socket")),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let connected = Socket::new(Domain::UNIX, kind, None)?;
    connected.set_nonblocking(true)?;
    match connected.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        // Who does not take us at once, or wants another kind of socket, listens as well.
        Ok(()) | Err(_) => Err(ErrorKind::AddrInUse.into()),
    }
}

fn group_id(name: &str) -> io::Result<u32> {
    names::group_id(name)?.ok_or_else(|| io::Error::other(format!("there is no group {name}")))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
