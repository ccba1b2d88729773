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
    /// A header, a request or input that waits.
    aside: Option<Box<Aside>>,
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

/// What few connections have, and not for long.
#[derive(Default)]
struct Aside {
    /// The PROXY header that comes before everything else, until it is whole.
    opening: Option<HeaderReader>,
    /// Input that was read and not handled yet, because the turn's budget or the output's limit
    /// was reached.
    unread: Option<Vec<u8>>,
    /// A plain HTTP request that is not answered yet.
    exchange: Option<Exchange>,
}

impl Entry {
    /// A connection that has just been accepted.
    pub(super) fn new(
        id: ConnId,
        connection: Connection,
        transport: Transport,
        peer: Peer,
    ) -> Self {
        Self {
            id,
            connection,
            transport,
            peer,
            aside: None,
            armed: None,
            held_bytes: 0,
            membership: Membership::None,
            reading: Reading::Waiting,
            is_blocked: false,
            is_shut: false,
            is_deaf: false,
            is_pending: true,
            flushing: Flushing::Done,
        }
    }

    /// The PROXY header that has to come before everything else, until it is whole.
    pub(super) fn opening(&mut self) -> Option<(&mut HeaderReader, &mut Transport)> {
        let reader = self.aside.as_mut()?.opening.as_mut()?;
        Some((reader, &mut self.transport))
    }

    /// Expects such a header.
    pub(super) fn expect_opening(&mut self, reader: HeaderReader) {
        self.aside.get_or_insert_default().opening = Some(reader);
    }

    /// It is whole.
    pub(super) fn end_opening(&mut self) {
        if let Some(aside) = &mut self.aside {
            aside.opening = None;
        }
        self.drop_empty_aside();
    }

    /// Keeps input that was read and cannot be handled yet.
    pub(super) fn set_unread(&mut self, unread: Vec<u8>) {
        self.aside.get_or_insert_default().unread = Some(unread);
    }

    /// Takes that input.
    pub(super) fn take_unread(&mut self) -> Option<Vec<u8>> {
        let unread = self.aside.as_mut()?.unread.take();
        self.drop_empty_aside();
        unread
    }

    /// Bytes of that input.
    pub(super) fn unread_len(&self) -> usize {
        let unread = self.aside.as_ref().and_then(|aside| aside.unread.as_ref());
        unread.map_or(0, |unread| unread.len())
    }

    /// A plain HTTP request that is not answered yet.
    pub(super) fn exchange(&self) -> Option<&Exchange> {
        self.aside.as_ref()?.exchange.as_ref()
    }

    /// Keeps a plain HTTP request until it can be answered.
    pub(super) fn set_exchange(&mut self, exchange: Exchange) {
        self.aside.get_or_insert_default().exchange = Some(exchange);
    }

    /// Takes it.
    pub(super) fn take_exchange(&mut self) -> Option<Exchange> {
        let exchange = self.aside.as_mut()?.exchange.take();
        self.drop_empty_aside();
        exchange
    }

    fn drop_empty_aside(&mut self) {
        let is_empty = |aside: &mut Box<Aside>| {
            aside.opening.is_none() && aside.unread.is_none() && aside.exchange.is_none()
        };
        self.aside.take_if(is_empty);
    }
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

/// A place for a connection.
enum Slot {
    /// The next one gets this generation.
    Vacant(u32),
    Taken(Entry),
}

impl Slot {
    fn entry_mut(&mut self) -> Option<&mut Entry> {
        match self {
            Self::Vacant(_) => None,
            Self::Taken(entry) => Some(entry),
        }
    }
}

/// All connections.
#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
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
        self.slots.len()
    }

    /// The slot that the next [`insert`](Self::insert) takes.
    pub(super) fn next_id(&self) -> ConnId {
        let slot = self.free.last().copied().unwrap_or(self.slots.len() as u32);
        let generation = match self.slots.get(slot as usize) {
            Some(Slot::Vacant(generation)) => *generation,
            Some(Slot::Taken(_)) | None => 0,
        };
        ConnId { slot, generation }
    }

    /// Adds the entry whose id [`next_id`](Self::next_id) has told.
    pub(super) fn insert(&mut self, entry: Entry) {
        let slot = entry.id.slot as usize;
        match self.free.pop() {
            Some(_) => self.slots[slot] = Slot::Taken(entry),
            None => self.slots.push(Slot::Taken(entry)),
        }
        self.count += 1;
    }

    /// The connection in a slot.
    pub(super) fn slot_mut(&mut self, slot: usize) -> Option<&mut Entry> {
        self.slots.get_mut(slot)?.entry_mut()
    }

    /// The connection of this name.
    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Entry> {
        self.slot_mut(id.slot as usize)
            .filter(|entry| entry.id == id)
    }

    /// All connections.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.slots.iter_mut().filter_map(Slot::entry_mut)
    }

    /// Removes a connection; its slot stays empty until [`release`](Self::release).
    pub(super) fn remove(&mut self, slot: usize) -> Option<Entry> {
        let place = self.slots.get_mut(slot)?;
        let generation = place.entry_mut()?.id.generation.wrapping_add(1);
        let Slot::Taken(entry) = std::mem::replace(place, Slot::Vacant(generation)) else {
            return None;
        };
        self.freed.push(slot as u32);
        self.count -= 1;
        Some(entry)
    }

    /// Makes the slots of removed connections usable again: after the event batch.
    pub(super) fn release(&mut self) {
        self.free.append(&mut self.freed);
    }
}
