//! Who is connected: [`ConnId`] to and from uuid and ident.

use std::fmt;
use crate::connection::ConnId;
use super::packet::Ident;

/// What a connection's `Client-Type` header makes of it (contract, head).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientKind {
    /// Any connection that does not announce `Client-Type: php`.
    Web,
    /// A backend script (`Client-Type: php`).
    Php,
}

/// A client's uuid: a version-4 UUID, or the name it has chosen (contract 2.9).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientUuid {
    /// The UUID's 128 bits; its text is the lower-case hyphenated form.
    Standard(u128),
    /// 1 to 64 printable ASCII characters that are not the text of a standard one.
    Chosen(Box<str>),
}

/// The registry of open clients. All lookups take constant time but for the logarithm of the number
/// of connections that share one ident.
#[derive(Default)]
pub struct Clients {}

impl Clients {
    /// Adds a client that has just opened. `ident` is trimmed and may be empty (contract 1.9).
    /// Returns its uuid (fresh for both kinds; only web clients are found by it).
    pub fn open(&mut self, id: ConnId, kind: ClientKind, uuid: ClientUuid, ident: &str) { todo!() }
    /// Removes a client; harmless if it is not there.
    pub fn close(&mut self, id: ConnId) { todo!() }
    /// The one receiver of a feedback (contract 3.1 to 3.4), or `None`.
    pub fn find(&self, uuid: &str, ident: &Ident<'_>) -> Option<ConnId> { todo!() }
    /// Gives the client another uuid (contract 2.9); `Err` leaves everything as it was.
    pub fn rename(&mut self, id: ConnId, name: &str) -> Result<(), RenameError> { todo!() }
    /// The client's uuid.
    pub fn uuid(&self, id: ConnId) -> Option<&ClientUuid> { todo!() }
    /// The client's ident, `""` if it has none.
    pub fn ident(&self, id: ConnId) -> &str { todo!() }
    /// The client's kind.
    pub fn kind(&self, id: ConnId) -> Option<ClientKind> { todo!() }
    /// Number of clients.
    pub fn len(&self) -> usize { todo!() }
    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool { self.len() == 0 }
}

/// Why a uuid was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameError {
    /// Not 1 to 64 printable ASCII characters.
    Invalid,
    /// Another connection holds it.
    Taken,
}
impl fmt::Display for RenameError { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { todo!() } }
