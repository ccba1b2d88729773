//! [`ConnId`] → connection. Slots of removed connections come back after the event batch only, so
//! that no event can reach a successor in the same slot.

use super::proxy_protocol::HeaderReader;
use super::requests::Exchange;
use super::transport::Transport;
use crate::app::Audience;
use crate::app::admission::Peer;
use crate::connection::{ConnId, Connection, Moment};

/// One connection with all that the loop knows of it.
pub(super) struct Entry {
    pub(super) id: ConnId,
    pub(super) connection: Connection,
    pub(super) transport: Transport,
    /// Whose it is, as far as the socket or, once it is open, a proxy has told.
    pub(super) peer: Peer,
    /// The PROXY header that comes before everything else, until it is whole.
    pub(super) opening: Option<Box<HeaderReader>>,
    /// Input that was read and not handled yet, because the turn's budget or the output's limit
    /// was reached.
    pub(super) unread: Option<Box<[u8]>>,
    /// A plain HTTP request that is not answered yet.
    pub(super) exchange: Option<Box<Exchange>>,
    /// The earliest deadline that the wheel holds.
    pub(super) armed: Option<Moment>,
    /// Bytes of memory at the last count.
    pub(super) held_bytes: usize,
    /// Whether the application knows of it; which broadcasts it gets.
    pub(super) membership: Membership,
    pub(super) reading: Reading,
    /// WRITABLE is asked for.
    pub(super) is_blocked: bool,
    /// The sending side has been shut down.
    pub(super) is_shut: bool,
    /// It takes no more output: it is gone once all it has sent is read.
    pub(super) is_deaf: bool,
    /// It counts against `maxPending`: it has not become a client.
    pub(super) is_pending: bool,
    /// Whether it stands in a list of those to be flushed.
    pub(super) flushing: Flushing,
}

/// When a connection is to be flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushing {
    /// Nothing has been queued since it was.
    Done,
    /// Only broadcasts have: in its turn among all who get them.
    InTurn,
    /// At the end of this turn of the loop.
    Now,
}

/// What the application knows of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    /// Nothing.
    None,
    /// It is open, and gets no broadcasts.
    Apart,
    /// It is open, and gets broadcasts for this resource, and for all that speak the dialogue if
    /// this one does.
    Member {
        resource: Audience,
        speaks_dialogue: bool,
    },
}

impl Membership {
    /// Whether a broadcast for `audience` is for this connection.
    pub(super) fn is_in(self, audience: Audience) -> bool {
        match (self, audience) {
            (
                Self::Member {
                    speaks_dialogue, ..
                },
                Audience::Dialogue,
            ) => speaks_dialogue,
            (Self::Member { resource, .. }, Audience::Resource(_)) => resource == audience,
            (Self::None | Self::Apart, _) => false,
        }
    }
}

/// Whether there may be more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The kernel will tell when there is something.
    Waiting,
    /// It stands in the backlog: there is more, and the kernel will not tell again.
    Backlog,
    /// It is not read until the peer has taken some of its output.
    Paused,
}

/// All connections.
#[derive(Default)]
pub(super) struct Table {
    entries: Vec<Option<Entry>>,
    generations: Vec<u32>,
    free: Vec<u32>,
    freed: Vec<u32>,
    count: usize,
}

impl Table {
    /// Number of connections.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Number of slots, used or not.
    pub(super) fn slot_count(&self) -> usize {
        self.entries.len()
    }

    /// The slot that the next [`insert`](Self::insert) takes.
    pub(super) fn next_id(&mut self) -> ConnId {
        let slot = self
            .free
            .last()
            .copied()
            .unwrap_or(self.entries.len() as u32);
        let generation = self.generations.get(slot as usize).copied().unwrap_or(0);
        ConnId { slot, generation }
    }

    /// Adds the entry whose id [`next_id`](Self::next_id) has told.
    pub(super) fn insert(&mut self, entry: Entry) {
        let slot = entry.id.slot as usize;
        if self.free.pop().is_none() {
            self.entries.push(None);
            self.generations.push(0);
        }
        self.entries[slot] = Some(entry);
        self.count += 1;
    }

    /// The connection in a slot.
    pub(super) fn slot_mut(&mut self, slot: usize) -> Option<&mut Entry> {
        self.entries.get_mut(slot)?.as_mut()
    }

    /// The connection of this name.
    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Entry> {
        self.slot_mut(id.slot as usize)
            .filter(|entry| entry.id == id)
    }

    /// All connections.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().flatten()
    }

    /// Removes a connection; its slot stays empty until [`release`](Self::release).
    pub(super) fn remove(&mut self, slot: usize) -> Option<Entry> {
        let entry = self.entries.get_mut(slot)?.take()?;
        self.generations[slot] = self.generations[slot].wrapping_add(1);
        self.freed.push(slot as u32);
        self.count -= 1;
        Some(entry)
    }

    /// Makes the slots of removed connections usable again: after the event batch.
    pub(super) fn release(&mut self) {
        self.free.append(&mut self.freed);
    }
}
