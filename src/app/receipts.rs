//! What became of messages that go in several forms, or wait for somebody: put together from the
//! receipts of their parts (protocol.md 9.6).

use std::collections::{HashMap, VecDeque};

use super::calls::{CallId, Receipt};

/// Receipts that are not whole, and those that need nobody's word.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    expected: HashMap<CallId, Parts>,
    settled: VecDeque<(CallId, Receipt)>,
}

/// What a message consists of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    /// Receipts that are to come.
    pub(super) count: usize,
    /// Tabs that are away, and get it when they come back.
    pub(super) away: usize,
    /// Tabs among those it is sent to that come back for it if they do not take it.
    pub(super) resuming: usize,
    /// Of the receipts that have come.
    pub(super) receipt: Receipt,
}

impl Receipts {
    /// More than one receipt comes, or one that does not tell everything.
    pub(super) fn expect(&mut self, call: CallId, parts: Parts) {
        if parts.count == 0 {
            self.settled.push_back((call, parts.whole()));
        } else {
            self.expected.insert(call, parts);
        }
    }

    /// A receipt has come: what became of the message, if it was the last one.
    pub(super) fn add(&mut self, call: CallId, receipt: Receipt) -> Option<Receipt> {
        if self.expected.is_empty() {
            return Some(receipt);
        }
        let Some(parts) = self.expected.get_mut(&call) else {
            return Some(receipt);
        };
        parts.receipt.add(receipt);
        parts.count -= 1;
        if parts.count > 0 {
            return None;
        }
        let parts = self.expected.remove(&call)?;
        Some(parts.whole())
    }

    /// What became of a message that nobody was to be sent.
    pub(super) fn next_settled(&mut self) -> Option<(CallId, Receipt)> {
        self.settled.pop_front()
    }
}

impl Parts {
    fn whole(self) -> Receipt {
        let Receipt { queued, full, .. } = self.receipt;
        // Whoever has not taken it is about to go, and may come back.
        let missed = if queued == 0 { self.resuming } else { 0 };
        Receipt {
            queued,
            full: if missed > 0 { 0 } else { full },
            kept: self.away + missed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: CallId = CallId(7);

    fn receipt(queued: usize, full: usize) -> Receipt {
        Receipt {
            queued,
            full,
            kept: 0,
        }
    }

    #[test]
    fn a_receipt_is_whole_when_the_last_part_has_come() {
        let mut receipts = Receipts::default();
        assert_eq!(receipts.add(CALL, receipt(1, 2)), Some(receipt(1, 2)));
        for (parts, kept) in [
            ((vec![receipt(1, 0), receipt(2, 1)], 3, 2), 3),
            ((vec![receipt(0, 1)], 0, 1), 1),
            ((vec![receipt(0, 0)], 2, 1), 3),
        ] {
            let (sums, away, resuming) = parts;
            let parts = Parts {
                count: sums.len(),
                away,
                resuming,
                receipt: Receipt::default(),
            };
            receipts.expect(CALL, parts);
            let mut whole = None;
            for part in &sums {
                assert_eq!(whole, None);
                whole = receipts.add(CALL, *part);
            }
            let queued = sums.iter().map(|part| part.queued).sum();
            assert_eq!(
                whole.map(|whole| (whole.queued, whole.kept)),
                Some((queued, kept))
            );
        }
        assert!(receipts.expected.is_empty());
    }

    #[test]
    fn what_goes_to_nobody_is_settled_at_once() {
        let mut receipts = Receipts::default();
        let parts = Parts {
            count: 0,
            away: 2,
            resuming: 0,
            receipt: Receipt::default(),
        };
        receipts.expect(CALL, parts);
        let (call, receipt) = receipts.next_settled().unwrap();
        assert_eq!((call, receipt.kept), (CALL, 2));
        assert!(receipts.next_settled().is_none());
    }
}
