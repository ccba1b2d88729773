//! The backplane's part in the application: which event goes there, and what comes of it.

use super::backplane::{Backplane, Effect};
use super::routed::Total;
use super::settings::BackplaneSettings;
use crate::app::availability::say_goodbye;
use crate::app::calls::{CallId, Receipt};
use crate::app::{App, Commands};
use crate::base::MonotonicTime;
use crate::upstream::redis::SubscriberEvent;
use crate::upstream::{Answer, Settings, UpstreamId};

impl App {
    /// A subscriber has told something.
    pub(crate) fn handle_subscriber(
        &mut self,
        upstream: UpstreamId,
        event: SubscriberEvent,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let Some(backplane) = self.backplane_of(upstream) else {
            return;
        };
        let mut message = backplane.handle_subscriber(event, now);
        while let Some(arrived) = message {
            let Some(backplane) = self.sessions.backplane.as_deref_mut() else {
                break;
            };
            let (channel, payload) = (&arrived.channel, &arrived.payload);
            if let Some(envelope) = backplane.open(channel, payload, now, commands) {
                let mut delivery = self.sessions.delivery(now, commands);
                delivery.take_in(envelope, &arrived);
            }
            // What was held comes first where this one has proven that its sender is there.
            let backplane = self.sessions.backplane.as_deref_mut();
            message = backplane.and_then(|backplane| backplane.freshness.take_released());
        }
        self.carry_out_effects(now, commands);
    }

    /// Another server has answered.
    pub(crate) fn handle_answer(
        &mut self,
        upstream: UpstreamId,
        answer: Answer,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        match self.backplane_of(upstream) {
            Some(backplane) => {
                backplane.handle_answer(answer, now, commands);
                self.carry_out_effects(now, commands);
            }
            None => self.sign_in.handle_answer(upstream, answer, now, commands),
        }
    }

    /// A message stands in queues here.
    pub(crate) fn handle_delivered(
        &mut self,
        call: CallId,
        receipt: Receipt,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let backplane = self.sessions.backplane.as_deref_mut();
        if backplane.is_some_and(|b| b.handle_delivered(call, receipt, now, commands)) {
            return self.carry_out_effects(now, commands);
        }
        let total = Total::local(receipt);
        self.requests.handle_receipt(call, total, commands);
    }

    /// Does what is due.
    pub(crate) fn handle_backplane_timeout(&mut self, now: MonotonicTime, commands: &mut Commands) {
        if let Some(backplane) = self.sessions.backplane.as_deref_mut() {
            backplane.note_streams(self.sessions.mailbox.cursor().epoch());
            backplane.handle_timeout(now, commands);
            self.carry_out_effects(now, commands);
        }
    }

    /// Whether something that was said here is on its way to other servers still: this one is not to
    /// end before.
    pub(crate) fn has_under_way(&self) -> bool {
        let backplane = self.sessions.backplane.as_deref();
        backplane.is_some_and(Backplane::has_under_way)
    }

    /// The same of what will have arrived soon: no other process is to go on before.
    pub(crate) fn will_have_arrived(&self, now: MonotonicTime) -> bool {
        let backplane = self.sessions.backplane.as_deref();
        backplane.is_some_and(|backplane| backplane.will_have_arrived(now))
    }

    /// Goes by these settings from now on.
    pub(crate) fn reload_backplane(&mut self, settings: &BackplaneSettings) {
        let max_message_bytes = self.sessions.max_message_bytes();
        if let Some(backplane) = self.sessions.backplane.as_deref_mut() {
            backplane.reload(settings, max_message_bytes);
        }
    }

    /// What the connections to the Redis between servers may hold, which follows a reload.
    pub(crate) fn backplane_limits(&self) -> impl Iterator<Item = (UpstreamId, Settings)> {
        let backplane = self.sessions.backplane.as_deref();
        let max_message_bytes = self.sessions.max_message_bytes();
        let limits = backplane.map(|backplane| backplane.limits(max_message_bytes));
        limits.into_iter().flatten()
    }

    fn backplane_of(&mut self, upstream: UpstreamId) -> Option<&mut Backplane> {
        let backplane = self.sessions.backplane.as_deref_mut();
        backplane.filter(|backplane| backplane.has(upstream))
    }

    /// What has come of it for clients and requests here.
    pub(crate) fn carry_out_effects(&mut self, now: MonotonicTime, commands: &mut Commands) {
        let backplane = self.sessions.backplane.as_deref();
        if backplane.is_some_and(|backplane| backplane.congested_until(now).is_none()) {
            self.requests.note_room();
        }
        while let Some(backplane) = self.sessions.backplane.as_deref_mut()
            && let Some(effect) = backplane.next_effect()
        {
            match effect {
                Effect::Answer { asker, total } => {
                    self.requests.handle_receipt(asker, total, commands);
                }
                Effect::Counted { asker, tabs, total } => {
                    self.requests.handle_counts(asker, &tabs, &total, commands);
                }
                Effect::Deliver { message, call } => {
                    let mut delivery = self.sessions.delivery(now, commands);
                    delivery.deliver_found(&message, call);
                }
                Effect::TabArrived(tab) => self.sessions.take_in_tab(&tab, now, commands),
                Effect::TabRefused { client, gap } => {
                    self.sessions.refuse_tab(client, gap, now, commands);
                }
                Effect::Gap => self.sessions.tell_gap(commands),
                Effect::NumberLost => {
                    let sessions = &mut self.sessions;
                    if let Some(backplane) = sessions.backplane.as_deref_mut() {
                        backplane.find_by_name(&sessions.clients);
                    }
                    // Those too who are away.
                    sessions.expect_back();
                    let goodbyes = sessions.goodbyes();
                    say_goodbye(&goodbyes, commands);
                }
            }
        }
    }
}
