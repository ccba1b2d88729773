//! Whether the server takes newcomers, and the words by which clients are told to come back.

use std::time::Duration;

use super::commands::Commands;
use crate::connection::ConnId;
use crate::protocol::close_code::CloseCode;
use crate::protocol::message::MessageKind;

/// Where the server stands between its start and its end. The loop moves it on; it never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Availability {
    /// Everybody is welcome.
    #[default]
    Serving,
    /// SIGTERM has come, and `drainDelay` is not over: everything still goes on, but load balancers
    /// are told to send nobody any more (`/ready`).
    Leaving,
    /// Those who are here are told to go, and handshakes are refused. Plain HTTP is answered.
    Draining,
}

impl Availability {
    /// Whether newcomers should be sent here.
    pub fn is_ready(self) -> bool {
        self == Self::Serving
    }
}

/// One client that is told to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goodbye {
    /// The client.
    pub id: ConnId,
    /// How long it is to stay away.
    pub after: Duration,
}

/// Tells clients who have opted in that the server restarts (protocol.md 12.1).
pub(super) fn say_goodbye(goodbyes: &[Goodbye], commands: &mut Commands) {
    for Goodbye { id, after } in goodbyes {
        let packet = format!(r#"{{"opcode":"restart","after":{}}}"#, after.as_millis());
        commands.send(*id, MessageKind::Text, packet.as_bytes(), None);
        commands.close(*id, CloseCode::SERVICE_RESTART, "the server restarts");
    }
}
