//! What other nodes have sent: it goes the way of all messages to clients here, and is not sent on.

use super::backplane::Backplane;
use super::envelope::{Body, Envelope, NodeReceipt, Sender};
use super::freshness::Arrived;
use super::origins::Origin;
use super::peer::Hole;
use super::routed::Message;
use crate::api::PushError;
use crate::app::calls::{CallId, Receipt};
use crate::app::deliveries::NOBODY;
use crate::app::delivery::{Delivery, Listeners, Receiver};
use crate::protocol::message::MessageKind;
use crate::protocol::packet::Ident;
use crate::registry::Logout;

impl Delivery<'_> {
    /// Sees to what another node has sent.
    pub(super) fn take_in(&mut self, envelope: Envelope<'_>, arrived: &Arrived) {
        let Envelope {
            sender,
            sequence,
            body,
            ..
        } = envelope;
        self.note_message(sender, &body);
        let before = self.mailbox.cursor().number();
        let told = match &body {
            Body::Broadcast { number, .. } | Body::Logout { number, .. } => Some(Some(*number)),
            Body::ToUser { .. } => Some(None),
            _ => None,
        };
        self.see_to(sender, body, arrived);
        if let Some(told) = told {
            self.note_origin(before, (sender, sequence), told);
        }
    }

    /// Notes by which envelope a message for a user or everybody has come that is kept since the
    /// last number was `before`.
    pub(super) fn note_origin(
        &mut self,
        before: u64,
        (sender, sequence): (Sender, u64),
        told: Option<u64>,
    ) {
        let last = self.mailbox.cursor().number();
        if self.mailbox.is_active()
            && let Some(backplane) = self.backplane.as_deref_mut()
        {
            let number = (last > before).then_some(last);
            backplane.origins.note(Origin {
                number,
                sender,
                sequence,
                told,
            });
        }
    }

    fn see_to(&mut self, sender: Sender, body: Body<'_>, arrived: &Arrived) {
        match body {
            Body::ToUuid { call, uuid, text } => {
                let backplane = self.backplane.as_deref();
                let is_anothers =
                    |backplane: &Backplane| backplane.is_anothers(uuid, &arrived.channel);
                if arrived.is_anothers || backplane.is_some_and(is_anothers) {
                    return self.answer(sender, call, NodeReceipt::default());
                }
                let ident = &Ident::None;
                let to = Receiver::Name { uuid, ident };
                let is_sent = self.deliver(sender, call, |delivery, call| {
                    delivery.feedback_here(to, text.as_bytes(), |_| call)
                });
                if !is_sent && call == 0 {
                    self.pass_on(uuid, text);
                }
            }
            Body::Move(body) => self.take_in_move(sender, body),
            Body::ToUser { call, user, text } => {
                self.deliver(sender, call, |delivery, call| {
                    delivery.feedback_here(Receiver::User(user), text.as_bytes(), |_| call)
                });
            }
            Body::Broadcast { call, text, .. } => {
                self.deliver(sender, call, |delivery, call| {
                    let message = (MessageKind::Text, text.as_bytes());
                    delivery.broadcast_here(NOBODY, Listeners::Speakers, message, |_| call);
                    Ok(1)
                });
            }
            Body::Logout {
                call,
                user,
                session,
                ..
            } => {
                let user = user.into();
                let closed = self.log_out_here(&Logout { user, session });
                let receipt = NodeReceipt {
                    queued: closed as u64,
                    ..NodeReceipt::default()
                };
                self.answer(sender, call, receipt);
            }
            Body::ToFound {
                call,
                uuid,
                ident,
                text,
            } => {
                let ident = &ident;
                let to = Receiver::Name { uuid, ident };
                self.deliver(sender, call, |delivery, call| {
                    delivery.feedback_here(to, text.as_bytes(), |_| call)
                });
            }
            Body::Find { call, uuid, ident } => {
                let client = self.clients.find(uuid, &ident);
                let found = self.backplane.as_deref_mut().and_then(|backplane| {
                    let client = client?;
                    Some(backplane.found(client, self.now))
                });
                let receipt = NodeReceipt {
                    found,
                    is_away: client.is_none() && self.mailbox.is_away(uuid, &ident),
                    ..NodeReceipt::default()
                };
                self.answer(sender, call, receipt);
            }
            Body::CountTabs { call, users } => {
                let tabs = |user: &&str| self.clients.tabs_of(user).count() as u64;
                let receipt = NodeReceipt {
                    tabs: users.iter().map(tabs).collect(),
                    ..NodeReceipt::default()
                };
                self.answer(sender, call, receipt);
            }
            Body::Receipts { epoch, receipts } => {
                if let Some(backplane) = self.backplane.as_deref_mut()
                    && epoch == backplane.claim.sender().epoch
                {
                    let (now, commands) = (self.now, &mut *self.commands);
                    backplane.note_receipts(sender, &receipts, now, commands);
                }
            }
            // It has said what it had to when it was opened.
            Body::Proof { .. } => {}
            Body::Heartbeat(beat) => {
                if let Some(backplane) = self.backplane.as_deref_mut() {
                    backplane.note_beat(sender, beat, self.now);
                }
            }
        }
    }

    /// Delivers a message to whoever of its name was found here, or, if nobody has it by now, keeps it
    /// for one who is away.
    pub(super) fn deliver_found(&mut self, message: &Message, call: Option<CallId>) {
        let ident = &message.ident.as_ident();
        let uuid = message.uuid.as_str();
        let to = Receiver::Name { uuid, ident };
        let is_sent = self.feedback_here(to, message.text.as_bytes(), |_| call);
        if is_sent.is_err()
            && let (Some(call), Some(backplane)) = (call, self.backplane.as_deref_mut())
        {
            let (receipt, now) = (Receipt::default(), self.now);
            backplane.handle_delivered(call, receipt, now, self.commands);
        }
    }

    /// Notes that a message has come, and whether one before it has not.
    fn note_message(&mut self, sender: Sender, body: &Body<'_>) {
        let number = match body {
            Body::Broadcast { number, .. } | Body::Logout { number, .. } => Some(*number),
            Body::ToUuid { .. }
            | Body::ToUser { .. }
            | Body::ToFound { .. }
            | Body::Find { .. } => None,
            Body::CountTabs { .. }
            | Body::Receipts { .. }
            | Body::Heartbeat(_)
            | Body::Proof { .. }
            | Body::Move(_) => return,
        };
        if let Some(backplane) = self.backplane.as_deref_mut()
            && backplane.peers.note_message(sender, number) == Hole::Some
        {
            backplane.note_gap(self.now);
        }
    }

    /// Sends a message to clients here; whether there are any. Its receipt follows when it stands
    /// in their queues.
    fn deliver(
        &mut self,
        sender: Sender,
        call: u64,
        send: impl FnOnce(&mut Self, Option<CallId>) -> Result<usize, PushError>,
    ) -> bool {
        let call = self
            .backplane
            .as_deref_mut()
            .and_then(|backplane| backplane.expect(sender, call));
        let is_sent = send(self, call).unwrap_or(0) > 0;
        if !is_sent && let Some(backplane) = self.backplane.as_deref_mut() {
            backplane.give_receipt(call, NodeReceipt::default());
        }
        is_sent
    }

    fn answer(&mut self, sender: Sender, call: u64, receipt: NodeReceipt) {
        if let Some(backplane) = self.backplane.as_deref_mut() {
            let call = backplane.expect(sender, call);
            backplane.give_receipt(call, receipt);
        }
    }
}
