//! What a read has brought.

/// What a read has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    /// Bytes for the connection, in the buffer.
    pub(super) len: usize,
    /// What may follow them.
    pub(super) more: More,
}

/// What may follow a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    /// Nothing now; the kernel will tell.
    No,
    /// The buffer was too small to know.
    Maybe,
    /// Nothing ever.
    Ended,
}
