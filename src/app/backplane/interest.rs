//! [`Interest`]: the channels that clients here make worth hearing.
//!
//! Each is subscribed to when its first client comes, and given back some time after its last one has
//! gone, so that pages which are loaded anew change nothing.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::base::MonotonicTime;

/// The channels, with how many want each.
#[derive(Debug, Default)]
pub(super) struct Interest {
    wanted: HashMap<Box<[u8]>, Wanted>,
    /// Those to be subscribed to.
    new: Vec<Box<[u8]>>,
    /// Those that nobody wants, and until when they are kept all the same; some may be wanted again.
    unwanted: BTreeSet<(MonotonicTime, Box<[u8]>)>,
    /// Since when a process before this one has heard those that will be wanted at once.
    inherited: HashMap<Vec<u8>, u64>,
    byte_count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    count: usize,
    /// The number of the last message that was kept here before it was wanted.
    since: u64,
    /// The latest time until which somebody has wanted it who has gone.
    until: MonotonicTime,
    /// Nothing that is published there is missed.
    is_confirmed: bool,
    /// Nobody wants it, and it is kept until then.
    unwanted_until: Option<MonotonicTime>,
}

/// What Redis is to be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) subscribe: Vec<Vec<u8>>,
    pub(super) unsubscribe: Vec<Vec<u8>>,
}

impl Interest {
    /// Somebody wants a channel.
    pub(super) fn want(&mut self, channel: Vec<u8>) {
        self.want_since(channel, 0);
    }

    /// The same; the last message that is kept has this number.
    pub(super) fn want_since(&mut self, channel: Vec<u8>, number: u64) {
        if let Some(wanted) = self.wanted.get_mut(&*channel) {
            wanted.count += 1;
            if let Some(until) = wanted.unwanted_until.take() {
                self.unwanted.remove(&(until, channel.into()));
            }
            return;
        }
        let since = self.inherited.remove(&channel).unwrap_or(number);
        let channel = channel.into_boxed_slice();
        self.byte_count += channel.len();
        let wanted = Wanted {
            count: 1,
            since,
            until: MonotonicTime::START,
            is_confirmed: false,
            unwanted_until: None,
        };
        self.wanted.insert(channel.clone(), wanted);
        self.new.push(channel);
    }

    /// Somebody wants it no more, or not for longer than until `at`.
    pub(super) fn give_back(&mut self, channel: &[u8], at: MonotonicTime) {
        let Some(wanted) = self.wanted.get_mut(channel) else {
            return debug_assert!(false, "it was wanted");
        };
        wanted.count = wanted.count.saturating_sub(1);
        // Whoever of several stays longest counts.
        wanted.until = wanted.until.max(at + LINGER);
        if wanted.count == 0 {
            wanted.unwanted_until = Some(wanted.until);
            self.unwanted.insert((wanted.until, channel.into()));
        }
    }

    /// What Redis is to be told by now.
    pub(super) fn take_changes(&mut self, now: MonotonicTime) -> Changes {
        let new = std::mem::take(&mut self.new);
        let mut changes = Changes {
            subscribe: new.into_iter().map(Vec::from).collect(),
            unsubscribe: Vec::new(),
        };
        while let Some((until, _)) = self.unwanted.first()
            && (*until <= now || self.unwanted.len() > MAX_UNWANTED)
            && let Some((_, channel)) = self.unwanted.pop_first()
        {
            self.byte_count -= channel.len();
            self.wanted.remove(&channel);
            changes.unsubscribe.push(channel.into());
        }
        changes
    }

    /// When there will be changes.
    pub(super) fn next_deadline(&self) -> Option<MonotonicTime> {
        if !self.new.is_empty() || self.unwanted.len() > MAX_UNWANTED {
            return Some(MonotonicTime::START);
        }
        self.unwanted.first().map(|(until, _)| *until)
    }

    /// Redis has confirmed that it is heard.
    pub(super) fn confirm(&mut self, channel: &[u8]) {
        if let Some(wanted) = self.wanted.get_mut(channel) {
            wanted.is_confirmed = true;
        }
    }

    /// None is heard any more, until it is confirmed.
    pub(super) fn note_lost(&mut self) {
        self.wanted
            .values_mut()
            .for_each(|wanted| wanted.is_confirmed = false);
    }

    /// Whether nothing that is published in a channel is missed.
    pub(super) fn is_confirmed(&self, channel: &[u8]) -> bool {
        self.wanted
            .get(channel)
            .is_some_and(|wanted| wanted.is_confirmed)
    }

    /// Whether somebody wants a channel that is not heard yet.
    pub(super) fn is_missing(&self, channel: &[u8]) -> bool {
        let wanted = self.wanted.get(channel);
        wanted.is_some_and(|wanted| !wanted.is_confirmed)
    }

    /// Behind which number of what is kept a channel is heard; `None`: nobody wants it.
    pub(super) fn heard_from(&self, channel: &[u8]) -> Option<u64> {
        self.wanted.get(channel).map(|wanted| wanted.since)
    }

    /// The same of all whose name begins so, without that.
    pub(super) fn all_heard_from(&self, start: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
        let wanted = self.wanted.iter();
        wanted.filter_map(move |(channel, wanted)| {
            let name = channel.strip_prefix(start)?;
            (wanted.since > 0).then_some((name, wanted.since))
        })
    }

    /// A process before this one has heard this channel behind this number.
    pub(super) fn inherit(&mut self, channel: Vec<u8>, since: u64) {
        match self.wanted.get_mut(&*channel) {
            Some(wanted) => wanted.since = since,
            None => {
                self.inherited.insert(channel, since);
            }
        }
    }

    /// All who were there before are there.
    pub(super) fn forget_inherited(&mut self) {
        self.inherited = HashMap::new();
    }

    /// Number of channels.
    pub(super) fn len(&self) -> usize {
        self.wanted.len()
    }

    /// Bytes of memory held.
    pub(super) fn held_bytes(&self) -> usize {
        self.byte_count + self.wanted.len() * ENTRY_BYTES
    }
}

/// How long a channel is kept that nobody wants: a page that is loaded anew is back by then.
const LINGER: Duration = Duration::from_secs(10);

/// Most of those; those that are due first go before their time.
const MAX_UNWANTED: usize = 50_000;

/// What one channel takes in the table besides its name, and once more in the upstream.
const ENTRY_BYTES: usize = 88;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn after(seconds: u64) -> MonotonicTime {
        MonotonicTime::START + Duration::from_secs(seconds)
    }

    fn names(channels: &[Vec<u8>]) -> Vec<&str> {
        let names = channels.iter().map(|name| str::from_utf8(name).unwrap());
        names.collect()
    }

    #[test]
    fn the_first_subscribes_and_the_last_gives_back_after_a_while() {
        let mut interest = Interest::default();
        interest.want(b"a".to_vec());
        interest.want(b"a".to_vec());
        interest.want(b"b".to_vec());
        assert_eq!(interest.next_deadline(), Some(MonotonicTime::START));
        let changes = interest.take_changes(after(0));
        assert_eq!(names(&changes.subscribe), ["a", "b"]);
        assert_eq!(interest.next_deadline(), None);
        interest.give_back(b"a", after(1));
        assert_eq!(interest.next_deadline(), None);
        interest.give_back(b"a", after(2));
        interest.give_back(b"b", after(2));
        // Loaded anew.
        interest.want(b"b".to_vec());
        assert_eq!(interest.next_deadline(), Some(after(12)));
        assert_eq!(interest.take_changes(after(11)), Changes::default());
        let changes = interest.take_changes(after(12));
        assert_eq!(names(&changes.unsubscribe), ["a"]);
        interest.want(b"a".to_vec());
        assert_eq!(names(&interest.take_changes(after(13)).subscribe), ["a"]);
        // One of two may come back until 25, and is the first to go.
        interest.want(b"b".to_vec());
        interest.give_back(b"b", after(25));
        interest.give_back(b"b", after(20));
        assert_eq!(interest.take_changes(after(30)), Changes::default());
        let changes = interest.take_changes(after(35));
        assert_eq!(names(&changes.unsubscribe), ["b"]);
        assert_eq!(interest.len(), 1);
        assert_eq!(interest.held_bytes(), 1 + ENTRY_BYTES);
    }

    #[test]
    fn those_that_nobody_wants_are_bounded() {
        let mut interest = Interest::default();
        for n in 0..MAX_UNWANTED + 5 {
            let name = n.to_string().into_bytes();
            interest.want(name.clone());
            interest.give_back(&name, after(1));
        }
        assert_eq!(interest.next_deadline(), Some(MonotonicTime::START));
        let changes = interest.take_changes(after(1));
        assert_eq!(changes.unsubscribe.len(), 5);
        assert_eq!(interest.len(), MAX_UNWANTED);
    }

    proptest! {
        #[test]
        fn what_is_wanted_is_subscribed_to(
            steps in prop::collection::vec((0_u8..4, any::<bool>(), 0_u64..8), 0..200),
        ) {
            let mut interest = Interest::default();
            let (mut wanted, mut told) = (BTreeMap::<u8, usize>::new(), BTreeSet::new());
            let mut now = MonotonicTime::START;
            for (name, comes, seconds) in steps {
                now += Duration::from_secs(seconds);
                let count = wanted.entry(name).or_default();
                if comes {
                    *count += 1;
                    interest.want(vec![name]);
                } else if *count > 0 {
                    *count -= 1;
                    interest.give_back(&[name], now);
                }
                let changes = interest.take_changes(now);
                for name in changes.subscribe {
                    prop_assert!(told.insert(name[0]), "twice");
                }
                for name in changes.unsubscribe {
                    prop_assert!(told.remove(&name[0]), "not subscribed to");
                    prop_assert_eq!(wanted.get(&name[0]).copied().unwrap_or(0), 0);
                }
                for (name, count) in &wanted {
                    prop_assert!(*count == 0 || told.contains(name));
                }
            }
            wanted.values_mut().for_each(|count| *count = 0);
        }
    }
}
