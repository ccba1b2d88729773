//! A tab comes back: whether it is the one that it says it is, and what it has missed.

use super::cursor::Cursor;
use super::gap::Gap;
use super::kept_text::KeptText;
use super::log::{Kept, Owner, TabNumber};
use super::mailbox::Mailbox;
use super::tabs::{AWAY, Retry};
use crate::base::{MonotonicTime, Secret, SecretDigest};
use crate::protocol::packet::Ident;
use crate::registry::clients::{ClientKind, ClientUuid, Clients};

/// Who somebody says it is.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// The uuid that it had.
    pub uuid: &'a str,
    /// The secret that it was given.
    pub secret: &'a str,
    /// The cursor of what it has seen last.
    pub cursor: &'a str,
    /// What it is told if that is of another epoch.
    pub foreign: Gap,
    /// Up to this number, messages of other servers to its user may be missing.
    pub heard_from: u64,
}

/// What was missed, or that it cannot be told.
pub struct Missed {
    /// The cursor before it.
    pub cursor: Cursor,
    /// The messages, in their order, or why there are none.
    pub texts: Result<Vec<KeptText>, Gap>,
}

/// What comes of a claim.
pub struct Resumed {
    /// The uuid that the connection has from now on; `None`: its own.
    pub uuid: Option<ClientUuid>,
    /// The slot of a connection that still stood under that uuid, and is to go.
    pub replaced: Option<u32>,
    /// What was missed.
    pub missed: Missed,
    /// By which it comes back the next time.
    pub secret: Secret,
}

impl Mailbox {
    /// The client in this slot, which has opted in, says that it is one that has gone.
    pub fn resume(
        &mut self,
        slot: u32,
        claim: &Claim<'_>,
        clients: &Clients,
        now: MonotonicTime,
    ) -> Option<Resumed> {
        let own = self.tabs.on(slot)?;
        let cursor = Cursor::parse(claim.cursor);
        let digest = SecretDigest::of(claim.secret);
        let is_it = |&old: &TabNumber| {
            self.tabs.is_secret_of(old, &digest, cursor) && self.is_same_user(own, old)
        };
        // Who is called so now need not be the one who was.
        let mut called = self.tabs.told(claim.uuid);
        called.extend(self.tabs.named(claim.uuid, clients));
        let proven = called.iter().copied().find(is_it);
        // If somebody has taken its name, it cannot have it.
        let proven = proven.and_then(|old| Some((old, self.tabs.name_of(old, clients)?)));
        let is_foreign = proven.is_none()
            && (!called.is_empty() || clients.find(claim.uuid, &Ident::None).is_some());
        let (proven, name) = proven.unzip();
        let again = cursor.and_then(|cursor| self.tabs.seen_at(proven?, &digest, cursor));
        let here = again.or(cursor);
        let seen = match here {
            Some(cursor) if !is_foreign => self.check(cursor, claim.foreign).and_then(|number| {
                let number = heard(number, claim.heard_from)?;
                let tab = proven.ok_or(Gap::Expired)?;
                let number = self.check_streams(tab, number)?;
                // Nor may anything be missing of what has come under the new name.
                let is_whole = tab == own || self.tabs.get(own).is_some_and(|own| !own.has_holes);
                is_whole.then_some(number).ok_or(Gap::Overflow)
            }),
            _ => Err(Gap::Unknown),
        };
        let mut uuid = None;
        let mut replaced = None;
        if let Some(old) = proven.filter(|&old| old != own) {
            uuid = name;
            replaced = self.change_place(old, own, slot);
        }
        let tab = proven.unwrap_or(own);
        let missed = self.missed(tab, seen);
        let use_of_it = cursor.filter(|_| proven.is_some()).zip(here);
        let secret = self.renew_secret(tab, &digest, use_of_it, now);
        if proven.is_some() {
            self.tabs.given.end(tab);
        }
        Some(Resumed {
            uuid,
            replaced,
            missed,
            secret,
        })
    }

    /// The client in this slot has said something: it has heard how it may come back.
    pub fn confirm(&mut self, slot: u32) {
        if let Some(number) = self.tabs.on(slot) {
            self.tabs.end_retry(number);
        }
    }

    /// What the client in this slot, which has just opted in, has missed since a page was made for it
    /// (protocol.md 9.8). `foreign`: what it is told if the cursor is of another epoch.
    pub fn since(&mut self, slot: u32, cursor: &str, foreign: Gap) -> Option<Missed> {
        let tab = self.tabs.on(slot)?;
        let cursor = Cursor::parse(cursor).ok_or(Gap::Unknown);
        let number = cursor.and_then(|cursor| self.check(cursor, foreign));
        let seen = number.and_then(|n| {
            let (user, everybody) = self.shared_floors(tab);
            let floor = user.max(everybody);
            let gap = match self.everybody.is_empty() {
                true => Gap::Expired,
                false => Gap::Overflow,
            };
            (floor <= n).then_some(n).ok_or(gap)
        });
        if let (Ok(number), Some(tab)) = (seen, self.tabs.get_mut(tab)) {
            // Before it was there, nobody has sent anything to it.
            tab.stream.set_floor(number.min(tab.stream.floor()));
        }
        Some(self.missed(tab, seen))
    }

    /// The client in this slot says that it is one of its user's that have gone without a name: one
    /// fewer of them is expected back.
    pub fn come_back_unnamed(&mut self, slot: u32) {
        let user = self.tabs.on(slot).and_then(|tab| self.tabs.get(tab)?.user);
        let user = user.and_then(|user| self.users.get(user));
        if let Some(gone) = user.and_then(|user| self.tabs.find_unnamed(user.user.as_str())) {
            self.remove(gone);
        }
    }

    /// The same where it is not known what other servers have said to its user.
    pub fn since_unheard(&mut self) -> Missed {
        let missed = Missed {
            cursor: self.cursor(),
            texts: Err(Gap::Backplane),
        };
        self.count(&missed);
        missed
    }

    /// Messages of other servers may be missing from now on; the cursor behind that gap.
    pub fn note_foreign_gap(&mut self) -> Cursor {
        self.foreign_floor = self.leave_all_behind();
        self.cursor()
    }

    /// The number of a cursor that this server has given.
    pub(super) fn check(&self, cursor: Cursor, foreign: Gap) -> Result<u64, Gap> {
        if cursor.epoch != self.epoch {
            Err(foreign)
        } else if cursor.number > self.last {
            Err(Gap::Unknown)
        } else if cursor.number < self.foreign_floor {
            Err(Gap::Backplane)
        } else {
            Ok(cursor.number)
        }
    }

    pub(super) fn check_streams(&self, tab: TabNumber, number: u64) -> Result<u64, Gap> {
        let own_floor = self.tabs.get(tab).map_or(0, |tab| tab.stream.floor());
        let (user, everybody) = self.shared_floors(tab);
        let is_whole = own_floor.max(user) <= number && everybody <= self.own.known(tab, number);
        is_whole.then_some(number).ok_or(Gap::Overflow)
    }

    /// Up to which number messages to a tab's user may be missing, and up to which those to everybody.
    fn shared_floors(&self, tab: TabNumber) -> (u64, u64) {
        let Some(tab) = self.tabs.get(tab) else {
            return (u64::MAX, u64::MAX);
        };
        let user = tab.user.and_then(|user| self.users.get(user));
        let everybody = match tab.kind {
            ClientKind::Web => self.everybody.floor(),
            ClientKind::Php => 0,
        };
        (user.map_or(0, |user| user.stream.floor()), everybody)
    }

    /// What a tab is told that has seen everything up to a number.
    pub(super) fn missed(&mut self, tab: TabNumber, seen: Result<u64, Gap>) -> Missed {
        let here = self.cursor();
        let texts_behind = |number| {
            let missed = self.behind(tab, number).into_iter();
            missed.map(|kept| kept.text).collect()
        };
        let missed = Missed {
            cursor: seen.map_or(here, |number| Cursor { number, ..here }),
            texts: seen.map(texts_behind),
        };
        self.count(&missed);
        missed
    }

    /// What stands behind a number in all streams of a tab, in order.
    pub(super) fn behind(&self, number: TabNumber, seen: u64) -> Vec<Kept> {
        let Some(tab) = self.tabs.get(number) else {
            return Vec::new();
        };
        let mut missed: Vec<Kept> = self.log.behind(&tab.stream, seen).collect();
        if let Some(user) = tab.user.and_then(|user| self.users.get(user)) {
            missed.extend(self.log.behind(&user.stream, seen));
        }
        if tab.kind == ClientKind::Web {
            let others = |kept: &Kept| kept.sender != tab.serial;
            missed.extend(self.log.behind(&self.everybody, seen).filter(others));
        }
        missed.sort_unstable_by_key(|kept| kept.number);
        missed
    }

    fn is_same_user(&self, one: TabNumber, other: TabNumber) -> bool {
        let who = |number| {
            let tab = self.tabs.get(number)?;
            Some((tab.user, tab.kind))
        };
        who(one) == who(other)
    }

    /// The connection of `own` is that of `old` from now on; the slot of the one that it had.
    fn change_place(&mut self, old: TabNumber, own: TabNumber, slot: u32) -> Option<u32> {
        let replaced = self.tabs.get(old).map(|tab| tab.slot);
        let replaced = replaced.filter(|&slot| slot != AWAY);
        if replaced.is_some() {
            self.tabs.leave_slot(old);
        }
        // What has come to it under its own name meanwhile goes with it.
        if let Some(tab) = self.tabs.get_mut(own) {
            let mut stream = std::mem::take(&mut tab.stream);
            if let Some(old_tab) = self.tabs.get_mut(old) {
                self.log
                    .merge(&mut old_tab.stream, Owner::Tab(old), &mut stream);
            }
        }
        self.remove(own);
        self.tabs.come_back(old, slot);
        replaced
    }

    fn renew_secret(
        &mut self,
        number: TabNumber,
        used: &SecretDigest,
        at: Option<(Cursor, Cursor)>,
        now: MonotonicTime,
    ) -> Secret {
        let secret = self.new_secret(number);
        if let Some((cursor, seen)) = at {
            let retry = Retry {
                secret: *used,
                cursor,
                seen,
                at: now,
            };
            self.tabs.note_use(number, retry);
        }
        secret
    }

    /// A tab's next secret.
    pub(super) fn new_secret(&mut self, number: TabNumber) -> Secret {
        let secret = Secret::new();
        self.tabs.tell(number, secret.digest());
        secret
    }

    pub(super) fn count(&mut self, missed: &Missed) {
        match &missed.texts {
            Ok(texts) => {
                self.counts.filled += 1;
                self.counts.replayed += texts.len() as u64;
            }
            Err(gap) => {
                let index = Gap::ALL.iter().position(|one| one == gap);
                if let Some(count) = index.and_then(|index| self.counts.gaps.get_mut(index)) {
                    *count += 1;
                }
            }
        }
    }
}

/// A number up to which a tab has seen everything, if what other servers have said behind it was
/// heard, which is so from another one on.
pub(super) fn heard(number: u64, heard_from: u64) -> Result<u64, Gap> {
    match heard_from <= number {
        true => Ok(number),
        false => Err(Gap::Backplane),
    }
}

#[cfg(test)]
mod unseen_tests {
    use super::super::{Newcomer, ReplaySettings};
    use super::*;
    use crate::connection::ConnId;
    use crate::registry::identity::{Identity, UserId};
    use std::time::Duration;

    /// A mailbox in which pages come one after the other.
    struct Stage {
        mailbox: Mailbox,
        clients: Clients,
        now: MonotonicTime,
        slot: u32,
    }

    impl Stage {
        fn new() -> Self {
            Self {
                mailbox: Mailbox::new(ReplaySettings::default()),
                clients: Clients::default(),
                now: MonotonicTime::START + Duration::from_secs(1000),
                slot: 0,
            }
        }

        fn open(&mut self, user: &str) -> ConnId {
            self.slot += 1;
            let (id, user) = (
                ConnId {
                    slot: self.slot,
                    generation: 0,
                },
                UserId::new(user),
            );
            let uuid = ClientUuid::from_text(&format!("page {}", self.slot));
            self.mailbox.open(&Newcomer {
                slot: id.slot,
                kind: ClientKind::Web,
                uuid: &uuid,
                user: user.as_ref(),
            });
            self.clients.open(id, ClientKind::Web, uuid, "");
            let session = None;
            self.clients.identify(id, &Identity { user, session });
            id
        }

        fn close(&mut self, id: ConnId) {
            self.mailbox.leave(id, &self.clients, self.now, self.now);
            self.clients.close(id);
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
            self.mailbox.handle_timeout(self.now);
        }

        fn gap(&mut self, user: &str, cursor: Cursor) -> Option<Gap> {
            let id = self.open(user);
            let missed = self
                .mailbox
                .since(id.slot, &cursor.to_string(), Gap::Restart);
            self.close(id);
            missed.and_then(|missed| missed.texts.err())
        }
    }

    const MESSAGE: &[u8] = br#"{"n":1}"#;
    const LONG: Duration = Duration::from_secs(10_000);

    #[test]
    fn what_was_sent_while_nobody_was_there_is_a_gap_for_the_last_cursor() {
        for has_position in [false, true] {
            let mut stage = Stage::new();
            let id = stage.open("");
            let text = stage.mailbox.keep_for_all(u32::MAX, MESSAGE, stage.now);
            assert!(text.is_some());
            let cursor = stage.mailbox.cursor();
            stage.close(id);
            assert_eq!(stage.gap("", cursor), None, "it is kept");
            stage.pass(LONG);
            let text = stage.mailbox.keep_for_all(u32::MAX, MESSAGE, stage.now);
            assert!(text.is_none(), "it has no cursor");
            if has_position {
                stage.mailbox.position(stage.now);
            }
            assert_eq!(stage.gap("", cursor), Some(Gap::Expired));
        }
    }

    #[test]
    fn what_was_sent_to_a_user_who_was_not_there_is_a_gap_for_the_last_cursor() {
        for has_position in [false, true] {
            let mut stage = Stage::new();
            stage.open("somebody else");
            let id = stage.open("42");
            let cursor = stage.mailbox.cursor();
            stage.close(id);
            assert_eq!(stage.gap("42", cursor), None, "it would be kept");
            stage.pass(LONG);
            let kept = stage.mailbox.keep_for_user("42", MESSAGE, stage.now);
            assert!(kept.is_none());
            if has_position {
                stage.mailbox.position(stage.now);
            }
            assert_eq!(stage.gap("42", cursor), Some(Gap::Expired));
            // Who stands where a page is made now misses nothing.
            let position = stage.mailbox.position(stage.now);
            assert_eq!(stage.gap("7", position), None);
        }
    }
}
