//! [`ConnId`] → connection. Slots of removed connections come back after the event batch only, so
//! that no event can reach a successor in the same slot.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::proxy_protocol::HeaderReader;
use super::requests::PendingRequest;
use super::transport::Transport;
use crate::app::Audience;
use crate::app::peer::Peer;
use crate::connection::{CHUNK_SLOTS, ConnId, Connection, MonotonicTime, SlotMap};

/// One connection with all that the loop knows of it.
pub(super) struct Link {
    pub(super) id: ConnId,
    pub(super) connection: Connection,
    pub(super) transport: Transport,
    /// Whose it is, as far as the socket or, once it is open, a proxy has told.
    pub(super) peer: Peer,
    /// A header, a request or input that waits.
    extras: Option<Box<LinkExtras>>,
    /// The earliest deadline that the wheel holds.
    pub(super) armed: Option<MonotonicTime>,
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
    pub(super) write_closed: bool,
    /// It counts against `maxPending`: it has not become a client.
    pub(super) is_pending: bool,
    /// Whether it stands in a list of those to be flushed.
    pub(super) flushing: Flushing,
}

/// What few connections have, and not for long.
#[derive(Default)]
struct LinkExtras {
    /// The PROXY header that comes before everything else, until it is whole.
    proxy_header: Option<HeaderReader>,
    /// Input that was read and not handled yet, because the turn's budget or the output's limit
    /// was reached.
    unread: Option<Vec<u8>>,
    /// A plain HTTP request that is not answered yet.
    pending_request: Option<PendingRequest>,
}

impl Link {
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
            extras: None,
            armed: None,
            held_bytes: 0,
            membership: Membership::None,
            reading: Reading::Waiting,
            is_blocked: false,
            is_shut: false,
            write_closed: false,
            is_pending: true,
            flushing: Flushing::Done,
        }
    }

    /// The PROXY header that has to come before everything else, until it is whole.
    pub(super) fn proxy_header(&mut self) -> Option<(&mut HeaderReader, &mut Transport)> {
        let reader = self.extras.as_mut()?.proxy_header.as_mut()?;
        Some((reader, &mut self.transport))
    }

    /// Expects such a header.
    pub(super) fn expect_proxy_header(&mut self, reader: HeaderReader) {
        self.extras.get_or_insert_default().proxy_header = Some(reader);
    }

    /// It is whole.
    pub(super) fn end_proxy_header(&mut self) {
        if let Some(extras) = &mut self.extras {
            extras.proxy_header = None;
        }
        self.drop_empty_aside();
    }

    /// Keeps input that was read and cannot be handled yet.
    pub(super) fn set_unread(&mut self, unread: Vec<u8>) {
        self.extras.get_or_insert_default().unread = Some(unread);
    }

    /// Takes that input.
    pub(super) fn take_unread(&mut self) -> Option<Vec<u8>> {
        let unread = self.extras.as_mut()?.unread.take();
        self.drop_empty_aside();
        unread
    }

    /// Bytes of that input.
    pub(super) fn unread_len(&self) -> usize {
        let unread = self
            .extras
            .as_ref()
            .and_then(|extras| extras.unread.as_ref());
        unread.map_or(0, |unread| unread.len())
    }

    /// A plain HTTP request that is not answered yet.
    pub(super) fn pending_request(&self) -> Option<&PendingRequest> {
        self.extras.as_ref()?.pending_request.as_ref()
    }

    /// Keeps a plain HTTP request until it can be answered.
    pub(super) fn set_exchange(&mut self, pending_request: PendingRequest) {
        self.extras.get_or_insert_default().pending_request = Some(pending_request);
    }

    /// Takes it.
    pub(super) fn take_exchange(&mut self) -> Option<PendingRequest> {
        let pending_request = self.extras.as_mut()?.pending_request.take();
        self.drop_empty_aside();
        pending_request
    }

    fn drop_empty_aside(&mut self) {
        let is_empty = |extras: &mut Box<LinkExtras>| {
            extras.proxy_header.is_none()
                && extras.unread.is_none()
                && extras.pending_request.is_none()
        };
        self.extras.take_if(is_empty);
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

/// All connections.
#[derive(Default)]
pub(super) struct Table {
    links: SlotMap<Link>,
    names: Names,
}

impl Table {
    /// Number of connections.
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    /// One more than the highest slot that may be taken.
    pub(super) fn slot_count(&self) -> usize {
        self.links.end()
    }

    /// The name of the next connection that is [inserted](Self::insert).
    pub(super) fn next_id(&self) -> ConnId {
        self.names.next()
    }

    /// Adds the link whose id [`next_id`](Self::next_id) has told.
    pub(super) fn insert(&mut self, link: Link) {
        self.names.take(link.id);
        let before = self.links.insert(link.id.slot as usize, link);
        debug_assert!(before.is_none(), "a slot was given twice");
    }

    /// The connection in a slot.
    #[inline]
    pub(super) fn slot_mut(&mut self, slot: usize) -> Option<&mut Link> {
        self.links.get_mut(slot)
    }

    /// The connection of this name.
    #[inline]
    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Link> {
        self.slot_mut(id.slot as usize).filter(|link| link.id == id)
    }

    /// All connections.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.links.iter_mut()
    }

    /// Removes a connection; its slot stays empty until [`release`](Self::release).
    pub(super) fn remove(&mut self, slot: usize) -> Option<Link> {
        let link = self.links.remove(slot)?;
        self.names.give_back(link.id);
        Some(link)
    }

    /// Makes the slots of removed connections usable again: after the event batch.
    pub(super) fn release(&mut self) {
        self.names.release(self.links.end());
    }
}

/// Which names are next. The lowest free slot comes first: connections gather at the front, so that
/// what lies behind them can be freed.
#[derive(Default)]
struct Names {
    /// Slots below `end` that are free.
    free: BinaryHeap<Reverse<u32>>,
    /// Slots whose connections have been removed in this turn.
    freed: Vec<u32>,
    /// No slot from here on is taken, free or freed.
    end: u32,
    /// Connections there have ever been, modulo 2^32.
    opened_count: u32,
}

impl Names {
    fn next(&self) -> ConnId {
        let free = self.free.peek().map(|Reverse(slot)| *slot);
        ConnId {
            slot: free.unwrap_or(self.end),
            generation: self.opened_count,
        }
    }

    /// The next one is taken.
    fn take(&mut self, next: ConnId) {
        if self.free.pop().is_none() {
            self.end = next.slot + 1;
        }
        self.opened_count = self.opened_count.wrapping_add(1);
    }

    fn give_back(&mut self, id: ConnId) {
        self.freed.push(id.slot);
    }

    /// What was given back is free. `end`: one more than the highest slot that is taken, or more.
    fn release(&mut self, end: usize) {
        if self.freed.is_empty() {
            return;
        }
        self.free.extend(self.freed.drain(..).map(Reverse));
        if self.end as usize - end >= CHUNK_SLOTS {
            self.end = end as u32;
            self.free.retain(|Reverse(slot)| (*slot as usize) < end);
            self.free.shrink_to(CHUNK_SLOTS);
            self.freed.shrink_to(CHUNK_SLOTS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// As the table does, with nothing behind the names.
    #[derive(Default)]
    struct Taken {
        names: Names,
        ids: SlotMap<ConnId>,
    }

    impl Taken {
        fn open(&mut self) -> ConnId {
            let id = self.names.next();
            self.names.take(id);
            assert_eq!(self.ids.insert(id.slot as usize, id), None, "given twice");
            id
        }

        fn close(&mut self, slot: usize) {
            let id = self.ids.remove(slot).expect("it is open");
            self.names.give_back(id);
        }

        fn end_turn(&mut self) {
            self.names.release(self.ids.end());
        }
    }

    #[test]
    fn the_lowest_free_slot_is_next_once_the_turn_is_over() {
        let mut taken = Taken::default();
        (0..5).for_each(|slot| assert_eq!(taken.open().slot, slot));
        taken.close(3);
        taken.close(1);
        assert_eq!(taken.open().slot, 5);
        taken.end_turn();
        let slots = [taken.open(), taken.open(), taken.open()].map(|id| id.slot);
        assert_eq!(slots, [1, 3, 6]);
    }

    #[test]
    fn a_crowd_that_has_gone_leaves_no_slots_behind_and_no_name_comes_twice() {
        let mut taken = Taken::default();
        let mut seen = HashSet::new();
        for _ in 0..3 {
            for _ in taken.ids.len()..3 * CHUNK_SLOTS {
                assert!(seen.insert(taken.open()));
            }
            for slot in 2..3 * CHUNK_SLOTS {
                taken.close(slot);
                taken.end_turn();
            }
            assert!(taken.names.free.len() <= 2 * CHUNK_SLOTS);
            assert_eq!((taken.names.next().slot, taken.ids.len()), (2, 2));
        }
        (0..2).for_each(|slot| taken.close(slot));
        taken.end_turn();
        assert_eq!((taken.names.next().slot, taken.ids.end()), (0, 0));
    }
}
