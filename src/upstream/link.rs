//! [`Link`]: one connection to a target, and how far it has come.

use std::collections::VecDeque;

use super::error::ConnectError;
use super::redis::Introduction;
use super::settings::Settings;
use super::target::Address;
use super::wire::Wire;
use crate::base::time::MonotonicTime;

/// Names one connection of one [`Upstream`](super::Upstream), and no other one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub(super) u64);

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) state: LinkState,
}

#[derive(Debug)]
pub(super) enum LinkState {
    /// It is being established, TLS included.
    Connecting(Connecting),
    /// It is established, and the other end has to let us in.
    Introducing(Box<Introducing>),
    /// It carries calls.
    Open(Wire),
}

/// A connection that is being established.
#[derive(Debug)]
pub(super) struct Connecting {
    pub(super) address: Address,
    /// When the next address is tried.
    pub(super) deadline: MonotonicTime,
    /// The others.
    pub(super) attempt: Attempt,
}

/// An attempt to connect to one of several addresses.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Addresses that have not been tried.
    pub(super) untried: VecDeque<Address>,
    /// When all of them have to be through.
    pub(super) last_deadline: MonotonicTime,
    /// Why the first address has failed: the later ones are often those that never work, as an
    /// IPv6 address where there is no IPv6.
    pub(super) first_error: Option<ConnectError>,
    pub(super) destination: Destination,
    /// For TLS.
    pub(super) server_name: Option<String>,
}

/// Where a connection leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// To the target.
    Target,
    /// To somebody who knows where the target is.
    Sentinel,
}

/// What goes before the first call: a password, for instance.
#[derive(Debug)]
pub(super) struct Introducing {
    pub(super) destination: Destination,
    pub(super) address: Address,
    /// When it has to be through.
    pub(super) deadline: MonotonicTime,
    pub(super) introduction: Introduction,
}

impl LinkState {
    /// Where it leads.
    pub(super) fn destination(&self) -> Destination {
        match self {
            Self::Connecting(connecting) => connecting.attempt.destination,
            Self::Introducing(introducing) => introducing.destination,
            Self::Open(_) => Destination::Target,
        }
    }
}

impl Link {
    /// When something has to happen here.
    pub(super) fn deadline(&self, settings: &Settings) -> MonotonicTime {
        match &self.state {
            LinkState::Connecting(connecting) => connecting.deadline,
            LinkState::Introducing(introducing) => introducing.deadline,
            LinkState::Open(wire) => wire.deadline(settings),
        }
    }

    /// Bytes that wait to leave.
    pub(super) fn output(&self) -> &[u8] {
        match &self.state {
            LinkState::Connecting(_) => &[],
            LinkState::Introducing(introducing) => introducing.introduction.output(),
            LinkState::Open(wire) => wire.output(),
        }
    }

    /// So many of them have left.
    pub(super) fn consume_output(&mut self, byte_count: usize) {
        match &mut self.state {
            LinkState::Connecting(_) => {}
            LinkState::Introducing(introducing) => {
                introducing.introduction.consume_output(byte_count);
            }
            LinkState::Open(wire) => wire.consume_output(byte_count),
        }
    }

    /// Whether it may carry calls.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, LinkState::Open(_))
    }
}
