//! What is published: envelopes, their receipts, and what becomes of those that Redis does not take.

use std::time::Duration;

use log::warn;

use super::backplane::{Backplane, Effect, FIRST_CALL};
use super::clock::micros;
use super::envelope::{Body, Envelope, NodeReceipt, Sender};
use super::published::{Published, QUEUE_TIME};
use super::routed::{Asker, Message, RoutedCall, Stage, Total};
use crate::app::calls::{CallId, Receipt};
use crate::app::commands::Commands;
use crate::app::delivery::log_unreached;
use crate::base::MonotonicTime;
use crate::upstream::Call;
use crate::upstream::redis::Request;

impl Backplane {
    /// A name for a call of this module.
    pub(super) fn next_call(&mut self) -> CallId {
        self.call_count += 1;
        CallId(FIRST_CALL + self.call_count)
    }

    /// Begins to wait for what becomes of a message.
    pub(super) fn wait_for(&mut self, call: RoutedCall, now: MonotonicTime) -> CallId {
        let id = self.next_call();
        self.routed.insert(id, call, (now, self.settings.timeout));
        id
    }

    /// Publishes a message; `routed`: the one that waits for what becomes of it.
    pub(super) fn publish_message(
        &mut self,
        channel: Vec<u8>,
        body: Body<'_>,
        routed: Option<CallId>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        // A question is none: nobody misses it.
        let is_message = !matches!(body, Body::CountTabs { .. } | Body::Move(_));
        self.message_count += u64::from(is_message);
        let is_sent = self.publish(channel, body, (routed, is_message), now, commands);
        let is_connected = self.is_connected();
        if let Some(call) = routed.and_then(|id| self.routed.get_mut(id)) {
            match is_sent && is_connected {
                true => call.publishing_count += 1,
                // It may be sent later; nobody waits for that.
                false => call.is_partial = true,
            }
        }
        if !is_sent && is_message {
            self.note_loss("more waits than backplaneQueue has room for", now);
        }
    }

    /// Publishes what is no message: it is not missed.
    pub(super) fn publish_quietly(
        &mut self,
        channel: Vec<u8>,
        body: Body<'_>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        self.publish(channel, body, (None, false), now, commands);
    }

    pub(super) fn publish_receipts(
        &mut self,
        to: Sender,
        receipts: Vec<NodeReceipt>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        self.counts.receipts_sent += receipts.len() as u64;
        let channel = self.channels.of_node(to.node);
        let epoch = to.epoch;
        let body = Body::Receipts { epoch, receipts };
        self.publish_quietly(channel, body, now, commands);
    }

    /// Whether there was room for it.
    fn publish(
        &mut self,
        channel: Vec<u8>,
        body: Body<'_>,
        (routed, is_message): (Option<CallId>, bool),
        now: MonotonicTime,
        commands: &mut Commands,
    ) -> bool {
        self.sequence += 1;
        let envelope = Envelope {
            sender: self.claim.sender(),
            sequence: self.sequence,
            sent_at: self.wall_clock_seconds(),
            clock: micros(now),
            body,
        };
        let bytes = envelope.seal(&channel, &self.secret);
        let byte_count = bytes.len() + channel.len();
        if !self.has_room_for(byte_count) {
            return false;
        }
        let request = Request::new("PUBLISH", &[&channel, &bytes]);
        let id = self.next_call();
        if self.published.is_empty() {
            self.progress_at = now;
        }
        self.published_bytes += byte_count;
        self.published.insert(
            id,
            Published {
                routed,
                is_message,
                byte_count,
                at: now,
            },
        );
        self.counts.published += 1;
        self.ask(id, request, now, commands);
        true
    }

    /// Whether so much may wait for Redis beside what does. The longest message has to get through
    /// among others, too: where half of the queue is free, it may take more than is left.
    fn has_room_for(&self, byte_count: usize) -> bool {
        let limit = self.settings.max_queue_bytes;
        self.published_bytes == 0 || self.published_bytes + byte_count.min(limit / 2) <= limit
    }

    /// Until when a push of so many bytes had better wait: there is no room for it, but there will
    /// be, as Redis takes what is on its way.
    pub(crate) fn full_until(
        &self,
        byte_count: usize,
        now: MonotonicTime,
    ) -> Option<MonotonicTime> {
        let until = self.progress_at + self.settings.timeout;
        let is_full = !self.has_room_for(byte_count.saturating_add(OVERHEAD_BYTES));
        (is_full && self.is_connected() && now < until).then_some(until)
    }

    /// Sends commands to Redis.
    pub(super) fn ask(
        &self,
        id: CallId,
        request: Request,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        if let Some(publisher) = self.publisher {
            let call = Call {
                id,
                request: request.into(),
                deadline: now + QUEUE_TIME,
                max_body_bytes: MAX_ANSWER_BYTES,
            };
            commands.call(publisher, call);
        }
    }

    /// Redis has published something for so many nodes; `Err`: why it has not, or why it is not known.
    pub(super) fn note_published(
        &mut self,
        id: CallId,
        reached: Result<usize, String>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let Some(published) = self.published.remove(&id) else {
            return;
        };
        self.published_bytes -= published.byte_count;
        self.progress_at = now;
        if let Some(routed) = published.routed
            && let Some(call) = self.routed.get_mut(routed)
        {
            call.publishing_count = call.publishing_count.saturating_sub(1);
            call.reached_count += reached.as_ref().copied().unwrap_or(0);
            call.is_partial |= reached.is_err();
            self.settle(routed, now, commands);
        }
        match reached {
            Ok(_) => self
                .counts
                .round_trips
                .observe(nanoseconds(now - published.at)),
            Err(why) if published.is_message => self.note_loss(&why, now),
            Err(_) => {}
        }
    }

    /// A message was not published: others see that by a number that does not come.
    pub(super) fn note_loss(&mut self, why: &str, now: MonotonicTime) {
        self.number += 1;
        self.counts.lost += 1;
        if let Some(count) = self.losses.count(now) {
            warn!("backplane: {count} messages to other servers lost, the last one: {why}");
        }
    }

    /// Other nodes have answered.
    pub(super) fn note_receipts(
        &mut self,
        sender: Sender,
        receipts: &[NodeReceipt],
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        self.counts.receipts_received += receipts.len() as u64;
        for receipt in receipts {
            let id = CallId(receipt.call);
            if let Some(call) = self.routed.get_mut(id) {
                self.peers.note_answer(sender, call.asked_at);
                let offset = self.peers.clock_offset(sender);
                call.add(sender.node, receipt, offset);
                self.settle(id, now, commands);
            }
        }
    }

    /// Goes on with a message if all is known of it that will be, at its stage.
    pub(super) fn settle(&mut self, id: CallId, now: MonotonicTime, commands: &mut Commands) {
        if let Some(call) = self.routed.take_complete(id) {
            self.go_on(id, call, now, commands);
        }
    }

    /// No more is learnt at a message's stage.
    pub(super) fn go_on(
        &mut self,
        id: CallId,
        mut call: RoutedCall,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let total = call.total();
        match call.begin_stage(Stage::Deliver) {
            Stage::Deliver => self.tell(call, total),
            Stage::ByNode(message) => {
                let is_there = total.receipt != Receipt::default();
                // Nobody answers who was not asked for a receipt.
                let is_unknown = total.asked_count > 0 && call.asker.is_none();
                if is_there || is_unknown || total.is_partial || call.silent_count > 0 {
                    return self.tell(call, total);
                }
                self.send_by_name(id, call, &message, now, commands);
            }
            Stage::Find {
                message,
                best,
                away,
            } => match best.map(|best| best.node).or(away) {
                Some(node) => self.send_to_found(call, node, message, now, commands),
                None => self.tell_unfound(id, call, total, now),
            },
            Stage::Claim(claim) => self.go_on_with_claim(id, claim, total, now, commands),
            Stage::Take(taking) => self.go_on_with_taking(id, taking, total, now, commands),
        }
    }

    pub(super) fn tell(&mut self, call: RoutedCall, total: Total) {
        let asker = match call.asker {
            Some(Asker::Call(asker)) => asker,
            Some(Asker::Log(from, error)) => {
                if total.receipt == Receipt::default() && total.reach().is_whole() {
                    log_unreached(from, error);
                }
                return;
            }
            None => return,
        };
        self.add_effect(match call.tabs {
            tabs if tabs.is_empty() => Effect::Answer { asker, total },
            tabs => Effect::Counted { asker, tabs, total },
        });
    }

    /// The node that the uuid names does not have the client: whoever does hears its name.
    fn send_by_name(
        &mut self,
        id: CallId,
        call: RoutedCall,
        message: &Message,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let channel = self.channels.of_name(&message.uuid);
        let routed = call.asker.map(|_| id);
        if routed.is_some() {
            self.routed.insert(id, call, (now, self.settings.timeout));
        }
        let body = Body::ToUuid {
            call: routed.map_or(0, |id| id.0),
            uuid: &message.uuid,
            text: &message.text,
        };
        self.publish_message(channel, body, routed, now, commands);
    }

    /// It is known at which node the receiver is, or is away and gets the message when it is back;
    /// `None`: here.
    fn send_to_found(
        &mut self,
        mut call: RoutedCall,
        node: Option<u16>,
        message: Box<Message>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        call.forget_log();
        // Whoever is here is another process's by now, which hears what is for this node.
        let node = node.or_else(|| self.is_replaced().then(|| self.claim.number()));
        call.awaits_local = node.is_none();
        // A new name, so that answers to the question which come late are not taken for receipts.
        let routed = call.asker.is_some().then(|| self.wait_for(call, now));
        let Some(node) = node else {
            return self.add_effect(Effect::Deliver {
                message,
                call: routed,
            });
        };
        // By its name: until this arrives the client may be another process's, in whose table
        // somebody else has its place.
        let body = Body::ToFound {
            call: routed.map_or(0, |id| id.0),
            uuid: &message.uuid,
            ident: message.ident.as_ident(),
            text: &message.text,
        };
        let channel = self.channels.of_node(node);
        self.publish_message(channel, body, routed, now, commands);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// More than an envelope and its channel add to most messages.
const OVERHEAD_BYTES: usize = 512;

/// Longest answer: a number or the text of an error; to the question for a node number its token.
const MAX_ANSWER_BYTES: usize = 1024;
