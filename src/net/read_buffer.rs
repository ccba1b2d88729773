//! [`ReadBuffer`]: what the kernel copies into.

use std::ops::{Deref, DerefMut};

/// A buffer of a fixed size, at a place where the kernel's copies are fast.
///
/// The kernel copies by `rep movsb`, which some processors (Zen 3 and 4) do up to forty times
/// slower where the destination lies 1 to 31 bytes behind the source, modulo the size of a page.
/// What is sent in large pieces lies at the beginning of pages or a little behind it; so does what
/// an allocator hands out. This buffer begins in the middle of a page.
#[derive(Default)]
pub(super) struct ReadBuffer {
    bytes: Vec<u8>,
    start: usize,
}

impl ReadBuffer {
    pub(super) fn new(len: usize) -> Self {
        let bytes = vec![0; len + PAGE_BYTES];
        let start = (PLACE_IN_PAGE + PAGE_BYTES - bytes.as_ptr().addr() % PAGE_BYTES) % PAGE_BYTES;
        Self { bytes, start }
    }
}

impl Deref for ReadBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let len = self.bytes.len().saturating_sub(PAGE_BYTES);
        self.bytes
            .get(self.start..self.start + len)
            .unwrap_or_default()
    }
}

impl DerefMut for ReadBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = self.bytes.len().saturating_sub(PAGE_BYTES);
        self.bytes
            .get_mut(self.start..self.start + len)
            .unwrap_or_default()
    }
}

const PAGE_BYTES: usize = 4096;

/// Far from where pages begin and end, and not where a copy from one half to the other begins.
const PLACE_IN_PAGE: usize = PAGE_BYTES / 2 + 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_its_size_and_begins_in_the_middle_of_a_page() {
        for len in [1, 4095, 4096, 100_000] {
            let mut buffer = ReadBuffer::new(len);
            assert_eq!((buffer.len(), buffer.as_ptr().addr() % 4096), (len, 2080));
            buffer[len - 1] = 1;
            assert_eq!(buffer[len - 1], 1);
        }
        assert!(ReadBuffer::default().is_empty());
    }
}
