//! [`Window`]: whether an envelope has been heard before.
//!
//! Redis keeps the order of what one connection publishes. After a reconnection what the old one has
//! left in its socket may come behind what the new one has sent, so that some disorder is allowed.

/// The numbers that one sender's envelopes have had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// The highest.
    highest: u64,
    /// The lowest bit stands for `highest`, each further one for the number before.
    heard: u128,
}

impl Window {
    /// The highest number that has come.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// Which have come: the lowest bit stands for the highest, each further one for the number
    /// before.
    pub(super) fn heard(&self) -> u128 {
        self.heard
    }

    /// All up to this number have come.
    pub(super) fn skip(&mut self, number: u64) {
        self.highest = number;
        self.heard = u128::MAX;
    }

    /// Whether a number has come, or is older than all that is remembered.
    pub(super) fn has(&self, number: u64) -> bool {
        let mut window = *self;
        !window.note(number)
    }

    /// Notes a number; whether it is new. What is older than the window counts as heard.
    pub(super) fn note(&mut self, number: u64) -> bool {
        if number > self.highest {
            let ahead = number - self.highest;
            self.heard = u32::try_from(ahead)
                .ok()
                .and_then(|ahead| self.heard.checked_shl(ahead))
                .unwrap_or(0)
                | 1;
            self.highest = number;
            return true;
        }
        let behind = self.highest - number;
        let bit = u32::try_from(behind)
            .ok()
            .and_then(|behind| 1_u128.checked_shl(behind));
        let is_new = number > 0 && bit.is_some_and(|bit| self.heard & bit == 0);
        if is_new {
            self.heard |= bit.unwrap_or(0);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn each_number_counts_once_in_whatever_order() {
        let mut window = Window::default();
        for (number, is_new) in [
            (0, false),
            (5, true),
            (5, false),
            (3, true),
            (4, true),
            (4, false),
            (6, true),
            (133, true),
            (5, false),
            (6, false),
            (7, true),
            (u64::MAX, true),
            (u64::MAX, false),
            (u64::MAX - 127, true),
            (u64::MAX - 128, false),
            (1, false),
        ] {
            assert_eq!(window.note(number), is_new, "{number}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_heard_twice(numbers in prop::collection::vec(0_u64..400, 0..200)) {
            let (mut window, mut heard, mut highest) = (Window::default(), HashSet::new(), 0);
            for number in numbers {
                let is_within = number > 0 && number + 128 > highest;
                let is_new = is_within && !heard.contains(&number);
                prop_assert_eq!(window.note(number), is_new);
                if is_new {
                    heard.insert(number);
                }
                highest = highest.max(number);
            }
        }
    }
}
