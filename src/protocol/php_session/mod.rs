//! PHP's sessions: what names one, where its file lies, and what became of a look at it.
//!
//! Nothing here opens a file. A session's id signs its owner in, so that neither it nor the
//! session's content is ever shown, not even by `Debug`.

mod folder;
mod id;
mod outcome;

pub use self::folder::{FolderError, SessionFolder};
pub use self::id::SessionId;
pub use self::outcome::{
    DEFAULT_MAX_SESSION_BYTES, SessionFile, SessionOutcome, StoredSession, Unreadable,
};
