use std::time::Duration;

use proptest::prelude::*;

use super::super::clients::{ClientKind, ClientUuid, Clients};
use super::super::identity::{Identity, UserId};
use super::*;
use crate::base::{MonotonicTime, Record};
use crate::connection::ConnId;
use crate::protocol::packet::Ident;

const SETTINGS: ReplaySettings = ReplaySettings {
    max_messages: 1000,
    time: Duration::from_secs(100),
    max_bytes: 1 << 30,
};

fn at(seconds: u64) -> MonotonicTime {
    MonotonicTime::START + Duration::from_secs(1_000_000 + seconds)
}

fn id(slot: u32) -> ConnId {
    ConnId {
        slot,
        generation: slot,
    }
}

/// A page as it sees itself: what was said to it, and what it has read.
struct Page {
    user: &'static str,
    /// Its connection, and whether anything reaches it.
    conn: Option<(u32, bool)>,
    /// By what it comes back: `told` or `name`.
    uuid: String,
    /// What it was told that it is called.
    told: String,
    /// What others call it: what it has chosen last.
    name: String,
    secret: String,
    cursor: String,
    /// Messages that it has not read.
    missed: Vec<u32>,
    /// Since then it was not heard.
    lost_at: u64,
}

/// Everybody together.
struct World {
    mailbox: Mailbox,
    clients: Clients,
    pages: Vec<Page>,
    now: u64,
    slot_count: u32,
    sent_count: u32,
    chosen_count: u32,
}

#[derive(Clone, Debug)]
enum Step {
    Open(&'static str),
    /// The network is gone, and the server does not see it.
    Lose(usize),
    /// The server sees that the connection has ended.
    End(usize),
    /// It comes back, and whether it reads what it gets.
    Return(usize, bool),
    /// It chooses a name, and whether it comes back by that or by what it was told.
    Choose(usize, bool),
    ToPage(usize),
    ToUser(&'static str),
    ToAll(usize),
    Wait(u64),
    /// The server ends and starts again.
    Restart,
    /// Another process goes on with the connections.
    HandOver,
}

/// The number in a message, and its cursor.
fn parsed(text: &[u8]) -> (u32, String) {
    let text = str::from_utf8(text).unwrap();
    let (number, cursor) = text
        .strip_prefix(r#"{"n":"#)
        .and_then(|rest| rest.strip_suffix(r#""}"#))
        .and_then(|rest| rest.split_once(r#","cursor":""#))
        .unwrap();
    (number.parse().unwrap(), cursor.to_owned())
}

impl World {
    fn new(settings: ReplaySettings) -> Self {
        Self {
            mailbox: Mailbox::new(settings),
            clients: Clients::default(),
            pages: Vec::new(),
            now: 0,
            slot_count: 0,
            sent_count: 0,
            chosen_count: 0,
        }
    }

    fn connect(&mut self, user: &str) -> (u32, String, crate::base::Secret) {
        let slot = self.slot_count;
        self.slot_count += 1;
        let uuid = ClientUuid::Standard(u128::from(slot) + 1);
        let identity = Identity {
            user: UserId::new(user),
            session: None,
        };
        self.clients
            .open(id(slot), ClientKind::Web, uuid.clone(), "");
        self.clients.identify(id(slot), &identity);
        let secret = self.mailbox.open(&Newcomer {
            slot,
            kind: ClientKind::Web,
            uuid: &uuid,
            user: identity.user.as_ref(),
        });
        (slot, uuid.to_string(), secret)
    }

    fn open(&mut self, user: &'static str) {
        let (slot, uuid, secret) = self.connect(user);
        self.pages.push(Page {
            user,
            conn: Some((slot, true)),
            told: uuid.clone(),
            name: uuid.clone(),
            uuid,
            secret: secret.to_string(),
            cursor: self.mailbox.cursor().to_string(),
            missed: Vec::new(),
            lost_at: self.now,
        });
    }

    /// Nobody else has chosen that name.
    fn choose(&mut self, page: usize, goes_by_it: bool) {
        let page = &mut self.pages[page];
        let Some((slot, true)) = page.conn else {
            return;
        };
        self.chosen_count += 1;
        page.name = format!("name {}", self.chosen_count);
        page.uuid = match goes_by_it {
            true => page.name.clone(),
            false => page.told.clone(),
        };
        page.lost_at = self.now;
        self.mailbox.confirm(slot);
        let before = self.clients.uuid(id(slot)).unwrap();
        self.clients.rename(id(slot), &page.name).unwrap();
        let after = ClientUuid::from_text(&page.name);
        self.mailbox.rename(slot, before, &after);
    }

    fn end(&mut self, page: usize) {
        if let Some((slot, _)) = self.pages[page].conn.take() {
            let heard = at(self.pages[page].lost_at);
            self.leave(slot, heard);
        }
    }

    fn leave(&mut self, slot: u32, heard: MonotonicTime) {
        let now = at(self.now);
        self.mailbox.leave(id(slot), &self.clients, heard, now);
        self.clients.close(id(slot));
    }

    /// A message goes to those pages for whom `is_for` holds.
    fn send(
        &mut self,
        is_for: impl Fn(usize, &Page) -> bool,
        keep: impl FnOnce(&mut Mailbox, &[u8], MonotonicTime) -> Option<KeptText>,
    ) {
        self.sent_count += 1;
        let text = format!(r#"{{"n":{}}}"#, self.sent_count);
        let kept = keep(&mut self.mailbox, text.as_bytes(), at(self.now));
        for (index, page) in self.pages.iter_mut().enumerate() {
            if !is_for(index, page) {
                continue;
            }
            match (&kept, page.conn) {
                (Some(text), Some((_, true))) => {
                    let (number, cursor) = parsed(text);
                    assert_eq!(number, self.sent_count);
                    assert!(page.missed.is_empty(), "it has read all before");
                    page.cursor = cursor;
                    page.lost_at = self.now;
                }
                _ => page.missed.push(self.sent_count),
            }
        }
    }

    /// What it is told is everything that it has missed, in order, or that there is a gap.
    fn come_back(&mut self, page: usize, reads: bool) -> Option<Gap> {
        let (user, claimed) = (self.pages[page].user, &self.pages[page]);
        let (uuid, secret, cursor) = (
            claimed.uuid.clone(),
            claimed.secret.clone(),
            claimed.cursor.clone(),
        );
        let (slot, own_uuid, _) = self.connect(user);
        let claim = Claim {
            uuid: &uuid,
            secret: &secret,
            cursor: &cursor,
            foreign: Gap::Restart,
            heard_from: 0,
        };
        let resumed = self
            .mailbox
            .resume(slot, &claim, &self.clients, at(self.now));
        let resumed = resumed.expect("it has opted in");
        let old = self.pages[page].conn;
        if resumed.uuid.is_some() {
            assert_eq!(resumed.replaced, old.map(|(slot, _)| slot));
        }
        if let Some(slot) = resumed.replaced {
            self.clients.close(id(slot));
        } else if let Some((slot, _)) = old {
            // It was not found as the one that it is.
            self.leave(slot, at(self.now));
        }
        if let Some(uuid) = &resumed.uuid {
            self.clients.rename(id(slot), &uuid.to_string()).unwrap();
        }
        let page = &mut self.pages[page];
        page.conn = Some((slot, reads));
        page.uuid = resumed.uuid.map_or(own_uuid, |uuid| uuid.to_string());
        if !reads {
            // The answer is lost, and the end of the connection is seen at once.
            page.uuid = uuid;
            if resumed.missed.texts.is_ok() {
                page.lost_at = self.now;
            }
            return resumed.missed.texts.err();
        }
        page.lost_at = self.now;
        (page.told, page.name) = (page.uuid.clone(), page.uuid.clone());
        page.secret = resumed.secret.to_string();
        page.cursor = resumed.missed.cursor.to_string();
        match resumed.missed.texts {
            Ok(texts) => {
                let parsed: Vec<_> = texts.iter().map(|text| parsed(text)).collect();
                let numbers: Vec<_> = parsed.iter().map(|(number, _)| *number).collect();
                assert_eq!(numbers, page.missed, "no more, no less");
                if let Some((_, cursor)) = parsed.last() {
                    page.cursor = cursor.clone();
                }
                page.missed.clear();
                None
            }
            Err(gap) => {
                page.missed.clear();
                Some(gap)
            }
        }
    }

    fn restart(&mut self, takes_connections: bool) {
        let now = at(self.now);
        let serials: Vec<_> = (0..self.slot_count)
            .filter_map(|slot| Some((slot, self.mailbox.serial(slot)?)))
            .collect();
        if !takes_connections {
            for page in 0..self.pages.len() {
                self.end(page);
            }
        }
        let written = self.mailbox.hand_over(&self.clients, now);
        let mut taken = Mailbox::new(self.mailbox.settings());
        let record = Record::parse(&written).unwrap();
        taken.take_over(record, Duration::ZERO, now).unwrap();
        if takes_connections {
            for (slot, serial) in serials {
                assert!(taken.take_up(serial, slot));
            }
            taken.settle();
            let again = taken.hand_over(&self.clients, now);
            assert_eq!(again.len(), written.len(), "nothing is lost");
        }
        taken.settle();
        self.mailbox = taken;
    }

    fn step(&mut self, step: &Step) -> Option<Gap> {
        let count = self.pages.len();
        let page = |index: usize| (count > 0).then(|| index % count.max(1));
        match *step {
            Step::Open(user) => self.open(user),
            Step::Lose(index) => {
                if let Some(page) = page(index)
                    && let Some((_, reaches)) = &mut self.pages[page].conn
                {
                    *reaches = false;
                }
            }
            Step::End(index) => {
                if let Some(page) = page(index) {
                    self.end(page);
                }
            }
            Step::Return(index, reads) => {
                let page = page(index)?;
                let gap = self.come_back(page, reads);
                if !reads {
                    self.end(page);
                }
                return gap;
            }
            Step::Choose(index, goes_by_it) => {
                if let Some(page) = page(index) {
                    self.choose(page, goes_by_it);
                }
            }
            Step::ToPage(index) => {
                let to = page(index)?;
                let uuid = self.pages[to].name.clone();
                let conn = self.clients.find(&uuid, &Ident::None);
                self.send(
                    |index, _| index == to,
                    |mailbox, text, now| match conn {
                        Some(conn) => mailbox.keep(conn.slot, text, now),
                        None => {
                            mailbox.keep_for_away((&uuid, &Ident::None), text, now);
                            None
                        }
                    },
                );
            }
            Step::ToUser(user) => self.send(
                |_, page| page.user == user,
                |mailbox, text, now| {
                    let kept = mailbox.keep_for_user(user, text, now)?;
                    Some(kept.text)
                },
            ),
            Step::ToAll(index) => {
                let from = page(index)?;
                let slot = self.pages[from].conn.map_or(u32::MAX, |(slot, _)| slot);
                let is_sender = |index| index == from && slot != u32::MAX;
                self.send(
                    |index, _| !is_sender(index),
                    |mailbox, text, now| mailbox.keep_for_all(slot, text, now),
                );
            }
            Step::Wait(seconds) => {
                self.now += seconds;
                for page in &mut self.pages {
                    if matches!(page.conn, Some((_, true))) {
                        page.lost_at = self.now;
                    }
                }
                while self
                    .mailbox
                    .next_deadline()
                    .is_some_and(|due| due <= at(self.now))
                {
                    self.mailbox.handle_timeout(at(self.now));
                }
            }
            Step::Restart => self.restart(false),
            Step::HandOver => self.restart(true),
        }
        None
    }
}

fn step() -> impl Strategy<Value = Step> {
    let user = || prop_oneof![Just(""), Just("1"), Just("2")];
    let page = || 0_usize..8;
    prop_oneof![
        3 => user().prop_map(Step::Open),
        4 => page().prop_map(Step::Lose),
        3 => page().prop_map(Step::End),
        6 => (page(), prop::bool::weighted(0.8)).prop_map(|(n, reads)| Step::Return(n, reads)),
        3 => (page(), prop::bool::ANY).prop_map(|(n, goes_by_it)| Step::Choose(n, goes_by_it)),
        6 => page().prop_map(Step::ToPage),
        4 => prop_oneof![Just("1"), Just("2")].prop_map(Step::ToUser),
        4 => page().prop_map(Step::ToAll),
        2 => (0_u64..40).prop_map(Step::Wait),
        1 => Just(Step::Restart),
        1 => Just(Step::HandOver),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn whoever_comes_back_in_time_has_missed_nothing(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World::new(SETTINGS);
        for step in &steps {
            let missing = match step {
                Step::Return(index, _) if !world.pages.is_empty() => {
                    let page = &world.pages[index % world.pages.len()];
                    world.now - page.lost_at
                }
                _ => 0,
            };
            let gap = world.step(step);
            if missing < SETTINGS.time.as_secs() {
                prop_assert_eq!(gap, None, "{:?}", step);
            }
        }
    }

    #[test]
    fn nothing_is_filled_in_part(
        steps in prop::collection::vec(step(), 0..80),
        max_messages in 1_usize..4,
        max_bytes in 300_usize..4000,
    ) {
        let mut world = World::new(ReplaySettings { max_messages, max_bytes, ..SETTINGS });
        for step in &steps {
            world.step(step);
            let held = world.mailbox.tabs.away_bytes() + world.mailbox.log.held_bytes();
            prop_assert!(held <= max_bytes);
        }
        for page in 0..world.pages.len() {
            world.end(page);
        }
        // All is gone when its time is over.
        world.step(&Step::Wait(1000));
        prop_assert_eq!(world.mailbox.figures().streams, 0);
        prop_assert_eq!((world.mailbox.held_bytes(), world.mailbox.log.len()), (0, 0));
        prop_assert_eq!(world.mailbox.next_deadline(), None);
    }
}

/// Whatever is in a file: it is refused, or all of it is gone in the end.
#[test]
fn no_byte_of_what_was_written_can_break_anything() {
    let mut world = World::new(SETTINGS);
    for step in [
        Step::Open("1"),
        Step::Open(""),
        Step::Open("2"),
        Step::Choose(1, false),
        Step::Lose(0),
        Step::ToPage(0),
        Step::ToUser("1"),
        Step::Return(1, false),
        Step::End(1),
        Step::ToAll(2),
    ] {
        world.step(&step);
    }
    world.mailbox.position(at(0));
    let written = world.mailbox.hand_over(&world.clients, at(0));
    let mut taken_count = 0;
    for place in 0..written.len() {
        for bits in [1, 0x80, 0xff] {
            let mut bytes = written.clone();
            bytes[place] ^= bits;
            let mut mailbox = Mailbox::new(SETTINGS);
            let record = Record::parse(&bytes);
            let taken = record.and_then(|record| mailbox.take_over(record, Duration::ZERO, at(0)));
            taken_count += u32::from(taken.is_ok());
            mailbox.settle();
            // A time that is far ahead comes in the end.
            while let Some(due) = mailbox.next_deadline() {
                mailbox.handle_timeout(due);
            }
            assert_eq!(mailbox.held_bytes(), 0, "at {place}");
        }
    }
    assert!(taken_count > 100, "numbers may be others");
}
