//! What was said to tabs that may not have heard it (protocol.md §9).
//!
//! A tab that has opted in has a stream of its own; so has each user of whom such a tab is here or
//! lately gone; and there is one of what everybody gets. A message stands in one of them. All are
//! numbered by one counter, so that one number, as a [`Cursor`], says what a tab has seen of all
//! three: when it comes back, what stands behind that number is what it has missed.
//!
//! If nobody has opted in, nothing is numbered and nothing kept.

mod cursor;
mod gap;
mod given;
mod handover;
mod kept_text;
mod leaving;
mod log;
#[expect(clippy::module_inception, reason = "what the folder is about")]
mod mailbox;
mod moving;
mod own;
mod resuming;
mod retention;
mod tabs;
#[cfg(test)]
mod tests;
mod told;
mod users;

pub use self::cursor::Cursor;
pub use self::gap::Gap;
pub use self::given::Asker;
pub use self::kept_text::KeptText;
pub use self::mailbox::{
    KeptForUser, Mailbox, Newcomer, ReplayCounts, ReplayFigures, ReplaySettings,
};
pub use self::moving::{Adopted, ForeignClaim, Given, HandedOn, Taken, Terms};
pub use self::resuming::{Claim, Missed, Resumed};
