//! A tab comes back to another node than this one, where it was ([who says what
//! when](super::moving)).

use std::time::Duration;

use super::channel::node_of;
use super::envelope::{Body, Sender};
use super::moved_tab::Taking;
use super::moving_body::{Fate, GivenTab, Move};
use crate::app::calls::CallId;
use crate::app::delivery::{Delivery, Receiver, nobody_asks};
use crate::app::replay_packets::gap_packet;
use crate::base::{SecretDigest, random};
use crate::connection::ConnId;
use crate::protocol::close_code::CloseCode;
use crate::protocol::message::MessageKind;
use crate::protocol::packet::Ident;
use crate::registry::mailbox::{Asker, ForeignClaim, Given, HandedOn, Taken, Terms};
use crate::registry::{ClientKind, ClientUuid, Gap};

impl Delivery<'_> {
    /// Sees to what another node says of a tab.
    pub(super) fn take_in_move(&mut self, from: Sender, body: Move<'_>) {
        let Some(backplane) = self.backplane.as_deref_mut() else {
            return;
        };
        let own_epoch = backplane.claim.sender().epoch;
        let (now, commands) = (self.now, &mut *self.commands);
        match body {
            Move::Claim {
                call,
                uuid,
                secret,
                cursor,
                user,
                is_script,
            } => {
                let claim = ForeignClaim {
                    uuid,
                    secret: SecretDigest::from_bytes(secret),
                    cursor,
                    user,
                    kind: match is_script {
                        true => ClientKind::Php,
                        false => ClientKind::Web,
                    },
                };
                self.give_tab(from, call, &claim);
            }
            Move::Taken {
                call,
                node,
                claim,
                name,
            } if !backplane.is_replaced()
                && (backplane.claim.has_had(node)
                    || self.mailbox.is_given(name, Asker(claim), self.clients)) =>
            {
                self.hand_on_tab(from, call, (name, Asker(claim)));
            }
            Move::NotHere {
                call,
                epoch,
                is_expired,
            } if epoch == own_epoch => {
                backplane.note_not_here(CallId(call), is_expired, now, commands);
            }
            Move::Refused { call, epoch } if epoch == own_epoch => {
                backplane.note_refused(CallId(call), now, commands);
            }
            Move::Given { call, epoch, given } if epoch == own_epoch => {
                backplane.note_given(from, call, &given, now, commands);
            }
            Move::Rest {
                call,
                epoch,
                fate,
                texts,
            } if epoch == own_epoch => {
                if let Some(taking) = backplane.end_taking(CallId(call)) {
                    self.take_in_rest(&taking, fate, &texts);
                }
            }
            // To another one, one that this node was before, or one that goes on as this node.
            Move::Taken { .. }
            | Move::NotHere { .. }
            | Move::Refused { .. }
            | Move::Given { .. }
            | Move::Rest { .. } => {}
        }
    }

    fn give_tab(&mut self, to: Sender, call: u64, claim: &ForeignClaim<'_>) {
        let Some(backplane) = self.backplane.as_deref_mut() else {
            return;
        };
        let terms = Terms {
            asker: Asker(call),
            max_bytes: backplane.max_moved_bytes(),
            is_certain: backplane.has_heard_all(claim.user, self.now),
            heard_from: claim.user.map_or(0, |user| {
                backplane.user_heard_from(user).unwrap_or(u64::MAX)
            }),
            now: self.now,
        };
        let given = self.mailbox.give(claim, &terms, self.clients);
        let epoch = to.epoch;
        let channel = backplane.channels.of_node(to.node);
        let (name, texts);
        let body = match given {
            Given::NotHere { is_expired } => Move::NotHere {
                call,
                epoch,
                is_expired,
            },
            Given::Refused => Move::Refused { call, epoch },
            Given::Tab {
                name: called,
                texts: missed,
            } => {
                (name, texts) = (called.to_string(), missed);
                let texts = texts.as_ref().map_err(|gap| *gap);
                let texts = texts.and_then(|texts| as_texts(texts).ok_or(Gap::Backplane));
                let given = Box::new(GivenTab {
                    name: &name,
                    texts,
                    sequence: backplane.sequence,
                    number: backplane.number,
                    places: backplane.peers.places(self.now).collect(),
                });
                Move::Given { call, epoch, given }
            }
        };
        backplane.publish_quietly(channel, Body::Move(body), self.now, self.commands);
    }

    fn hand_on_tab(&mut self, to: Sender, call: u64, (name, asker): (&str, Asker)) {
        if call == 0 {
            let slot = self.mailbox.drop_given(name, asker, self.clients);
            if let Some(client) = slot.and_then(|slot| self.clients.in_slot(slot)) {
                self.replace(client);
            }
            return;
        }
        // What is still held is for the tab, and the other one takes it to be seen to here.
        let is_held = self.backplane.as_deref().is_some_and(|backplane| {
            let channel = backplane.channels.of_name(name);
            backplane.freshness.holds_some_of(&channel)
        });
        let backplane = self.backplane.as_deref();
        let heard_since = backplane.map_or(self.now, |backplane| backplane.connected_at);
        let taken = Taken {
            name,
            asker,
            heard_since,
            now: self.now,
            patience: backplane.map_or(Duration::ZERO, |backplane| backplane.settings.timeout * 2),
        };
        let handed_on = self.mailbox.hand_on(&taken, self.clients);
        let (fate, texts) = match handed_on {
            // The other one asks again.
            HandedOn::Undecided => return,
            HandedOn::Gone => (Fate::Gone, Vec::new()),
            HandedOn::Replaced => (Fate::Replaced, Vec::new()),
            HandedOn::Tab { slot, rest } => {
                if let Some(client) = slot.and_then(|slot| self.clients.in_slot(slot)) {
                    self.replace(client);
                }
                match rest.filter(|_| !is_held) {
                    Some(rest) => (Fate::HandedOn, rest),
                    None => (Fate::Incomplete, Vec::new()),
                }
            }
        };
        let Some(backplane) = self.backplane.as_deref_mut() else {
            return;
        };
        let byte_count: usize = texts.iter().map(Vec::len).sum();
        let is_fitting = byte_count <= backplane.max_moved_bytes();
        let texts = as_texts(&texts).filter(|_| is_fitting);
        let body = Move::Rest {
            call,
            epoch: to.epoch,
            fate: match texts {
                Some(_) => fate,
                None => Fate::Incomplete,
            },
            texts: texts.unwrap_or_default(),
        };
        let channel = backplane.channels.of_node(to.node);
        backplane.publish_quietly(channel, Body::Move(body), self.now, self.commands);
    }

    /// Another connection goes on in the place of this one.
    pub(in crate::app) fn replace(&mut self, client: ConnId) {
        let nobodys = ClientUuid::Standard(random::uuid()).to_string();
        let renamed = self.rename(client, &nobodys);
        debug_assert_eq!(renamed, Ok(()), "nobody else has a new one");
        let reason = "another connection goes on in its place";
        self.commands.close(client, CloseCode::REPLACED, reason);
    }

    /// What has come for a tab while it went from one node to the other.
    fn take_in_rest(&mut self, taking: &Taking, fate: Fate, texts: &[&str]) {
        let client = taking.client;
        let is_here = self.clients.uuid(client).is_some();
        match fate {
            Fate::HandedOn if taking.is_once() || texts.is_empty() => {
                let ident = &Ident::None;
                let uuid = &*taking.name;
                for text in texts {
                    // It may have gone already, and come back to yet another node.
                    let to = Receiver::Name { uuid, ident };
                    if self
                        .feedback_here(to, text.as_bytes(), nobody_asks)
                        .is_err()
                    {
                        self.tell_name_only(uuid, text);
                    }
                }
            }
            // Some of it may have come here, too.
            // Nor does what it has said before come again, if that was lost.
            Fate::HandedOn | Fate::Incomplete | Fate::Gone if is_here => {
                let packet = gap_packet(Gap::Backplane, self.mailbox.cursor());
                self.send(client, (MessageKind::Text, packet.as_bytes()), None);
            }
            Fate::HandedOn | Fate::Incomplete | Fate::Gone => {}
            Fate::Replaced => {
                // It may have come back on another connection since.
                let client = self.clients.find(&taking.name, &Ident::None);
                let client = client.filter(|client| self.mailbox.has(client.slot));
                self.mailbox.forget_name(&taking.name, self.clients);
                if let Some(client) = client {
                    self.replace(client);
                }
            }
        }
    }

    /// A message for a uuid that was given here, of which nobody waits for a receipt: whoever has it
    /// by now hears its name.
    pub(super) fn pass_on(&mut self, uuid: &str, text: &str) {
        let Some(backplane) = self.backplane.as_deref() else {
            return;
        };
        let ClientUuid::Standard(bits) = ClientUuid::from_text(uuid) else {
            return;
        };
        // Nobody else passes it on, so that it comes to an end. A process that goes on as this node has
        // heard it, too.
        if node_of(bits) == backplane.claim.number() && !backplane.is_replaced() {
            self.tell_name_only(uuid, text);
        }
    }

    fn tell_name_only(&mut self, uuid: &str, text: &str) {
        if let Some(backplane) = self.backplane.as_deref_mut() {
            let channel = backplane.channels.of_name(uuid);
            let call = 0;
            let body = Body::ToUuid { call, uuid, text };
            backplane.publish_message(channel, body, None, self.now, self.commands);
        }
    }
}

/// All of them as texts, which they are.
fn as_texts(texts: &[Vec<u8>]) -> Option<Vec<&str>> {
    let texts = texts.iter().map(|text| str::from_utf8(text).ok());
    texts.collect()
}
