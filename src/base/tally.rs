//! [`Tally`]: how often each of a few things has happened.

/// Counts by name. There are few names, so looking through them is all it takes; one that would be
/// too many counts nowhere but in [`overflow`](Self::overflow), so that no peer can make more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally<K> {
    counts: Vec<(K, u64)>,
    overflow: u64,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self {
            counts: Vec::new(),
            overflow: 0,
        }
    }
}

impl<K: PartialEq> Tally<K> {
    /// Names that are known before they have happened: they count from zero.
    pub fn of(names: impl IntoIterator<Item = K>) -> Self {
        Self {
            counts: names.into_iter().map(|name| (name, 0)).collect(),
            overflow: 0,
        }
    }

    /// It has happened once more.
    pub fn add(&mut self, name: K) {
        match self.count_mut(|known| *known == name) {
            Some(count) => *count += 1,
            None => self.add_new(name),
        }
    }

    /// The count of a name that is known.
    pub fn count_mut(&mut self, is_it: impl Fn(&K) -> bool) -> Option<&mut u64> {
        let found = self.counts.iter_mut().find(|(known, _)| is_it(known));
        found.map(|(_, count)| count)
    }

    /// Something has happened whose name is not known.
    pub fn add_new(&mut self, name: K) {
        if self.counts.len() < MAX_NAMES {
            self.counts.push((name, 1));
        } else {
            self.overflow += 1;
        }
    }

    /// All names, in the order in which they became known.
    pub fn iter(&self) -> impl Iterator<Item = (&K, u64)> {
        self.counts.iter().map(|(name, count)| (name, *count))
    }

    /// How often something happened that is one name too many.
    pub fn overflow(&self) -> u64 {
        self.overflow
    }

    /// How often anything has happened.
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum::<u64>() + self.overflow
    }
}

/// Most names of one tally.
const MAX_NAMES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_counts_for_itself_and_too_many_count_together() {
        let mut tally = Tally::of([7]);
        (0..MAX_NAMES + 2).for_each(|name| tally.add(name));
        tally.add(7);
        let counts: Vec<_> = tally.iter().collect();
        assert_eq!(counts.len(), MAX_NAMES);
        assert_eq!(counts[..2], [(&7, 2), (&0, 1)]);
        assert_eq!(tally.overflow(), 2);
        assert_eq!(tally.total(), MAX_NAMES as u64 + 3);
    }
}
