//! [`SessionFile`], which is to be read, and [`SessionOutcome`], what became of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::folder::SessionFolder;
use super::id::SessionId;

/// Longest content of a session that is read unless something else is set, in bytes.
pub const DEFAULT_MAX_SESSION_BYTES: usize = 1 << 20;

/// A session's file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionFile {
    /// Where it lies.
    pub folder: Arc<SessionFolder>,
    /// Whose it is.
    pub id: SessionId,
    /// Longest content that is read, in bytes; see [`DEFAULT_MAX_SESSION_BYTES`].
    pub max_bytes: usize,
}

/// What became of the attempt to read a session's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionOutcome {
    /// There is none: nobody has begun it, or it has been ended or swept away.
    Missing,
    /// A script is at it, and what it will write is not known yet. This is what could be read
    /// meanwhile: the state before, or, while the script writes, part of the new one.
    Locked(StoredSession),
    /// No script was at it.
    Found(StoredSession),
    /// It is not known what it holds.
    Unreadable(Unreadable),
}

impl SessionOutcome {
    /// Bytes of the session that it holds.
    pub fn byte_count(&self) -> usize {
        match self {
            Self::Found(stored) | Self::Locked(stored) => stored.bytes.len(),
            Self::Missing | Self::Unreadable(_) => 0,
        }
    }
}

/// What a store has for a session.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// Its content, as the serializer has written it.
    pub bytes: Arc<[u8]>,
    /// How long ago it was last used. Zero if that is in the future.
    pub age: Duration,
}

/// Why the content of a session's file cannot be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The folder of all sessions is not there.
    NoFolder,
    /// This process may not read it.
    Permission,
    /// It is a directory, a FIFO or something else that is no file.
    NotAFile,
    /// It, or a folder on the way to it, is a symbolic link. These are not followed.
    Symlink,
    /// It belongs to a user whose sessions PHP would not accept in this place either.
    ForeignOwner,
    /// It is longer than allowed.
    TooLarge,
    /// So many others wait to be read that it was not tried.
    Busy,
    /// The system has failed to read it.
    Io,
}

impl fmt::Debug for StoredSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSession")
            .field("len", &self.bytes.len())
            .field("age", &self.age)
            .finish()
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoFolder => {
                "the folder of the sessions is not there; it has to be session.save_path of \
                 php.ini"
            }
            Self::Permission => {
                "the sessions may not be read; run websock as the user of PHP, or let its group \
                 read them with session.save_path=\"0;0640;/path\" and a set-gid folder"
            }
            Self::NotAFile => "a session is no regular file; remove what stands in its place",
            Self::Symlink => {
                "a symbolic link stands in the place of a session or its folder, and is not \
                 followed; name the folder that it leads to"
            }
            Self::ForeignOwner => {
                "a session belongs to neither root nor the user of websock, in a folder in which \
                 anybody may write; run websock as the user of PHP"
            }
            Self::TooLarge => "a session is larger than is read; keep large data elsewhere",
            Self::Busy => {
                "too many sessions wait to be read; see whether the disk with their folder answers"
            }
            Self::Io => "a session could not be read; see the debug log for the system's reason",
        })
    }
}
