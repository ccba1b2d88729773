//! PHP's sessions: what names one, where its file lies, what became of a look at it, and what it
//! holds.
//!
//! Nothing here opens a file. [`Session`] walks through what `serialize()` has written by structure
//! alone: nothing is constructed, no class is known, and no input makes it recurse.
//!
//! A session's id signs its owner in, and anything may stand in a session, so that neither is ever
//! shown, not even by `Debug`.

mod error;
mod folder;
mod id;
mod outcome;
mod scan;
mod serializer;
mod session;
#[cfg(test)]
mod tests;
mod value;
mod walk;

pub use self::error::SessionError;
pub use self::folder::{BadPrefix, FolderError, SessionFolder, SessionPrefix};
pub use self::id::SessionId;
pub use self::outcome::{
    DEFAULT_MAX_SESSION_BYTES, SessionFile, SessionOutcome, StoredSession, Unreadable,
};
pub use self::scan::Key;
pub use self::serializer::Serializer;
pub use self::session::Session;
pub use self::value::Value;
