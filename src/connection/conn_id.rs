//! The name of a connection.

/// Names one connection for as long as the server runs: a slot and the generation that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// Index in the server's table.
    pub slot: u32,
    /// Counts the connections of the server, so that no two that a slot holds one after the other
    /// have the same.
    pub generation: u32,
}
