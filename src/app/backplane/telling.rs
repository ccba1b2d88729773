//! Messages from here to whomever they are for, at whichever node that is: what [`Delivery`] does
//! where there is a backplane.
//!
//! Receivers here get theirs at once, in today's order and without Redis. The one exception is an
//! ident: the one receiver is the one that opened first at any node, so that all are asked before.

use log::{Level, log_enabled};

use super::backplane::Backplane;
use super::channel::node_of;
use super::envelope::Body;
use super::routed::{Asker, Candidate, Message, OwnIdent, RoutedCall, Stage};
use crate::api::PushError;
use crate::app::calls::{CallId, Recipients};
use crate::app::deliveries::NOBODY;
use crate::app::delivery::{Delivery, Listeners, Receiver};
use crate::connection::ConnId;
use crate::protocol::message::MessageKind;
use crate::protocol::packet::Ident;
use crate::registry::{ClientUuid, Logout};

/// A feedback for one name.
struct ToName<'a> {
    uuid: &'a str,
    ident: &'a Ident<'a>,
    text: &'a str,
}

impl ToName<'_> {
    fn receiver(&self) -> Receiver<'_> {
        Receiver::Name {
            uuid: self.uuid,
            ident: self.ident,
        }
    }

    fn keep(&self) -> Box<Message> {
        Box::new(Message {
            uuid: self.uuid.to_owned(),
            ident: OwnIdent::of(self.ident),
            text: self.text.to_owned(),
        })
    }
}

impl Delivery<'_> {
    /// [`Delivery::feedback`] over all nodes; to how many connections here, or 1.
    pub(crate) fn feedback_anywhere(
        &mut self,
        to: Receiver<'_>,
        text: &str,
        ask: impl FnOnce(Recipients) -> Option<CallId>,
    ) -> Result<usize, PushError> {
        match to {
            Receiver::User(user) => Ok(self.tell_user(user, text, ask(Recipients::User))),
            Receiver::Name { uuid, ident } if uuid.is_empty() && *ident == Ident::None => {
                Err(PushError::NoReceiver)
            }
            Receiver::Name { uuid, ident } => {
                let uuid_of_text = ClientUuid::from_text(uuid);
                let to = ToName { uuid, ident, text };
                let is_here = self.clients.find(uuid, &Ident::None).is_some()
                    || self.mailbox.is_away(uuid, &Ident::None);
                match (ident, uuid_of_text) {
                    // What is in the uuid leads there; nobody else can have it.
                    (Ident::None, ClientUuid::Standard(_)) if is_here => {
                        self.feedback_here(to.receiver(), text.as_bytes(), ask)
                    }
                    (Ident::None, ClientUuid::Standard(bits)) => {
                        let asker = self.asker(ask(Recipients::One), PushError::Nobody);
                        self.tell_uuid(bits, &to, asker);
                        Ok(1)
                    }
                    (Ident::None | Ident::Text(_) | Ident::Number(_), _) => {
                        self.tell_name(&to, ask)
                    }
                }
            }
        }
    }

    fn tell_user(&mut self, user: &str, text: &str, asker: Option<CallId>) -> usize {
        let Some(mut call) = self.begin(asker.map(Asker::Call), Stage::Deliver) else {
            return 0;
        };
        let before = self.mailbox.cursor().number();
        let here = self.feedback_here(Receiver::User(user), text.as_bytes(), |_| call);
        let sent = here.unwrap_or(0);
        self.await_local(call, sent);
        if asker.is_none() && sent == 0 {
            let log = self.asker(None, PushError::NoTab);
            call = self.begin(log, Stage::Deliver).flatten();
        }
        let channel = |backplane: &Backplane| backplane.channels.of_user(user);
        let body = |call| Body::ToUser { call, user, text };
        self.publish(channel, body, call);
        self.note_own_origin(before, None);
        sent
    }

    /// The uuid says at which node the client is, or was when it got it.
    fn tell_uuid(&mut self, bits: u128, to: &ToName<'_>, asker: Option<Asker>) {
        let Some(backplane) = &mut self.backplane else {
            return;
        };
        let node = node_of(bits);
        let is_here = node == backplane.claim.number() && !backplane.is_replaced();
        let is_ours = node == 0 || is_here;
        let stage = match is_ours {
            true => Stage::Deliver,
            false => Stage::ByNode(to.keep()),
        };
        let is_awaited = asker.is_some() || !is_ours;
        let call = RoutedCall::new(asker, stage);
        let call = is_awaited.then(|| backplane.wait_for(call, self.now));
        let ToName { uuid, text, .. } = *to;
        let channel = match is_ours {
            true => backplane.channels.of_name(uuid),
            false => backplane.channels.of_node(node),
        };
        let body = Body::ToUuid {
            call: call.filter(|_| asker.is_some()).map_or(0, |call| call.0),
            uuid,
            text,
        };
        backplane.publish_message(channel, body, call, self.now, self.commands);
        if let Some(call) = call {
            backplane.settle(call, self.now, self.commands);
        }
    }

    /// There may be several of this ident or chosen name: all nodes that have one are asked, and the
    /// one that opened first gets the message (protocol.md 3.1).
    fn tell_name(
        &mut self,
        to: &ToName<'_>,
        ask: impl FnOnce(Recipients) -> Option<CallId>,
    ) -> Result<usize, PushError> {
        let here = self.clients.find(to.uuid, to.ident);
        let is_away = here.is_none() && self.mailbox.is_away(to.uuid, to.ident);
        let asker = ask(Recipients::One);
        let log = self.asker(asker, PushError::Nobody);
        let Some(backplane) = self.backplane.as_deref_mut() else {
            return Err(PushError::Nobody);
        };
        // What is looked for is kept meanwhile; of whom nobody has to be told at once, and who is not
        // here, also until others can be asked.
        let is_full = backplane.routed.held_bytes() > MAX_HELD_BYTES;
        let can_wait = asker.is_none() && here.is_none() && !is_away;
        if is_full || !(backplane.is_connected() || can_wait) {
            self.tell_name_here(to, asker);
            return Ok(1);
        }
        let mut call = RoutedCall::new(
            log,
            Stage::Find {
                message: to.keep(),
                best: None,
                away: is_away.then_some(None),
            },
        );
        if let Some(here) = here {
            call.consider(Candidate {
                node: None,
                opened_at: backplane.found(here, self.now).cast_signed(),
            });
        }
        backplane.begin_to_find(call, self.now, self.commands);
        Ok(1)
    }

    /// Others cannot be asked who has a name: whoever is here gets the message.
    fn tell_name_here(&mut self, to: &ToName<'_>, asker: Option<CallId>) {
        let call = self.begin(asker.map(Asker::Call), Stage::Deliver);
        let call = call.unwrap_or_default();
        let sent = self.feedback_here(to.receiver(), to.text.as_bytes(), |_| call);
        self.await_local(call, sent.unwrap_or(0));
        self.give_up(call);
        // Nobody is told but those who may have been meant.
        if let (Err(_), None, Some(backplane)) = (sent, asker, self.backplane.as_deref_mut()) {
            backplane.note_loss("others cannot be asked who has an ident", self.now);
        }
    }

    /// Tells everybody at all nodes, but for `from`.
    pub(crate) fn broadcast_anywhere(
        &mut self,
        from: ConnId,
        text: &str,
        ask: impl FnOnce(Recipients) -> Option<CallId>,
    ) -> usize {
        let asker = ask(Recipients::All).map(Asker::Call);
        let Some(call) = self.begin(asker, Stage::Deliver) else {
            return 0;
        };
        let before = self.mailbox.cursor().number();
        let message = (MessageKind::Text, text.as_bytes());
        let sent = self.broadcast_here(from, Listeners::Speakers, message, |_| call);
        // It is answered also if there is nobody.
        self.await_local(call, 1);
        let number = self.next_number();
        let body = |call| Body::Broadcast { call, number, text };
        self.publish(|backplane| backplane.channels.everybody(), body, call);
        self.note_own_origin(before, Some(number));
        sent
    }

    /// Logs out at all nodes; how many tabs there were here.
    pub(crate) fn log_out_anywhere(&mut self, logout: &Logout<'_>, asker: Option<CallId>) -> usize {
        let closed = self.log_out_here(logout);
        let Some(call) = self.begin(asker.map(Asker::Call), Stage::Deliver) else {
            return closed;
        };
        if let Some(routed) = self.routed(call) {
            routed.receipt.queued = closed;
        }
        let number = self.next_number();
        let body = |call| Body::Logout {
            call,
            number,
            user: &logout.user,
            session: logout.session,
        };
        self.publish(|backplane| backplane.channels.everybody(), body, call);
        let before = self.mailbox.cursor().number();
        self.note_own_origin(before, Some(number));
        closed
    }

    /// Asks all nodes how many tabs these users have; `tabs`: here.
    pub(crate) fn count_tabs(&mut self, users: Vec<&str>, tabs: Vec<u64>, asker: CallId) {
        let Some(call) = self.begin(Some(Asker::Call(asker)), Stage::Deliver) else {
            return;
        };
        if let Some(routed) = self.routed(call) {
            routed.tabs = tabs;
        }
        let body = |call| Body::CountTabs { call, users };
        self.publish(|backplane| backplane.channels.everybody(), body, call);
    }

    // ---- inside

    /// Who is told what became of a feedback: whoever asks, else the log if it is told such things
    /// and nobody has got it.
    fn asker(&self, call: Option<CallId>, error: PushError) -> Option<Asker> {
        let from = self.commands.current();
        let is_told = log_enabled!(Level::Debug) && from != NOBODY;
        let log = is_told.then_some(Asker::Log(from.slot, error));
        call.map(Asker::Call).or(log)
    }

    /// Begins to wait for what becomes of a message, if somebody wants to know. `None`: there is no
    /// backplane.
    fn begin(&mut self, asker: Option<Asker>, stage: Stage) -> Option<Option<CallId>> {
        let backplane = self.backplane.as_deref_mut()?;
        let call = RoutedCall::new(asker, stage);
        Some(asker.is_some().then(|| backplane.wait_for(call, self.now)))
    }

    fn routed(&mut self, call: Option<CallId>) -> Option<&mut RoutedCall> {
        self.backplane.as_deref_mut()?.routed.get_mut(call?)
    }

    /// So many receivers here are about to get it.
    fn await_local(&mut self, call: Option<CallId>, sent: usize) {
        if let Some(routed) = self.routed(call) {
            routed.awaits_local = sent > 0;
        }
    }

    /// Others are not asked.
    fn give_up(&mut self, call: Option<CallId>) {
        if let Some(routed) = self.routed(call) {
            routed.is_partial = true;
        }
        if let (Some(backplane), Some(call)) = (self.backplane.as_deref_mut(), call) {
            backplane.settle(call, self.now, self.commands);
        }
    }

    /// The next of what everybody is told.
    fn next_number(&mut self) -> u64 {
        self.backplane.as_deref_mut().map_or(0, |backplane| {
            backplane.number += 1;
            backplane.number
        })
    }

    /// The same as [`note_origin`](Self::note_origin) for what was just published.
    fn note_own_origin(&mut self, before: u64, told: Option<u64>) {
        if let Some(backplane) = self.backplane.as_deref() {
            let envelope = (backplane.claim.sender(), backplane.sequence);
            self.note_origin(before, envelope, told);
        }
    }

    fn publish<'a>(
        &mut self,
        channel: impl FnOnce(&Backplane) -> Vec<u8>,
        body: impl FnOnce(u64) -> Body<'a>,
        call: Option<CallId>,
    ) {
        let Some(backplane) = self.backplane.as_deref_mut() else {
            return;
        };
        let channel = channel(backplane);
        let body = body(call.map_or(0, |call| call.0));
        backplane.publish_message(channel, body, call, self.now, self.commands);
        if let Some(call) = call {
            backplane.settle(call, self.now, self.commands);
        }
    }
}

/// Most bytes of messages whose receiver is looked for, before others are not asked any more.
const MAX_HELD_BYTES: usize = 32 << 20;
