//! What is due: questions to Redis, signs of life, receipts, gaps.

use std::time::Duration;

use super::backplane::{Backplane, Effect, FIRST_CALL, Leaving};
use super::envelope::{Body, Heartbeat, Sender};
use super::peer::Hole;
use crate::app::calls::CallId;
use crate::app::commands::Commands;
use crate::base::MonotonicTime;

impl Backplane {
    /// A peer has told how far it is.
    pub(super) fn note_beat(&mut self, sender: Sender, beat: Heartbeat, now: MonotonicTime) {
        let heard_for = self.heard_for(now);
        if self.peers.note_beat(sender, beat, heard_for) == Hole::Some {
            self.note_gap(now);
        }
    }

    /// Something of others may be missing here: pages are told, once for all that comes up in a
    /// second.
    pub(super) fn note_gap(&mut self, now: MonotonicTime) {
        let next = self
            .gap_told_at
            .map_or(now, |told| now.max(told + GAP_PAUSE));
        self.gap_at.get_or_insert(next);
    }

    fn tell_gaps(&mut self, now: MonotonicTime) {
        if self.outage_check.take_if(|at| *at <= now).is_some()
            && self.peers.forget_unheard(now)
            && self.had_deaf
        {
            self.note_gap(now);
        }
        if self.gap_at.take_if(|at| *at <= now).is_some() {
            self.gap_told_at = Some(now);
            self.counts.gaps += 1;
            self.effects.push_back(Effect::Gap);
        }
    }

    // ---- time

    /// Does what is due at `now`; harmless if nothing is.
    pub(crate) fn handle_timeout(&mut self, now: MonotonicTime, commands: &mut Commands) {
        self.started_at.get_or_insert(now);
        self.change_subscriptions(now, commands);
        self.go_on_with_awaited(now, commands);
        self.asked_until.take_if(|until| *until <= now);
        let call = CallId(FIRST_CALL + self.call_count + 1);
        if let Some(request) = self.claim.next_question(&self.channels, call, now) {
            self.call_count += 1;
            self.ask(call, request, now, commands);
        }
        while let Some((id, call)) = self.routed.take_late(now) {
            self.counts.late += 1;
            self.go_on(id, call, now, commands);
        }
        if self.is_connected() && self.next_beat <= now {
            self.next_beat = now + HEARTBEAT;
            self.beat(now, commands);
        }
        self.give_up_held(now);
        self.ask_silent(now, commands);
        self.tell_gaps(now);
        for (sender, receipts) in std::mem::take(&mut self.receipts) {
            self.publish_receipts(sender, receipts, now, commands);
        }
    }

    fn change_subscriptions(&mut self, now: MonotonicTime, commands: &mut Commands) {
        let (Some(subscriber), changes) = (self.subscriber, self.interest.take_changes(now)) else {
            return;
        };
        if !changes.subscribe.is_empty() {
            commands.subscribe(subscriber, changes.subscribe);
        }
        if !changes.unsubscribe.is_empty() {
            commands.unsubscribe(subscriber, changes.unsubscribe);
        }
    }

    /// This node is about to go: others are told.
    pub(crate) fn leave_others(&mut self, now: MonotonicTime) {
        if self.leaving == Leaving::No {
            self.leaving = Leaving::Yes;
        }
        self.next_beat = now;
    }

    fn beat(&mut self, now: MonotonicTime, commands: &mut Commands) {
        let body = Body::Heartbeat(Heartbeat {
            number: self.number,
            message_count: self.message_count,
            client_count: self.clients.len() as u64,
            uptime_seconds: self.uptime(now).as_secs(),
            is_leaving: self.leaving != Leaving::No,
            asks: self.freshness.announce(),
            streams: self.streams,
            past: self.past,
        });
        self.publish_quietly(self.channels.everybody(), body, now, commands);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<MonotonicTime> {
        if !self.receipts.is_empty() || !self.effects.is_empty() || !self.awaited.is_empty() {
            return Some(MonotonicTime::START);
        }
        let beat = self.is_connected().then_some(self.next_beat);
        let parts = [
            beat,
            self.interest.next_deadline(),
            self.claim.next_deadline(),
            self.routed.next_deadline(),
            self.freshness.next_deadline(),
            self.outage_check,
            self.gap_at,
            self.asked_until,
        ];
        parts.into_iter().flatten().min()
    }
}

/// Between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Between two times that pages are told that something may be missing.
const GAP_PAUSE: Duration = Duration::from_secs(1);
