//! Deliveries to clients here, of which others want to know what became.

use super::backplane::{Backplane, FIRST_CALL};
use super::envelope::{NodeReceipt, Sender};
use crate::app::calls::{CallId, Receipt};
use crate::app::commands::Commands;
use crate::base::MonotonicTime;

impl Backplane {
    /// A delivery to clients here, of which another node wants a receipt.
    pub(super) fn expect(&mut self, sender: Sender, call: u64) -> Option<CallId> {
        if call == 0 {
            return None;
        }
        let id = self.next_call();
        self.arrived.insert(id, (sender, call));
        Some(id)
    }

    /// Another node is told what became of its message.
    pub(super) fn give_receipt(&mut self, id: Option<CallId>, receipt: NodeReceipt) {
        if let Some((sender, call)) = id.and_then(|id| self.arrived.remove(&id)) {
            let receipts = self.receipts.entry(sender).or_default();
            receipts.push(NodeReceipt { call, ..receipt });
        }
    }

    /// What became of a message at clients here; whether it was one of those sent by this.
    pub(crate) fn handle_delivered(
        &mut self,
        call: CallId,
        receipt: Receipt,
        now: MonotonicTime,
        commands: &mut Commands,
    ) -> bool {
        let Receipt { queued, full, kept } = receipt;
        if self.arrived.contains_key(&call) {
            let receipt = NodeReceipt {
                queued: queued as u64,
                full: full as u64,
                kept: kept as u64,
                ..NodeReceipt::default()
            };
            self.give_receipt(Some(call), receipt);
            return true;
        }
        let Some(routed) = self.routed.get_mut(call) else {
            return call.0 >= FIRST_CALL;
        };
        routed.awaits_local = false;
        routed.receipt.add(receipt);
        self.settle(call, now, commands);
        true
    }
}
