//! The timer wheel: (slot, deadline) in coarse ticks; ignorant of what a deadline means.
//!
//! Owns when a slot comes up, and nothing else: the time is given, what to do about it is not
//! known here. A wheel without cascades, as in Linux's `kernel/time/timer.c`: a deadline goes
//! into one bucket, rounded up to what that bucket's level can tell apart, and stays there until
//! it is due.
//!
//! ```text
//! level   one bucket     64 buckets      deadlines up to 64 buckets ahead go to the finest level
//!   0       1 ms           64 ms         that reaches them; those beyond the last level wait in
//!   1       8 ms          512 ms         its last bucket and are filed again when that comes up
//!   2      64 ms           4.1 s
//!   3     512 ms            33 s         level 0 |.|.|x|.| … |.|
//!   4     4.1 s            4.4 min       level 1 |.|x|.|.| … |.|   x: head of a list of slots,
//!   5      33 s             35 min        …                        and a bit set in `occupied`
//!   6     4.4 min          4.7 h         level 7 |.|.|.|.| … |x|
//!   7      35 min           37 h
//! ```
//!
//! Invariants: a slot is in one list at most; a bit of `occupied` is set if and only if its list
//! is not empty; every bucket that is due at `current` is empty. Never early; late by at most
//! 8/63 of the delay, counted from the last [`Wheel::expire`], plus two ticks.

use std::num::NonZeroU16;
use std::time::Duration;

use crate::connection::{MonotonicTime, SlotMap};

/// A timer wheel over small slot numbers, at most one deadline per slot.
///
/// Takes 16 bytes for each slot that was armed, until it is [forgotten](Self::forget).
pub struct Wheel {
    start: MonotonicTime,
    /// The tick up to which everything has expired.
    current: u64,
    len: usize,
    nodes: SlotMap<Node>,
    /// The first slot in each bucket, [`OVERDUE`] being the last.
    heads: [u32; BUCKET_COUNT + 1],
    /// For each level one bit per bucket.
    occupied: [u64; LEVEL_COUNT],
}

impl Wheel {
    /// An empty wheel whose first tick is `start`.
    pub fn new(start: MonotonicTime) -> Self {
        Self {
            start,
            current: 0,
            len: 0,
            nodes: SlotMap::default(),
            heads: [NIL; BUCKET_COUNT + 1],
            occupied: [0; LEVEL_COUNT],
        }
    }

    /// Arms `slot`, in place of its earlier deadline if it had one. O(1).
    ///
    /// What has passed at the last [`expire`](Self::expire), or lies before the wheel's start,
    /// comes up at the next one. Calling `expire` before `set` in each turn keeps the precision
    /// high.
    ///
    /// # Panics
    ///
    /// If `slot` does not fit into 32 bits. The table of connections has no such slots.
    pub fn set(&mut self, slot: usize, deadline: MonotonicTime) {
        let slot_number = u32::try_from(slot).expect("slots have 32 bits");
        let deadline = ticks_rounded_up(deadline - self.start);
        let bucket = self.bucket_for(deadline);
        if self.nodes.get(slot).is_none() {
            self.nodes.insert(slot, Node::IDLE);
        }
        if self.nodes[slot].bucket != bucket {
            self.cancel(slot);
            self.link(slot_number, bucket);
            self.len += 1;
        }
        self.nodes[slot].set_deadline(deadline);
    }

    /// Disarms `slot`; harmless if it is not armed. O(1).
    pub fn cancel(&mut self, slot: usize) {
        if self
            .nodes
            .get(slot)
            .is_some_and(|node| node.bucket != NO_BUCKET)
        {
            self.unlink(slot);
            self.len -= 1;
        }
    }

    /// Disarms `slot` and frees what is kept for it. O(1).
    pub fn forget(&mut self, slot: usize) {
        self.cancel(slot);
        self.nodes.remove(slot);
    }

    /// Moves every slot whose deadline has passed at `now` to `expired` and disarms it. Never
    /// early.
    ///
    /// In no particular order, and behind what `expired` holds already. The work is bounded by
    /// the number of slots that come up, however far the clock has moved.
    pub fn expire(&mut self, now: MonotonicTime, expired: &mut Vec<usize>) {
        let now = ticks(now - self.start).max(self.current);
        let expired_before = expired.len();
        let mut far = NIL;
        self.empty(OVERDUE, now, expired, &mut far);
        for level in 0..LEVEL_COUNT {
            let mut due = self.occupied[level] & self.passed_buckets(level, now);
            while due != 0 {
                self.empty(
                    bucket(level, u64::from(due.trailing_zeros())),
                    now,
                    expired,
                    &mut far,
                );
                due &= due - 1;
            }
        }
        self.len -= expired.len() - expired_before;
        self.current = now;
        self.file_again(far);
    }

    /// Time from `now` to the moment at which [`expire`](Self::expire) may have something to do;
    /// `None` if nothing is armed.
    pub fn next_wait(&self, now: MonotonicTime) -> Option<Duration> {
        if self.is_empty() {
            return None;
        }
        if self.heads[OVERDUE.number()] != NIL {
            return Some(Duration::ZERO);
        }
        let next = (0..LEVEL_COUNT)
            .filter_map(|level| self.next_in_level(level))
            .min()?;
        let elapsed = now - self.start;
        Some(Duration::from_millis(next).saturating_sub(elapsed))
    }

    /// Number of armed slots.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is armed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bucket of the finest level that reaches `deadline`.
    fn bucket_for(&self, deadline: u64) -> Bucket {
        if deadline <= self.current {
            return OVERDUE;
        }
        let within_reach = deadline.min(self.current + REACH);
        let last = LEVEL_COUNT - 1;
        let level = (0..last)
            .find(|&level| {
                let ahead = rounded_up(within_reach, level) - (self.current >> shift(level));
                ahead <= LEVEL_BUCKETS
            })
            .unwrap_or(last);
        bucket(level, rounded_up(within_reach, level) % LEVEL_BUCKETS)
    }

    /// The buckets of a level that have come up after `current` and up to `now`, as bits.
    fn passed_buckets(&self, level: usize, now: u64) -> u64 {
        let position = self.current >> shift(level);
        let passed = (now >> shift(level)) - position;
        if passed >= LEVEL_BUCKETS {
            return u64::MAX;
        }
        ((1 << passed) - 1_u64).rotate_left(bit(position + 1))
    }

    /// The tick at which a level's next occupied bucket comes up.
    fn next_in_level(&self, level: usize) -> Option<u64> {
        let next_position = (self.current >> shift(level)) + 1;
        let ahead = self.occupied[level]
            .rotate_right(bit(next_position))
            .trailing_zeros();
        let is_occupied = self.occupied[level] != 0;
        is_occupied.then(|| (next_position + u64::from(ahead)) << shift(level))
    }

    /// Empties a bucket: what is due goes to `expired`, the rest onto the list `far`.
    fn empty(&mut self, bucket: Bucket, now: u64, expired: &mut Vec<usize>, far: &mut u32) {
        let mut next = std::mem::replace(&mut self.heads[bucket.number()], NIL);
        self.set_occupied(bucket, false);
        while next != NIL {
            let slot = next;
            let node = &mut self.nodes[index(slot)];
            next = node.next;
            node.bucket = NO_BUCKET;
            if node.deadline() <= now {
                expired.push(index(slot));
            } else {
                node.next = std::mem::replace(far, slot);
            }
        }
    }

    /// Files the deadlines that had been beyond the last level's reach.
    fn file_again(&mut self, mut far: u32) {
        while far != NIL {
            let slot = far;
            let node = self.nodes[index(slot)];
            far = node.next;
            self.link(slot, self.bucket_for(node.deadline()));
        }
    }

    fn link(&mut self, slot: u32, bucket: Bucket) {
        let next = std::mem::replace(&mut self.heads[bucket.number()], slot);
        if next != NIL {
            self.nodes[index(next)].prev = slot;
        }
        let node = &mut self.nodes[index(slot)];
        (node.prev, node.next, node.bucket) = (NIL, next, bucket);
        self.set_occupied(bucket, true);
    }

    fn unlink(&mut self, slot: usize) {
        let Node {
            prev, next, bucket, ..
        } = self.nodes[slot];
        if next != NIL {
            self.nodes[index(next)].prev = prev;
        }
        if prev != NIL {
            self.nodes[index(prev)].next = next;
        } else {
            self.heads[bucket.number()] = next;
            self.set_occupied(bucket, next != NIL);
        }
        self.nodes[slot].bucket = NO_BUCKET;
    }

    fn set_occupied(&mut self, bucket: Bucket, is_occupied: bool) {
        let level = bucket.number() / LEVEL_BUCKETS as usize;
        // The list of overdue slots belongs to no level.
        if let Some(bits) = self.occupied.get_mut(level) {
            let bit = 1 << (bucket.number() as u64 % LEVEL_BUCKETS);
            *bits = if is_occupied {
                *bits | bit
            } else {
                *bits & !bit
            };
        }
    }
}

/// Which bucket: its number and one more, so that a missing node takes no room of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bucket(NonZeroU16);

impl Bucket {
    const fn new(number: u16) -> Self {
        Self(NonZeroU16::MIN.saturating_add(number))
    }

    fn number(self) -> usize {
        usize::from(self.0.get() - 1)
    }
}

/// A slot's place in the list of its bucket.
#[derive(Clone, Copy)]
struct Node {
    prev: u32,
    next: u32,
    /// In ticks since the wheel's start: 48 bits in two parts.
    deadline_upper: u32,
    deadline_lower: u16,
    bucket: Bucket,
}

impl Node {
    const IDLE: Self = Self {
        prev: NIL,
        next: NIL,
        deadline_upper: 0,
        deadline_lower: 0,
        bucket: NO_BUCKET,
    };

    fn deadline(self) -> u64 {
        (u64::from(self.deadline_upper) << 16) | u64::from(self.deadline_lower)
    }

    fn set_deadline(&mut self, tick: u64) {
        (self.deadline_upper, self.deadline_lower) = ((tick >> 16) as u32, tick as u16);
    }
}

/// Ends a list.
const NIL: u32 = u32::MAX;

/// Bucket of a slot that is not armed.
const NO_BUCKET: Bucket = Bucket(NonZeroU16::MAX);

/// As many as a `u64` has bits.
const LEVEL_BUCKETS: u64 = 64;

/// Eight levels reach 37 hours, longer than any timeout in websock.ini.
const LEVEL_COUNT: usize = 8;

const BUCKET_COUNT: usize = LEVEL_COUNT * LEVEL_BUCKETS as usize;

/// The list of slots whose deadlines had passed when they were set.
const OVERDUE: Bucket = Bucket::new(BUCKET_COUNT as u16);

/// Each level is 2^3 times as coarse as the one before.
const LEVEL_SHIFT: usize = 3;

/// How far ahead the last level takes deadlines at any time, in ticks: of its 64 buckets one may
/// have begun.
const REACH: u64 = (LEVEL_BUCKETS - 1) << shift(LEVEL_COUNT - 1);

/// Binary logarithm of the ticks in one bucket of a level.
const fn shift(level: usize) -> usize {
    level * LEVEL_SHIFT
}

/// A tick in buckets of a level, never less than it.
fn rounded_up(tick: u64, level: usize) -> u64 {
    tick.div_ceil(1 << shift(level))
}

fn bucket(level: usize, position: u64) -> Bucket {
    Bucket::new((level as u64 * LEVEL_BUCKETS + position) as u16)
}

/// The bit that stands for a position of a level.
fn bit(position: u64) -> u32 {
    (position % LEVEL_BUCKETS) as u32
}

fn index(slot: u32) -> usize {
    // Lossless: no supported target has pointers of less than 32 bits.
    slot as usize
}

/// Whole ticks of one millisecond; [`MonotonicTime`]s lie less than 2^45 of them apart.
fn ticks(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

fn ticks_rounded_up(duration: Duration) -> u64 {
    ticks(duration) + u64::from(!duration.subsec_nanos().is_multiple_of(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOBODY: [usize; 0] = [];

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn expired(wheel: &mut Wheel, now: MonotonicTime) -> Vec<usize> {
        let mut slots = Vec::new();
        wheel.expire(now, &mut slots);
        slots.sort_unstable();
        slots
    }

    /// The latest moment at which a deadline comes up, by the module's promise.
    fn latest(deadline: MonotonicTime, last_expire: MonotonicTime) -> MonotonicTime {
        deadline + (deadline - last_expire) * 8 / 63 + ms(2)
    }

    #[test]
    fn a_slot_takes_16_bytes_while_it_is_armed_and_none_when_it_is_forgotten() {
        assert_eq!(size_of::<Option<Node>>(), 16);
        let mut wheel = Wheel::new(MonotonicTime::START);
        let due = MonotonicTime::START + Duration::from_secs(1);
        (0..5000).for_each(|slot| wheel.set(slot, due));
        (0..5000).for_each(|slot| wheel.forget(slot));
        assert_eq!((wheel.nodes.len(), wheel.len), (0, 0));
        let mut expired = Vec::new();
        wheel.expire(due + Duration::from_secs(9), &mut expired);
        assert!(expired.is_empty());
    }

    #[test]
    fn a_node_takes_16_bytes() {
        assert_eq!(size_of::<Node>(), 16);
    }

    #[test]
    fn an_empty_wheel_waits_for_nothing() {
        let start = MonotonicTime::START;
        let mut wheel = Wheel::new(start);
        assert_eq!(wheel.next_wait(start), None);
        assert!(wheel.is_empty());
        wheel.cancel(7);
        assert_eq!(expired(&mut wheel, start + ms(1_000_000)), NOBODY);
    }

    #[test]
    fn a_slot_expires_once_and_not_before_its_deadline() {
        let start = MonotonicTime::START;
        let mut wheel = Wheel::new(start);
        wheel.set(3, start + ms(10));
        assert_eq!(wheel.len(), 1);
        assert_eq!(wheel.next_wait(start), Some(ms(10)));
        assert_eq!(wheel.next_wait(start + ms(4)), Some(ms(6)));
        assert_eq!(wheel.next_wait(start + ms(11)), Some(ms(0)));
        assert_eq!(
            expired(&mut wheel, start + ms(10) - Duration::from_nanos(1)),
            NOBODY
        );
        assert_eq!(expired(&mut wheel, start + ms(10)), [3]);
        assert_eq!(expired(&mut wheel, start + ms(10)), NOBODY);
        assert_eq!((wheel.len(), wheel.next_wait(start)), (0, None));
    }

    #[test]
    fn parts_of_a_tick_are_rounded_up() {
        let start = MonotonicTime::START;
        let mut wheel = Wheel::new(start);
        wheel.set(0, start + Duration::from_nanos(1_000_001));
        assert_eq!(
            expired(&mut wheel, start + Duration::from_nanos(1_999_999)),
            NOBODY
        );
        assert_eq!(expired(&mut wheel, start + ms(2)), [0]);
    }

    #[test]
    fn a_later_set_replaces_the_earlier_one() {
        let start = MonotonicTime::START;
        let mut wheel = Wheel::new(start);
        for deadline in [5, 5_000, 50_000, 20, 21] {
            wheel.set(1, start + ms(deadline));
        }
        assert_eq!(wheel.len(), 1);
        assert_eq!(expired(&mut wheel, start + ms(20)), NOBODY);
        assert_eq!(expired(&mut wheel, start + ms(21)), [1]);
        assert_eq!(expired(&mut wheel, start + ms(100_000)), NOBODY);
    }

    #[test]
    fn a_cancelled_slot_never_expires_and_its_neighbours_do() {
        let start = MonotonicTime::START;
        for cancelled in 0..3 {
            let mut wheel = Wheel::new(start);
            (0..3).for_each(|slot| wheel.set(slot, start + ms(10)));
            wheel.cancel(cancelled);
            wheel.cancel(cancelled);
            assert_eq!(wheel.len(), 2);
            let left: Vec<_> = (0..3).filter(|&slot| slot != cancelled).collect();
            assert_eq!(expired(&mut wheel, start + ms(10)), left);
        }
    }

    #[test]
    fn what_has_passed_is_due_at_once() {
        let start = MonotonicTime::START + ms(60_000);
        let mut wheel = Wheel::new(start);
        wheel.set(0, start - ms(50_000));
        wheel.set(1, start);
        assert_eq!(wheel.next_wait(start), Some(ms(0)));
        assert_eq!(expired(&mut wheel, start), [0, 1]);
        assert_eq!(expired(&mut wheel, start + ms(500)), NOBODY);
        wheel.set(0, start + ms(400));
        wheel.set(1, start + ms(500));
        wheel.set(2, start + ms(501));
        wheel.cancel(1);
        assert_eq!(wheel.next_wait(start + ms(500)), Some(ms(0)));
        assert_eq!(expired(&mut wheel, start + ms(500)), [0]);
        assert_eq!(wheel.next_wait(start + ms(500)), Some(ms(1)));
    }

    #[test]
    fn a_slot_may_be_set_again_right_after_it_expired() {
        let start = MonotonicTime::START;
        let mut wheel = Wheel::new(start);
        wheel.set(0, start);
        for round in 0..1_000 {
            let now = start + ms(round * 7);
            assert_eq!(expired(&mut wheel, now), [0], "{round}");
            wheel.set(0, now + ms(7));
        }
    }

    #[test]
    fn a_clock_that_steps_back_is_harmless() {
        let start = MonotonicTime::START;
        let mut wheel = Wheel::new(start);
        assert_eq!(expired(&mut wheel, start + ms(1_000)), NOBODY);
        wheel.set(0, start + ms(1_010));
        assert_eq!(expired(&mut wheel, start), NOBODY);
        assert_eq!(wheel.next_wait(start), Some(ms(1_010)));
        assert_eq!(expired(&mut wheel, start + ms(1_010)), [0]);
    }

    #[test]
    fn each_bucket_of_each_level_comes_up_in_time_from_any_position() {
        let start = MonotonicTime::START;
        for level in 0..LEVEL_COUNT {
            let step = 1 << shift(level);
            for phase in [0, 1, 62, 63, 64, 65] {
                for offset in [0, 1, step / 2, step - 1] {
                    let now = start + ms(phase * step + offset);
                    let mut wheel = Wheel::new(start);
                    expired(&mut wheel, now);
                    for buckets in 1..=66 {
                        let deadline = now + ms(buckets * step);
                        wheel.set(0, deadline);
                        let due = now + wheel.next_wait(now).unwrap();
                        assert!(due >= deadline || buckets > 63, "level {level}, {buckets}");
                        assert!(due <= latest(deadline, now), "level {level}, {buckets}");
                    }
                }
            }
        }
    }

    #[test]
    fn deadlines_beyond_the_last_level_are_kept() {
        let start = MonotonicTime::START;
        let day = ms(24 * 60 * 60 * 1_000);
        let mut wheel = Wheel::new(start);
        let deadline = start + day * 400;
        wheel.set(0, deadline);
        wheel.set(1, start + day);
        let mut now = start;
        let mut wake_up_count = 0;
        while wheel.len() == 2 || now < start + day * 300 {
            now += wheel.next_wait(now).unwrap();
            wake_up_count += 1;
            let slots = expired(&mut wheel, now);
            assert!(slots.is_empty() || (slots == [1] && now >= start + day));
        }
        assert!(wake_up_count < 300);
        assert_eq!(expired(&mut wheel, deadline - ms(1)), NOBODY);
        while wheel.len() == 1 {
            now = now.max(deadline - ms(1));
            now += wheel.next_wait(now).unwrap();
            expired(&mut wheel, now);
        }
        assert!(now >= deadline && now <= latest(deadline, start));
    }

    #[test]
    fn the_farthest_deadline_that_can_be_named_does_no_harm() {
        let start = MonotonicTime::START;
        let mut wheel = Wheel::new(start);
        // The last whole tick before the end of time.
        let far = start + ms(u64::MAX / 1_000_000);
        wheel.set(0, far);
        assert!(wheel.next_wait(start).is_some());
        assert_eq!(expired(&mut wheel, start + ms(1 << 40)), NOBODY);
        assert_eq!(wheel.len(), 1);
        assert_eq!(expired(&mut wheel, far), [0]);
        wheel.set(0, far);
        assert_eq!(wheel.next_wait(far), Some(ms(0)));
        assert_eq!(expired(&mut wheel, far), [0]);
    }

    #[test]
    fn a_jump_over_hours_expires_all_that_is_due() {
        let start = MonotonicTime::START;
        let mut wheel = Wheel::new(start);
        let hour = ms(3_600_000);
        for slot in 0..1_000_usize {
            wheel.set(slot, start + hour * slot as u32);
        }
        assert_eq!(
            expired(&mut wheel, start + hour * 100),
            (0..=100).collect::<Vec<_>>()
        );
        assert_eq!(wheel.len(), 899);
        assert_eq!(expired(&mut wheel, start + hour * 5_000).len(), 899);
    }

    #[test]
    fn a_hundred_thousand_armed_slots_all_come_up_in_time() {
        let start = MonotonicTime::START;
        let mut wheel = Wheel::new(start);
        let deadline_of =
            |slot: usize| start + Duration::from_micros(slot as u64 * 617 % 60_000_000);
        (0..100_000).for_each(|slot| wheel.set(slot, deadline_of(slot)));
        assert_eq!(wheel.len(), 100_000);
        let (mut now, mut count) = (start, 0);
        while let Some(wait) = wheel.next_wait(now) {
            now += wait;
            let slots = expired(&mut wheel, now);
            count += slots.len();
            for slot in slots {
                assert!(deadline_of(slot) <= now && now <= latest(deadline_of(slot), start));
            }
        }
        assert_eq!(count, 100_000);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(usize, i64),
        Cancel(usize),
        Advance(u64),
        Sleep,
    }

    /// Microseconds of all magnitudes up to `1 << bits`.
    fn microseconds(bits: u32) -> impl Strategy<Value = u64> {
        (0..bits, any::<u64>()).prop_map(|(bits, random)| random & ((2 << bits) - 1))
    }

    fn step() -> impl Strategy<Value = Step> {
        let slot = 0_usize..24;
        prop_oneof![
            4 => (slot.clone(), microseconds(42))
                .prop_map(|(slot, delay)| Step::Set(slot, delay as i64)),
            1 => (slot.clone(), microseconds(30))
                .prop_map(|(slot, ago)| Step::Set(slot, -(ago as i64))),
            1 => slot.prop_map(Step::Cancel),
            2 => microseconds(38).prop_map(Step::Advance),
            3 => Just(Step::Sleep),
        ]
    }

    /// What the wheel must do, slot by slot: the deadline and the latest moment to come up.
    #[derive(Default)]
    struct Model {
        armed: std::collections::BTreeMap<usize, (MonotonicTime, MonotonicTime)>,
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn the_wheel_agrees_with_a_scan(steps in prop::collection::vec(step(), 0..80)) {
            let origin = MonotonicTime::START;
            let mut now = origin + ms(1 << 32);
            let (mut wheel, mut model) = (Wheel::new(now), Model::default());
            for step in steps {
                match step {
                    Step::Set(slot, delay) => {
                        let by = Duration::from_micros(delay.unsigned_abs());
                        let deadline = if delay < 0 { now - by } else { now + by };
                        wheel.set(slot, deadline);
                        model.armed.insert(slot, (deadline, latest(deadline.max(now), now)));
                    }
                    Step::Cancel(slot) => {
                        wheel.cancel(slot);
                        model.armed.remove(&slot);
                    }
                    Step::Advance(delay) => now += Duration::from_micros(delay),
                    Step::Sleep => {
                        let latest = model.armed.values().map(|&(_, latest)| latest).min();
                        let wait = wheel.next_wait(now);
                        prop_assert_eq!(wait.is_some(), latest.is_some());
                        now += wait.unwrap_or_default();
                        prop_assert!(latest.is_none_or(|latest| now <= latest));
                    }
                }
                if !matches!(step, Step::Set(..) | Step::Cancel(_)) {
                    for slot in expired(&mut wheel, now) {
                        let armed = model.armed.remove(&slot);
                        prop_assert!(armed.is_some_and(|(deadline, _)| deadline <= now));
                    }
                    prop_assert!(model.armed.values().all(|&(_, latest)| latest > now));
                }
                prop_assert_eq!(wheel.len(), model.armed.len());
            }
        }
    }
}
