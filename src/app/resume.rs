//! Tabs that come back: what they say, and what they are told (protocol.md §9).

use std::time::Duration;

use log::info;
use serde_json::Value;

use super::availability::Goodbye;
use super::commands::Commands;
use super::deliveries::NOBODY;
use super::opening::{field, has_word};
use super::replay_packets::{gap_packet, reply_texts, resumed_packet};
use super::resource::ClientRequest;
use super::sessions::{Newcomer, Reads, Replay, Sessions};
use crate::base::log_target::CONNECTIONS;
use crate::base::{MonotonicTime, Secret, random};
use crate::connection::{ConnId, Message};
use crate::protocol::message::MessageKind;
use crate::registry::mailbox::{self, Claim, Missed, Resumed};
use crate::registry::{Audience, ClientUuid, Cursor, Gap, UserId};

/// What a client begins with that has opted in.
pub(super) struct Begun {
    pub(super) cursor: Cursor,
    pub(super) secret: Secret,
    /// Since its page was made, if it has said when that was.
    pub(super) missed: Option<Missed>,
}

impl Sessions {
    /// Keeps messages for a newcomer, if it has opted in.
    pub(super) fn begin_replay(
        &mut self,
        newcomer: &Newcomer<'_>,
        uuid: &ClientUuid,
    ) -> Option<Begun> {
        let query = newcomer.request.query();
        let has_opted_in = has_word(query, "resume=1") && self.speaks_dialogue(newcomer.resource);
        if !has_opted_in || !self.mailbox.is_on() {
            return None;
        }
        let slot = newcomer.id.slot;
        let secret = self.mailbox.open(&mailbox::Newcomer {
            slot,
            kind: newcomer.kind,
            uuid,
            user: newcomer.identity.user.as_ref(),
        });
        // An `EventSource` that comes back by itself has the URL of the first time; those that are
        // made of something else may have no say in headers.
        let last_event = match newcomer.reads {
            Reads::Events => {
                last_event_id(&newcomer.request).or_else(|| field(query, "lastEventId"))
            }
            Reads::Frames => None,
        };
        if last_event.is_some() {
            self.mailbox.come_back_unnamed(slot);
        }
        let since = last_event.or_else(|| field(query, "since"));
        let user = newcomer.identity.user.as_ref().map(UserId::as_str);
        let missed = since.and_then(|since| match self.has_heard(user, since) {
            true => self.mailbox.since(slot, since, self.foreign_gap(since, "")),
            false => Some(self.mailbox.since_unheard()),
        });
        Some(Begun {
            cursor: missed
                .as_ref()
                .map_or_else(|| self.mailbox.cursor(), |missed| missed.cursor),
            secret,
            missed,
        })
    }

    /// Whether it has been heard, as far as is known, what other servers have said to a user behind
    /// a cursor: they say it only where a tab of the user is.
    fn has_heard(&self, user: Option<&str>, cursor: &str) -> bool {
        let (Some(backplane), Some(user)) = (self.backplane.as_deref(), user) else {
            return true;
        };
        let Some(heard_from) = backplane.user_heard_from(user) else {
            return false;
        };
        let cursor = Cursor::parse(cursor);
        let ours = cursor.filter(|cursor| cursor.epoch() == self.mailbox.cursor().epoch());
        backplane.is_connected() && ours.is_none_or(|cursor| heard_from <= cursor.number())
    }

    /// Behind which number it is heard what other servers say to this user.
    fn user_heard_from(&self, user: Option<&str>) -> u64 {
        match (self.backplane.as_deref(), user) {
            (Some(backplane), Some(user)) => backplane.user_heard_from(user).unwrap_or(u64::MAX),
            (None, _) | (_, None) => 0,
        }
    }

    /// Somebody comes: from now on it is heard what other servers say to its user. Whoever has a
    /// cursor of before may have missed something.
    pub(super) fn begin_to_hear(&mut self, user: Option<&UserId>) {
        let (Some(backplane), Some(user)) = (self.backplane.as_deref(), user) else {
            return;
        };
        if backplane.user_heard_from(user.as_str()).is_none() && self.mailbox.is_active() {
            self.mailbox.leave_all_behind();
        }
    }

    /// Those who have opted in to be told of a restart, and when each is to come back.
    pub(super) fn goodbyes(&self) -> Vec<Goodbye> {
        let slots = self.restart_audience().snapshot();
        let ids = slots.iter().filter_map(|slot| {
            let slot = u32::try_from(slot).ok()?;
            self.clients.in_slot(slot)
        });
        let mut millis = [0; 2];
        let goodbye = |id| {
            random::fill(&mut millis);
            let spread = u64::from(u16::from_be_bytes(millis)) % GOODBYE_SPREAD_MILLIS;
            let after = Duration::from_millis(spread);
            Goodbye { id, after }
        };
        ids.map(goodbye).collect()
    }

    /// Sees to a message that says that a tab was here before; whether it is one.
    pub(super) fn is_resume(
        &mut self,
        id: ConnId,
        message: &Message<'_>,
        now: MonotonicTime,
        commands: &mut Commands,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(id.slot as usize) else {
            return false;
        };
        match session.replay {
            Replay::First => session.replay = Replay::Unheard,
            Replay::Unheard => {
                session.replay = Replay::On;
                self.mailbox.confirm(id.slot);
                return false;
            }
            Replay::On | Replay::Off => return false,
        }
        let Some(claim) = OwnedClaim::of(message) else {
            return false;
        };
        if self.ask_others(id, &claim, now, commands) {
            return true;
        }
        let claim = Claim {
            uuid: &claim.uuid,
            secret: &claim.secret,
            cursor: &claim.cursor,
            foreign: self.foreign_gap(&claim.cursor, &claim.uuid),
            heard_from: self.user_heard_from(self.clients.user(id)),
        };
        if let Some(resumed) = self.mailbox.resume(id.slot, &claim, &self.clients, now) {
            self.carry_on(id, &resumed, now, commands);
        }
        true
    }

    /// Messages of other servers are missing: whoever is here is told so, and whoever comes back
    /// (protocol.md 9.4, 11.5).
    pub(super) fn tell_gap(&mut self, commands: &mut Commands) {
        if !self.mailbox.is_active() {
            return;
        }
        let cursor = self.mailbox.note_foreign_gap();
        let packet = gap_packet(Gap::Backplane, cursor);
        let audience = Audience::Members(self.speakers.resuming().snapshot());
        let message = (MessageKind::Text, packet.as_bytes());
        commands.broadcast(NOBODY, audience, message, None);
    }

    /// Why nothing can be told to whoever comes with a cursor of another epoch.
    pub(super) fn foreign_gap(&self, cursor: &str, uuid: &str) -> Gap {
        let Some(backplane) = self.backplane.as_deref() else {
            return Gap::Restart;
        };
        let cursor = Cursor::parse(cursor);
        let is_of_other = cursor
            .is_some_and(|cursor| backplane.has_peer_of_streams(cursor.epoch()))
            || backplane.leads_elsewhere(uuid);
        match is_of_other {
            true => Gap::Backplane,
            false => Gap::Restart,
        }
    }

    /// A client is told what comes of its claim.
    pub(super) fn carry_on(
        &mut self,
        id: ConnId,
        resumed: &Resumed,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let mut delivery = self.delivery(now, commands);
        if let Some(slot) = resumed.replaced
            && let Some(replaced) = delivery.clients.in_slot(slot)
        {
            delivery.replace(replaced);
        }
        if let Some(uuid) = &resumed.uuid {
            let renamed = delivery.rename(id, &uuid.to_string());
            debug_assert_eq!(renamed, Ok(()), "nobody else has it any more");
        }
        let uuid = self.clients.uuid(id).map(|uuid| uuid.to_string());
        let packet = resumed_packet(&uuid.unwrap_or_default(), resumed);
        match &resumed.missed.texts {
            Ok(texts) => info!(
                target: CONNECTIONS,
                "#{} has come back and missed {} messages",
                id.slot,
                texts.len()
            ),
            Err(gap) => info!(
                target: CONNECTIONS,
                "#{} has come back with a gap: {}",
                id.slot,
                gap.name()
            ),
        }
        let packet = packet.as_bytes();
        if id == commands.current() {
            commands.reply(MessageKind::Text, packet);
            return reply_texts(&resumed.missed, commands);
        }
        // Others were asked, and it is not the one that speaks.
        commands.send(id, MessageKind::Text, packet, None);
        for text in resumed.missed.texts.iter().flatten() {
            commands.send(id, MessageKind::Text, text, None);
        }
    }
}

/// The header `Last-Event-ID`; one that is no text is a cursor that nobody has given.
fn last_event_id<'a>(request: &ClientRequest<'a>) -> Option<&'a str> {
    let ids = request.head.header_values("Last-Event-ID");
    let id = ids.filter(|id| !id.is_empty()).last()?;
    Some(str::from_utf8(id).unwrap_or_default())
}

/// What a tab says of itself; what is missing or no text is empty.
pub(super) struct OwnedClaim {
    pub(super) uuid: String,
    pub(super) secret: String,
    pub(super) cursor: String,
}

impl OwnedClaim {
    fn of(message: &Message<'_>) -> Option<Self> {
        let bytes = message.as_bytes();
        if bytes.len() > MAX_RESUME_BYTES {
            return None;
        }
        let packet: Value = serde_json::from_slice(bytes).ok()?;
        if packet.get("opcode")?.as_str() != Some("resume") {
            return None;
        }
        let text = |key| {
            let text = packet.get(key).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        Some(Self {
            uuid: text("uuid"),
            secret: text("secret"),
            cursor: text("cursor"),
        })
    }
}

/// Pages that are to come back all at once do so within this time.
const GOODBYE_SPREAD_MILLIS: u64 = 3000;

/// Longest packet by which a tab comes back, in bytes.
const MAX_RESUME_BYTES: usize = 1 << 10;
