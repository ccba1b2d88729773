//! How large buffers are freed.

/// Frees a buffer so that its memory goes back to the system.
///
/// glibc has a mapping of its own for whatever takes 128 KiB or more, and unmaps it when it is freed;
/// but freeing one makes it take mappings of its own for larger ones only. From then on buffers come
/// from the heap, which ends at the highest of them that is in use: 59 MB stayed after 64 clients had
/// echoed 1 MiB each. Made small first, which moves nothing, a mapping is freed without that.
pub fn free(mut buffer: Vec<u8>) {
    if buffer.capacity() >= LARGE_BYTES {
        buffer.clear();
        buffer.shrink_to(SHRUNK_BYTES);
    }
}

/// Least capacity of what is made small first, in bytes: less than what gets a mapping.
const LARGE_BYTES: usize = 64 << 10;

/// What a buffer is shrunk to before it is freed: a page.
const SHRUNK_BYTES: usize = 2048;
