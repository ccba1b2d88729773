//! What Redis says to this node, and what comes of it.

use std::time::Duration;

use log::{info, warn};

use super::backplane::{Backplane, Effect};
use super::envelope::{Body, Envelope};
use super::freshness::Arrived;
use super::node::Change;
use super::peer::PEER_TIMEOUT;
use super::peers::Verdict;
use super::published::QUEUE_TIME;
use super::window::Window;
use crate::app::calls::CallId;
use crate::app::commands::Commands;
use crate::base::MonotonicTime;
use crate::upstream::Answer;
use crate::upstream::redis::{SubscriberEvent, Value};

impl Backplane {
    /// The subscriber has told something; a message is to be [opened](Self::open).
    pub(super) fn handle_subscriber(
        &mut self,
        event: SubscriberEvent,
        now: MonotonicTime,
    ) -> Option<Arrived> {
        let was_connected = self.is_connected();
        match event {
            SubscriberEvent::Message { channel, payload } => {
                return Some(Arrived {
                    channel,
                    payload,
                    is_anothers: false,
                });
            }
            SubscriberEvent::Skipped => {
                self.counts.oversized += 1;
                self.peers.note_skipped(now);
                self.refuse(
                    "longer than maxMessageSize: set the same at all servers",
                    now,
                );
            }
            SubscriberEvent::Subscribed { channel } => {
                self.note_heard(&channel);
                let number = self.claim.number();
                if number != 0 && channel == self.channels.of_node(number) {
                    self.is_listening = true;
                    self.next_beat = now;
                }
            }
            SubscriberEvent::Ready => {
                if !std::mem::replace(&mut self.is_subscribed, true) {
                    self.claim.ask_soon(now);
                    self.connected_at = now;
                    self.freshness.begin();
                    self.outage_check = Some(now + PEER_TIMEOUT);
                    self.next_beat = now;
                    // Whoever was there meanwhile may have told somebody here something, and be gone
                    // before it is heard of at all. In a moment nobody comes and goes.
                    let is_long = |since: MonotonicTime| now - since >= QUEUE_TIME;
                    let deaf_since = self.deaf_since.take();
                    self.had_deaf = deaf_since.is_some();
                    if deaf_since.is_some_and(is_long) {
                        self.note_gap(now);
                    }
                }
            }
            SubscriberEvent::Lost => {
                warn!("backplane: Redis is away, other servers are not reached");
                self.is_subscribed = false;
                self.is_listening = false;
                self.deaf_since.get_or_insert(now);
                self.interest.note_lost();
                self.awaiting.clear();
                self.counts.outages += 1;
                self.peers.note_outage(now);
                self.drop_challenge();
            }
        }
        if self.is_connected() && !was_connected {
            self.awaited.append(&mut self.unconnected);
            // Those who did not know this node by its number until now.
            self.freshness.ask_all();
            info!("backplane: connected, {} channels", self.interest.len());
        }
        None
    }

    /// The envelope of a message, if it is one that counts.
    pub(super) fn open<'a>(
        &mut self,
        channel: &[u8],
        payload: &'a [u8],
        now: MonotonicTime,
        commands: &mut Commands,
    ) -> Option<Envelope<'a>> {
        let Ok(envelope) = Envelope::open(payload, channel, &self.secret) else {
            self.counts.forged += 1;
            self.refuse("not signed by backplaneSecret, or of another version", now);
            return None;
        };
        if self.claim.is_own(envelope.sender) {
            let is_current = envelope.sender.epoch == self.claim.sender().epoch;
            if is_current && !self.own_window.note(envelope.sequence) {
                self.counts.repeated += 1;
                self.refuse("heard before", now);
                return None;
            }
            self.note_own(&envelope.body, now, commands);
            return None;
        }
        let wall_clock = (self.wall_clock)().as_secs();
        self.note_proof(&envelope, now);
        let verdict = self.peers.judge(&envelope, wall_clock, now);
        if matches!(verdict, Verdict::New | Verdict::First | Verdict::Unproven) {
            self.answer_challenge(&envelope, now, commands);
        }
        match verdict {
            verdict @ (Verdict::New | Verdict::First) => {
                if verdict == Verdict::First {
                    // It learns of us, though not of all at the same moment.
                    let soon = Duration::from_millis(u64::from(self.claim.number() % 128));
                    self.next_beat = self.next_beat.min(now + soon);
                }
                self.counts.received += 1;
                Some(envelope)
            }
            Verdict::Repeated => {
                self.counts.repeated += 1;
                self.refuse("heard before", now);
                None
            }
            Verdict::Unproven => {
                // It says nothing but that, and of its challenge that is enough.
                if !matches!(envelope.body, Body::Proof { .. }) {
                    self.hold((channel, payload), &envelope, now, commands);
                }
                None
            }
            Verdict::Untimely => {
                self.counts.untimely += 1;
                self.peers.note_untimely(&envelope);
                self.refuse("sent at another time: check the servers' clocks", now);
                None
            }
        }
    }

    pub(super) fn refuse(&mut self, why: &str, now: MonotonicTime) {
        if let Some(count) = self.refusals.count(now) {
            warn!("backplane: {count} envelopes refused, the last one: {why}");
        }
    }

    /// What this node has published has come back.
    fn note_own(&mut self, body: &Body<'_>, now: MonotonicTime, commands: &mut Commands) {
        if let Body::Move(moved) = body {
            self.note_own_move(moved);
        }
        let call = body.call();
        if call != 0
            && let Some(routed) = self.routed.get_mut(CallId(call))
        {
            routed.own_count += 1;
            self.settle(CallId(call), now, commands);
        }
    }

    /// Redis has answered the publisher.
    pub(crate) fn handle_answer(
        &mut self,
        answer: Answer,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let call = answer.call;
        let values = answer.into_redis();
        let known = values.as_deref().ok();
        match self.claim.handle_answer(call, known, now) {
            Some(change) => {
                let error = known.and_then(|values| values.iter().find_map(Value::as_error));
                if let Some(error) = error
                    && let Some(count) = self.unclaimed.count(now)
                {
                    warn!("backplane: no node number was given ({count} times): {error}");
                }
                self.note_number(change, now);
            }
            None => {
                let reached = match &values {
                    Ok(values) => reached_count(values),
                    Err(error) => Err(error.to_string()),
                };
                self.note_published(call, reached, now, commands);
            }
        }
    }

    fn note_number(&mut self, change: Change, now: MonotonicTime) {
        match change {
            Change::None => {}
            Change::Claimed => {
                let number = self.claim.number();
                info!("backplane: this is node {number}");
                self.begin_to_listen();
            }
            Change::Lost(number) => {
                warn!("backplane: node {number} is another server by now: a new number is taken");
                let channel = self.channels.of_node(number);
                self.interest.give_back(&channel, now);
                self.is_listening = false;
                // A sender of its own, whose numbers begin anew; but whoever was not connected while
                // it sent under the old one sees by its count that something is missing.
                if let Some(epoch) = self.claim.past_epoch() {
                    self.past = self.become_past(epoch);
                }
                (self.sequence, self.number) = (0, 0);
                self.own_window = Window::default();
                self.effects.push_back(Effect::NumberLost);
            }
        }
    }
}

/// How many have got what was published.
fn reached_count(values: &[Value]) -> Result<usize, String> {
    let value = values.first();
    if let Some(kind) = value.and_then(Value::as_error) {
        return Err(kind.to_string());
    }
    let count = value.and_then(Value::as_integer);
    let count = count.and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| "the answer is none to PUBLISH".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::routed::{Asker, RoutedCall, Stage};
    use super::super::settings::{BackplaneSecret, BackplaneSettings};
    use super::*;
    use crate::upstream::Target;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    // protocol.md 11.4
    #[test]
    fn what_this_node_has_said_itself_counts_once_however_often_it_is_played() {
        let settings = BackplaneSettings {
            target: Some(Target::redis("unix:/redis.sock").unwrap()),
            secret: BackplaneSecret::new(&[7; 32]),
            ..BackplaneSettings::default()
        };
        let (now, mut commands) = (MonotonicTime::START, Commands::default());
        let mut backplane = Backplane::new(&settings, || NOW).unwrap();
        let call = RoutedCall::new(Some(Asker::Call(CallId(1))), Stage::Deliver);
        let call = backplane.wait_for(call, now);
        // This node and one that does not answer.
        let routed = backplane.routed.get_mut(call).unwrap();
        routed.reached_count = 2;
        let channel = backplane.channels.everybody();
        let envelope = Envelope {
            sender: backplane.claim.sender(),
            sequence: 1,
            sent_at: NOW.as_secs(),
            clock: 0,
            body: Body::Broadcast {
                call: call.0,
                number: 1,
                text: "{}",
            },
        };
        let bytes = envelope.seal(&channel, &backplane.secret);
        for _ in 0..3 {
            let heard = backplane.open(&channel, &bytes, now, &mut commands);
            assert_eq!(heard, None);
        }
        assert!(backplane.next_effect().is_none(), "one has not answered");
        assert_eq!(backplane.routed.get_mut(call).unwrap().own_count, 1);
        assert_eq!(backplane.counts.repeated, 2);
    }
}
