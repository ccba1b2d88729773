//! Who is connected, and under which names they are found.
//!
//! Names lead to connections: uuid, ident, user, session. Knows neither sockets nor what is sent.

pub mod clients;
mod handover;
mod ident_index;
pub mod identity;
mod logouts;
pub mod mailbox;
pub mod members;
mod numbered;
mod users;

pub use self::clients::{ClientKind, ClientUuid, Clients, RenameError};
pub use self::identity::{Identity, Logout, MAX_USER_BYTES, SessionDigest, UserId};
pub use self::mailbox::{Cursor, Gap, Mailbox, ReplaySettings};
pub use self::members::{Audience, Members, SlotSet, Speakers};
