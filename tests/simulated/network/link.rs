//! One direction of a connection: bytes in order, in packets, each a while on its way.

use std::collections::VecDeque;
use std::time::Duration;

use websock::connection::MonotonicTime;

use super::MOST_MILLIS;
use crate::random::Random;

/// What is on its way. An empty packet is the end of the stream.
#[derive(Debug, Default)]
pub(super) struct Link {
    packets: VecDeque<(MonotonicTime, Vec<u8>)>,
    is_ended: bool,
}

/// Bytes that the network holds before the sender has to wait.
const WINDOW: usize = 20_000;

/// The same if nobody reads at the other end.
const STUCK_WINDOW: usize = 2_000;

impl Link {
    /// Puts bytes on their way, in random packets.
    pub(super) fn send(&mut self, bytes: &[u8], now: MonotonicTime, random: &mut Random) {
        if self.is_ended {
            return;
        }
        let most = random.pick(&[1, 2, 3, 8, 30]);
        for packet in random.split(bytes, most) {
            self.push(packet, now, random);
        }
    }

    /// The stream ends here.
    pub(super) fn end(&mut self, now: MonotonicTime, random: &mut Random) {
        if !self.is_ended {
            self.push(Vec::new(), now, random);
            self.is_ended = true;
        }
    }

    fn push(&mut self, packet: Vec<u8>, now: MonotonicTime, random: &mut Random) {
        let delay = Duration::from_millis(random.below(MOST_MILLIS) as u64);
        let before = self.packets.back().map_or(now, |(at, _)| *at);
        self.packets.push_back((before.max(now + delay), packet));
    }

    /// The next packet that is there at `now`.
    pub(super) fn arrived(&mut self, now: MonotonicTime) -> Option<Vec<u8>> {
        if self.packets.front()?.0 > now {
            return None;
        }
        self.packets.pop_front().map(|(_, packet)| packet)
    }

    /// Whether something is on its way.
    pub(super) fn is_busy(&self) -> bool {
        !self.packets.is_empty()
    }

    /// Bytes that a sender may still put on their way.
    pub(super) fn free_bytes(&self, is_read: bool) -> usize {
        let waiting: usize = self.packets.iter().map(|(_, packet)| packet.len()).sum();
        let window = if is_read { WINDOW } else { STUCK_WINDOW };
        window.saturating_sub(waiting)
    }
}
