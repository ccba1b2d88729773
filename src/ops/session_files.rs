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
    match open(file)? {
        Some((folder, opened)) => read_opened(folder, File::from(opened), file.max_bytes),
        None => Ok(Attempt::Outcome(SessionOutcome::Missing)),
    }
}

/// Reads what was opened in `folder`.
fn read_opened(folder: OwnedFd, opened: File, max_bytes: usize) -> Result<Attempt, Failure> {
    check(&opened.metadata()?, &folder, max_bytes)?;
    let lock = match opened.try_lock_shared() {
        Ok(()) => Lock::Taken,
        Err(TryLockError::WouldBlock) => Lock::HeldByScript,
        // A file system without locks. PHP goes on without them, too.
        Err(TryLockError::Error(error)) => {
            log::debug!("sessions are read without a lock: {error}");
            Lock::None
        }
    };
    let bytes = read_limited(&opened, max_bytes)?;
    // What it was when it was read; the lock has kept scripts from changing it meanwhile.
    let metadata = opened.metadata()?;
    if lock == Lock::Taken {
        // A script may wait for it.
        opened.unlock()?;
    }
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;
    use std::time::Duration;

    use nix::unistd::mkfifo;

    use super::*;
    use crate::protocol::php_session::{SessionFolder, SessionId};

    /// A folder of its own, which goes with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("websock-sessions-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, id: &str) -> PathBuf {
            self.0.join(format!("sess_{id}"))
        }

        fn read(&self, id: &str) -> SessionOutcome {
            self.read_at(0, id)
        }

        fn read_at(&self, depth: usize, id: &str) -> SessionOutcome {
            let text = format!("{depth};{}", self.0.display());
            read(&SessionFile {
                folder: Arc::new(SessionFolder::parse(&text).unwrap()),
                id: SessionId::parse(id.as_bytes()).unwrap(),
                max_bytes: 1000,
            })
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[track_caller]
    fn found(outcome: SessionOutcome) -> Vec<u8> {
        match outcome {
            SessionOutcome::Found(stored) => stored.bytes.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn unreadable(outcome: SessionOutcome) -> Unreadable {
        match outcome {
            SessionOutcome::Unreadable(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    // protocol.md 8.2
    #[test]
    fn a_session_is_read_with_its_age() {
        let folder = Folder::new("age");
        assert_eq!(folder.read("a"), SessionOutcome::Missing);
        fs::write(folder.file("a"), "a|i:1;").unwrap();
        assert_eq!(found(folder.read("a")), b"a|i:1;");
        for (ago, at_least) in [(5000, 5000), (-5000, 0)] {
            let time = SystemTime::now();
            let offset = Duration::from_secs(i64::unsigned_abs(ago));
            let time = if ago > 0 {
                time - offset
            } else {
                time + offset
            };
            let file = File::options().write(true).open(folder.file("a")).unwrap();
            file.set_modified(time).unwrap();
            let SessionOutcome::Found(stored) = folder.read("a") else {
                panic!("it is there");
            };
            let range = Duration::from_secs(at_least)..Duration::from_secs(at_least + 1000);
            assert!(range.contains(&stored.age), "{:?}", stored.age);
        }
    }

    // protocol.md 8.2
    #[test]
    fn a_locked_session_is_not_waited_for() {
        let folder = Folder::new("locked");
        fs::write(folder.file("a"), "old|i:1;").unwrap();
        let script = File::options()
            .read(true)
            .write(true)
            .open(folder.file("a"))
            .unwrap();
        script.lock().unwrap();
        let SessionOutcome::Locked(stored) = folder.read("a") else {
            panic!("a script is at it");
        };
        assert_eq!(&*stored.bytes, b"old|i:1;");
        script.unlock().unwrap();
        assert_eq!(found(folder.read("a")), b"old|i:1;");
        // Nothing is left locked, so that the next script need not wait.
        script.try_lock().unwrap();
        drop(script);
        // Other readers are no scripts.
        let reader = File::open(folder.file("a")).unwrap();
        reader.lock_shared().unwrap();
        assert_eq!(found(folder.read("a")), b"old|i:1;");
    }

    // protocol.md 8.2
    #[test]
    fn what_is_no_file_is_not_read_and_not_waited_for() {
        let folder = Folder::new("kinds");
        fs::create_dir(folder.file("dir")).unwrap();
        mkfifo(&folder.file("fifo"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(folder.file("socket")).unwrap();
        for id in ["dir", "fifo", "socket"] {
            assert_eq!(unreadable(folder.read(id)), Unreadable::NotAFile, "{id}");
        }
        fs::write(folder.file("target"), "a|i:1;").unwrap();
        symlink(folder.file("target"), folder.file("link")).unwrap();
        symlink("/dev/zero", folder.file("device")).unwrap();
        symlink(folder.0.join("nothing"), folder.file("dangling")).unwrap();
        for id in ["link", "device", "dangling"] {
            assert_eq!(unreadable(folder.read(id)), Unreadable::Symlink, "{id}");
        }
    }

    // protocol.md 8.2
    #[test]
    fn a_session_that_is_too_large_is_not_read() {
        let folder = Folder::new("large");
        fs::write(folder.file("most"), [b'x'; 1000]).unwrap();
        assert_eq!(found(folder.read("most")).len(), 1000);
        fs::write(folder.file("more"), [b'x'; 1001]).unwrap();
        assert_eq!(unreadable(folder.read("more")), Unreadable::TooLarge);
        // A hundred megabytes that take no room.
        let file = File::create(folder.file("huge")).unwrap();
        file.set_len(100 << 20).unwrap();
        assert_eq!(unreadable(folder.read("huge")), Unreadable::TooLarge);
        let grown = File::open(folder.file("more")).unwrap();
        assert!(matches!(
            read_limited(&grown, 1000),
            Err(Failure::Known(Unreadable::TooLarge))
        ));
    }

    // protocol.md 8.2
    #[test]
    fn depth_leads_into_folders_but_not_out_of_them() {
        let folder = Folder::new("depth");
        fs::create_dir_all(folder.0.join("a/b")).unwrap();
        fs::write(folder.0.join("a/b/sess_abcd"), "a|i:1;").unwrap();
        assert_eq!(found(folder.read_at(2, "abcd")), b"a|i:1;");
        assert_eq!(folder.read_at(2, "abce"), SessionOutcome::Missing);
        assert_eq!(folder.read_at(2, "xy1"), SessionOutcome::Missing);
        assert_eq!(folder.read_at(2, "ab"), SessionOutcome::Missing);
        assert_eq!(folder.read_at(4, "abcd"), SessionOutcome::Missing);
        let outside = Folder::new("outside");
        fs::write(outside.file("z1"), "a|i:1;").unwrap();
        symlink(&outside.0, folder.0.join("z")).unwrap();
        assert_eq!(unreadable(folder.read_at(1, "z1")), Unreadable::Symlink);
        fs::write(folder.0.join("f"), "").unwrap();
        assert_eq!(unreadable(folder.read_at(1, "f1")), Unreadable::Symlink);
    }

    #[test]
    fn a_folder_that_is_not_there_says_nothing_about_its_sessions() {
        let folder = Folder::new("gone");
        fs::remove_dir(&folder.0).unwrap();
        assert_eq!(unreadable(folder.read("a")), Unreadable::NoFolder);
        fs::write(&folder.0, "").unwrap();
        assert_eq!(unreadable(folder.read("a")), Unreadable::NoFolder);
        fs::remove_file(&folder.0).unwrap();
    }

    #[test]
    fn what_the_system_answers_is_told_apart() {
        for (errno, expected) in [
            (Errno::EACCES, Unreadable::Permission),
            (Errno::EPERM, Unreadable::Permission),
            (Errno::ELOOP, Unreadable::Symlink),
            (Errno::ENXIO, Unreadable::NotAFile),
            (Errno::EIO, Unreadable::Io),
            (Errno::EMFILE, Unreadable::Io),
            (Errno::EWOULDBLOCK, Unreadable::Io),
        ] {
            let outcome = Failure::from(errno).into_outcome();
            assert_eq!(unreadable(outcome), expected, "{errno}");
        }
    }

    /// Debian's folder can be entered by all, and listed by nobody.
    #[test]
    fn a_folder_that_cannot_be_listed_is_enough() {
        let folder = Folder::new("unlisted");
        fs::write(folder.file("a"), "a|i:1;").unwrap();
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o1733)).unwrap();
        assert_eq!(found(folder.read("a")), b"a|i:1;");
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o700)).unwrap();
    }

    // protocol.md 8.2
    #[test]
    fn a_planted_session_of_another_user_is_not_believed() {
        let debian = || Ok(0o41_733);
        let private = || Ok(0o42_770);
        let (us, php, other) = (33, 33, 1000);
        assert!(is_owner_trusted(php, us, debian).unwrap());
        assert!(is_owner_trusted(ROOT, us, debian).unwrap());
        assert!(!is_owner_trusted(other, us, debian).unwrap());
        // A group of its own lets websock in, whatever its user.
        assert!(is_owner_trusted(php, other, private).unwrap());
        assert!(is_owner_trusted(other, ROOT, debian).unwrap());
    }

    /// What was opened and then ended by its script is a session no more, though it can be read.
    #[test]
    fn a_session_that_ends_while_it_is_read_is_gone() {
        let folder = Folder::new("ended");
        fs::write(folder.file("a"), "a|i:1;").unwrap();
        let file = |id: &[u8]| SessionFile {
            folder: Arc::new(SessionFolder::parse(folder.0.to_str().unwrap()).unwrap()),
            id: SessionId::parse(id).unwrap(),
            max_bytes: 1000,
        };
        let (directory, opened) = open(&file(b"a")).ok().flatten().unwrap();
        fs::remove_file(folder.file("a")).unwrap();
        let attempt = read_opened(directory, File::from(opened), 1000);
        assert!(matches!(attempt, Ok(Attempt::Replaced)));
        assert_eq!(folder.read("a"), SessionOutcome::Missing);
        // Another one in its place is read instead.
        fs::write(folder.file("b"), "b|i:1;").unwrap();
        let (directory, opened) = open(&file(b"b")).ok().flatten().unwrap();
        fs::write(folder.file("new"), "b|i:2;").unwrap();
        fs::rename(folder.file("new"), folder.file("b")).unwrap();
        let attempt = read_opened(directory, File::from(opened), 1000);
        assert!(matches!(attempt, Ok(Attempt::Replaced)));
        assert_eq!(found(folder.read("b")), b"b|i:2;");
    }
}
