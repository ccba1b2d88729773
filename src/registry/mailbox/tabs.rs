//! Tabs that have opted in: those who are connected, and those who may come back.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;

use super::super::clients::{ClientKind, ClientUuid, Clients};
use super::super::identity::{Identity, Logout};
use super::super::numbered::Numbered;
use super::cursor::Cursor;
use super::given::GivenTabs;
use super::log::{Stream, TabNumber};
use super::told::{Told, ToldUuids};
use crate::base::{MonotonicTime, SecretDigest};
use crate::connection::{ConnId, SlotMap};
use crate::protocol::packet::Ident;

/// A tab that has opted in.
pub(super) struct Tab {
    /// Of its connection; [`AWAY`] if it has none.
    pub(super) slot: u32,
    /// Number of its user among those who have streams.
    pub(super) user: Option<NonZeroU32>,
    /// Never given twice, other than its number: by it the tab's own broadcasts are known.
    pub(super) serial: u32,
    pub(super) secret: SecretDigest,
    pub(super) stream: Stream,
    pub(super) kind: ClientKind,
    /// Something that was said to it is no longer kept.
    pub(super) has_holes: bool,
    /// It was one that comes back under another name, of which nothing tells that it was this one.
    pub(super) is_unnamed: bool,
}

/// No slot.
pub(super) const AWAY: u32 = u32::MAX;

/// All of them.
#[derive(Default)]
pub(super) struct Tabs {
    all: Numbered<Tab>,
    by_slot: SlotMap<TabNumber>,
    /// Those who are away, under their numbers in place of slots.
    away: Clients,
    away_since: HashMap<TabNumber, Absence>,
    /// Those who are away, least recently heard first.
    least_heard: BTreeSet<(MonotonicTime, TabNumber)>,
    away_bytes: usize,
    /// Scripts are not found by their uuid otherwise (protocol.md 3.2).
    scripts: HashMap<ClientUuid, TabNumber>,
    script_names: HashMap<TabNumber, ClientUuid>,
    told: ToldUuids,
    /// Bytes for those of them who are away, which are in `away_bytes`, too.
    away_told_bytes: usize,
    /// Those whose last secret may have been used without their knowing.
    retries: HashMap<TabNumber, Retry>,
    /// Those that another server was given, and may have by now.
    pub(super) given: GivenTabs,
    /// Those who have come from another process, until they are taken up.
    by_serial: HashMap<u32, TabNumber>,
    serial: u32,
}

struct Absence {
    heard: MonotonicTime,
    bytes: usize,
    told_bytes: usize,
}

/// A use of a secret of which the tab has perhaps not heard: while it was not heard since, it may do
/// the same again.
pub(super) struct Retry {
    pub(super) secret: SecretDigest,
    pub(super) cursor: Cursor,
    /// The same as one of this server: what the tab had seen then.
    pub(super) seen: Cursor,
    pub(super) at: MonotonicTime,
}

impl Tabs {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn away_count(&self) -> usize {
        self.away_since.len()
    }

    pub(super) fn get(&self, number: TabNumber) -> Option<&Tab> {
        self.all.get(number)
    }

    pub(super) fn get_mut(&mut self, number: TabNumber) -> Option<&mut Tab> {
        self.all.get_mut(number)
    }

    /// The tab on a connection.
    pub(super) fn on(&self, slot: u32) -> Option<TabNumber> {
        self.by_slot.get(slot as usize).copied()
    }

    /// Adds one that is connected.
    pub(super) fn open(&mut self, slot: u32, uuid: &ClientUuid, mut tab: Tab) -> TabNumber {
        // 0 is nobody's.
        self.serial = self.serial.checked_add(1).unwrap_or(1);
        (tab.slot, tab.serial) = (slot, self.serial);
        let kind = tab.kind;
        let number = self.all.insert(tab);
        self.by_slot.insert(slot as usize, number);
        if kind == ClientKind::Php {
            self.name_script(number, uuid);
        }
        number
    }

    /// Of several scripts of one name, the first is found by it.
    fn name_script(&mut self, number: TabNumber, uuid: &ClientUuid) {
        self.unname_script(number);
        if let Entry::Vacant(entry) = self.scripts.entry(uuid.clone()) {
            entry.insert(number);
            self.script_names.insert(number, uuid.clone());
        }
    }

    fn unname_script(&mut self, number: TabNumber) {
        if let Some(name) = self.script_names.remove(&number) {
            self.scripts.remove(&name);
        }
    }

    /// A tab has chosen the name `after` in place of `before`.
    pub(super) fn rename(&mut self, number: TabNumber, before: ClientUuid, after: &ClientUuid) {
        let Some(tab) = self.all.get(number) else {
            return;
        };
        if tab.kind == ClientKind::Php {
            self.name_script(number, after);
        }
        self.told.rename(number, before, after);
    }

    /// A tab's connection is no longer its own.
    pub(super) fn leave_slot(&mut self, number: TabNumber) {
        if let Some(tab) = self.all.get_mut(number) {
            self.by_slot.remove(tab.slot as usize);
            tab.slot = AWAY;
        }
    }

    /// A tab has lost its connection, on which it was `client`.
    pub(super) fn go_away(&mut self, number: TabNumber, client: &Away<'_>, heard: MonotonicTime) {
        self.leave_slot(number);
        let Some(tab) = self.all.get(number) else {
            return;
        };
        let user = client.identity.user.as_ref();
        let user_bytes = user.map_or(0, |user| AWAY_USER_BYTES + user.as_str().len());
        let told_bytes = self.told.get(number).map_or(0, Told::held_bytes);
        self.away_told_bytes += told_bytes;
        let bytes = AWAY_BYTES + client.ident.len() + user_bytes + told_bytes;
        self.away_bytes += bytes;
        let id = id_of(number);
        self.away
            .open(id, tab.kind, client.uuid.clone(), client.ident);
        self.away.identify(id, client.identity);
        let absence = Absence {
            heard,
            bytes,
            told_bytes,
        };
        self.away_since.insert(number, absence);
        self.least_heard.insert((heard, number));
    }

    /// A tab that was away has a connection.
    pub(super) fn come_back(&mut self, number: TabNumber, slot: u32) {
        self.end_absence(number);
        if let Some(tab) = self.all.get_mut(number) {
            tab.slot = slot;
            self.by_slot.insert(slot as usize, number);
        }
    }

    fn end_absence(&mut self, number: TabNumber) {
        if let Some(absence) = self.away_since.remove(&number) {
            self.least_heard.remove(&(absence.heard, number));
            self.away_bytes -= absence.bytes;
            self.away_told_bytes -= absence.told_bytes;
            self.away.close(id_of(number));
        }
        if self.away_since.is_empty() {
            self.away_since = HashMap::new();
        }
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, number: TabNumber) -> Option<Tab> {
        self.end_absence(number);
        self.leave_slot(number);
        self.retries.remove(&number);
        self.given.end(number);
        self.told.remove(number);
        self.unname_script(number);
        self.all.remove(number)
    }

    /// A tab is told its next secret, and what it is called.
    pub(super) fn tell(&mut self, number: TabNumber, secret: SecretDigest) {
        if let Some(tab) = self.all.get_mut(number) {
            tab.secret = secret;
            self.told.tell(number);
        }
    }

    /// A tab's secret is used at a cursor.
    pub(super) fn note_use(&mut self, number: TabNumber, retry: Retry) {
        self.retries.insert(number, retry);
    }

    /// A tab was heard at this time, and so has got what was said to it before.
    pub(super) fn note_heard(&mut self, number: TabNumber, heard: MonotonicTime) {
        let is_told = |retry: &Retry| heard > retry.at;
        if self.retries.get(&number).is_some_and(is_told) {
            self.retries.remove(&number);
        }
    }

    /// A tab has heard what came of its use of a secret.
    pub(super) fn end_retry(&mut self, number: TabNumber) {
        self.retries.remove(&number);
    }

    /// Whether a secret is a tab's, or was until a use of which the tab has not heard.
    pub(super) fn is_secret_of(
        &self,
        number: TabNumber,
        secret: &SecretDigest,
        cursor: Option<Cursor>,
    ) -> bool {
        let Some(tab) = self.all.get(number) else {
            return false;
        };
        let is_again = |retry: &Retry| retry.secret.is(secret) && Some(retry.cursor) == cursor;
        tab.secret.is(secret) || self.retries.get(&number).is_some_and(is_again)
    }

    /// What a tab has seen that uses a secret again.
    pub(super) fn seen_at(
        &self,
        number: TabNumber,
        secret: &SecretDigest,
        cursor: Cursor,
    ) -> Option<Cursor> {
        let retry = self.retries.get(&number)?;
        (retry.secret.is(secret) && retry.cursor == cursor).then_some(retry.seen)
    }

    /// A tab knows itself by this uuid, too.
    pub(super) fn note_told(&mut self, number: TabNumber, uuid: ClientUuid) {
        let is_past = true;
        self.told.put(number, Told { uuid, is_past });
    }

    /// The tab of this uuid, connected or not. Who has chosen the name of one that is away has it
    /// for as long as it is connected, whether it has opted in or not.
    pub(super) fn named(&self, uuid: &str, clients: &Clients) -> Option<TabNumber> {
        if let Some(connected) = clients.find(uuid, &Ident::None) {
            return self.on(connected.slot);
        }
        let away = self.find_away(uuid, &Ident::None);
        let script = || self.scripts.get(&ClientUuid::from_text(uuid)).copied();
        away.or_else(script)
    }

    /// The tabs that have chosen other names since they were told their secrets under this one.
    pub(super) fn told(&self, uuid: &str) -> Vec<TabNumber> {
        match self.told.is_empty() {
            true => Vec::new(),
            false => self.told.find(&ClientUuid::from_text(uuid)).collect(),
        }
    }

    /// By which uuid a tab was told its secret, if it has chosen another since.
    pub(super) fn told_of(&self, number: TabNumber) -> Option<&Told> {
        self.told.get(number)
    }

    /// What a tab is called; `None`: somebody else has the name by now.
    pub(super) fn name_of(&self, number: TabNumber, clients: &Clients) -> Option<ClientUuid> {
        let name = match self.all.get(number)?.slot {
            AWAY => self.away.uuid(id_of(number)),
            slot => clients.uuid(clients.in_slot(slot)?),
        }?;
        match clients.find(&name.to_string(), &Ident::None) {
            Some(holder) if self.on(holder.slot) != Some(number) => None,
            Some(_) | None => Some(name),
        }
    }

    /// The one that a feedback means among those who are away (protocol.md 3.1).
    pub(super) fn find_away(&self, uuid: &str, ident: &Ident<'_>) -> Option<TabNumber> {
        TabNumber::new(self.away.find(uuid, ident)?.slot)
    }

    /// A user's tabs that are away.
    pub(super) fn away_count_of(&self, user: &str) -> usize {
        self.away.tabs_of(user).count()
    }

    /// One of a user's tabs that are away and come back under another name.
    pub(super) fn find_unnamed(&self, user: &str) -> Option<TabNumber> {
        let numbers = self.away.tabs_of(user);
        let mut numbers = numbers.filter_map(|id| TabNumber::new(id.slot));
        numbers.find(|&number| self.all.get(number).is_some_and(|tab| tab.is_unnamed))
    }

    /// The tabs that a logout concerns and that are away.
    pub(super) fn log_out(&mut self, logout: &Logout<'_>) -> Vec<TabNumber> {
        let ids = self.away.log_out(logout);
        self.away.take_logouts();
        let numbers = ids.into_iter().filter_map(|id| TabNumber::new(id.slot));
        numbers.collect()
    }

    /// The one that was not heard for longest, and when it was.
    pub(super) fn least_heard(&self) -> Option<(MonotonicTime, TabNumber)> {
        self.least_heard.first().copied()
    }

    /// Their numbers.
    pub(super) fn numbers(&self) -> impl Iterator<Item = TabNumber> {
        self.all.numbers()
    }

    /// What one that is away was called and when it was heard: where its name is, and as whom.
    pub(super) fn absence(&self, number: TabNumber) -> Option<(&Clients, ConnId, MonotonicTime)> {
        let absence = self.away_since.get(&number)?;
        Some((&self.away, id_of(number), absence.heard))
    }

    /// The same of all who are away.
    pub(super) fn absences(&self) -> impl Iterator<Item = (&Clients, ConnId, MonotonicTime)> {
        let absences = self.away_since.iter();
        absences.map(|(number, absence)| (&self.away, id_of(*number), absence.heard))
    }

    pub(super) fn retry(&self, number: TabNumber) -> Option<&Retry> {
        self.retries.get(&number)
    }

    /// The serial number that was given last.
    pub(super) fn last_serial(&self) -> u32 {
        self.serial
    }

    pub(super) fn set_last_serial(&mut self, serial: u32) {
        self.serial = serial;
    }

    /// Adds one that is away, and has its serial number.
    pub(super) fn add_away(
        &mut self,
        tab: Tab,
        client: &Away<'_>,
        told: Option<Told>,
        heard: MonotonicTime,
    ) -> TabNumber {
        let (kind, serial) = (tab.kind, tab.serial);
        let number = self.all.insert(tab);
        if kind == ClientKind::Php {
            self.name_script(number, &client.uuid);
        }
        if let Some(told) = told {
            self.told.put(number, told);
        }
        self.by_serial.insert(serial, number);
        self.go_away(number, client, heard);
        number
    }

    /// The tab that was added with this serial number.
    pub(super) fn with_serial(&mut self, serial: u32) -> Option<TabNumber> {
        self.by_serial.remove(&serial)
    }

    /// All who were to be found by their serial number have been.
    pub(super) fn forget_serials(&mut self) {
        if !self.by_serial.is_empty() {
            self.by_serial = HashMap::new();
        }
    }

    /// Bytes that those who are away hold.
    pub(super) fn away_bytes(&self) -> usize {
        self.away_bytes
    }

    /// Bytes that all hold, but for messages.
    pub(super) fn held_bytes(&self) -> usize {
        let connected_bytes = (self.all.len() - self.away_count()) * TAB_BYTES;
        let told_bytes = self.told.held_bytes() - self.away_told_bytes;
        let retry_bytes = self.retries.len() * RETRY_BYTES;
        connected_bytes + self.away_bytes + retry_bytes + self.given.held_bytes() + told_bytes
    }
}

/// Who somebody was on the connection that has ended.
pub(super) struct Away<'a> {
    pub(super) uuid: ClientUuid,
    pub(super) ident: &'a str,
    pub(super) identity: &'a Identity,
}

fn id_of(number: TabNumber) -> ConnId {
    ConnId {
        slot: number.get(),
        generation: 0,
    }
}

/// What a tab costs: itself, and the way to it from its slot.
const TAB_BYTES: usize = size_of::<Option<Tab>>() + 8;

/// What it costs that a secret may be used again.
const RETRY_BYTES: usize = size_of::<(TabNumber, Retry)>() * 3 / 2;

/// What a tab costs that is away: besides itself a record by which it is found and its index, and a
/// place in the order of silence.
const AWAY_BYTES: usize = TAB_BYTES + 160;

/// What a user costs on top of that, but for a name that is long.
const AWAY_USER_BYTES: usize = 110;
