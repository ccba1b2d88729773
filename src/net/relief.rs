//! Memory: when newcomers are refused, and who pays when too much is held (`memoryLimit`).

use log::{debug, warn};

use super::counts::{ABNORMAL_CLOSURE, OVER_MEMORY_LIMIT};
use super::event_loop::{EventLoop, WantsMemory};
use super::system::System;

impl<Y: System> EventLoop<Y> {
    pub(super) fn total_bytes(&self) -> usize {
        self.held_bytes() + self.context.pool.held_bytes()
    }

    /// From here on newcomers are refused.
    pub(super) fn scarce_bytes(&self) -> usize {
        self.settings.memory_limit_bytes / 16 * 15
    }

    /// Whether there is no memory for newcomers; spare buffers are none that anybody needs.
    pub(super) fn is_memory_scarce(&mut self) -> bool {
        if self.total_bytes() > self.scarce_bytes() {
            self.reclaim();
        }
        self.total_bytes() > self.scarce_bytes()
    }

    /// Frees what nobody needs.
    fn reclaim(&mut self) {
        self.links.reclaim_shared(&mut self.context);
        self.context.pool.trim();
    }

    /// Whether more is held than may be.
    pub(super) fn is_over_memory_limit(&self) -> bool {
        self.total_bytes() > self.settings.memory_limit_bytes
    }

    /// Frees something if more is held than may be, or than lets newcomers in
    /// where one was refused; whether it has.
    pub(super) fn relieve_memory(&mut self) -> bool {
        let most = match self.wants_memory {
            WantsMemory::No => self.settings.memory_limit_bytes,
            WantsMemory::Yes => self.scarce_bytes(),
        };
        if self.total_bytes() <= most {
            self.wants_memory = WantsMemory::No;
            return false;
        }
        self.reclaim();
        if self.total_bytes() <= most {
            self.wants_memory = WantsMemory::No;
            return false;
        }
        // Nobody pays for what others are still to get.
        if self.links.broadcasts.is_under_way() {
            self.finish_broadcasts();
            return true;
        }
        let Some((slot, bytes)) = self.links.heavy.heaviest() else {
            return false;
        };
        let link = self.links.table.slot_mut(slot);
        let (id, address) = link.map(|link| (link.id, link.peer.name())).unzip();
        let address = address.unwrap_or_default();
        debug!("#{slot} cut over memoryLimit: it held about {bytes} bytes ({address})");
        if let Some(count) = self.relief_log.count(self.context.now) {
            warn!(
                "memoryLimit reached: {count} connections cut, the last one #{slot}, which held \
                 about {bytes} bytes ({address})"
            );
        }
        if let Some(id) = id {
            self.links
                .count_end(id, ABNORMAL_CLOSURE, OVER_MEMORY_LIMIT);
        }
        self.links.abort(slot);
        // At once, for what its transport holds goes with it only.
        self.flush(slot);
        true
    }
}
