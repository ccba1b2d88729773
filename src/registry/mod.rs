//! Who is connected, and under which names they are found.
//!
//! Names lead to connections: uuid, ident. Knows neither sockets nor what is sent.

pub mod clients;
mod handover;
mod ident_index;
pub mod members;

pub use self::clients::{ClientKind, ClientUuid, Clients, RenameError};
pub use self::members::{Members, SlotSet};
