//! [`Freshness`]: proof that what comes is of now, and not a record of what was sent before.
//!
//! ```text
//!  this node, connected                      another one
//!      │ Heartbeat { asks: C } ───────────────►  │
//!      │ ◄─────── Proof { answers: C, asks: D }  │   what it sends is of now
//!      │ Proof { answers: D, asks: 0 } ───────►  │   and so is what is sent here
//! ```
//!
//! A signature says who has sent an envelope, and not when; clocks on the wall may be hours off. So
//! each node makes up a number when it has connected, its challenge: whoever signs that number with
//! what he sends does so after that. Until a sender has answered, its envelopes are held, for as long
//! as a message may wait for Redis and bounded by `backplaneQueue`. Then those count that are not
//! older, by the sender's own clock, than what may have been under way when this node connected.

use std::collections::{BTreeSet, VecDeque};

use super::peers::ASK_PAUSE;
use super::published::QUEUE_TIME;
use crate::base::{MonotonicTime, random};

/// What this node asks of others, and what waits for their answers.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    /// 0: this node is not connected.
    challenge: u64,
    /// All others have been asked.
    is_announced: bool,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// When those whose envelopes are held are asked again.
    ask_at: Option<MonotonicTime>,
    /// Those of proven senders, to be opened anew.
    released: VecDeque<Held>,
}

/// An envelope of which it is not known whether it is of now.
#[derive(Debug)]
struct Held {
    epoch: u64,
    arrived: Arrived,
    until: MonotonicTime,
}

/// An envelope as it has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) channel: Vec<u8>,
    pub(super) payload: Vec<u8>,
    /// When it came, the tab that it is for was another node's, which has heard it, too.
    pub(super) is_anothers: bool,
}

impl Held {
    fn byte_count(&self) -> usize {
        self.arrived.channel.len() + self.arrived.payload.len() + size_of::<Self>()
    }
}

impl Freshness {
    /// This node is connected anew: a new challenge.
    pub(super) fn begin(&mut self) {
        let mut bytes = [0; 8];
        random::fill(&mut bytes);
        self.challenge = u64::from_be_bytes(bytes).max(1);
        self.ask_all();
    }

    /// This node is cut off: nothing that is held will be proven any more. Whose that was.
    pub(super) fn end(&mut self) -> impl Iterator<Item = u64> + use<> {
        self.challenge = 0;
        self.held_bytes = 0;
        std::mem::take(&mut self.held)
            .into_iter()
            .map(|held| held.epoch)
    }

    /// What others are to sign; 0: this node is not connected.
    pub(super) fn challenge(&self) -> u64 {
        self.challenge
    }

    /// Keeps an envelope until its sender has proven that it is there; whether there is room.
    pub(super) fn hold(
        &mut self,
        epoch: u64,
        arrived: Arrived,
        max_bytes: usize,
        now: MonotonicTime,
    ) -> bool {
        let held = Held {
            epoch,
            arrived,
            until: now + QUEUE_TIME,
        };
        let byte_count = held.byte_count();
        // The longest message has to get through, too.
        let has_room = self.held.is_empty() || self.held_bytes + byte_count <= max_bytes;
        if has_room {
            self.held_bytes += byte_count;
            self.held.push_back(held);
            self.ask_at.get_or_insert(now + ASK_PAUSE);
        }
        has_room
    }

    /// Whose envelopes are held, if they are to be asked again: a question or its answer may have met
    /// nobody who heard it.
    pub(super) fn take_silent(&mut self, now: MonotonicTime) -> BTreeSet<u64> {
        if self.ask_at.take_if(|at| *at <= now).is_none() || self.held.is_empty() {
            return BTreeSet::new();
        }
        self.ask_at = Some(now + ASK_PAUSE);
        self.held.iter().map(|held| held.epoch).collect()
    }

    /// Gives up one that has been held for long enough; whose it was.
    pub(super) fn give_up(&mut self, now: MonotonicTime) -> Option<u64> {
        self.held.front().filter(|held| held.until <= now)?;
        let held = self.held.pop_front()?;
        self.held_bytes -= held.byte_count();
        Some(held.epoch)
    }

    /// When something held is given up, or those who have sent it are asked again.
    pub(super) fn next_deadline(&self) -> Option<MonotonicTime> {
        let held = self.held.front()?;
        Some(self.ask_at.map_or(held.until, |at| at.min(held.until)))
    }

    /// What has come on this channel was for a tab of another node, which has heard it, too.
    pub(super) fn leave_to_another(&mut self, channel: &[u8]) {
        let held = self.held.iter_mut().map(|held| &mut held.arrived);
        held.filter(|arrived| arrived.channel == channel)
            .for_each(|arrived| arrived.is_anothers = true);
    }

    /// Whether something is held that came on this channel.
    pub(super) fn holds_some_of(&self, channel: &[u8]) -> bool {
        self.held.iter().any(|held| held.arrived.channel == channel)
    }

    /// Bytes of memory held.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The challenge, if others have not been asked since this node has connected; they are now.
    pub(super) fn announce(&mut self) -> u64 {
        match std::mem::replace(&mut self.is_announced, true) {
            true => 0,
            false => self.challenge,
        }
    }

    /// All others are to be asked.
    pub(super) fn ask_all(&mut self) {
        self.is_announced = false;
    }

    /// The next envelope that was held and whose sender has proven that it is there.
    pub(super) fn take_released(&mut self) -> Option<Arrived> {
        self.released.pop_front().map(|held| held.arrived)
    }

    /// This sender has proven that it is there.
    pub(super) fn release(&mut self, epoch: u64) {
        for held in std::mem::take(&mut self.held) {
            match held.epoch == epoch {
                true => {
                    self.held_bytes -= held.byte_count();
                    self.released.push_back(held);
                }
                false => self.held.push_back(held),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_comes_out_in_order_or_is_given_up_and_is_bounded() {
        let mut freshness = Freshness::default();
        let (start, most) = (MonotonicTime::START, 1000);
        freshness.begin();
        let challenge = freshness.challenge();
        assert_ne!(challenge, 0);
        assert_eq!(freshness.announce(), challenge);
        assert_eq!(freshness.announce(), 0, "all have been asked");
        let arrived = |payload: &[u8]| Arrived {
            channel: b"ch".to_vec(),
            payload: payload.to_vec(),
            is_anothers: payload == b"c",
        };
        assert!(!freshness.holds_some_of(b"ch"));
        for (epoch, text) in [(1, "a"), (2, "b"), (1, "c")] {
            assert!(freshness.hold(epoch, arrived(text.as_bytes()), most, start));
        }
        assert!(freshness.holds_some_of(b"ch") && !freshness.holds_some_of(b"c"));
        assert!(!freshness.hold(1, arrived(&[0; 1000]), most, start));
        freshness.leave_to_another(b"c");
        freshness.release(1);
        for text in ["a", "c"] {
            let expected = arrived(text.as_bytes());
            assert_eq!(freshness.take_released(), Some(expected));
        }
        freshness.leave_to_another(b"ch");
        assert_eq!(freshness.take_released(), None);
        // Whoever is held is asked again until it is given up.
        assert_eq!(freshness.next_deadline(), Some(start + ASK_PAUSE));
        assert_eq!(freshness.take_silent(start), BTreeSet::new());
        assert_eq!(freshness.give_up(start), None);
        for asked in 1..4 {
            let at = start + ASK_PAUSE * asked;
            assert_eq!(freshness.take_silent(at), BTreeSet::from([2]));
            assert_eq!(freshness.next_deadline(), Some(at + ASK_PAUSE));
        }
        assert_eq!(freshness.give_up(start + QUEUE_TIME), Some(2));
        assert_eq!(freshness.held_bytes(), 0);
        // The longest message has to get through.
        assert!(freshness.hold(3, arrived(&[0; 5000]), most, start));
        assert_eq!(freshness.end().collect::<Vec<_>>(), [3]);
        assert_eq!((freshness.held_bytes(), freshness.challenge()), (0, 0));
    }
}
