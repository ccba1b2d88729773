//! A tab that another node has given is a client here: that node is told, until it knows ([who says
//! what when](super::moving)).

use super::backplane::Backplane;
use super::channel::{NodeNumber, node_of};
use super::envelope::Body;
use super::moved_tab::{ArrivedTab, Taken, Taking};
use super::moving_body::Move;
use super::routed::{RoutedCall, Stage, Total};
use crate::app::calls::CallId;
use crate::app::commands::Commands;
use crate::base::MonotonicTime;
use crate::registry::ClientUuid;

impl Backplane {
    /// A tab is a client here by now, under its name.
    pub(crate) fn confirm_tab(
        &mut self,
        arrived: &ArrivedTab,
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
            is_pausing: false,
        };
        if taking.is_by_name {
            self.not_yet_taken.insert(taking.name.clone());
        }
        let call = RoutedCall::new(None, Stage::Take(Box::new(taking)));
        let call = self.wait_for(call, now);
        // Whoever looks for it there no more has to find it here.
        match self.missing_channel(&arrived.name) {
            Some(channel) => self.await_channel(channel, call),
            None => self.tell_taken(call, now, commands),
        }
    }

    /// The channel by which a client of this name is found, if it is not heard yet.
    fn missing_channel(&self, name: &str) -> Option<Vec<u8>> {
        let channel = self.channels.of_name(name);
        let is_found = self.leads_here(&ClientUuid::from_text(name));
        (!is_found && !self.interest.is_confirmed(&channel)).then_some(channel)
    }

    pub(super) fn tell_taken(&mut self, call: CallId, now: MonotonicTime, commands: &mut Commands) {
        let Some(Stage::Take(taking)) = self.routed.get_mut(call).map(|routed| &routed.stage)
        else {
            return;
        };
        let (taken, name) = (taking.taken, taking.name.clone());
        self.publish_taken(&name, taken, Some(call), now, commands);
    }

    /// Both nodes hear a name on its channel, so that this is where one takes over from the other.
    pub(super) fn publish_taken(
        &mut self,
        name: &str,
        taken: Taken,
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
        let channel = match node_in(name) == node {
            true => self.channels.of_node(node),
            false => self.channels.of_name(name),
        };
        self.publish_message(channel, body, call, now, commands);
    }

    /// What is said to this name is for the node that has given its tab: it will be sent on.
    pub(super) fn is_not_yet_taken(&self, name: &str) -> bool {
        !self.not_yet_taken.is_empty() && self.not_yet_taken.contains(name)
    }

    /// What this node has said of a tab has come back.
    pub(super) fn note_own_move(&mut self, body: &Move<'_>) {
        if let Move::Taken { name, .. } = body {
            self.not_yet_taken.remove(*name);
        }
    }

    /// The node that has given a tab has not said that it knows: it is told again, but for one that
    /// is there no more.
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
        let has_gone = total.asked_count == 0 && !total.is_partial;
        if has_gone || taking.try_count >= MAX_TRIES {
            self.not_yet_taken.remove(&taking.name);
            return;
        }
        taking.try_count += 1;
        let is_missing = self.missing_channel(&taking.name).is_some();
        taking.is_pausing = is_missing || !self.is_connected() || !taking.is_pausing;
        let is_pausing = taking.is_pausing;
        let mut call = RoutedCall::new(None, Stage::Take(taking));
        call.publishing_count = usize::from(is_pausing);
        let deadline = now + self.settings.timeout;
        self.routed.insert(id, call, deadline);
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

/// How often a node is told that a tab is here, with `backplaneTimeout` in between.
const MAX_TRIES: usize = 100;
