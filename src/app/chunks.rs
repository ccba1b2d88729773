//! What clients send between `bufferON` and `bufferOFF` (protocol.md 4.2, 4.3).
//!
//! Counts every byte that is kept, and sees to it that none is kept for ever: chunks must gain
//! `min_progress_bytes` in each `stall_timeout`, as unfinished messages must.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::base::{MonotonicTime, free};
use crate::connection::ConnId;

/// What chunks are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// `maxChunks`: one more than these are kept.
    pub max_chunks: usize,
    /// `stallTimeout`.
    pub stall_timeout: Duration,
    /// `minProgress`, in bytes.
    pub min_progress_bytes: usize,
}

/// The chunks of everybody.
#[derive(Debug)]
pub(super) struct ChunkStore {
    limits: ChunkLimits,
    by_client: HashMap<ConnId, Chunks>,
    /// When whose progress is judged: in order, since all wait equally long. Entries of those who
    /// have gone, or have begun anew, are passed over.
    deadlines: VecDeque<(MonotonicTime, ConnId)>,
    held_bytes: usize,
}

#[derive(Debug)]
struct Chunks {
    text: String,
    count: usize,
    judged_at: MonotonicTime,
    progress_bytes: usize,
}

/// A chunk was not kept: it is one too many, or makes them too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

impl ChunkStore {
    pub(super) fn new(limits: ChunkLimits) -> Self {
        Self {
            limits,
            by_client: HashMap::new(),
            deadlines: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// Holds chunks against these limits from now on, those that are kept, too.
    pub(super) fn set_limits(&mut self, limits: ChunkLimits) {
        let (old, new) = (self.limits.stall_timeout, limits.stall_timeout);
        self.limits = limits;
        // All by the same time, so that they stay in order.
        let move_to = |at: &mut MonotonicTime| *at = *at - old + new;
        let chunks = self.by_client.values_mut();
        chunks.for_each(|chunks| move_to(&mut chunks.judged_at));
        self.deadlines.iter_mut().for_each(|(at, _)| move_to(at));
    }

    /// Begins anew with nothing kept.
    pub(super) fn begin(&mut self, id: ConnId, now: MonotonicTime) {
        self.forget(id);
        let judged_at = now + self.limits.stall_timeout;
        let chunks = Chunks {
            text: String::new(),
            count: 0,
            judged_at,
            progress_bytes: 0,
        };
        self.by_client.insert(id, chunks);
        self.deadlines.push_back((judged_at, id));
    }

    /// Keeps one chunk; all together may have `max_bytes`.
    pub(super) fn add(&mut self, id: ConnId, chunk: &str, max_bytes: usize) -> Result<(), TooMuch> {
        let Some(chunks) = self.by_client.get_mut(&id) else {
            return Ok(());
        };
        if chunks.count > self.limits.max_chunks || chunks.text.len() + chunk.len() > max_bytes {
            return Err(TooMuch);
        }
        self.held_bytes -= chunks.text.capacity();
        chunks.text.push_str(chunk);
        chunks.count += 1;
        chunks.progress_bytes += chunk.len();
        self.held_bytes += chunks.text.capacity();
        Ok(())
    }

    /// Takes out what was kept, joined; `None` if nothing was.
    pub(super) fn take(&mut self, id: ConnId) -> Option<String> {
        let chunks = self.by_client.remove(&id)?;
        self.held_bytes -= chunks.text.capacity();
        (chunks.count > 0).then_some(chunks.text)
    }

    /// Drops what was kept.
    pub(super) fn forget(&mut self, id: ConnId) {
        if let Some(text) = self.take(id) {
            free(text.into_bytes());
        }
    }

    /// Somebody whose chunks have stalled at `now`; they are dropped.
    pub(super) fn next_stalled(&mut self, now: MonotonicTime) -> Option<ConnId> {
        while let Some((at, id)) = self.deadlines.front().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.pop_front();
            let Some(chunks) = self.by_client.get_mut(&id).filter(|c| c.judged_at == at) else {
                continue;
            };
            if chunks.progress_bytes < self.limits.min_progress_bytes {
                self.forget(id);
                return Some(id);
            }
            chunks.progress_bytes = 0;
            chunks.judged_at = now + self.limits.stall_timeout;
            self.deadlines.push_back((chunks.judged_at, id));
        }
        None
    }

    /// When [`next_stalled`](Self::next_stalled) may have somebody.
    pub(super) fn next_deadline(&self) -> Option<MonotonicTime> {
        self.deadlines.front().map(|(at, _)| *at)
    }

    /// Bytes of memory held for everybody.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Bytes of memory held for one client.
    pub(super) fn held_bytes_of(&self, id: ConnId) -> usize {
        self.by_client
            .get(&id)
            .map_or(0, |chunks| chunks.text.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ChunkLimits = ChunkLimits {
        max_chunks: 2,
        stall_timeout: Duration::from_secs(30),
        min_progress_bytes: 4,
    };

    fn id(slot: u32) -> ConnId {
        ConnId {
            slot,
            generation: 0,
        }
    }

    #[test]
    fn one_more_than_max_chunks_are_kept_and_their_sum_is_limited() {
        let mut store = ChunkStore::new(LIMITS);
        store.begin(id(1), MonotonicTime::START);
        for _ in 0..3 {
            assert_eq!(store.add(id(1), "ab", 7), Ok(()));
        }
        assert_eq!(store.add(id(1), "", 7), Err(TooMuch));
        assert_eq!(store.take(id(1)).as_deref(), Some("ababab"));
        assert_eq!((store.take(id(1)), store.held_bytes()), (None, 0));
        store.begin(id(1), MonotonicTime::START);
        assert_eq!(store.add(id(1), "12345678", 7), Err(TooMuch));
        assert_eq!(store.take(id(1)), None);
    }

    #[test]
    fn chunks_that_do_not_grow_are_given_up_in_time_and_their_memory_with_them() {
        let start = MonotonicTime::START;
        let mut store = ChunkStore::new(LIMITS);
        store.begin(id(1), start);
        store.begin(id(2), start);
        for slot in [1, 2] {
            store.add(id(slot), "1234", 100).expect("it fits");
        }
        let due = start + LIMITS.stall_timeout;
        assert_eq!(store.next_deadline(), Some(due));
        assert_eq!(store.next_stalled(due), None, "both have grown");
        store.add(id(2), "5678", 100).expect("it fits");
        let due = due + LIMITS.stall_timeout;
        assert_eq!(store.next_stalled(due), Some(id(1)));
        assert_eq!(store.next_stalled(due), None);
        assert_eq!(store.held_bytes(), store.held_bytes_of(id(2)));
        store.begin(id(2), due);
        let old = due + LIMITS.stall_timeout - Duration::from_nanos(1);
        assert_eq!(store.next_stalled(old), None, "begun anew");
    }
}
