//! What pages may send (`webSends`, protocol.md 8.11).

use crate::protocol::packet::Verb;

/// What pages may send, by who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSends {
    /// Pages of which nobody knows whose they are.
    pub anonymous: Sends,
    /// Pages of somebody who is signed in.
    pub user: Sends,
}

/// Which packets are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sends {
    /// `echo`: to itself.
    pub echo: bool,
    /// `broadcast`: to all other pages.
    pub broadcast: bool,
    /// `feedback`: to one other page or script.
    pub feedback: bool,
}

impl Sends {
    /// Everything, as the PHP server has it.
    pub const ALL: Self = Self {
        echo: true,
        broadcast: true,
        feedback: true,
    };

    /// Nothing.
    pub const NONE: Self = Self {
        echo: false,
        broadcast: false,
        feedback: false,
    };

    /// Whether a packet with this opcode is allowed. Those that reach nobody always are.
    pub const fn allows(self, verb: Verb) -> bool {
        match verb {
            Verb::Echo => self.echo,
            Verb::Broadcast => self.broadcast,
            Verb::Feedback => self.feedback,
            Verb::Quit | Verb::Uuid | Verb::Unknown => true,
        }
    }
}

impl Default for WebSends {
    fn default() -> Self {
        Self {
            anonymous: Sends::ALL,
            user: Sends::ALL,
        }
    }
}
