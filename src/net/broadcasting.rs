//! How broadcasts reach their receivers: see [`Broadcasts`](super::broadcasts::Broadcasts).

use std::ops::Range;
use std::rc::Rc;

use super::broadcasts::Broadcast;
use super::counts::DeliveredTo;
use super::link_table::LinkTable;
use super::links::Links;
use super::shared_buffers::SharedBuffers;
use super::shared_frame::SharedFrame;
use super::system::Stream;
use crate::app::Receipt;
use crate::base::SharedBytes;
use crate::connection::{ConnId, SendError, TurnContext};
use crate::protocol::extension::CompressionSettings;
use crate::registry::Audience;
use crate::upstream::CallId;

impl<S: Stream> Links<S> {
    /// Sends one frame, encoded once and compressed once, to every receiver but `from`. `None`: it is
    /// under way, and who has given `call` is answered by [`Broadcasts::next_receipt`].
    pub(super) fn broadcast(
        &mut self,
        (from, audience, call): (ConnId, &Audience, Option<CallId>),
        (frames, range): (&Rc<SharedBytes>, Range<usize>),
        settings: &CompressionSettings,
        context: &mut TurnContext,
    ) -> Option<Receipt> {
        let mut frame = SharedFrame::new(Rc::clone(frames), range, settings);
        if (self.broadcasts).may_send_at_once(audience.len(), frame.len()) {
            let mut receipt = Receipt::default();
            audience.for_each(|slot| {
                self.catch_up(slot, context);
                let place = (&mut self.table, &mut self.shared_buffers);
                let sent = deliver(place, (slot, from), &mut frame, context);
                receipt.add(self.note_delivery(sent, context));
            });
            self.count_broadcast(&frame, receipt, context);
            return Some(receipt);
        }
        let members = audience.to_members();
        self.broadcasts
            .push(Broadcast::new(from, members, frame, call));
        while self.broadcasts.is_over_limit() {
            self.finish_oldest(context);
        }
        None
    }

    /// Queues what is under way for a connection, before something else is.
    #[inline]
    pub(super) fn catch_up(&mut self, slot: usize, context: &mut TurnContext) {
        if self.broadcasts.is_under_way() {
            self.deliver_all_to(slot, context);
        }
    }

    fn deliver_all_to(&mut self, slot: usize, context: &mut TurnContext) {
        for index in 0..self.broadcasts.len() {
            let Some(broadcast) = self.broadcasts.take(index, slot) else {
                continue;
            };
            let place = (&mut self.table, &mut self.shared_buffers);
            let to = (slot, broadcast.from);
            let sent = deliver(place, to, &mut broadcast.frame, context);
            let receipt = self.note_delivery(sent, context);
            if let Some(broadcast) = self.broadcasts.get_mut(index) {
                broadcast.receipt.add(receipt);
            }
        }
    }

    /// Queues what is under way for the next member, who is to be flushed then; whether there was
    /// one.
    pub(super) fn deliver_next(&mut self, context: &mut TurnContext) -> bool {
        while let Some(oldest) = self.broadcasts.get_mut(0) {
            if let Some(slot) = oldest.next_slot() {
                self.deliver_all_to(slot, context);
                return true;
            }
            self.end_oldest(context);
        }
        false
    }

    /// Queues everything that is under way.
    pub(super) fn finish_broadcasts(&mut self, context: &mut TurnContext) {
        while self.deliver_next(context) {}
    }

    fn finish_oldest(&mut self, context: &mut TurnContext) {
        while let Some(oldest) = self.broadcasts.get_mut(0)
            && let Some(slot) = oldest.next_slot()
        {
            self.deliver_all_to(slot, context);
        }
        self.end_oldest(context);
    }

    /// The oldest one is through.
    fn end_oldest(&mut self, context: &mut TurnContext) {
        let Some(broadcast) = self.broadcasts.pop() else {
            return;
        };
        self.count_broadcast(&broadcast.frame, broadcast.receipt, context);
        if let Some(call) = broadcast.call {
            self.broadcasts.keep_receipt(call, broadcast.receipt);
        }
    }

    fn count_broadcast(
        &mut self,
        frame: &SharedFrame,
        receipt: Receipt,
        context: &mut TurnContext,
    ) {
        let sent = &mut context.traffic.sent;
        sent.add_copies(frame.plain(), receipt.queued);
        self.counts.add_delivery(DeliveredTo::Many, receipt);
    }

    /// Sees to a member whom a broadcast has reached.
    fn note_delivery(&mut self, sent: Option<Sent>, context: &mut TurnContext) -> Receipt {
        match sent {
            None | Some((_, Err(SendError::NotOpen))) => Receipt::default(),
            Some((id, sent)) => self.note_sent(id, sent, context),
        }
    }
}

/// Whom a frame was to be queued for, and whether it was.
type Sent = (ConnId, Result<(), SendError>);

/// Queues a frame for the connection in a slot unless it has sent it itself.
fn deliver<S: Stream>(
    (table, buffers): (&mut LinkTable<S>, &mut SharedBuffers),
    (slot, from): (usize, ConnId),
    frame: &mut SharedFrame,
    context: &mut TurnContext,
) -> Option<Sent> {
    let link = table.slot_mut(slot).filter(|link| link.id != from)?;
    let outgoing = frame.outgoing(&link.connection, buffers, context);
    let sent = match link.connection.send(&outgoing, context) {
        Err(SendError::EventWanted) => {
            let event = frame.event(buffers, context);
            link.connection.send_event(&event, frame.plain(), context)
        }
        sent => sent,
    };
    Some((link.id, sent))
}
