//! [`Histogram`]: how values are spread, in so many numbers as there are bounds.

/// Counts values by the least bound that they do not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what passes all of them.
    counts: Box<[u64]>,
    sum: u64,
}

impl Histogram {
    /// Nothing has been counted. `bounds` rise.
    pub fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1].into(),
            sum: 0,
        }
    }

    /// Counts a value.
    #[inline]
    pub fn observe(&mut self, value: u64) {
        // Most values are small, so the first bounds decide.
        let mut bounds = self.bounds.iter();
        let index = bounds.position(|bound| value <= *bound);
        if let Some(count) = self.counts.get_mut(index.unwrap_or(self.bounds.len())) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(value);
    }

    /// Each bound with how many values do not pass it.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut sum = 0;
        self.bounds
            .iter()
            .zip(&self.counts)
            .map(move |(bound, count)| {
                sum += count;
                (*bound, sum)
            })
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What they come to together.
    pub fn sum(&self) -> u64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_at_its_bound_and_at_all_above() {
        let mut histogram = Histogram::new(&[1, 10, 100]);
        for value in [0, 1, 2, 10, 11, 100, 101, 5000] {
            histogram.observe(value);
        }
        let cumulative: Vec<_> = histogram.cumulative().collect();
        assert_eq!(cumulative, [(1, 2), (10, 4), (100, 6)]);
        assert_eq!((histogram.count(), histogram.sum()), (8, 5225));
    }
}
