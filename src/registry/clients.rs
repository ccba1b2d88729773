//! Who is connected: [`ConnId`] to and from uuid, ident and user.
//!
//! Owns the names under which clients are found, and the rule who of several is meant (protocol.md
//! 3.1). Refuses to know sockets, resources and what is sent. Randomness stays outside too: the
//! uuid of a new client comes from the caller.
//!
//! Records lie in a table by [`ConnId::slot`]. The indexes hold slots, not names, so each name is
//! stored once; a web client without ident takes 40 bytes of table and 6 to 12 of index. Hashing
//! is std's SipHash with random keys, because peers choose idents and names. Indexes grow by
//! doubling and shrink when clients leave; records come and go in chunks.

mod signed_in;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU64;

use hashbrown::HashTable;
use uuid::Uuid;

use super::ident_index::{ClientRef, IdentIndex, IdentKey, shrink};
use super::identity::Logout;
use super::logouts::Logouts;
use super::users::{TabNumber, Users};
use crate::connection::{ConnId, SlotMap};
use crate::protocol::decimal::Decimal;
use crate::protocol::packet::Ident;

/// Longest chosen name, in bytes (protocol.md 2.9).
pub const MAX_NAME_BYTES: usize = 64;

/// Longest ident that is ever found, in bytes: idents come in request heads, which are shorter
/// than this (protocol.md 1.4). What a packet looks up beyond it is not even hashed.
pub const MAX_IDENT_BYTES: usize = 8192;

/// What a connection's `Client-Type` header makes of it (protocol.md, introduction).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientKind {
    /// Any connection that does not announce `Client-Type: php`.
    Web,
    /// A backend script (`Client-Type: php`).
    Php,
}

/// A client's uuid: a version-4 UUID, or the name it has chosen (protocol.md 2.9).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientUuid {
    /// The UUID's 128 bits; its text is the lower-case hyphenated form.
    Standard(u128),
    /// 1 to 64 printable ASCII characters that are not the text of a standard one.
    Chosen(Box<str>),
}

impl ClientUuid {
    /// The uuid whose text is `text`: standard if that is the lower-case hyphenated form of a
    /// UUID (of any version), else a chosen name. Equal texts give equal uuids, different ones
    /// different.
    pub fn from_text(text: &str) -> Self {
        Name::from_text(text).to_uuid()
    }
}

impl fmt::Display for ClientUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(bits) => Uuid::from_u128(*bits).as_hyphenated().fmt(f),
            Self::Chosen(name) => f.write_str(name),
        }
    }
}

/// The registry of open clients. All lookups take constant time but for the logarithm of the
/// number of connections that share one ident.
#[derive(Default)]
pub struct Clients {
    /// By slot.
    records: SlotMap<Record>,
    /// Clients ever opened: the next one's place in the order of opening.
    opened_count: u64,
    /// Web clients by uuid.
    by_uuid: HashTable<u32>,
    /// Clients of both kinds by ident, as text.
    by_ident: IdentIndex,
    /// Those of them whose ident is a decimal number, by its value (protocol.md 3.4).
    by_number: IdentIndex,
    /// Those of whom is known who they are.
    users: Users,
    logouts: Logouts,
    /// Those that nobody has taken up.
    new_logouts: Vec<Logout<'static>>,
    hashing: RandomState,
}

impl Clients {
    /// Adds a client that has just opened. `ident` is trimmed and may be empty (protocol.md 1.9).
    /// Both kinds have a uuid, only web clients are found by it (protocol.md 3.2).
    ///
    /// What the slot held before is closed. The uuid should be a fresh one: if a web client holds
    /// it already, either of the two may be found by it.
    pub fn open(&mut self, id: ConnId, kind: ClientKind, uuid: ClientUuid, ident: &str) {
        let slot = index(id.slot);
        if let Some(Record { generation, .. }) = self.records.get(slot) {
            self.close(ConnId {
                slot: id.slot,
                generation: *generation,
            });
        }
        let mut record = Record {
            uuid: Uuid::nil(),
            names: None,
            order: Order::new(self.opened_count, kind),
            generation: id.generation,
            tab: None,
        };
        record.set_uuid(uuid);
        record.set_ident(ident);
        self.records.insert(slot, record);
        self.opened_count += 1;
        self.index_uuid(id.slot);
        self.index_ident(id.slot);
    }

    /// Removes a client; harmless if it is not there.
    pub fn close(&mut self, id: ConnId) {
        if self.record(id).is_none() {
            return;
        }
        self.unindex_uuid(id.slot);
        self.unindex_ident(id.slot);
        let record = self.records.remove(index(id.slot));
        if let Some(tab) = record.and_then(|record| record.tab) {
            self.users.remove(tab);
        }
    }

    /// The one receiver of a feedback (protocol.md 3.1 to 3.4), or `None`.
    pub fn find(&self, uuid: &str, ident: &Ident<'_>) -> Option<ConnId> {
        let by_uuid = self.find_uuid(Name::from_text(uuid));
        let by_ident = match ident {
            Ident::None => None,
            Ident::Text(text) => self.find_ident(text),
            Ident::Number(number) => self.find_number(number),
        };
        let first = by_uuid
            .into_iter()
            .chain(by_ident)
            .min_by_key(|client| client.sequence)?;
        let generation = at(&self.records, first.slot)?.generation;
        Some(ConnId {
            slot: first.slot,
            generation,
        })
    }

    /// Gives the client another uuid (protocol.md 2.9); `Err` leaves everything as it was. Its place
    /// in the order of opening stays.
    ///
    /// A name is 1 to [`MAX_NAME_BYTES`] printable ASCII characters, blanks included, for people
    /// choose names such as `Jane Doe`. It may be the one that the client has already. A client
    /// that is not there gets [`RenameError::Invalid`].
    pub fn rename(&mut self, id: ConnId, name: &str) -> Result<(), RenameError> {
        if !is_name(name) || self.record(id).is_none() {
            return Err(RenameError::Invalid);
        }
        match self.find_uuid(Name::from_text(name)) {
            Some(client) if client.slot != id.slot => return Err(RenameError::Taken),
            Some(_) | None => {}
        }
        self.unindex_uuid(id.slot);
        if let Some(record) = self.records.get_mut(index(id.slot)) {
            record.set_uuid(ClientUuid::from_text(name));
        }
        self.index_uuid(id.slot);
        Ok(())
    }

    /// The client in a slot.
    pub fn in_slot(&self, slot: u32) -> Option<ConnId> {
        let generation = at(&self.records, slot)?.generation;
        Some(ConnId { slot, generation })
    }

    /// The client's uuid.
    pub fn uuid(&self, id: ConnId) -> Option<ClientUuid> {
        self.record(id).map(|record| record.name().to_uuid())
    }

    /// The client's ident, `""` if it has none.
    pub fn ident(&self, id: ConnId) -> &str {
        self.record(id).map_or("", Record::ident)
    }

    /// The client's kind.
    pub fn kind(&self, id: ConnId) -> Option<ClientKind> {
        self.record(id).map(Record::kind)
    }

    /// The client's place in the order of opening, which is what decides between several
    /// (protocol.md 3.1).
    pub fn sequence(&self, id: ConnId) -> Option<u64> {
        self.record(id).map(|record| record.order.0.get())
    }

    /// Number of clients.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn record(&self, id: ConnId) -> Option<&Record> {
        at(&self.records, id.slot).filter(|record| record.generation == id.generation)
    }

    fn find_uuid(&self, name: Name<'_>) -> Option<ClientRef> {
        if matches!(name, Name::Chosen(name) if name.len() > MAX_NAME_BYTES) {
            return None;
        }
        let is_named =
            |&slot: &u32| at(&self.records, slot).is_some_and(|record| record.name() == name);
        let slot = *self.by_uuid.find(self.hashing.hash_one(name), is_named)?;
        at(&self.records, slot).map(|record| record.client(slot))
    }

    fn find_ident(&self, ident: &str) -> Option<ClientRef> {
        if ident.len() > MAX_IDENT_BYTES {
            return None;
        }
        self.by_ident.first(self.hashing.hash_one(ident), |slot| {
            at(&self.records, slot).is_some_and(|record| record.ident() == ident)
        })
    }

    fn find_number(&self, number: &str) -> Option<ClientRef> {
        let number = Decimal::parse(number)?;
        self.by_number.first(self.hashing.hash_one(number), |slot| {
            at(&self.records, slot).and_then(Record::number) == Some(number)
        })
    }

    fn index_uuid(&mut self, slot: u32) {
        let Self {
            records, hashing, ..
        } = self;
        let hash_of = |&slot: &u32| hash_of_uuid(hashing, records, slot);
        if at(records, slot).is_some_and(|record| record.kind() == ClientKind::Web) {
            self.by_uuid.insert_unique(hash_of(&slot), slot, hash_of);
        }
    }

    fn unindex_uuid(&mut self, slot: u32) {
        let Self {
            records, hashing, ..
        } = self;
        let hash_of = |&slot: &u32| hash_of_uuid(hashing, records, slot);
        if let Ok(entry) = self
            .by_uuid
            .find_entry(hash_of(&slot), |&held| held == slot)
        {
            entry.remove();
            shrink(&mut self.by_uuid, hash_of);
        }
    }

    fn index_ident(&mut self, slot: u32) {
        let Self {
            records,
            hashing,
            by_ident,
            by_number,
            ..
        } = self;
        let Some(record) = at(records, slot) else {
            return;
        };
        if !record.ident().is_empty() {
            by_ident.insert(
                &ident_key(hashing, records, record.ident()),
                record.client(slot),
            );
        }
        if let Some(number) = record.number() {
            by_number.insert(&number_key(hashing, records, number), record.client(slot));
        }
    }

    fn unindex_ident(&mut self, slot: u32) {
        let Self {
            records,
            hashing,
            by_ident,
            by_number,
            ..
        } = self;
        let Some(record) = at(records, slot) else {
            return;
        };
        if !record.ident().is_empty() {
            by_ident.remove(
                &ident_key(hashing, records, record.ident()),
                record.client(slot),
            );
        }
        if let Some(number) = record.number() {
            by_number.remove(&number_key(hashing, records, number), record.client(slot));
        }
    }
}

/// Whether a client may choose this name (protocol.md 2.9).
pub(super) fn is_name(name: &str) -> bool {
    let is_printable = name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    (1..=MAX_NAME_BYTES).contains(&name.len()) && is_printable
}

/// Why a uuid was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameError {
    /// Not 1 to 64 printable ASCII characters.
    Invalid,
    /// Another connection holds it.
    Taken,
}

impl fmt::Display for RenameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "a uuid has 1 to 64 printable ASCII characters",
            Self::Taken => "another client holds this uuid",
        })
    }
}

impl std::error::Error for RenameError {}

/// One open client.
struct Record {
    /// Nil if it has a chosen name.
    uuid: Uuid,
    /// What most clients do not have.
    names: Option<Box<Names>>,
    order: Order,
    generation: u32,
    /// `None`: nobody knows who it is.
    tab: Option<TabNumber>,
}

/// A client's place in the order of opening and its kind, in the space of one number.
#[derive(Clone, Copy)]
struct Order(NonZeroU64);

impl Order {
    fn new(sequence: u64, kind: ClientKind) -> Self {
        let kind = match kind {
            ClientKind::Web => 0,
            ClientKind::Php => 1,
        };
        // Nobody opens 2^63 connections.
        Self(NonZeroU64::new((sequence + 1) << 1 | kind).unwrap_or(NonZeroU64::MIN))
    }

    fn kind(self) -> ClientKind {
        match self.0.get() & 1 {
            0 => ClientKind::Web,
            _ => ClientKind::Php,
        }
    }
}

/// Names of a client, either of which may be missing.
#[derive(Default)]
struct Names {
    chosen: Option<Box<str>>,
    ident: Box<str>,
}

impl Record {
    /// Its uuid.
    fn name(&self) -> Name<'_> {
        let chosen = self.names.as_ref().and_then(|names| names.chosen.as_ref());
        chosen.map_or(Name::Standard(self.uuid.as_u128()), |name| {
            Name::Chosen(name)
        })
    }

    fn set_uuid(&mut self, uuid: ClientUuid) {
        let chosen = match uuid {
            ClientUuid::Standard(bits) => {
                self.uuid = Uuid::from_u128(bits);
                None
            }
            ClientUuid::Chosen(name) => {
                self.uuid = Uuid::nil();
                Some(name)
            }
        };
        if chosen.is_some() || self.names.is_some() {
            self.names.get_or_insert_default().chosen = chosen;
        }
    }

    /// Empty if it has none.
    fn ident(&self) -> &str {
        self.names.as_ref().map_or("", |names| &names.ident)
    }

    fn set_ident(&mut self, ident: &str) {
        if !ident.is_empty() {
            self.names.get_or_insert_default().ident = ident.into();
        }
    }

    fn number(&self) -> Option<Decimal<'_>> {
        Decimal::parse(self.ident())
    }

    fn kind(&self) -> ClientKind {
        self.order.kind()
    }

    fn client(&self, slot: u32) -> ClientRef {
        ClientRef {
            sequence: self.order.0.get(),
            slot,
        }
    }
}

/// A [`ClientUuid`], borrowed: what is looked up and hashed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Name<'a> {
    Standard(u128),
    Chosen(&'a str),
}

impl<'a> Name<'a> {
    fn from_text(text: &'a str) -> Self {
        // Of the forms that the uuid crate reads, only the hyphenated one has this length.
        let is_canonical = text.len() == uuid::fmt::Hyphenated::LENGTH
            && !text.bytes().any(|byte| byte.is_ascii_uppercase());
        if !is_canonical {
            return Self::Chosen(text);
        }
        Uuid::try_parse(text).map_or(Self::Chosen(text), |uuid| Self::Standard(uuid.as_u128()))
    }

    fn to_uuid(self) -> ClientUuid {
        match self {
            Self::Standard(bits) => ClientUuid::Standard(bits),
            Self::Chosen(name) => ClientUuid::Chosen(name.into()),
        }
    }
}

/// The record in a slot, of whatever generation.
fn at(records: &SlotMap<Record>, slot: u32) -> Option<&Record> {
    records.get(index(slot))
}

fn hash_of_uuid(hashing: &RandomState, records: &SlotMap<Record>, slot: u32) -> u64 {
    at(records, slot).map_or(0, |record| hashing.hash_one(record.name()))
}

fn ident_key<'a>(
    hashing: &'a RandomState,
    records: &'a SlotMap<Record>,
    ident: &'a str,
) -> IdentKey<impl Fn(u32) -> bool + 'a, impl Fn(u32) -> u64 + 'a> {
    let ident_of = |slot| at(records, slot).map_or("", Record::ident);
    IdentKey {
        hash: hashing.hash_one(ident),
        is_held_by: move |slot| ident_of(slot) == ident,
        hash_of: move |slot| hashing.hash_one(ident_of(slot)),
    }
}

fn number_key<'a>(
    hashing: &'a RandomState,
    records: &'a SlotMap<Record>,
    number: Decimal<'a>,
) -> IdentKey<impl Fn(u32) -> bool + 'a, impl Fn(u32) -> u64 + 'a> {
    let number_of = |slot| at(records, slot).and_then(Record::number);
    IdentKey {
        hash: hashing.hash_one(number),
        is_held_by: move |slot| number_of(slot) == Some(number),
        hash_of: move |slot| number_of(slot).map_or(0, |number| hashing.hash_one(number)),
    }
}

fn index(slot: u32) -> usize {
    // Lossless: no supported target has pointers of less than 32 bits.
    slot as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::borrow::Cow;

    const UUID: &str = "0b3e6a9e-6f1f-4a58-9d3b-0d2f2b8f1c11";

    fn id(slot: u32) -> ConnId {
        ConnId {
            slot,
            generation: 1,
        }
    }

    fn text(ident: &str) -> Ident<'_> {
        if ident.is_empty() {
            Ident::None
        } else {
            Ident::Text(Cow::Borrowed(ident))
        }
    }

    fn standard(bits: u32) -> ClientUuid {
        ClientUuid::Standard(u128::from(bits))
    }

    fn open_web(clients: &mut Clients, slot: u32, ident: &str) {
        clients.open(id(slot), ClientKind::Web, standard(slot), ident);
    }

    fn uuid_text(slot: u32) -> String {
        standard(slot).to_string()
    }

    #[test]
    fn only_the_canonical_text_is_a_standard_uuid() {
        assert!(matches!(
            ClientUuid::from_text(UUID),
            ClientUuid::Standard(_)
        ));
        assert_eq!(ClientUuid::from_text(UUID).to_string(), UUID);
        let other_forms = [
            &UUID.to_uppercase(),
            "0B3e6a9e-6f1f-4a58-9d3b-0d2f2b8f1c11",
            &UUID.replace('-', ""),
            &format!("{{{UUID}}}"),
            &format!("urn:uuid:{UUID}"),
            &format!("{UUID} "),
            "0b3e6a9e06f1f-4a58-9d3b-0d2f2b8f1c11",
            "gb3e6a9e-6f1f-4a58-9d3b-0d2f2b8f1c11",
            "it has thirty-six letters, but is no",
            "kurt",
        ];
        for form in other_forms {
            assert_eq!(ClientUuid::from_text(form), ClientUuid::Chosen(form.into()));
            assert_eq!(ClientUuid::from_text(form).to_string(), form);
        }
        assert_eq!(
            standard(1).to_string(),
            "00000000-0000-0000-0000-000000000001"
        );
    }

    #[test]
    fn web_clients_are_found_by_uuid_and_php_clients_are_not() {
        let mut clients = Clients::default();
        clients.open(id(0), ClientKind::Php, standard(0), "script");
        open_web(&mut clients, 1, "page");
        assert_eq!(clients.find(&uuid_text(0), &Ident::None), None);
        assert_eq!(clients.find(&uuid_text(1), &Ident::None), Some(id(1)));
        assert_eq!(clients.find("", &text("script")), Some(id(0)));
        assert_eq!(clients.find("", &text("page")), Some(id(1)));
        assert_eq!(
            (clients.kind(id(0)), clients.kind(id(1))),
            (Some(ClientKind::Php), Some(ClientKind::Web))
        );
        assert_eq!((clients.ident(id(0)), clients.ident(id(9))), ("script", ""));
        assert_eq!(clients.uuid(id(1)), Some(standard(1)));
    }

    #[test]
    fn the_first_opened_of_all_that_match_is_found() {
        let mut clients = Clients::default();
        for slot in [5, 2, 7] {
            open_web(&mut clients, slot, "shared");
        }
        assert_eq!(clients.find("", &text("shared")), Some(id(5)));
        assert_eq!(clients.find(&uuid_text(7), &text("shared")), Some(id(5)));
        open_web(&mut clients, 1, "");
        assert_eq!(clients.find(&uuid_text(1), &text("shared")), Some(id(5)));
        assert_eq!(clients.find(&uuid_text(1), &text("nobody")), Some(id(1)));
        clients.close(id(5));
        assert_eq!(clients.find("", &text("shared")), Some(id(2)));
        clients.close(id(7));
        assert_eq!(clients.find("", &text("shared")), Some(id(2)));
        clients.close(id(2));
        assert_eq!(clients.find("", &text("shared")), None);
        assert_eq!(clients.find(&uuid_text(1), &text("shared")), Some(id(1)));
    }

    #[test]
    fn empty_names_match_nobody() {
        let mut clients = Clients::default();
        open_web(&mut clients, 0, "");
        assert_eq!(clients.find("", &Ident::None), None);
        assert_eq!(clients.find("", &text("x")), None);
        assert_eq!(clients.find("", &Ident::Text("".into())), None);
        assert_eq!(clients.find("", &Ident::Number("0")), None);
    }

    #[test]
    fn numbers_match_idents_of_equal_value_and_texts_only_equal_texts() {
        let mut clients = Clients::default();
        for (slot, ident) in ["042", "42", "1e3", "4.20", "-0", "x42"]
            .into_iter()
            .enumerate()
        {
            open_web(&mut clients, slot as u32, ident);
        }
        let cases = [
            ("42", Some(0)),
            ("42.0", Some(0)),
            ("1000", Some(2)),
            ("4.2", Some(3)),
            ("0", Some(4)),
            ("0.0e7", Some(4)),
            ("420", None),
            ("-42", None),
            ("1e400", None),
        ];
        for (number, slot) in cases {
            assert_eq!(
                clients.find("", &Ident::Number(number)),
                slot.map(id),
                "{number}"
            );
        }
        assert_eq!(clients.find("", &text("42")), Some(id(1)));
        assert_eq!(clients.find("", &text("1000")), None);
        clients.close(id(0));
        assert_eq!(clients.find("", &Ident::Number("42")), Some(id(1)));
        clients.close(id(1));
        assert_eq!(clients.find("", &Ident::Number("42")), None);
    }

    #[test]
    fn neighbouring_large_numbers_stay_apart() {
        let mut clients = Clients::default();
        open_web(&mut clients, 0, "9007199254740993");
        assert_eq!(clients.find("", &Ident::Number("9007199254740992")), None);
        assert_eq!(
            clients.find("", &Ident::Number("9007199254740993.0")),
            Some(id(0))
        );
    }

    #[test]
    fn names_longer_than_any_holder_can_have_are_not_found() {
        let mut clients = Clients::default();
        for (slot, len) in [(0, MAX_IDENT_BYTES), (1, MAX_IDENT_BYTES + 1)] {
            let ident = "1".repeat(len);
            open_web(&mut clients, slot, &ident);
            let found = (len == MAX_IDENT_BYTES).then_some(id(slot));
            assert_eq!(clients.find("", &text(&ident)), found);
            // Numbers are compared only up to 128 bytes.
            assert_eq!(clients.find("", &Ident::Number(&ident)), None);
        }
        let number = format!("1.{}", "0".repeat(126));
        open_web(&mut clients, 2, "1");
        assert_eq!(clients.find("", &Ident::Number(&number)), Some(id(2)));
        assert_eq!(clients.find("", &Ident::Number(&(number + "0"))), None);
        assert_eq!(clients.find(&"x".repeat(1 << 20), &Ident::None), None);
    }

    #[test]
    fn a_chosen_name_replaces_the_uuid() {
        let mut clients = Clients::default();
        open_web(&mut clients, 0, "");
        open_web(&mut clients, 1, "");
        assert_eq!(clients.rename(id(0), "Jane Doe"), Ok(()));
        assert_eq!(clients.find("Jane Doe", &Ident::None), Some(id(0)));
        assert_eq!(clients.find("jane doe", &Ident::None), None);
        assert_eq!(clients.find(&uuid_text(0), &Ident::None), None);
        assert_eq!(
            clients.uuid(id(0)).map(|uuid| uuid.to_string()).as_deref(),
            Some("Jane Doe")
        );

        assert_eq!(clients.rename(id(1), "Jane Doe"), Err(RenameError::Taken));
        assert_eq!(clients.find(&uuid_text(1), &Ident::None), Some(id(1)));
        assert_eq!(clients.rename(id(0), "Jane Doe"), Ok(()));
        assert_eq!(clients.rename(id(0), UUID), Ok(()));
        assert_eq!(clients.rename(id(1), "Jane Doe"), Ok(()));
        assert_eq!(clients.rename(id(1), UUID), Err(RenameError::Taken));
        clients.close(id(0));
        assert_eq!(clients.rename(id(1), UUID), Ok(()));
        assert_eq!(clients.find(UUID, &Ident::None), Some(id(1)));
    }

    #[test]
    fn names_are_1_to_64_printable_ascii_characters() {
        let mut clients = Clients::default();
        open_web(&mut clients, 0, "");
        for name in ["a", &"a".repeat(63), &"a".repeat(64), " !~"] {
            assert_eq!(clients.rename(id(0), name), Ok(()), "{name}");
        }
        for name in ["", &"a".repeat(65), "a\n", "\u{7f}", "\0", "ä", "a\tb"] {
            assert_eq!(
                clients.rename(id(0), name),
                Err(RenameError::Invalid),
                "{name:?}"
            );
        }
        assert_eq!(clients.find(" !~", &Ident::None), Some(id(0)));
        assert_eq!(clients.rename(id(7), "b"), Err(RenameError::Invalid));
    }

    #[test]
    fn a_php_client_holds_no_name_against_web_clients() {
        let mut clients = Clients::default();
        clients.open(id(0), ClientKind::Php, standard(0), "");
        open_web(&mut clients, 1, "");
        assert_eq!(clients.rename(id(0), "n"), Ok(()));
        assert_eq!(clients.find("n", &Ident::None), None);
        assert_eq!(clients.rename(id(1), "n"), Ok(()));
        assert_eq!(clients.rename(id(0), "n"), Err(RenameError::Taken));
        assert_eq!(clients.find("n", &Ident::None), Some(id(1)));
    }

    #[test]
    fn another_generation_of_a_slot_is_another_client() {
        let mut clients = Clients::default();
        open_web(&mut clients, 3, "old");
        let next = ConnId {
            slot: 3,
            generation: 2,
        };
        assert_eq!(clients.kind(next), None);
        clients.close(next);
        assert_eq!(clients.len(), 1);

        clients.open(next, ClientKind::Web, standard(9), "new");
        assert_eq!(clients.len(), 1);
        assert_eq!(clients.find("", &text("old")), None);
        assert_eq!(clients.find("", &text("new")), Some(next));
        assert_eq!((clients.uuid(id(3)), clients.ident(id(3))), (None, ""));
        clients.close(id(3));
        clients.close(next);
        clients.close(next);
        assert!(clients.is_empty());
    }

    #[test]
    fn ten_thousand_clients_may_share_an_ident() {
        let mut clients = Clients::default();
        for slot in 0..10_000 {
            open_web(&mut clients, slot, "7");
        }
        for slot in (0..10_000).rev().step_by(2) {
            clients.close(id(slot));
        }
        for slot in (0..10_000).step_by(2) {
            assert_eq!(clients.find("", &text("7")), Some(id(slot)));
            assert_eq!(clients.find("", &Ident::Number("7.0")), Some(id(slot)));
            clients.close(id(slot));
        }
        assert!(clients.is_empty());
    }

    #[test]
    fn indexes_shrink_when_clients_leave() {
        let mut clients = Clients::default();
        for slot in 0..10_000 {
            open_web(&mut clients, slot, &slot.to_string());
        }
        for slot in 0..9_990 {
            clients.close(id(slot));
        }
        assert!(clients.by_uuid.capacity() < 200);
        for slot in 9_990..10_000 {
            assert_eq!(clients.find(&uuid_text(slot), &Ident::None), Some(id(slot)));
            assert_eq!(clients.find("", &text(&slot.to_string())), Some(id(slot)));
        }
    }

    #[test]
    fn a_record_stays_small() {
        assert_eq!(size_of::<Option<Record>>(), 40);
    }

    /// The rule of protocol.md 3.1 by a scan over all clients.
    #[derive(Default)]
    struct Model {
        clients: Vec<(u32, ClientKind, String, String)>,
    }

    impl Model {
        fn find(&self, uuid: &str, ident: &Ident<'_>) -> Option<u32> {
            self.clients
                .iter()
                .find(|(_, kind, own_uuid, own_ident)| {
                    let is_ident_equal = match ident {
                        Ident::None => false,
                        Ident::Text(ident) => ident == own_ident,
                        Ident::Number(number) => {
                            own_ident.parse::<f64>().ok() == number.parse::<f64>().ok()
                        }
                    };
                    is_ident_equal || (*kind == ClientKind::Web && own_uuid == uuid)
                })
                .map(|(slot, ..)| *slot)
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Open(u32, bool, &'static str),
        Close(u32),
        Rename(u32, &'static str),
    }

    const NAMES: [&str; 4] = ["kurt", "inge", UUID, "é"];
    const IDENTS: [&str; 7] = ["", "a", "b", "1", "01", "1e0", "2"];

    fn step() -> impl Strategy<Value = Step> {
        let slot = 0_u32..8;
        prop_oneof![
            (
                slot.clone(),
                any::<bool>(),
                prop::sample::select(&IDENTS[..])
            )
                .prop_map(|(slot, is_php, ident)| Step::Open(slot, is_php, ident)),
            slot.clone().prop_map(Step::Close),
            (slot, prop::sample::select(&NAMES[..]))
                .prop_map(|(slot, name)| Step::Rename(slot, name)),
        ]
    }

    proptest! {
        #[test]
        fn the_registry_agrees_with_a_scan(steps in prop::collection::vec(step(), 0..60)) {
            let (mut clients, mut model) = (Clients::default(), Model::default());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Open(slot, is_php, ident) => {
                        let kind = if is_php { ClientKind::Php } else { ClientKind::Web };
                        let uuid = standard(100 + number as u32);
                        model.clients.retain(|client| client.0 != slot);
                        model.clients.push((slot, kind, uuid.to_string(), ident.to_owned()));
                        clients.open(id(slot), kind, uuid, ident);
                    }
                    Step::Close(slot) => {
                        model.clients.retain(|client| client.0 != slot);
                        clients.close(id(slot));
                    }
                    Step::Rename(slot, name) => {
                        let client = model.find(name, &Ident::None);
                        let is_free = client.is_none_or(|client| client == slot);
                        let is_allowed = name.is_ascii() && is_free;
                        let client = model.clients.iter_mut().find(|client| client.0 == slot);
                        let is_renamed = is_allowed && client.is_some();
                        if let Some(client) = client.filter(|_| is_allowed) {
                            client.2 = name.to_owned();
                        }
                        prop_assert_eq!(clients.rename(id(slot), name).is_ok(), is_renamed);
                    }
                }
                prop_assert_eq!(clients.len(), model.clients.len());
                let known = model.clients.iter().map(|client| client.2.as_str());
                for uuid in known.chain(NAMES).chain([""]) {
                    let numbers = ["1", "2.0", "3"].map(Ident::Number);
                    for ident in IDENTS.map(text).into_iter().chain(numbers) {
                        let found = clients.find(uuid, &ident);
                        prop_assert_eq!(found, model.find(uuid, &ident).map(id));
                    }
                }
            }
        }
    }
}
