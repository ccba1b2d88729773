//! What pages may send (`webSends`, protocol.md 8.11).

use crate::protocol::packet::Verb;

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
}

impl Default for WebSends {
    /// Everything, as with the PHP server, whose pages need it.
    fn default() -> Self {
        Self {
            user: Sends::ALL,
            anonymous: Sends::ALL,
        }
    }
}

impl Sends {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// Everything.
    pub const ALL: Self = Self::NONE
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

    /// Whether a packet with this opcode is allowed. Those that reach nobody always are.
    pub const fn allows(self, verb: Verb) -> bool {
        match verb {
            Verb::Echo => self.contains(Sendable::Echo),
            Verb::Broadcast => self.contains(Sendable::Broadcast),
            Verb::Feedback => self.contains(Sendable::Feedback),
            Verb::Quit | Verb::Uuid | Verb::Unknown => true,
        }
    }
}

impl Sendable {
    const fn bit(self) -> u8 {
        match self {
            Self::Echo => 1,
            Self::Broadcast => 2,
            Self::Feedback => 4,
        }
    }
}
