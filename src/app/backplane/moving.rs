//! A tab comes back to another node than the one it was at (protocol.md 11.6): this end has the tab,
//! the [other](super::giving) has what was kept for it.
//!
//! ```text
//!  tab              this node                               the node it was at
//!   │── resume ──►  subscribed to its user? then ── Claim ──►  judged as if it had come there;
//!   │               (by the number in its uuid,                kept for it until it is taken
//!   │                else by its name)         ◄── Given ───   messages, and how far who was heard
//!   │◄─ resumed ──  held against what was heard here
//!   │               subscribed to its name? then ── Taken ─►   it is here no more; a connection
//!   │◄─ messages ─                             ◄── Rest ────   that still stands is closed
//! ```
//!
//! Redis passes on what is published in one order, so that whatever was published before the claim
//! the other node has heard, and this node hears what comes behind it. What both have heard is told
//! by sender and sequence, and comes once; whether anything is missing in between is told by the
//! numbers of what everybody was told. If that cannot be proven, or somebody does not answer in
//! `backplaneTimeout`, it is a gap.
//!
//! The tab keeps its uuid, which leads to the other node: that one passes on what comes there, and
//! whoever waits for a receipt asks by name.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use log::debug;

use super::backplane::{Backplane, Effect, Leaving};
use super::channel::node_of;
use super::envelope::{Body, CallNumber, Sender};
use super::moved_tab::{ArrivedTab, TabClaim, Taken};
use super::moving_body::{GivenTab, Move};
use super::origins::Origin;
use super::routed::{RoutedCall, Stage, Total};
use crate::app::calls::CallId;
use crate::app::commands::Commands;
use crate::base::MonotonicTime;
use crate::connection::ConnId;
use crate::registry::{ClientUuid, Gap};

impl Backplane {
    /// A client says that it was a tab elsewhere: whoever may have it is asked.
    ///
    /// # Errors
    /// Nobody can be asked; what it is told.
    pub(crate) fn claim_tab(
        &mut self,
        mut claim: TabClaim,
        now: MonotonicTime,
        commands: &mut Commands,
    ) -> Result<(), Gap> {
        let client = claim.client;
        if self.claims.len() >= MAX_CLAIMS {
            return Err(unknown_gap(&claim));
        }
        claim.is_by_name = match ClientUuid::from_text(&claim.uuid) {
            ClientUuid::Standard(bits) => [0, self.claim.number()].contains(&node_of(bits)),
            ClientUuid::Chosen(_) => true,
        };
        let call = RoutedCall::new(None, Stage::Claim(Box::new(claim)));
        let call = self.wait_for(call, now);
        self.claims.insert(client, call);
        self.prepare_to_ask(call, now, commands);
        Ok(())
    }

    /// What is said to everybody and to the user behind the question has to be heard here.
    fn prepare_to_ask(&mut self, call: CallId, now: MonotonicTime, commands: &mut Commands) {
        let Some(routed) = self.routed.get_mut(call) else {
            return;
        };
        let Stage::Claim(claim) = &routed.stage else {
            return;
        };
        let user = claim.user.as_deref();
        let user = user.map(|user| self.channels.of_user(user));
        if !(self.is_subscribed && self.is_listening) {
            routed.publishing_count += 1;
            self.unconnected.push(call);
            return;
        }
        match user.filter(|user| !self.interest.is_confirmed(user)) {
            Some(user) => self.await_channel(user, call),
            None => self.ask_for_tab(call, now, commands),
        }
    }

    /// A tab has gone that may come back. While this node leaves, another one may ask for it.
    pub(super) fn note_left(&mut self, now: MonotonicTime) {
        let is_leaving = self.leaving == Leaving::Yes && self.is_connected();
        if is_leaving && self.peers.present(now).next().is_some() {
            self.asked_until = Some(now + ASKED_TIME);
        }
    }

    /// Whether another node may ask for a tab that has gone while this node leaves.
    pub(crate) fn may_be_asked(&self) -> bool {
        self.asked_until.is_some()
    }

    /// Whether a client waits for what another node says.
    pub(crate) fn is_claiming(&self, client: ConnId) -> bool {
        self.claims.contains_key(&client)
    }

    /// It goes on when this channel is heard.
    pub(super) fn await_channel(&mut self, channel: Vec<u8>, call: CallId) {
        if let Some(routed) = self.routed.get_mut(call) {
            routed.publishing_count += 1;
        }
        self.awaiting.entry(channel).or_default().push(call);
    }

    /// It is no longer waited for a channel.
    pub(super) fn end_waiting(&mut self, channel: &[u8], call: CallId) {
        if let Some(calls) = self.awaiting.get_mut(channel) {
            calls.retain(|one| *one != call);
            if calls.is_empty() {
                self.awaiting.remove(channel);
            }
        }
    }

    /// A channel is heard from now on.
    pub(super) fn note_heard(&mut self, channel: &[u8]) {
        self.interest.confirm(channel);
        if let Some(calls) = self.awaiting.remove(channel) {
            self.awaited.extend(calls);
        }
    }

    /// Goes on with those who have waited for a channel.
    pub(super) fn go_on_with_awaited(&mut self, now: MonotonicTime, commands: &mut Commands) {
        for call in std::mem::take(&mut self.awaited) {
            let Some(routed) = self.routed.get_mut(call) else {
                continue;
            };
            routed.publishing_count = routed.publishing_count.saturating_sub(1);
            match routed.stage {
                Stage::Claim(_) => self.prepare_to_ask(call, now, commands),
                Stage::Take(_) => self.tell_taken(call, now, commands),
                Stage::Find { .. } => self.go_on_finding(call, now, commands),
                Stage::Deliver | Stage::ByNode(_) => {}
            }
        }
    }

    fn ask_for_tab(&mut self, call: CallId, now: MonotonicTime, commands: &mut Commands) {
        let Some(Stage::Claim(claim)) = self.routed.get_mut(call).map(|call| &mut call.stage)
        else {
            return;
        };
        claim.asked_at = now;
        let claim = claim.clone();
        let channel = match ClientUuid::from_text(&claim.uuid) {
            ClientUuid::Standard(bits) if !claim.is_by_name => self.channels.of_node(node_of(bits)),
            ClientUuid::Standard(_) | ClientUuid::Chosen(_) => self.channels.of_name(&claim.uuid),
        };
        let body = Body::Move(Move::Claim {
            call: call.0,
            uuid: &claim.uuid,
            secret: *claim.secret.as_bytes(),
            cursor: claim.cursor,
            user: claim.user.as_deref(),
            is_script: claim.is_script,
        });
        self.publish_message(channel, body, Some(call), now, commands);
        self.settle(call, now, commands);
    }

    /// No more is learnt of a claim.
    pub(super) fn go_on_with_claim(
        &mut self,
        id: CallId,
        mut claim: Box<TabClaim>,
        total: Total,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        self.unconnected.retain(|one| *one != id);
        if let Some(user) = &claim.user {
            let channel = self.channels.of_user(user);
            self.end_waiting(&channel, id);
        }
        let is_answered = total.asked_count == total.answered_count && !total.is_partial;
        if !is_answered {
            debug!("backplane: a tab cannot be taken: no answer");
            return self.end_claim(&claim, unknown_gap(&claim));
        }
        if claim.is_by_name {
            let gap = claim.gap;
            return self.end_claim(&claim, gap);
        }
        claim.is_by_name = true;
        let call = RoutedCall::new(None, Stage::Claim(claim));
        self.routed.insert(id, call, (now, self.settings.timeout));
        self.ask_for_tab(id, now, commands);
    }

    fn end_claim(&mut self, claim: &TabClaim, gap: Gap) {
        let client = claim.client;
        self.claims.remove(&client);
        self.add_effect(Effect::TabRefused { client, gap });
    }

    /// Nobody at that node has the name.
    pub(super) fn note_not_here(
        &mut self,
        id: CallId,
        is_expired: bool,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let Some(call) = self.routed.get_mut(id) else {
            return;
        };
        call.answered_count += 1;
        if let Stage::Claim(claim) = &mut call.stage
            && is_expired
            && claim.gap != Gap::Unknown
        {
            claim.gap = Gap::Expired;
        }
        self.settle(id, now, commands);
    }

    /// To whoever has the name at that node it has not proven that it is the one. Perhaps it is one of
    /// the same name elsewhere.
    pub(super) fn note_refused(&mut self, id: CallId, now: MonotonicTime, commands: &mut Commands) {
        let Some(call) = self.routed.get_mut(id) else {
            return;
        };
        call.answered_count += 1;
        if let Stage::Claim(claim) = &mut call.stage {
            claim.gap = Gap::Unknown;
        }
        self.settle(id, now, commands);
    }

    /// A node gives a tab.
    pub(super) fn note_given(
        &mut self,
        from: Sender,
        call: CallNumber,
        given: &GivenTab<'_>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let Some(claim) = self.take_claim(CallId(call), now) else {
            // The tab was told a gap before, and is another one from then on.
            let taken = Taken {
                node: from.node,
                claim: call,
            };
            let channel = self.channel_for(given.name, taken);
            return self.publish_taken(channel, (given.name, taken), None, now, commands);
        };
        self.claims.remove(&claim.client);
        let heard_there = self.heard_there(from, given, &claim, now);
        let texts = given.texts.clone().and_then(|texts| {
            let heard_there = heard_there.as_ref().map_err(|gap| *gap);
            heard_there.map(|_| texts.into_iter().map(str::to_owned).collect())
        });
        let since = self.clients.get(&claim.client);
        let arrived = ArrivedTab {
            name: given.name.to_owned(),
            texts,
            since: since.map_or(0, |client| client.place.number),
            heard_there: heard_there.unwrap_or_default(),
            claim: *claim,
            from,
            call,
        };
        self.add_effect(Effect::TabArrived(Box::new(arrived)));
    }

    fn take_claim(&mut self, id: CallId, now: MonotonicTime) -> Option<Box<TabClaim>> {
        let routed = self.routed.get_mut(id)?;
        // Where this node has stood still, the tab may be at yet another one by now.
        if !matches!(routed.stage, Stage::Claim(_)) || routed.is_late(now) {
            return None;
        }
        match self.routed.take(id)?.stage {
            Stage::Claim(claim) => Some(claim),
            Stage::Deliver | Stage::ByNode(_) | Stage::Find { .. } | Stage::Take(_) => None,
        }
    }

    /// What has come since a client is here, and was heard at the node that gives it its tab, too.
    ///
    /// # Errors
    /// Perhaps something is missing between what was heard there and what was heard here.
    fn heard_there(
        &self,
        from: Sender,
        given: &GivenTab<'_>,
        claim: &TabClaim,
        now: MonotonicTime,
    ) -> Result<HashSet<u64>, Gap> {
        let place = self.clients.get(&claim.client).map(|client| client.place);
        let origins = place.and_then(|place| self.origins.behind(place.origin_count));
        // Whatever was published before the question has been heard there.
        let hears_all = self.is_connected() && self.connected_at <= claim.asked_at;
        let is_connected = hears_all && self.freshness.held_bytes() == 0;
        let (Some(origins), true, None) = (origins, is_connected, self.gap_at) else {
            debug!("backplane: a tab cannot be taken: this server may not have heard everything");
            return Err(Gap::Backplane);
        };
        let places: HashMap<u64, _> = given.places.iter().map(|p| (p.epoch, p)).collect();
        let is_heard = |origin: &Origin| match origin.sender.epoch == from.epoch {
            true => origin.sequence <= given.sequence,
            false => places
                .get(&origin.sender.epoch)
                .is_some_and(|place| place.has(origin.sequence)),
        };
        let mut heard_there = HashSet::new();
        let mut heard_here: HashMap<u64, u64> = HashMap::new();
        for origin in origins {
            if is_heard(origin) {
                heard_there.extend(origin.number);
            } else if origin.told.is_some() {
                *heard_here.entry(origin.sender.epoch).or_default() += 1;
            }
        }
        let own = (self.claim.sender().epoch, self.number);
        let is_whole = self.peers.numbers(now).chain([own]).all(|(epoch, last)| {
            let there = match epoch == from.epoch {
                true => given.number,
                false => places.get(&epoch).map_or(0, |place| place.number),
            };
            // What was heard there and not here may still come, and would be told twice.
            let is_late = epoch != own.0 && last < there;
            let here = heard_here.get(&epoch).copied().unwrap_or(0);
            !is_late && last <= there.saturating_add(here)
        });
        if !is_whole {
            debug!("backplane: a tab cannot be taken: both servers have heard different things");
            return Err(Gap::Backplane);
        }
        Ok(heard_there)
    }
}

/// What a tab is told if nobody can say whether somebody has it.
fn unknown_gap(claim: &TabClaim) -> Gap {
    match claim.gap {
        Gap::Expired => Gap::Expired,
        _ => Gap::Backplane,
    }
}

/// Most tabs that wait for another node; who comes then is told a gap.
const MAX_CLAIMS: usize = 4096;

/// How long a node that leaves stays for those that its tabs go to: tabs come back within three
/// seconds, as they are told.
const ASKED_TIME: Duration = Duration::from_secs(4);
