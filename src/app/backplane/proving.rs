//! Who has proven that what it sends is of now, and what is done about those who have not
//! ([`freshness`](super::freshness)).

use super::backplane::Backplane;
use super::envelope::{Body, Envelope, Sender};
use super::freshness::Arrived;
use crate::app::commands::Commands;
use crate::base::MonotonicTime;

impl Backplane {
    /// This node is cut off: nothing that was proven before is.
    pub(super) fn drop_challenge(&mut self) {
        self.peers.forget_proofs();
        for epoch in self.freshness.end() {
            self.counts.unproven += 1;
            self.peers.note_dropped(epoch);
        }
    }

    /// Takes the answer to the challenge out of an envelope that is one.
    pub(super) fn note_proof(&mut self, envelope: &Envelope<'_>, now: MonotonicTime) {
        if let Body::Proof { answers, .. } = envelope.body
            && answers != 0
            && answers == self.freshness.challenge()
        {
            self.peers.prove(envelope, self.connected_at, now);
            self.freshness.release(envelope.sender.epoch);
        }
    }

    /// Answers the challenge of another node, if that is what an envelope asks for.
    pub(super) fn answer_challenge(
        &mut self,
        envelope: &Envelope<'_>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let asked = if let Body::Proof { asks, .. } = envelope.body {
            asks
        } else if let Body::Heartbeat(beat) = envelope.body {
            beat.asks
        } else {
            0
        };
        let sender = envelope.sender;
        if asked != 0 && sender.node != 0 && self.peers.may_answer(sender, now) {
            self.send_proof(sender, asked, now, commands);
        }
    }

    /// Keeps an envelope until its sender has proven that it is there, and asks it to.
    pub(super) fn hold(
        &mut self,
        (channel, payload): (&[u8], &[u8]),
        envelope: &Envelope<'_>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let sender = envelope.sender;
        let most = self.settings.max_queue_bytes;
        let arrived = Arrived {
            channel: channel.to_vec(),
            payload: payload.to_vec(),
            is_anothers: match envelope.body {
                Body::ToUuid { uuid, .. } => self.is_anothers(uuid, channel),
                _ => false,
            },
        };
        if !self.freshness.hold(sender.epoch, arrived, most, now) {
            self.note_unproven(sender.epoch, now);
        }
        self.ask_for_proof(sender, now, commands);
    }

    fn ask_for_proof(&mut self, sender: Sender, now: MonotonicTime, commands: &mut Commands) {
        let challenge = self.freshness.challenge();
        if challenge != 0 && sender.node != 0 && self.peers.may_ask(sender, now) {
            self.publish_proof(sender, 0, challenge, now, commands);
        }
    }

    /// Asks those again whose envelopes are held.
    pub(super) fn ask_silent(&mut self, now: MonotonicTime, commands: &mut Commands) {
        for epoch in self.freshness.take_silent(now) {
            if let Some(sender) = self.peers.sender_of(epoch) {
                self.ask_for_proof(sender, now, commands);
            }
        }
    }

    /// Gives up what has been held for long enough.
    pub(super) fn give_up_held(&mut self, now: MonotonicTime) {
        while let Some(epoch) = self.freshness.give_up(now) {
            self.note_unproven(epoch, now);
        }
    }

    fn note_unproven(&mut self, epoch: u64, now: MonotonicTime) {
        self.counts.unproven += 1;
        self.peers.note_dropped(epoch);
        self.refuse("its sender does not answer: it is gone, or cut off", now);
    }

    fn send_proof(
        &mut self,
        to: Sender,
        answers: u64,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let asks = match self.peers.is_unproven(to) && self.peers.may_ask(to, now) {
            true => self.freshness.challenge(),
            false => 0,
        };
        self.publish_proof(to, answers, asks, now, commands);
    }

    fn publish_proof(
        &mut self,
        to: Sender,
        answers: u64,
        asks: u64,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let channel = self.channels.of_node(to.node);
        let body = Body::Proof { answers, asks };
        self.publish_quietly(channel, body, now, commands);
    }
}
