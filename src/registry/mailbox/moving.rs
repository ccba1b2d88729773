//! A tab goes on at another server (protocol.md 11.6): what is given away, and what is taken in.
//!
//! Numbers and cursors hold at one server only, so that messages travel without them, and get those
//! of the new one. What is given away is kept until the other one has said that it has the tab, and
//! meanwhile what comes for it is added: so nothing is lost between the two. If the tab comes back
//! once more before, two are given it, and questions may overtake each other: the one that was given
//! it last has it as soon as it says so, which it does in a moment or never; the other one waits, and
//! is told.

use std::time::Duration;

use super::cursor::Cursor;
use super::gap::Gap;
use super::given::{Asker, Handing};
use super::kept_text::KeptText;
use super::log::{Kept, Owner, TabNumber};
use super::mailbox::Mailbox;
use super::resuming::{Missed, Resumed, heard};
use super::tabs::{AWAY, Retry};
use crate::base::{MonotonicTime, SecretDigest};
use crate::protocol::packet::Ident;
use crate::registry::clients::{ClientKind, ClientUuid, Clients};

/// Who somebody at another server says it is.
#[derive(Clone, Copy)]
pub struct ForeignClaim<'a> {
    /// The uuid that it had.
    pub uuid: &'a str,
    /// What is kept of the secret that it was given.
    pub secret: SecretDigest,
    /// The cursor of what it has seen last.
    pub cursor: Cursor,
    /// Who it is signed in as there.
    pub user: Option<&'a str>,
    /// What it is.
    pub kind: ClientKind,
}

/// How a tab is given away.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// To whom.
    pub asker: Asker,
    /// Most bytes of messages.
    pub max_bytes: usize,
    /// Whether all that other servers have said was heard here.
    pub is_certain: bool,
    /// Up to this number, messages of other servers to its user may be missing all the same.
    pub heard_from: u64,
    /// The time.
    pub now: MonotonicTime,
}

/// What comes of a claim at another server.
pub enum Given {
    /// Nobody has that name here. `is_expired`: somebody had, for the cursor is of this epoch.
    NotHere {
        /// Whether the cursor was given here.
        is_expired: bool,
    },
    /// It has not proven that it is the one.
    Refused,
    /// It is the one.
    Tab {
        /// What it is called.
        name: ClientUuid,
        /// What it has missed, in order and without cursors.
        texts: Result<Vec<Vec<u8>>, Gap>,
    },
}

/// Another server says that it has a tab that it was given.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    /// What the tab is called.
    pub name: &'a str,
    /// The question with which it was asked for.
    pub asker: Asker,
    /// From then on all was heard here that was for it.
    pub heard_since: MonotonicTime,
    /// The time.
    pub now: MonotonicTime,
    /// For so long whoever was given it later may still say that it has it.
    pub patience: Duration,
}

/// What comes of it that another server has a tab by now.
pub enum HandedOn {
    /// Somebody was given it later, and has not said whether it has it.
    Undecided,
    /// There is no such tab any more.
    Gone,
    /// Somebody else has it.
    Replaced,
    /// It has gone from here.
    Tab {
        /// The slot of a connection that still stands under its name, and is to go.
        slot: Option<u32>,
        /// What has come for it alone meanwhile, without cursors; `None`: it is not all there.
        rest: Option<Vec<Vec<u8>>>,
    },
}

/// A tab that another server has given.
pub struct Adopted<'a> {
    /// What it is called.
    pub name: ClientUuid,
    /// What it has called itself.
    pub claimed: &'a str,
    /// What is kept of the secret that it has used.
    pub secret: SecretDigest,
    /// Its cursor there.
    pub cursor: Cursor,
    /// What it has missed there.
    pub texts: Result<&'a [String], Gap>,
    /// What stands behind this number has come since it is here.
    pub since: u64,
    /// Whether a message of this number was heard there, too.
    pub is_heard_there: &'a dyn Fn(u64) -> bool,
}

impl Mailbox {
    /// Whether somebody of this name is here, or may come back.
    pub fn knows(&self, uuid: &str, clients: &Clients) -> bool {
        clients.find(uuid, &Ident::None).is_some()
            || self.tabs.named(uuid, clients).is_some()
            || !self.tabs.told(uuid).is_empty()
    }

    /// Somebody at another server says that it is one that was here.
    pub fn give(&mut self, claim: &ForeignClaim<'_>, terms: &Terms, clients: &Clients) -> Given {
        if !self.knows(claim.uuid, clients) {
            let is_expired = claim.cursor.epoch == self.epoch;
            return Given::NotHere { is_expired };
        }
        let is_it = |&tab: &TabNumber| {
            let is_known = self
                .tabs
                .is_secret_of(tab, &claim.secret, Some(claim.cursor));
            is_known && self.is_of(tab, claim)
        };
        let mut called = self.tabs.told(claim.uuid);
        called.extend(self.tabs.named(claim.uuid, clients));
        let proven = called.into_iter().find(is_it);
        let Some((tab, name)) =
            proven.and_then(|tab| Some((tab, self.tabs.name_of(tab, clients)?)))
        else {
            return Given::Refused;
        };
        let seen = self
            .tabs
            .seen_at(tab, &claim.secret, claim.cursor)
            .unwrap_or(claim.cursor);
        let number = self
            .check(seen, Gap::Restart)
            .and_then(|number| heard(number, terms.heard_from))
            .and_then(|number| self.check_streams(tab, number));
        let number = number.and_then(|n| terms.is_certain.then_some(n).ok_or(Gap::Backplane));
        let texts = number.and_then(|number| {
            let missed = self.behind(tab, number);
            let byte_count: usize = missed.iter().map(|kept| kept.text.len()).sum();
            match byte_count <= terms.max_bytes {
                true => Ok(missed.iter().map(|kept| self.plain(kept)).collect()),
                false => Err(Gap::Backplane),
            }
        });
        let handing = Handing {
            asker: terms.asker,
            number: self.last,
            at: terms.now,
        };
        self.tabs.given.give(tab, handing);
        Given::Tab { name, texts }
    }

    /// Another server has got the tab of this name meanwhile: here it is no more.
    pub fn forget_name(&mut self, name: &str, clients: &Clients) {
        if let Some(tab) = self.tabs.named(name, clients) {
            self.remove(tab);
        }
    }

    /// Whether this one was given a tab, and has not said that it has it.
    pub fn is_given(&self, name: &str, asker: Asker, clients: &Clients) -> bool {
        let tab = self.tabs.named(name, clients);
        tab.is_some_and(|tab| self.tabs.given.to(tab, asker).is_some())
    }

    /// Whoever was given a tab does not have it: there it has become another one. If nobody else may
    /// have it, it is not here either; the slot of a connection that still stands under its name, and
    /// is to go.
    pub fn drop_given(&mut self, name: &str, asker: Asker, clients: &Clients) -> Option<u32> {
        let number = self.tabs.named(name, clients)?;
        let is_last = |handing: &Handing| handing.asker == asker;
        if !self.tabs.given.last(number).is_some_and(is_last) || self.tabs.given.end_last(number) {
            return None;
        }
        let slot = self.tabs.get(number)?.slot;
        self.remove(number);
        (slot != AWAY).then_some(slot)
    }

    /// Another server has a tab that it was given: here it is no more.
    pub fn hand_on(&mut self, taken: &Taken<'_>, clients: &Clients) -> HandedOn {
        let (name, asker) = (taken.name, taken.asker);
        let uuid = ClientUuid::from_text(name);
        let Some(number) = self.tabs.named(name, clients) else {
            let mut latest = self.handed_on.iter().rev();
            let to = latest.find(|(other, _)| *other == uuid).map(|(_, to)| *to);
            return match to.is_none_or(|to| to == asker) {
                true => HandedOn::Gone,
                false => HandedOn::Replaced,
            };
        };
        let handing = self.tabs.given.to(number, asker);
        let (Some(handing), Some(tab)) = (handing, self.tabs.get(number)) else {
            return HandedOn::Replaced;
        };
        let last = self.tabs.given.last(number);
        if last.is_some_and(|last| last.asker != asker && taken.now < last.at + taken.patience) {
            return HandedOn::Undecided;
        }
        let is_whole = tab.stream.floor() <= handing.number && taken.heard_since <= handing.at;
        let rest = self.log.behind(&tab.stream, handing.number);
        let rest = rest.map(|kept| self.plain(&kept)).collect();
        let slot = (tab.slot != AWAY).then_some(tab.slot);
        self.remove(number);
        // Two may have been given it, and the other one says so later.
        if self.handed_on.len() >= MAX_HANDED_ON {
            self.handed_on.pop_front();
        }
        self.handed_on.push_back((uuid, asker));
        HandedOn::Tab {
            slot,
            rest: is_whole.then_some(rest),
        }
    }

    /// One that is away will not come back under this name: what was sent to it alone, without
    /// cursors.
    pub fn take_away(&mut self, name: &str, clients: &Clients) -> Vec<Vec<u8>> {
        let number = self.tabs.named(name, clients);
        let tab = number.and_then(|number| Some((number, self.tabs.get(number)?)));
        let Some((number, tab)) = tab.filter(|(_, tab)| tab.slot == AWAY) else {
            return Vec::new();
        };
        let texts = self.log.behind(&tab.stream, 0);
        let texts = texts.map(|kept| self.plain(&kept)).collect();
        self.remove(number);
        texts
    }

    /// The client in this slot, which has opted in, is a tab that another server has given. What it
    /// has missed becomes its own stream here: first what it has missed there, then what has come
    /// here since it is here and was not heard there.
    pub fn adopt(
        &mut self,
        slot: u32,
        adopted: &Adopted<'_>,
        now: MonotonicTime,
    ) -> Option<Resumed> {
        let number = self.tabs.on(slot)?;
        let since = adopted.since;
        let is_whole = adopted
            .texts
            .and_then(|texts| match since < self.foreign_floor {
                true => Err(Gap::Backplane),
                false => self.check_streams(number, since).map(|_| texts),
            });
        let texts = is_whole.map(|texts| {
            let mut missed: Vec<Vec<u8>> = texts.iter().map(|t| t.as_bytes().to_vec()).collect();
            let here = self.behind(number, since);
            let here = here
                .iter()
                .filter(|kept| !(adopted.is_heard_there)(kept.number));
            missed.extend(here.map(|kept| self.plain(kept)));
            missed
        });
        let seen = self.cursor();
        let texts = texts.map(|texts| self.put_anew(number, &texts, now));
        let missed = Missed {
            cursor: seen,
            texts,
        };
        self.count(&missed);
        let secret = self.new_secret(number);
        if missed.texts.is_ok() {
            let retry = Retry {
                secret: adopted.secret,
                cursor: adopted.cursor,
                seen,
                at: now,
            };
            self.tabs.note_use(number, retry);
        }
        if adopted.name != ClientUuid::from_text(adopted.claimed) {
            let claimed = ClientUuid::from_text(adopted.claimed);
            self.tabs.note_told(number, claimed);
        }
        Some(Resumed {
            uuid: Some(adopted.name.clone()),
            replaced: None,
            missed,
            secret,
        })
    }

    /// The client in this slot, which has opted in, is not the one that it says it is, or nobody
    /// knows.
    pub fn refuse(&mut self, slot: u32, gap: Gap) -> Option<Resumed> {
        let number = self.tabs.on(slot)?;
        Some(Resumed {
            uuid: None,
            replaced: None,
            missed: self.missed(number, Err(gap)),
            secret: self.new_secret(number),
        })
    }

    /// A tab's own stream consists of these messages; with their cursors.
    fn put_anew(
        &mut self,
        number: TabNumber,
        texts: &[Vec<u8>],
        now: MonotonicTime,
    ) -> Vec<KeptText> {
        if let Some(tab) = self.tabs.get_mut(number) {
            self.log.clear(&mut tab.stream);
            tab.stream.set_floor(self.last);
        }
        let texts = texts.iter();
        let put = texts.filter_map(|text| self.add(Owner::Tab(number), 0, text, now));
        put.collect()
    }

    /// Bytes of memory held of tabs that others have got.
    pub(super) fn handed_on_bytes(&self) -> usize {
        self.handed_on.len() * size_of::<(ClientUuid, Asker)>()
    }

    fn is_of(&self, tab: TabNumber, claim: &ForeignClaim<'_>) -> bool {
        let Some(tab) = self.tabs.get(tab) else {
            return false;
        };
        let user = tab.user.and_then(|user| self.users.get(user));
        user.map(|user| user.user.as_str()) == claim.user && tab.kind == claim.kind
    }

    /// A message as it was before it got its cursor.
    fn plain(&self, kept: &Kept) -> Vec<u8> {
        let cursor = Cursor {
            epoch: self.epoch,
            number: kept.number,
        };
        let tail = format!(r#""cursor":"{cursor}"}}"#);
        let head = kept.text.strip_suffix(tail.as_bytes());
        let Some(head) = head else {
            debug_assert!(false, "it has got one");
            return kept.text.to_vec();
        };
        let head = head.strip_suffix(b",").unwrap_or(head);
        [head, b"}"].concat()
    }
}

/// Most tabs of which it is known who has got them.
const MAX_HANDED_ON: usize = 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Newcomer, ReplaySettings};
    use super::*;
    use crate::base::Record;
    use crate::connection::ConnId;

    const ASKER: Asker = Asker(7);

    fn at(seconds: u64) -> MonotonicTime {
        MonotonicTime::START + Duration::from_secs(1000 + seconds)
    }

    /// A tab that is away, and what proves that somebody is it.
    fn tab_away(clients: &mut Clients) -> (Mailbox, SecretDigest, Cursor) {
        let mut mailbox = Mailbox::new(ReplaySettings::default());
        let (slot, kind, uuid) = (1, ClientKind::Web, &ClientUuid::from_text("page"));
        let user = None;
        let secret = mailbox.open(&Newcomer {
            slot,
            kind,
            uuid,
            user,
        });
        let id = ConnId {
            slot,
            generation: 0,
        };
        clients.open(id, kind, uuid.clone(), "");
        let cursor = mailbox.cursor();
        mailbox.leave(id, clients, at(0), at(0));
        clients.close(id);
        (mailbox, secret.digest(), cursor)
    }

    fn taken(asker: Asker) -> Taken<'static> {
        Taken {
            name: "page",
            asker,
            heard_since: at(2),
            now: at(2),
            patience: Duration::from_secs(2),
        }
    }

    fn give(mailbox: &mut Mailbox, proof: (SecretDigest, Cursor), clients: &Clients) {
        give_to(ASKER, mailbox, proof, clients);
    }

    fn give_to(
        asker: Asker,
        mailbox: &mut Mailbox,
        (secret, cursor): (SecretDigest, Cursor),
        clients: &Clients,
    ) {
        let claim = ForeignClaim {
            uuid: "page",
            secret,
            cursor,
            user: None,
            kind: ClientKind::Web,
        };
        let terms = Terms {
            asker,
            max_bytes: 1000,
            is_certain: true,
            heard_from: 0,
            now: at(1),
        };
        let given = mailbox.give(&claim, &terms, clients);
        assert!(matches!(given, Given::Tab { texts: Ok(_), .. }));
    }

    // protocol.md 11.6
    #[test]
    fn whoever_has_given_a_tab_says_if_it_has_not_heard_all_since() {
        for (heard_since, rest) in [(at(1), Some(1)), (at(2), None)] {
            let mut clients = Clients::default();
            let (mut mailbox, secret, cursor) = tab_away(&mut clients);
            give(&mut mailbox, (secret, cursor), &clients);
            assert!(mailbox.keep_for_away(("page", &Ident::None), b"{}", at(2)));
            let taken = Taken {
                heard_since,
                ..taken(ASKER)
            };
            let handed_on = mailbox.hand_on(&taken, &clients);
            let HandedOn::Tab {
                slot: None,
                rest: r,
            } = handed_on
            else {
                panic!("it is the one that has asked last");
            };
            assert_eq!(r.map(|rest| rest.len()), rest);
        }
    }

    // protocol.md 11.6
    #[test]
    fn of_two_that_were_given_a_tab_one_gets_it() {
        let (first, last) = (ASKER, Asker(8));
        for (says_first, seconds, gets_it) in [
            // The other one may still say so.
            (first, 2, None),
            (last, 2, Some(last)),
            // It has never said so.
            (first, 3, Some(first)),
        ] {
            let mut clients = Clients::default();
            let (mut mailbox, secret, cursor) = tab_away(&mut clients);
            for asker in [first, last] {
                give_to(asker, &mut mailbox, (secret, cursor), &clients);
            }
            let said = |asker| Taken {
                now: at(seconds),
                ..taken(asker)
            };
            let other = if says_first == first { last } else { first };
            let handed_on = mailbox.hand_on(&said(says_first), &clients);
            match gets_it {
                None => assert!(matches!(handed_on, HandedOn::Undecided)),
                Some(_) => {
                    assert!(matches!(handed_on, HandedOn::Tab { .. }));
                    let handed_on = mailbox.hand_on(&said(other), &clients);
                    assert!(matches!(handed_on, HandedOn::Replaced));
                }
            }
        }
    }

    // protocol.md 11.6
    #[test]
    fn a_tab_that_became_another_one_is_dropped_unless_one_before_may_have_it() {
        for (askers, is_left) in [(&[ASKER][..], false), (&[Asker(8), ASKER][..], true)] {
            let mut clients = Clients::default();
            let (mut mailbox, secret, cursor) = tab_away(&mut clients);
            for asker in askers {
                give_to(*asker, &mut mailbox, (secret, cursor), &clients);
            }
            assert_eq!(mailbox.drop_given("page", ASKER, &clients), None);
            assert_eq!(mailbox.knows("page", &clients), is_left);
            let handed_on = mailbox.hand_on(&taken(askers[0]), &clients);
            assert_eq!(matches!(handed_on, HandedOn::Tab { .. }), is_left);
        }
    }

    // protocol.md 11.6
    #[test]
    fn another_process_knows_to_whom_a_tab_was_given() {
        let mut clients = Clients::default();
        let (mut before, secret, cursor) = tab_away(&mut clients);
        give_to(Asker(6), &mut before, (secret, cursor), &clients);
        give(&mut before, (secret, cursor), &clients);
        let bytes = before.hand_over(&clients, at(2));
        for (asker, is_given) in [(ASKER, true), (Asker(6), true), (Asker(8), false)] {
            let mut mailbox = Mailbox::new(ReplaySettings::default());
            let record = Record::parse(&bytes).unwrap();
            mailbox.take_over(record, Duration::ZERO, at(2)).unwrap();
            mailbox.settle();
            assert_eq!(mailbox.is_given("page", asker, &clients), is_given);
            match mailbox.hand_on(&taken(asker), &clients) {
                // It has not heard what was said between the two.
                HandedOn::Tab { rest: None, .. } => assert!(is_given),
                HandedOn::Replaced => assert!(!is_given),
                HandedOn::Tab { rest: Some(_), .. } | HandedOn::Gone | HandedOn::Undecided => {
                    panic!("{asker:?}")
                }
            }
        }
    }
}
