//! Who is told of a restart at which time: spread, so that those who come back do not come at once.

use std::time::Duration;

use crate::app::Goodbye;
use crate::base::MonotonicTime;
use crate::connection::ConnId;

/// How the server takes its leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainSettings {
    /// From SIGTERM until clients are told, so that load balancers learn of it first
    /// (`drainDelay`).
    pub delay: Duration,
    /// How long it takes to tell those who have opted in, and the longest time after which they are
    /// to come back (`drainSpread`); `None`: 5 seconds for each 10,000 of them.
    pub spread: Option<Duration>,
}

impl DrainSettings {
    /// The time over which so many clients are spread.
    pub fn spread_of(&self, client_count: usize) -> Duration {
        let count = u32::try_from(client_count).unwrap_or(u32::MAX);
        self.spread.unwrap_or(SPREAD_PER_CLIENT * count)
    }
}

/// Clients who have opted in, and how far telling them has come.
#[derive(Debug)]
pub(super) struct Drain {
    /// All of them, in the order in which they are told.
    audience: Vec<ConnId>,
    told_count: usize,
    start: MonotonicTime,
    /// Over which they are told.
    telling: Duration,
    /// The longest time that one is told to stay away.
    spread: Duration,
}

impl Drain {
    /// Nobody has been told.
    pub(super) fn new(audience: Vec<ConnId>, settings: &DrainSettings, now: MonotonicTime) -> Self {
        let spread = settings.spread_of(audience.len());
        Self {
            telling: spread,
            spread,
            told_count: 0,
            start: now,
            audience,
        }
    }

    /// All are told at once, as whatever they say meanwhile would reach nobody. They come back no
    /// sooner.
    pub(super) fn at_once(self) -> Self {
        Self {
            telling: Duration::ZERO,
            ..self
        }
    }

    /// How many are told in all.
    pub(super) fn len(&self) -> usize {
        self.audience.len()
    }

    /// The time over which they are told.
    pub(super) fn telling(&self) -> Duration {
        self.telling
    }

    /// When the next one is to be told; `None`: all have been.
    pub(super) fn next_due(&self) -> Option<MonotonicTime> {
        if self.told_count >= self.audience.len() {
            return None;
        }
        // Exact also for a million clients over an hour.
        let nanoseconds = self.telling.as_nanos() * self.told_count as u128;
        let since_start = nanoseconds / self.audience.len() as u128;
        let since_start = u64::try_from(since_start).unwrap_or(u64::MAX);
        Some(self.start + Duration::from_nanos(since_start))
    }

    /// Those who are to be told at `now`, a turn's share at most. Each is handed out once, with a
    /// time to stay away that `random` chooses within the spread.
    pub(super) fn next_goodbyes(
        &mut self,
        now: MonotonicTime,
        mut random: impl FnMut() -> u64,
    ) -> Vec<Goodbye> {
        let spread_ms = u64::try_from(self.spread.as_millis()).unwrap_or(u64::MAX - 1);
        let mut goodbyes = Vec::new();
        while goodbyes.len() < GOODBYES_PER_TURN && self.next_due().is_some_and(|due| due <= now) {
            goodbyes.push(Goodbye {
                id: self.audience[self.told_count],
                after: Duration::from_millis(random() % (spread_ms + 1)),
            });
            self.told_count += 1;
        }
        goodbyes
    }

    /// Time from `now` until the last one is told, at most.
    pub(super) fn rest(&self, now: MonotonicTime) -> Duration {
        match self.next_due() {
            Some(_) => self.start + self.telling - now,
            None => Duration::ZERO,
        }
    }
}

/// 5 seconds for 10,000 clients: 2,000 handshakes per second are some percent of a core, over TLS
/// all of one.
const SPREAD_PER_CLIENT: Duration = Duration::from_micros(500);

/// Most clients that are told in one turn: some milliseconds' work.
const GOODBYES_PER_TURN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn drain_of(count: u32, spread: Option<Duration>) -> Drain {
        let id = |slot| ConnId {
            slot,
            generation: 0,
        };
        let settings = DrainSettings {
            delay: Duration::ZERO,
            spread,
        };
        Drain::new(
            (0..count).map(id).collect(),
            &settings,
            MonotonicTime::START,
        )
    }

    #[test]
    fn ten_thousand_take_five_seconds_unless_the_ini_says_otherwise() {
        for (count, spread, expected_ms) in [
            (10_000, None, 5_000),
            (100_000, None, 50_000),
            (1, None, 0),
            (0, None, 0),
            (10_000, Some(Duration::from_millis(700)), 700),
            (10_000, Some(Duration::ZERO), 0),
        ] {
            let drain = drain_of(count, spread);
            let expected = Duration::from_micros(expected_ms * 1000);
            let expected = match (count, spread) {
                (1, None) => Duration::from_micros(500),
                _ => expected,
            };
            assert_eq!(drain.telling(), expected, "{count} {spread:?}");
        }
    }

    #[test]
    fn everybody_is_told_once_evenly_and_by_the_end_of_the_spread() {
        let spread = Duration::from_secs(10);
        let mut drain = drain_of(10_000, Some(spread));
        let mut seen = vec![0_u32; 10_000];
        let mut last_due = MonotonicTime::START;
        let mut number = 0;
        while let Some(due) = drain.next_due() {
            assert!(due >= last_due, "times go on");
            assert_eq!(drain.rest(due), MonotonicTime::START + spread - due);
            let goodbyes = drain.next_goodbyes(due, || {
                number += 7;
                number
            });
            assert_eq!(goodbyes.len(), 1, "one at a time, at its own time");
            for Goodbye { id, after } in goodbyes {
                seen[id.slot as usize] += 1;
                assert!(after <= spread);
            }
            last_due = due;
        }
        assert!(last_due < MonotonicTime::START + spread);
        assert!(seen.iter().all(|count| *count == 1));
        assert!(drain.next_goodbyes(last_due + spread, || 1).is_empty());
        assert_eq!(drain.rest(last_due), Duration::ZERO);
    }

    #[test]
    fn those_who_are_told_at_once_come_back_spread() {
        let mut drain = drain_of(3_000, Some(Duration::from_secs(10))).at_once();
        let mut after = Vec::new();
        let mut number = 0;
        while drain.next_due() == Some(MonotonicTime::START) {
            let goodbyes = drain.next_goodbyes(MonotonicTime::START, || {
                number += 7;
                number
            });
            after.extend(goodbyes.iter().map(|goodbye| goodbye.after));
        }
        assert_eq!((after.len(), drain.next_due()), (3_000, None));
        let most = after.iter().max().copied().unwrap_or_default();
        assert!(most > Duration::from_secs(9) && most <= Duration::from_secs(10));
    }

    #[test]
    fn a_turn_tells_no_more_than_its_share_and_a_late_one_makes_up_for_it() {
        let mut drain = drain_of(3_000, Some(Duration::ZERO));
        let mut shares = Vec::new();
        while drain.next_due().is_some() {
            shares.push(drain.next_goodbyes(MonotonicTime::START, || 5).len());
        }
        assert_eq!(shares, [1024, 1024, 952]);
        let mut late = drain_of(100, Some(Duration::from_secs(10)));
        let at = MonotonicTime::START + Duration::from_millis(4_999);
        assert_eq!(late.next_goodbyes(at, || 5).len(), 50);
    }
}
