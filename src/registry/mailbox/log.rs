//! [`Log`]: messages that are kept, each in one stream and all in their order.
//!
//! An entry stands in two chains: that of its stream, oldest first, and that of all. So that adding
//! one, and dropping the oldest of a stream or of all, take constant time; an empty stream takes 20
//! bytes.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::rc::Rc;

use super::super::numbered::Numbered;
use super::kept_text::KeptText;
use crate::base::MonotonicTime;

/// Names a tab for as long as it may come back.
pub(super) type TabNumber = NonZeroU32;

/// Whose stream it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Everybody,
    Tab(TabNumber),
    User(NonZeroU32),
}

/// The messages of one owner.
#[derive(Debug, Default)]
pub(super) struct Stream {
    first: Option<NonZeroU32>,
    last: Option<NonZeroU32>,
    len: u32,
    /// In halves, so that a stream takes no more than it has to.
    floor: [u32; 2],
}

/// One message.
#[derive(Debug)]
struct Entry {
    number: u64,
    at: MonotonicTime,
    text: KeptText,
    owner: Owner,
    /// Serial number of the tab that has sent it to everybody; 0: none.
    sender: u32,
    newer: Option<NonZeroU32>,
    older: Option<NonZeroU32>,
    /// In its stream.
    next: Option<NonZeroU32>,
}

/// A message that is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) number: u64,
    pub(super) at: MonotonicTime,
    pub(super) text: KeptText,
    pub(super) sender: u32,
}

/// All messages.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: Numbered<Entry>,
    oldest: Option<NonZeroU32>,
    newest: Option<NonZeroU32>,
    bytes: usize,
    /// Bytes of those that are no longer kept, and that somebody is still to send.
    lent_bytes: Rc<Cell<usize>>,
}

impl Stream {
    /// An empty one, from which nothing behind `floor` is missing.
    pub(super) fn from_floor(floor: u64) -> Self {
        let mut stream = Self::default();
        stream.set_floor(floor);
        stream
    }

    /// Up to this number, messages may be missing.
    pub(super) fn floor(&self) -> u64 {
        u64::from(self.floor[0]) << 32 | u64::from(self.floor[1])
    }

    pub(super) fn set_floor(&mut self, floor: u64) {
        // Both halves have 32 bits.
        self.floor = [(floor >> 32) as u32, floor as u32];
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Log {
    /// Adds a message at the end of its owner's stream.
    pub(super) fn push(&mut self, stream: &mut Stream, owner: Owner, kept: Kept) {
        let Kept {
            number,
            at,
            text,
            sender,
        } = kept;
        self.bytes += entry_bytes(&text);
        let entry = self.entries.insert(Entry {
            number,
            at,
            text,
            owner,
            sender,
            newer: None,
            older: self.newest,
            next: None,
        });
        match self.newest.and_then(|newest| self.entries.get_mut(newest)) {
            Some(newest) => newest.newer = Some(entry),
            None => self.oldest = Some(entry),
        }
        self.newest = Some(entry);
        self.link(stream, entry);
    }

    fn link(&mut self, stream: &mut Stream, entry: NonZeroU32) {
        match stream.last.and_then(|last| self.entries.get_mut(last)) {
            Some(last) => last.next = Some(entry),
            None => stream.first = Some(entry),
        }
        stream.last = Some(entry);
        stream.len += 1;
    }

    /// Drops the oldest message of a stream.
    pub(super) fn drop_first(&mut self, stream: &mut Stream) {
        let Some(entry) = stream.first.and_then(|first| self.entries.remove(first)) else {
            return;
        };
        stream.first = entry.next;
        stream.len -= 1;
        if stream.first.is_none() {
            stream.last = None;
        }
        stream.set_floor(entry.number);
        self.bytes -= entry_bytes(&entry.text);
        if Rc::strong_count(entry.text.frame()) > 1 {
            entry.text.frame().count_in(&self.lent_bytes);
        }
        match entry.older.and_then(|older| self.entries.get_mut(older)) {
            Some(older) => older.newer = entry.newer,
            None => self.oldest = entry.newer,
        }
        match entry.newer.and_then(|newer| self.entries.get_mut(newer)) {
            Some(newer) => newer.older = entry.older,
            None => self.newest = entry.older,
        }
    }

    /// Drops all messages of a stream.
    pub(super) fn clear(&mut self, stream: &mut Stream) {
        while !stream.is_empty() {
            self.drop_first(stream);
        }
    }

    /// Whose the oldest of all messages is, and since when it is kept.
    pub(super) fn oldest(&self) -> Option<(Owner, MonotonicTime)> {
        let oldest = self.entries.get(self.oldest?)?;
        Some((oldest.owner, oldest.at))
    }

    /// The messages of a stream behind a number, oldest first.
    pub(super) fn behind(&self, stream: &Stream, number: u64) -> impl Iterator<Item = Kept> {
        let first = stream.first;
        let entries = std::iter::successors(first.and_then(|n| self.entries.get(n)), |entry| {
            self.entries.get(entry.next?)
        });
        entries
            .filter(move |entry| entry.number > number)
            .map(|entry| Kept {
                number: entry.number,
                at: entry.at,
                text: entry.text.clone(),
                sender: entry.sender,
            })
    }

    /// Moves all messages of a stream into another one, between those that are there.
    pub(super) fn merge(&mut self, into: &mut Stream, owner: Owner, from: &mut Stream) {
        let (mut one, mut other) = (into.first.take(), from.first.take());
        (into.last, from.last, into.len, from.len) = (None, None, 0, 0);
        loop {
            let number = |entry: Option<NonZeroU32>| {
                let entry = self.entries.get(entry?)?;
                Some(entry.number)
            };
            let source = match (number(one), number(other)) {
                (None, None) => return,
                (Some(_), None) => &mut one,
                (None, Some(_)) => &mut other,
                (Some(a), Some(b)) if a < b => &mut one,
                (Some(_), Some(_)) => &mut other,
            };
            let Some(number) = *source else {
                return;
            };
            if let Some(entry) = self.entries.get_mut(number) {
                entry.owner = owner;
                *source = entry.next.take();
            }
            self.link(into, number);
        }
    }

    /// Bytes of memory held.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of messages that are no longer kept, and that somebody is still to send.
    pub(super) fn lent_bytes(&self) -> usize {
        self.lent_bytes.get()
    }

    /// Number of messages.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

fn entry_bytes(text: &KeptText) -> usize {
    ENTRY_BYTES + text.frame().held_bytes()
}

/// What a message costs besides its frame: its entry, and its part of the record of a user who is
/// not here.
const ENTRY_BYTES: usize = size_of::<Entry>() + 64;
