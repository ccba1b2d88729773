//! Tabs that come back here and were at another node (protocol.md 11.6): other nodes are asked, and
//! the tab is told what they say.

use super::App;
use super::backplane::{ArrivedTab, Backplane, TabClaim};
use super::commands::Commands;
use super::delivery::{Receiver, nobody_asks};
use super::resume::OwnedClaim;
use super::sessions::{Replay, Sessions};
use crate::base::{MonotonicTime, SecretDigest};
use crate::connection::ConnId;
use crate::protocol::packet::Ident;
use crate::registry::mailbox::Adopted;
use crate::registry::{ClientKind, ClientUuid, Cursor, Gap};

impl App {
    /// Whether other servers may ask for tabs that have gone while this one stops: it is not to end
    /// before.
    pub fn may_be_asked_for_tabs(&self) -> bool {
        let backplane = self.sessions.backplane.as_deref();
        backplane.is_some_and(Backplane::may_be_asked) && self.sessions.mailbox.figures().away > 0
    }
}

impl Sessions {
    /// Whether other nodes are asked for the tab that a client says it was.
    pub(super) fn is_claiming(&self, id: ConnId) -> bool {
        let backplane = self.backplane.as_deref();
        backplane.is_some_and(|backplane| backplane.is_claiming(id))
    }

    /// Asks other nodes for a tab of which nobody knows here; whether they are asked, or the client
    /// is told why not.
    pub(super) fn ask_others(
        &mut self,
        id: ConnId,
        claim: &OwnedClaim,
        now: MonotonicTime,
        commands: &mut Commands,
    ) -> bool {
        if self.backplane.is_none()
            || claim.uuid.is_empty()
            || self.mailbox.knows(&claim.uuid, &self.clients)
        {
            return false;
        }
        let (Some(cursor), here) = (Cursor::parse(&claim.cursor), self.mailbox.cursor()) else {
            return false;
        };
        let is_ours = cursor.epoch() == here.epoch();
        if is_ours && cursor.number() > here.number() {
            return false;
        }
        let claim = TabClaim {
            client: id,
            own_uuid: self
                .clients
                .uuid(id)
                .map_or_else(String::new, |uuid| uuid.to_string()),
            uuid: claim.uuid.clone(),
            secret: SecretDigest::of(&claim.secret),
            cursor,
            user: self.clients.user(id).map(str::to_owned),
            is_script: self.clients.kind(id) == Some(ClientKind::Php),
            gap: match is_ours {
                true => Gap::Expired,
                false => self.foreign_gap(&claim.cursor, &claim.uuid),
            },
            is_by_name: false,
            asked_at: now,
        };
        let Some(backplane) = self.backplane.as_deref_mut() else {
            return false;
        };
        if let Err(gap) = backplane.claim_tab(claim, now, commands) {
            self.refuse_tab(id, gap, now, commands);
        }
        true
    }

    /// A client is not the tab that it says it is, or nobody knows.
    pub(super) fn refuse_tab(
        &mut self,
        id: ConnId,
        gap: Gap,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        if self.clients.uuid(id).is_some()
            && let Some(resumed) = self.mailbox.refuse(id.slot, gap)
        {
            self.carry_on(id, &resumed, now, commands);
        }
    }

    /// Another node has given the tab that a client was.
    pub(super) fn take_in_tab(
        &mut self,
        tab: &ArrivedTab,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let id = tab.claim.client;
        let is_here = self.clients.uuid(id).is_some() && self.mailbox.has(id.slot);
        let is_free = !self.mailbox.knows(&tab.name, &self.clients);
        let adopted = Adopted {
            name: ClientUuid::from_text(&tab.name),
            claimed: &tab.claim.uuid,
            secret: tab.claim.secret,
            cursor: tab.claim.cursor,
            texts: tab.texts.as_deref().map_err(|gap| *gap),
            since: tab.since,
            is_heard_there: &|number| tab.heard_there.contains(&number),
        };
        let resumed = (is_here && is_free)
            .then(|| self.mailbox.adopt(id.slot, &adopted, now))
            .flatten();
        let Some(resumed) = resumed else {
            self.refuse_tab(id, Gap::Unknown, now, commands);
            return self.send_after(tab, now, commands);
        };
        if let Some(session) = self.sessions.get_mut(id.slot as usize) {
            session.replay = Replay::Unheard;
        }
        self.carry_on(id, &resumed, now, commands);
        let kept_time = self.mailbox.time();
        if let Some(backplane) = self.backplane.as_deref_mut() {
            backplane.confirm_tab(tab, kept_time, now, commands);
        }
    }

    /// The connection was lost before the answer: the tab is where it was. What was sent to it here
    /// meanwhile goes there.
    fn send_after(&mut self, tab: &ArrivedTab, now: MonotonicTime, commands: &mut Commands) {
        let texts = self.mailbox.take_away(&tab.claim.own_uuid, &self.clients);
        let mut delivery = self.delivery(now, commands);
        for text in &texts {
            let (uuid, ident) = (&*tab.name, &Ident::None);
            if let Ok(text) = str::from_utf8(text) {
                let to = Receiver::Name { uuid, ident };
                let _ = delivery.feedback(to, text.into(), nobody_asks);
            }
        }
    }
}
