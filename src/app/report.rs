//! What the loop tells of itself when the application has asked for it.

use std::net::IpAddr;

use crate::api::figures::LoopFigures;
use crate::connection::ConnId;

/// How much is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Only why the server is not ready; nothing else of the figures is filled in.
    Readiness,
    /// All figures.
    Figures,
    /// The same, each connection, and the end of the log.
    Connections,
}

/// What is told, at one moment.
#[derive(Debug)]
pub struct Report {
    /// The loop's figures.
    pub figures: LoopFigures,
    /// Every open connection, for [`Detail::Connections`].
    pub links: Vec<LinkFigures>,
    /// The last warnings and errors of the log, the oldest first, for the same.
    pub log: Vec<String>,
}

/// One open connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkFigures {
    /// Its name.
    pub id: ConnId,
    /// Where it comes from; `None` on a Unix socket.
    pub ip: Option<IpAddr>,
    /// Bytes that wait to be sent.
    pub queued_bytes: usize,
}
