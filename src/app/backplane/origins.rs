//! [`Origins`]: which of the messages that are kept here have come by which envelope, for the last of
//! them; so it is known of a tab that comes from another node what both nodes have heard.

use std::collections::VecDeque;

use super::envelope::Sender;

/// The latest messages for users and everybody.
#[derive(Debug, Default)]
pub(super) struct Origins {
    latest: VecDeque<Origin>,
    /// Of all that were ever noted.
    count: u64,
}

/// Where one is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// What it is called by the streams here; `None`: it stands in none.
    pub(super) number: Option<u64>,
    /// Who has sent it; this node, too.
    pub(super) sender: Sender,
    pub(super) sequence: u64,
    /// Of all that its sender has told everybody.
    pub(super) told: Option<u64>,
}

impl Origins {
    pub(super) fn note(&mut self, origin: Origin) {
        if self.latest.len() >= MAX_ORIGINS {
            self.latest.pop_front();
        }
        self.latest.push_back(origin);
        self.count += 1;
    }

    /// How many were noted.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Those behind the first so many; `None`: not all of them are known any more.
    pub(super) fn behind(&self, count: u64) -> Option<impl Iterator<Item = &Origin>> {
        let wanted = usize::try_from(self.count.checked_sub(count)?).ok()?;
        let skipped = self.latest.len().checked_sub(wanted)?;
        Some(self.latest.iter().skip(skipped))
    }

    /// Bytes of memory held.
    pub(super) fn held_bytes(&self) -> usize {
        self.latest.capacity() * size_of::<Origin>()
    }
}

/// More messages than come while a tab changes its node, unless there are very many.
const MAX_ORIGINS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_known_and_what_is_not_is_said() {
        let mut origins = Origins::default();
        let sender = Sender { node: 1, epoch: 2 };
        let origin = |sequence| Origin {
            number: Some(sequence),
            sender,
            sequence,
            told: None,
        };
        let sequences = |origins: &Origins, count| {
            let behind = origins.behind(count)?;
            Some(behind.map(|origin| origin.sequence).collect::<Vec<_>>())
        };
        assert_eq!(sequences(&origins, 0), Some(vec![]));
        for sequence in 0..3 {
            origins.note(origin(sequence));
        }
        assert_eq!(sequences(&origins, 0), Some(vec![0, 1, 2]));
        assert_eq!(sequences(&origins, 2), Some(vec![2]));
        assert_eq!(sequences(&origins, 3), Some(vec![]));
        assert_eq!(sequences(&origins, 4), None);
        let many = MAX_ORIGINS as u64;
        (3..=many).for_each(|sequence| origins.note(origin(sequence)));
        assert_eq!(sequences(&origins, 0), None);
        assert_eq!(
            sequences(&origins, 1).map(|all| all.len()),
            Some(MAX_ORIGINS)
        );
        let most = (MAX_ORIGINS * 2) * size_of::<Origin>();
        assert!(origins.held_bytes() <= most);
    }
}
