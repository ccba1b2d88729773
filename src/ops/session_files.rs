//! Files of PHP sessions: opened, tried to be locked, read and let go of, without ever waiting for
//! whoever else is at them.
//!
//! Only a disk that does not answer can hold this up, so that it is called on a helper thread.

use std::ffi::OsStr;
use std::fs::{File, Metadata, TryLockError};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::geteuid;

use crate::protocol::php_session::{SessionFile, SessionOutcome, StoredSession, Unreadable};

/// Reads the file of a session. `Debug`-level lines say what the system has answered; neither they
/// nor the outcome name the session.
pub fn read(file: &SessionFile) -> SessionOutcome {
    for _ in 0..MOST_ATTEMPTS {
        match attempt(file) {
            Ok(Attempt::Outcome(outcome)) => return outcome,
            Ok(Attempt::Replaced) => {}
            Err(error) => return error.into_outcome(),
        }
    }
    // It is replaced faster than it can be opened, so that somebody is at it.
    SessionOutcome::Unreadable(Unreadable::Io)
}

enum Attempt {
    Outcome(SessionOutcome),
    /// What was opened has no name any more: the session was ended, or another file has taken its
    /// place.
    Replaced,
}

fn attempt(file: &SessionFile) -> Result<Attempt, Failure> {
    let Some((folder, opened)) = open(file)? else {
        return Ok(Attempt::Outcome(SessionOutcome::Missing));
    };
    let opened = File::from(opened);
    let metadata = opened.metadata()?;
    check(&metadata, &folder, file.max_bytes)?;
    let lock = match opened.try_lock_shared() {
        Ok(()) => Lock::Taken,
        Err(TryLockError::WouldBlock) => Lock::HeldByScript,
        // A file system without locks. PHP goes on without them, too.
        Err(TryLockError::Error(error)) => {
            log::debug!("sessions are read without a lock: {error}");
            Lock::None
        }
    };
    let bytes = read_limited(&opened, file.max_bytes)?;
    // What it was when it was read; the lock has kept scripts from changing it meanwhile.
    let metadata = opened.metadata()?;
    if lock == Lock::Taken {
        // A script may wait for it. Closing would do it, too, but only after what follows.
        opened.unlock()?;
    }
    drop(opened);
    if metadata.nlink() == 0 {
        return Ok(Attempt::Replaced);
    }
    let stored = StoredSession {
        age: age(&metadata),
        bytes: Arc::from(bytes),
    };
    let is_being_written = match lock {
        Lock::Taken => false,
        Lock::HeldByScript => true,
        // Nothing tells a new session from one whose first script is still at it.
        Lock::None => stored.bytes.is_empty(),
    };
    Ok(Attempt::Outcome(match is_being_written {
        true => SessionOutcome::Locked(stored),
        false => SessionOutcome::Found(stored),
    }))
}

/// What has become of the attempt to lock a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lock {
    Taken,
    HeldByScript,
    None,
}

/// Opens a session's file, and the folder that it stands in. Step by step, so that no symbolic link
/// below the folder of all sessions leads out of it. `None`: there is no such session.
fn open(file: &SessionFile) -> Result<Option<(OwnedFd, OwnedFd)>, Failure> {
    let Some(names) = file.folder.names_of(&file.id) else {
        return Ok(None);
    };
    // To go through a folder takes no right to list it, which Debian's grants to nobody.
    let path_only = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut folder =
        open_at(AT_FDCWD, file.folder.path().as_os_str(), path_only).map_err(Failure::at_folder)?;
    let Some((name, folders)) = names.split_last() else {
        return Ok(None);
    };
    for name in folders {
        folder = match open_at(&folder, OsStr::new(name), path_only | OFlag::O_NOFOLLOW) {
            Ok(folder) => folder,
            Err(Errno::ENOENT) => return Ok(None),
            // With O_PATH the link itself is opened, which is no directory.
            Err(Errno::ENOTDIR) => return Err(Failure::Known(Unreadable::Symlink)),
            Err(errno) => return Err(errno.into()),
        };
    }
    // A FIFO must not have us wait for a writer, nor a file whose owner holds a lease on it.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    match open_at(&folder, OsStr::new(name), flags) {
        Ok(opened) => Ok(Some((folder, opened))),
        Err(Errno::ENOENT | Errno::ENAMETOOLONG) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn open_at(folder: impl AsFd + Copy, name: &OsStr, flags: OFlag) -> nix::Result<OwnedFd> {
    loop {
        match openat(folder, name, flags, Mode::empty()) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Whether what was opened may be read as a session.
fn check(metadata: &Metadata, folder: &OwnedFd, max_bytes: usize) -> Result<(), Failure> {
    if !metadata.is_file() {
        return Err(Failure::Known(Unreadable::NotAFile));
    }
    if metadata.len() > max_bytes as u64 {
        return Err(Failure::Known(Unreadable::TooLarge));
    }
    if !is_owner_trusted(metadata.uid(), geteuid().as_raw(), || {
        Ok(fstat(folder)?.st_mode)
    })? {
        return Err(Failure::Known(Unreadable::ForeignOwner));
    }
    Ok(())
}

/// In a folder in which everybody may write, as Debian's is, anybody can lay down a session that says
/// what they like. So PHP takes only files of its own user and of root there, unless it is root
/// itself, which has to take those of all pools.
///
/// In a folder in which not everybody may write, websock can be a member of a group to which PHP
/// gives its files, and they are those of another user.
fn is_owner_trusted(
    owner: u32,
    own: u32,
    folder_mode: impl FnOnce() -> io::Result<u32>,
) -> io::Result<bool> {
    if owner == ROOT || owner == own || own == ROOT {
        return Ok(true);
    }
    let everybody_writes = 0o002;
    Ok(folder_mode()? & everybody_writes == 0)
}

/// A file that grows meanwhile is noticed, too.
fn read_limited(file: &File, max_bytes: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let most = (max_bytes as u64).saturating_add(1);
    file.take(most).read_to_end(&mut bytes)?;
    if bytes.len() > max_bytes {
        return Err(Failure::Known(Unreadable::TooLarge));
    }
    Ok(bytes)
}

/// Since it was last changed, which PHP also does to what it leaves as it is (`lazy_write`).
fn age(metadata: &Metadata) -> Duration {
    let modified = metadata.modified();
    let age = modified.map(|modified| SystemTime::now().duration_since(modified));
    age.ok().and_then(Result::ok).unwrap_or_default()
}

/// Why a file was not read.
enum Failure {
    Known(Unreadable),
    System(io::Error),
}

impl Failure {
    /// For the folder of all sessions: that it is not there says nothing about any session.
    fn at_folder(errno: Errno) -> Self {
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => Self::Known(Unreadable::NoFolder),
            errno => errno.into(),
        }
    }

    fn into_outcome(self) -> SessionOutcome {
        SessionOutcome::Unreadable(match self {
            Self::Known(reason) => reason,
            Self::System(error) => {
                log::debug!("a session could not be read: {error}");
                Unreadable::Io
            }
        })
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EACCES | Errno::EPERM => Self::Known(Unreadable::Permission),
            Errno::ELOOP => Self::Known(Unreadable::Symlink),
            // A socket, and a device without a driver.
            Errno::ENXIO | Errno::ENODEV => Self::Known(Unreadable::NotAFile),
            errno => Self::System(errno.into()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

const ROOT: u32 = 0;

/// Who replaces a session does so once.
const MOST_ATTEMPTS: usize = 3;
