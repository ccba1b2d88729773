//! What of a turn may take long, up to a slice by the clock: short work first, then long work, then
//! broadcasts.
//!
//! Whoever sends something small meets at most one slice of each kind and what is being done when it
//! ends, whatever else the server is busy with.

use super::event_loop::EventLoop;
use super::slice::{Share, Slice};
use super::system::System;

impl<Y: System> EventLoop<Y> {
    /// Goes on with what takes long: handshakes, the rest of long messages, those who had more to
    /// read than their share, and what waits for sockets that take bytes again. At least one of each
    /// has its turn; the rest waits for the next turn, as what has come meanwhile is usually small.
    pub(super) fn go_on_with_long_work(&mut self) {
        let (has_flushes, mut read_count) = self.links.long_work();
        if !has_flushes && read_count == 0 {
            return;
        }
        // What short work has brought about leaves before.
        while let Some(id) = self.links.next_to_flush() {
            self.flush_touched(id);
        }
        // Its own share, so that no flood of what is new keeps the backlog waiting for ever.
        self.work_budget_bytes = WORK_BYTES_PER_TURN;
        let mut slice = Slice::new(1);
        loop {
            let (has_flushes, _) = self.links.long_work();
            if !(has_flushes || read_count > 0) || !slice.has_time(&self.system) {
                break;
            }
            if let Some(id) = self.links.next_put_off() {
                self.flush(id.slot as usize);
            }
            if read_count > 0 {
                read_count -= 1;
                if let Some(id) = self.links.backlog.pop_front() {
                    self.read_again(id);
                }
            }
            if self.work_budget_bytes == 0 {
                read_count = 0;
            }
        }
    }

    /// Tells the application who has gone and flushes everybody, until all lists stay empty; the
    /// members of broadcasts behind all others, and of them a share.
    pub(super) fn flush_all(&mut self, share: Share) {
        let mut slice = Slice::new(STEPS_PER_LOOK);
        loop {
            if !self.commands.is_empty() {
                // What the application had to say about an end, or a failure.
                self.carry_out(None);
            } else if let Some(id) = self.links.ended.pop() {
                self.end(id);
            } else if let Some(id) = self.links.next_to_flush() {
                self.flush_touched(id);
            } else if self.links.broadcasts.is_under_way()
                && (share == Share::All || slice.has_time(&self.system))
            {
                if self.links.broadcasts.is_long() {
                    slice.look_at_next_step();
                }
                self.links.deliver_next(&mut self.context);
            } else if !self.tell_receipts() && !self.relieve_memory() {
                break;
            }
        }
    }

    /// Queues and flushes all that is under way, whatever it takes.
    pub(super) fn finish_broadcasts(&mut self) {
        self.links.finish_broadcasts(&mut self.context);
        while let Some(id) = self.links.next_to_flush() {
            self.flush_touched(id);
        }
    }
}

/// Deliveries until the clock is asked again, unless they are long: each is a call of the system of 3
/// to 10 us, so that a slice ends less than 0.2 ms late.
const STEPS_PER_LOOK: u32 = 16;

/// Bytes of messages after which a turn goes no further in the backlog, whatever the clock says.
const WORK_BYTES_PER_TURN: usize = 4 << 20;
