//! [`SpareBuffers`]: empty buffers that are kept for later, and how large ones are given back.

use crate::base::free;

/// Buffers that nobody uses.
///
/// Small ones and large ones are kept apart: what waits for a client is usually short and shall not
/// wait in a megabyte, and a long message shall not grow into one again.
#[derive(Debug)]
pub(super) struct SpareBuffers {
    small: Stack,
    large: Stack,
    /// Fewest bytes that the large ones have had since [`trim_unused`](Self::trim_unused).
    unused_bytes: usize,
}

#[derive(Debug)]
struct Stack {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
    max_bytes: usize,
}

impl Stack {
    fn new(max_bytes: usize) -> Self {
        Self {
            buffers: Vec::new(),
            bytes: 0,
            max_bytes,
        }
    }

    fn take(&mut self, index: usize) -> Vec<u8> {
        let buffer = self.buffers.swap_remove(index);
        self.bytes -= buffer.capacity();
        buffer
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let last = self.buffers.len().checked_sub(1)?;
        Some(self.take(last))
    }

    /// Keeps a buffer; gives it back if there are enough.
    fn push(&mut self, buffer: Vec<u8>) -> Option<Vec<u8>> {
        let capacity = buffer.capacity();
        if self.buffers.len() >= MAX_BUFFERS || self.bytes + capacity > self.max_bytes {
            return Some(buffer);
        }
        self.bytes += capacity;
        self.buffers.push(buffer);
        None
    }
}

impl Default for SpareBuffers {
    fn default() -> Self {
        Self {
            small: Stack::new(MAX_SMALL_BYTES),
            large: Stack::new(MAX_LARGE_BYTES),
            unused_bytes: 0,
        }
    }
}

impl SpareBuffers {
    /// Keeps no more than a part of `memory_limit_bytes`, if that is less than it would.
    pub(super) fn limit(&mut self, memory_limit_bytes: usize) {
        self.small.max_bytes = MAX_SMALL_BYTES.min(memory_limit_bytes / 16);
        self.large.max_bytes = MAX_LARGE_BYTES.min(memory_limit_bytes / 4);
    }

    /// Any buffer, with whatever it was left with.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let buffer = self.small.pop().or_else(|| self.large.pop());
        self.note_use();
        buffer.unwrap_or_default()
    }

    /// A buffer for something of `len` bytes: if that is long, one that has room for it, and not for
    /// much more.
    pub(super) fn take_for(&mut self, len: u64) -> Vec<u8> {
        if len < LARGE_BYTES as u64 {
            return self.take();
        }
        let fits = |buffer: &Vec<u8>| (len..=4 * len).contains(&(buffer.capacity() as u64));
        let index = self.large.buffers.iter().rposition(fits);
        let buffer = index.map(|index| self.large.take(index));
        self.note_use();
        buffer.unwrap_or_default()
    }

    /// Takes a buffer back; what would hold too much memory is freed instead.
    pub(super) fn give(&mut self, buffer: Vec<u8>) {
        let stack = match buffer.capacity() {
            0 => return,
            capacity if capacity < LARGE_BYTES => &mut self.small,
            _ => &mut self.large,
        };
        if let Some(buffer) = stack.push(buffer) {
            free(buffer);
        }
    }

    /// Whether there are large ones.
    pub(super) fn has_large(&self) -> bool {
        self.large.bytes > 0
    }

    /// Frees those large ones that have not been needed since the last call.
    pub(super) fn trim_unused(&mut self) {
        let kept_bytes = self.large.bytes - self.unused_bytes;
        while self.large.bytes > kept_bytes
            && let Some(buffer) = self.large.pop()
        {
            free(buffer);
        }
        self.unused_bytes = self.large.bytes;
    }

    /// Frees all.
    pub(super) fn clear(&mut self) {
        self.small.buffers = Vec::new();
        self.small.bytes = 0;
        while let Some(buffer) = self.large.pop() {
            free(buffer);
        }
        self.unused_bytes = 0;
    }

    /// Bytes of memory held.
    pub(super) fn held_bytes(&self) -> usize {
        self.small.bytes + self.large.bytes
    }

    fn note_use(&mut self) {
        self.unused_bytes = self.unused_bytes.min(self.large.bytes);
    }
}

impl Drop for SpareBuffers {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Least capacity of a large one, in bytes.
const LARGE_BYTES: usize = 64 << 10;

/// Most memory of small ones, in bytes: several turns' output of a busy server.
const MAX_SMALL_BYTES: usize = 4 << 20;

/// Most memory of large ones: what clients are reading and writing at one time when some dozen send
/// long messages. It is freed when they have stopped.
const MAX_LARGE_BYTES: usize = 32 << 20;

/// Most of each kind: thousands of tiny ones, as pings to all leave behind, are no gain over the
/// allocator.
const MAX_BUFFERS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_gets_one_that_fits_and_short_ones_leave_it_alone() {
        let mut spare = SpareBuffers::default();
        spare.give(Vec::with_capacity(1000));
        spare.give(Vec::with_capacity(1 << 20));
        spare.give(Vec::with_capacity(16 << 20));
        assert_eq!(spare.take_for(100).capacity(), 1000);
        assert_eq!(spare.take_for(400 << 10).capacity(), 1 << 20);
        assert_eq!(
            spare.take_for(400 << 10).capacity(),
            0,
            "16 MiB is too much"
        );
        assert_eq!(spare.take_for(9 << 20).capacity(), 16 << 20);
        assert_eq!(spare.held_bytes(), 0);
        assert_eq!(spare.take_for(u64::MAX).capacity(), 0);
    }

    #[test]
    fn each_kind_has_its_limit() {
        let mut spare = SpareBuffers::default();
        spare.limit(1 << 20);
        for _ in 0..5 {
            spare.give(Vec::with_capacity(40 << 10));
            spare.give(Vec::with_capacity(100 << 10));
        }
        assert_eq!(spare.held_bytes(), (40 << 10) + 2 * (100 << 10));
        spare.clear();
        assert_eq!(spare.held_bytes(), 0);
        assert_eq!(spare.take().capacity(), 0);
    }

    #[test]
    fn what_was_not_needed_for_a_while_is_freed() {
        let mut spare = SpareBuffers::default();
        (0..4).for_each(|_| spare.give(Vec::with_capacity(1 << 20)));
        spare.trim_unused();
        assert_eq!(spare.held_bytes(), 4 << 20, "they have just come");
        let used = [spare.take_for(1 << 20), spare.take_for(1 << 20)];
        used.into_iter().for_each(|buffer| spare.give(buffer));
        spare.trim_unused();
        assert_eq!(spare.held_bytes(), 2 << 20, "two were in use");
        spare.give(Vec::with_capacity(1000));
        spare.trim_unused();
        assert!(!spare.has_large());
        assert_eq!(spare.held_bytes(), 1000);
    }
}
