//! A tab that another node has given is a client here: that node is told, until it knows ([who says
//! what when](super::moving)).

use std::time::Duration;

use super::backplane::{Backplane, MAX_UNANSWERED};
use super::channel::{NodeNumber, node_of};
use super::envelope::Body;
use super::moved_tab::{ArrivedTab, Taken, Taking};
use super::moving_body::Move;
use super::routed::{RoutedCall, Stage, Total};
use crate::app::calls::CallId;
use crate::app::commands::Commands;
use crate::base::{BadRecord, MonotonicTime, Record};
use crate::registry::{ClientUuid, Clients};

impl Backplane {
    /// A tab is a client here by now, under its name. The node that has given it keeps it until it
    /// knows, at most for `kept_time`.
    pub(crate) fn confirm_tab(
        &mut self,
        arrived: &ArrivedTab,
        kept_time: Duration,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let taken = Taken {
            node: arrived.from.node,
            claim: arrived.call,
        };
        let taking = Taking {
            client: arrived.claim.client,
            name: arrived.name.clone(),
            taken,
            is_by_name: node_in(&arrived.name) != taken.node,
            try_count: 0,
            told_at: now,
            until: now + kept_time,
        };
        let call = self.begin_taking(taking, now);
        // Whoever looks for it there no more has to find it here.
        match self.missing_channel(&arrived.name) {
            Some(channel) => self.await_channel(channel, call),
            None => self.tell_taken(call, now, commands),
        }
    }

    pub(super) fn begin_taking(&mut self, taking: Taking, now: MonotonicTime) -> CallId {
        if taking.is_by_name {
            self.not_yet_taken.insert(taking.name.clone());
            let channel = self.channels.of_name(&taking.name);
            self.freshness.leave_to_another(&channel);
        }
        let call = RoutedCall::new(None, Stage::Take(Box::new(taking)));
        self.wait_for(call, now)
    }

    /// Another process has told of a tab and not heard that it is known; this one tells again.
    ///
    /// # Errors
    /// A record that is not understood.
    pub(super) fn go_on_taking(
        &mut self,
        record: Record<'_>,
        clients: &Clients,
        now: MonotonicTime,
    ) -> Result<(), BadRecord> {
        let taking = Taking::take_over(record, clients, now)?;
        let call = self.begin_taking(taking, now);
        if let Some(call) = self.routed.get_mut(call) {
            // It is not connected yet.
            call.publishing_count = 1;
        }
        Ok(())
    }

    /// The channel by which a tab of this name is found, if it is not heard yet. Of one that has gone
    /// on to yet another node nobody wants it.
    fn missing_channel(&self, name: &str) -> Option<Vec<u8>> {
        let channel = self.channels.of_name(name);
        let is_found = self.leads_here(&ClientUuid::from_text(name));
        (!is_found && self.interest.is_missing(&channel)).then_some(channel)
    }

    pub(super) fn tell_taken(&mut self, call: CallId, now: MonotonicTime, commands: &mut Commands) {
        let Some(Stage::Take(taking)) = self.routed.get_mut(call).map(|routed| &routed.stage)
        else {
            return;
        };
        let (taken, name) = (taking.taken, taking.name.clone());
        // A node that has another number by now may hear neither channel.
        let channel = match taking.try_count {
            ..QUICK_TRIES => self.channel_for(&name, taken),
            _ => self.channels.everybody(),
        };
        self.publish_taken(channel, (&name, taken), Some(call), now, commands);
    }

    /// Both nodes hear a name on its channel, so that this is where one takes over from the other.
    pub(super) fn channel_for(&self, name: &str, taken: Taken) -> Vec<u8> {
        match node_in(name) == taken.node {
            true => self.channels.of_node(taken.node),
            false => self.channels.of_name(name),
        }
    }

    pub(super) fn publish_taken(
        &mut self,
        channel: Vec<u8>,
        (name, taken): (&str, Taken),
        call: Option<CallId>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let Taken { node, claim } = taken;
        let body = Body::Move(Move::Taken {
            call: call.map_or(0, |call| call.0),
            node,
            claim,
            name,
        });
        self.publish_message(channel, body, call, now, commands);
    }

    /// Whether what comes to this name on this channel is for the node that has given its tab, which
    /// hears it, too, and sends it on.
    pub(super) fn is_anothers(&self, name: &str, channel: &[u8]) -> bool {
        !self.not_yet_taken.is_empty()
            && self.not_yet_taken.contains(name)
            && self.channels.of_name(name) == channel
    }

    /// What this node has said of a tab has come back.
    pub(super) fn note_own_move(&mut self, body: &Move<'_>) {
        if let Move::Taken { name, .. } = body {
            self.not_yet_taken.remove(*name);
        }
    }

    /// The node that has given a tab has not said that it knows: it is told again for as long as it
    /// may keep it. That nobody is subscribed to its number says nothing: it may be cut off from Redis
    /// for a while, and would go on to keep what comes for a tab that is here.
    pub(super) fn go_on_with_taking(
        &mut self,
        id: CallId,
        mut taking: Box<Taking>,
        total: Total,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let channel = self.channels.of_name(&taking.name);
        self.end_waiting(&channel, id);
        let is_unheard = total.asked_count == 0 && !total.is_partial;
        let is_given_up = is_unheard && self.routed.len() >= MAX_TAKINGS;
        if is_given_up || now >= taking.until {
            self.not_yet_taken.remove(&taking.name);
            return;
        }
        taking.try_count = taking.try_count.saturating_add(1);
        let pause = match taking.try_count {
            ..QUICK_TRIES => self.settings.timeout,
            _ => self.settings.timeout.max(SLOW_PAUSE),
        };
        let is_missing = self.missing_channel(&taking.name).is_some();
        let is_pausing = is_missing || !self.is_connected() || now < taking.told_at + pause;
        if !is_pausing {
            taking.told_at = now;
        }
        let mut call = RoutedCall::new(None, Stage::Take(taking));
        call.publishing_count = usize::from(is_pausing);
        self.routed.insert(id, call, (now, self.settings.timeout));
        if !is_pausing {
            self.tell_taken(id, now, commands);
        }
    }

    /// The node that has given a tab knows that it is here.
    pub(super) fn end_taking(&mut self, id: CallId) -> Option<Box<Taking>> {
        let Stage::Take(_) = &self.routed.get_mut(id)?.stage else {
            return None;
        };
        let Stage::Take(taking) = self.routed.take(id)?.stage else {
            return None;
        };
        self.not_yet_taken.remove(&taking.name);
        Some(taking)
    }
}

/// The node that a name leads to; 0: none.
fn node_in(name: &str) -> NodeNumber {
    match ClientUuid::from_text(name) {
        ClientUuid::Standard(bits) => node_of(bits),
        ClientUuid::Chosen(_) => 0,
    }
}

/// How often a node is told that a tab is here with no more than `backplaneTimeout` in between.
const QUICK_TRIES: usize = 40;

/// What lies in between from then on.
const SLOW_PAUSE: Duration = Duration::from_secs(5);

/// Where more messages than these are not answered, nodes that are not subscribed are told no more:
/// pushes need the rest of the room.
const MAX_TAKINGS: usize = MAX_UNANSWERED / 2;
