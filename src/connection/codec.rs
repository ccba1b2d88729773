//! What a connection does about compression: which inflater and which deflater take its messages.
//!
//! Without context every message is taken by spare ones that all connections share, and only a
//! compressed message that does not arrive at once holds an inflater until it ends. With context
//! a connection owns its two, from the first message that needs them.

use super::output::BufferPool;
use crate::protocol::deflate::{Deflater, Inflater};
use crate::protocol::extension::{Agreed, Context};
use crate::protocol::frame;

/// What was agreed with one peer, and what has to be remembered for it.
#[derive(Debug)]
pub(super) struct Codec {
    agreed: Agreed,
    inflater: Option<Box<Inflater>>,
    deflater: Option<Box<Deflater>>,
}

impl Codec {
    pub(super) fn new(agreed: Agreed) -> Self {
        Self {
            agreed,
            inflater: None,
            deflater: None,
        }
    }

    /// Base-2 logarithm of the window that messages to the peer may use.
    pub(super) fn window_bits(&self) -> u8 {
        self.agreed.server_window_bits
    }

    /// An inflater for the message that begins, until [`give_inflater`](Self::give_inflater).
    pub(super) fn take_inflater(&mut self, pool: &mut BufferPool) -> Box<Inflater> {
        match self.agreed.client_context {
            Context::Dropped => pool.take_inflater(),
            Context::Kept => self
                .inflater
                .take()
                .unwrap_or_else(|| Box::new(Inflater::new(Context::Kept))),
        }
    }

    /// Takes back the inflater of a message that has ended.
    pub(super) fn give_inflater(&mut self, inflater: Box<Inflater>, pool: &mut BufferPool) {
        match self.agreed.client_context {
            Context::Dropped => pool.give_inflater(inflater),
            Context::Kept => self.inflater = Some(inflater),
        }
    }

    /// Whether a message is long enough to be compressed.
    pub(super) fn is_worthwhile(&self, plain_frame: &[u8]) -> bool {
        plain_frame.len() >= frame::frame_len(self.agreed.threshold_bytes)
    }

    /// Appends the frame compressed; `false`, and nothing is appended, if it gets no shorter.
    pub(super) fn deflate_frame(
        &mut self,
        plain_frame: &[u8],
        pool: &mut BufferPool,
        out: &mut Vec<u8>,
    ) -> bool {
        let (bits, level) = (self.agreed.server_window_bits, self.agreed.level);
        let deflater = match self.agreed.server_context {
            Context::Dropped => pool.deflater(bits, level),
            Context::Kept => self
                .deflater
                .get_or_insert_with(|| Box::new(Deflater::new(bits, level, Context::Kept))),
        };
        deflater.deflate_frame(plain_frame, out)
    }

    /// The peer gets a compressed message that the own deflater does not know of, or does not get
    /// one that it does.
    pub(super) fn forget_context(&mut self) {
        if let Some(deflater) = &mut self.deflater {
            deflater.forget();
        }
    }

    /// Bytes of memory held.
    pub(super) fn held_bytes(&self) -> usize {
        let inflater = self.inflater.as_ref().map_or(0, |_| Inflater::HELD_BYTES);
        let deflater = self.deflater.as_ref().map_or(0, |d| d.held_bytes());
        size_of::<Self>() + inflater + deflater
    }
}
