//! What pages may send (`webSends`, protocol.md 8.11).

use crate::protocol::packet::{Packet, Verb};

/// What pages may send, by who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSends {
    /// Pages whose user has signed in.
    pub user: Sends,
    /// All others.
    pub anonymous: Sends,
}

/// A set of [`Sendable`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sends(u8);

/// What a page can send that reaches somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sendable {
    /// To itself.
    Echo,
    /// To all pages.
    Broadcast,
    /// To one client, named by uuid or ident.
    Feedback,
    /// To all tabs of one user. Not by default: it has to be allowed (protocol.md 8.9).
    FeedbackToUser,
}

impl Default for WebSends {
    /// What pages of the PHP server may send, since they need it.
    fn default() -> Self {
        Self {
            user: Sends::OF_THE_PHP_SERVER,
            anonymous: Sends::OF_THE_PHP_SERVER,
        }
    }
}

impl Sends {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// What the PHP server lets pages send: echo, broadcast, and feedback to one client.
    pub const OF_THE_PHP_SERVER: Self = Self::NONE
        .with(Sendable::Echo)
        .with(Sendable::Broadcast)
        .with(Sendable::Feedback);

    /// Whether `what` is in the set.
    pub const fn contains(self, what: Sendable) -> bool {
        self.0 & what.bit() != 0
    }

    /// The set with `what` in it.
    #[must_use]
    pub const fn with(self, what: Sendable) -> Self {
        Self(self.0 | what.bit())
    }

    /// What is in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a packet is allowed. Those that reach nobody always are, logouts never: only
    /// scripts may ask for them.
    pub(super) fn allows(self, packet: &Packet<'_>) -> bool {
        match packet.verb {
            Verb::Echo => self.contains(Sendable::Echo),
            Verb::Broadcast => self.contains(Sendable::Broadcast),
            Verb::Feedback if packet.is_to_user() => self.contains(Sendable::FeedbackToUser),
            Verb::Feedback => self.contains(Sendable::Feedback),
            Verb::Quit | Verb::Uuid | Verb::Unknown => true,
            Verb::Logout => false,
        }
    }
}

impl Sendable {
    const fn bit(self) -> u8 {
        match self {
            Self::Echo => 1,
            Self::Broadcast => 2,
            Self::Feedback => 4,
            Self::FeedbackToUser => 8,
        }
    }
}
