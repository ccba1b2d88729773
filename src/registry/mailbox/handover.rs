//! All streams as a [`Record`], for a successor of this process or for the next start (protocol.md
//! 9.7), and back.
//!
//! What is read is held against all that holds of what is written: it may be another version's.

use std::time::Duration;

use super::cursor::Cursor;
use super::given::{Asker, Handing};
use super::kept_text::KeptText;
use super::log::{Kept, Owner, Stream, TabNumber};
use super::mailbox::{Mailbox, Position};
use super::own::OwnBroadcasts;
use super::tabs::{AWAY, Away, Retry, Tab};
use super::told::Told;
use crate::base::{BadRecord, MonotonicTime, Record, RecordWriter, SecretDigest};
use crate::registry::clients::{ClientKind, ClientUuid, Clients, MAX_IDENT_BYTES, is_name};
use crate::registry::identity::{Identity, SessionDigest, UserId};

impl Mailbox {
    /// Everything that is kept, for [`take_over`](Self::take_over). `clients`: those who are
    /// connected.
    pub fn hand_over(&self, clients: &Clients, now: MonotonicTime) -> Vec<u8> {
        let mut record = RecordWriter::default();
        record.put_number(EPOCH, self.epoch);
        record.put_number(LAST, self.last);
        record.put_number(FOREIGN_FLOOR, self.foreign_floor);
        record.put_number(LAST_SERIAL, u64::from(self.tabs.last_serial()));
        record.put_number(NEWEST_TO_ALL, self.own.newest());
        if let Some(position) = &self.position {
            record.put_duration(POSITION, position.until - now);
            record.put_number(POSITION_FLOOR, position.floor);
        }
        let mut everybody = RecordWriter::default();
        self.write_stream(&self.everybody, now, &mut everybody);
        record.put(EVERYBODY, &everybody.into_bytes());
        for number in self.users.numbers() {
            if let Some(user) = self.users.get(number) {
                let mut written = RecordWriter::default();
                written.put(USER, user.user.as_str().as_bytes());
                self.write_stream(&user.stream, now, &mut written);
                record.put(USERS, &written.into_bytes());
            }
        }
        for number in self.tabs.numbers() {
            if let Some(written) = self.write_tab(number, clients, now) {
                record.put(TABS, &written);
            }
        }
        record.into_bytes()
    }

    /// By what the tab in this slot is found in what [`hand_over`](Self::hand_over) has written.
    pub fn serial(&self, slot: u32) -> Option<u32> {
        Some(self.tabs.get(self.tabs.on(slot)?)?.serial)
    }

    fn write_stream(&self, stream: &Stream, now: MonotonicTime, record: &mut RecordWriter) {
        record.put_number(FLOOR, stream.floor());
        for kept in self.log.behind(stream, 0) {
            let mut message = RecordWriter::default();
            message.put_number(NUMBER, kept.number);
            message.put_duration(AGE, now - kept.at);
            message.put(TEXT, &kept.text);
            message.put_number(SENDER, u64::from(kept.sender));
            record.put(MESSAGE, &message.into_bytes());
        }
    }

    fn write_tab(
        &self,
        number: TabNumber,
        clients: &Clients,
        now: MonotonicTime,
    ) -> Option<Vec<u8>> {
        let tab = self.tabs.get(number)?;
        let (clients, id, heard) = match tab.slot {
            AWAY => self.tabs.absence(number)?,
            slot => (clients, clients.in_slot(slot)?, now),
        };
        let mut record = RecordWriter::default();
        record.put_number(SERIAL, u64::from(tab.serial));
        record.put_number(IS_SCRIPT, u64::from(tab.kind == ClientKind::Php));
        record.put(UUID, clients.uuid(id)?.to_string().as_bytes());
        if !clients.ident(id).is_empty() {
            record.put(IDENT, clients.ident(id).as_bytes());
        }
        if let Some(user) = clients.user(id) {
            record.put(USER, user.as_bytes());
        }
        if let Some(session) = clients.session(id) {
            record.put(SESSION, session.as_bytes());
        }
        record.put(SECRET, tab.secret.as_bytes());
        record.put_duration(SILENT_FOR, now - heard);
        // One of another server's epoch is not understood by those who read this.
        let retry = self.tabs.retry(number);
        if let Some(retry) = retry.filter(|retry| retry.cursor.epoch == self.epoch) {
            record.put(RETRY_SECRET, retry.secret.as_bytes());
            record.put_number(RETRY_NUMBER, retry.cursor.number);
        }
        if let Some(told) = self.tabs.told_of(number) {
            record.put(TOLD_UUID, told.uuid.to_string().as_bytes());
            record.put_number(IS_TOLD_PAST, u64::from(told.is_past));
        }
        let handings = self.tabs.given.of(number).zip(GIVEN);
        for (handing, (to, given)) in handings {
            record.put_number(to, handing.asker.0);
            record.put_number(given, handing.number);
        }
        if tab.has_holes {
            record.put_number(HAS_HOLES, 1);
        }
        if tab.is_unnamed {
            record.put_number(IS_UNNAMED, 1);
        }
        if let Some((before, last)) = self.own.run_of(number) {
            record.put_number(OWN_FROM, before);
            record.put_number(OWN_LAST, last);
        }
        self.write_stream(&tab.stream, now, &mut record);
        Some(record.into_bytes())
    }

    /// Goes on with what was written so long ago. All tabs are away until they come back, or are
    /// [taken up](Self::take_up); [`settle`](Self::settle) has to follow.
    ///
    /// # Errors
    /// A record that is not understood; nothing has changed.
    pub fn take_over(
        &mut self,
        mut record: Record<'_>,
        ago: Duration,
        now: MonotonicTime,
    ) -> Result<(), BadRecord> {
        let mut taken = Self::new(self.settings);
        taken.epoch = record.number(EPOCH)?;
        taken.last = record.number(LAST)?;
        taken.foreign_floor = record.number(FOREIGN_FLOOR)?;
        let newest = record.number_if(NEWEST_TO_ALL)?.unwrap_or(taken.last);
        if taken.last > u64::MAX / 2 {
            return Err(BadRecord::Value(LAST));
        } else if newest > taken.last {
            return Err(BadRecord::Value(NEWEST_TO_ALL));
        }
        taken.own = OwnBroadcasts::from_number(newest);
        taken.tabs.set_last_serial(record.number(LAST_SERIAL)?);
        let left = record.duration_if(POSITION)?;
        if let Some(left) = left {
            let left = left.min(self.settings.time).saturating_sub(ago);
            let floor = record.number(POSITION_FLOOR)?;
            taken.position = (!left.is_zero()).then_some(Position {
                until: now + left,
                floor,
            });
        }
        let mut reading = Reading {
            mailbox: taken,
            now: now - ago,
            messages: Vec::new(),
        };
        let everybody = reading.stream(&mut record.record(EVERYBODY)?, Owner::Everybody)?;
        reading.mailbox.everybody = everybody;
        for user in record.take_all(USERS) {
            reading.read_user(Record::parse(user)?)?;
        }
        for tab in record.take_all(TABS) {
            reading.read_tab(Record::parse(tab)?)?;
        }
        record.end()?;
        *self = reading.finish()?;
        Ok(())
    }

    /// The client in this slot is the tab of this serial number; whether there is one.
    pub fn take_up(&mut self, serial: u32, slot: u32) -> bool {
        let Some(number) = self.tabs.with_serial(serial) else {
            return false;
        };
        self.tabs.come_back(number, slot);
        true
    }

    /// Nobody else is taken up.
    pub fn settle(&mut self) {
        self.tabs.forget_serials();
        self.keep_within_memory();
    }
}

/// A mailbox that is being read.
struct Reading<'a> {
    mailbox: Mailbox,
    /// When it was written.
    now: MonotonicTime,
    messages: Vec<(Owner, Kept, &'a [u8])>,
}

impl<'a> Reading<'a> {
    /// An empty stream, whose messages are put in at the end.
    fn stream(&mut self, record: &mut Record<'a>, owner: Owner) -> Result<Stream, BadRecord> {
        let last = self.mailbox.last;
        let floor = record.number(FLOOR)?;
        let mut before = floor;
        for message in record.take_all(MESSAGE) {
            let mut message = Record::parse(message)?;
            let number = message.number(NUMBER)?;
            if number <= before || number > last {
                return Err(BadRecord::Value(NUMBER));
            }
            before = number;
            let text = message.text(TEXT)?.as_bytes();
            if !text.trim_ascii_start().starts_with(b"{") || !text.ends_with(b"\"}") {
                return Err(BadRecord::Value(TEXT));
            }
            let kept = Kept {
                number,
                at: self.now - message.duration(AGE)?,
                text: KeptText::default(),
                sender: message.number(SENDER)?,
            };
            message.end()?;
            self.messages.push((owner, kept, text));
        }
        match floor <= last {
            true => Ok(Stream::from_floor(floor)),
            false => Err(BadRecord::Value(FLOOR)),
        }
    }

    fn read_user(&mut self, mut record: Record<'a>) -> Result<(), BadRecord> {
        let user = UserId::new(record.text(USER)?).ok_or(BadRecord::Value(USER))?;
        if self.mailbox.users.find(user.as_str()).is_some() {
            return Err(BadRecord::Unknown(USERS));
        }
        let number = self.mailbox.users.find_or_add(&user, 0);
        let stream = self.stream(&mut record, Owner::User(number))?;
        record.end()?;
        if let Some(user) = self.mailbox.users.get_mut(number) {
            user.stream = stream;
        }
        Ok(())
    }

    fn read_tab(&mut self, mut record: Record<'a>) -> Result<(), BadRecord> {
        let serial = record.number(SERIAL)?;
        let kind = match record.flag(IS_SCRIPT)? {
            true => ClientKind::Php,
            false => ClientKind::Web,
        };
        let uuid = record.text(UUID)?;
        let ident = record.text_if(IDENT)?.unwrap_or_default();
        let user = record.text_if(USER)?.map(UserId::new);
        let session = record
            .take(SESSION)
            .map(<[u8; SessionDigest::LEN]>::try_from);
        let secret = record.bytes(SECRET)?.try_into();
        let secret = secret.map_err(|_| BadRecord::Value(SECRET))?;
        let silent_for = record.duration(SILENT_FOR)?;
        let retry_secret = record.take(RETRY_SECRET).map(<[u8; 16]>::try_from);
        let retry_number = record.number_if(RETRY_NUMBER)?;
        let told = read_told(&mut record)?;
        let is_unnamed = record.number_if(IS_UNNAMED)?.is_some();
        let has_holes = record.number_if(HAS_HOLES)?.is_some();
        let own = read_own(&mut record, self.mailbox.own.newest())?;
        let handings = [
            read_handing(&mut record, GIVEN[0])?,
            read_handing(&mut record, GIVEN[1])?,
        ];
        let wrong = |tag| Err(BadRecord::Value(tag));
        if !is_name(uuid) {
            return wrong(UUID);
        } else if ident.len() > MAX_IDENT_BYTES {
            return wrong(IDENT);
        } else if matches!(user, Some(None)) {
            return wrong(USER);
        }
        let identity = Identity {
            user: user.flatten(),
            session: session
                .transpose()
                .map_err(|_| BadRecord::Value(SESSION))?
                .map(SessionDigest::from_bytes),
        };
        let user_number = match &identity.user {
            None => None,
            Some(user) => {
                let number = self.mailbox.users.find(user.as_str());
                Some(number.ok_or(BadRecord::Missing(USERS))?)
            }
        };
        if let Some(user) = user_number.and_then(|n| self.mailbox.users.get_mut(n)) {
            user.tab_count += 1;
        }
        let tab = Tab {
            slot: AWAY,
            user: user_number,
            serial,
            secret: SecretDigest::from_bytes(secret),
            stream: Stream::default(),
            kind,
            has_holes,
            is_unnamed,
        };
        let client = Away {
            uuid: ClientUuid::from_text(uuid),
            ident,
            identity: &identity,
        };
        let heard = self.now - silent_for;
        let number = self.mailbox.tabs.add_away(tab, &client, told, heard);
        let stream = self.stream(&mut record, Owner::Tab(number))?;
        record.end()?;
        if let Some(tab) = self.mailbox.tabs.get_mut(number) {
            tab.stream = stream;
        }
        if let Some(own) = own {
            self.mailbox.own.put(number, own);
        }
        // The latest last.
        for handing in handings.into_iter().rev().flatten() {
            self.mailbox.tabs.given.give(number, handing);
        }
        if let (Some(secret), Some(at)) = (retry_secret, retry_number) {
            let secret = secret.map_err(|_| BadRecord::Value(RETRY_SECRET))?;
            let cursor = Cursor {
                epoch: self.mailbox.epoch,
                number: at,
            };
            let retry = Retry {
                secret: SecretDigest::from_bytes(secret),
                cursor,
                seen: cursor,
                at: heard,
            };
            self.mailbox.tabs.note_use(number, retry);
        }
        Ok(())
    }

    /// Puts all messages in, in their order.
    fn finish(mut self) -> Result<Mailbox, BadRecord> {
        self.messages.sort_by_key(|(_, kept, _)| kept.number);
        if !self
            .messages
            .is_sorted_by(|(_, a, _), (_, b, _)| a.number < b.number)
        {
            return Err(BadRecord::Value(NUMBER));
        }
        for (owner, kept, text) in std::mem::take(&mut self.messages) {
            let kept = Kept {
                text: KeptText::new(text, &[]),
                ..kept
            };
            self.mailbox.put(owner, kept);
        }
        for number in self.mailbox.users.numbers() {
            self.mailbox.drop_if_idle(number);
        }
        Ok(self.mailbox)
    }
}

fn read_told(record: &mut Record<'_>) -> Result<Option<Told>, BadRecord> {
    let Some(uuid) = record.text_if(TOLD_UUID)? else {
        return Ok(None);
    };
    match is_name(uuid) {
        true => Ok(Some(Told {
            uuid: ClientUuid::from_text(uuid),
            is_past: record.flag(IS_TOLD_PAST)?,
        })),
        false => Err(BadRecord::Value(TOLD_UUID)),
    }
}

/// To whom it was given. What has been said to it since was not all heard.
fn read_handing(
    record: &mut Record<'_>,
    (to, given): (u8, u8),
) -> Result<Option<Handing>, BadRecord> {
    let asker = record.number_if(to)?.map(Asker);
    let number = record.number_if(given)?;
    let at = MonotonicTime::START;
    Ok(asker
        .zip(number)
        .map(|(asker, number)| Handing { asker, number, at }))
}

/// Broadcasts of its own, of which the last one is not behind `newest`.
fn read_own(record: &mut Record<'_>, newest: u64) -> Result<Option<(u64, u64)>, BadRecord> {
    match (record.number_if(OWN_FROM)?, record.number_if(OWN_LAST)?) {
        (Some(before), Some(last)) if before < last && last <= newest => Ok(Some((before, last))),
        (None, None) => Ok(None),
        _ => Err(BadRecord::Value(OWN_LAST)),
    }
}

const EPOCH: u8 = 1;
const LAST: u8 = 2;
const FOREIGN_FLOOR: u8 = 3;
const LAST_SERIAL: u8 = 4;
const POSITION: u8 = 5;
const POSITION_FLOOR: u8 = 6;
const EVERYBODY: u8 = 7;
const USERS: u8 = 8;
const TABS: u8 = 9;
/// Those who do not know it take `LAST` for it.
const NEWEST_TO_ALL: u8 = 128;

/// Of a tab, and of a user the first.
const USER: u8 = 1;
const SERIAL: u8 = 2;
const IS_SCRIPT: u8 = 3;
const UUID: u8 = 4;
const IDENT: u8 = 5;
const SESSION: u8 = 6;
const SECRET: u8 = 7;
const SILENT_FOR: u8 = 8;
const RETRY_SECRET: u8 = 9;
const RETRY_NUMBER: u8 = 10;

/// Of every stream.
const FLOOR: u8 = 11;
const MESSAGE: u8 = 12;

/// Of a tab.
const TOLD_UUID: u8 = 13;
const IS_TOLD_PAST: u8 = 14;
/// Those who do not know them may take its own broadcasts for some that it has missed.
const OWN_FROM: u8 = 128;
const OWN_LAST: u8 = 129;
/// Those who do not know it may fill a gap in part.
const HAS_HOLES: u8 = 130;
/// Those who do not know it expect it back when it is back.
const IS_UNNAMED: u8 = 131;
/// Those who do not know them take whoever was given it for one who was not.
const GIVEN: [(u8, u8); 2] = [(132, 133), (134, 135)];

/// Of a message.
const NUMBER: u8 = 1;
const AGE: u8 = 2;
const TEXT: u8 = 3;
const SENDER: u8 = 4;
