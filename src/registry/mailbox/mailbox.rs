//! [`Mailbox`]: who has opted in, and the streams of messages.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::time::Duration;

use super::super::clients::{ClientKind, ClientUuid};
use super::super::identity::{Logout, UserId};
use super::cursor::Cursor;
use super::gap::Gap;
use super::given::Asker;
use super::kept_text::KeptText;
use super::log::{Kept, Log, Owner, Stream, TabNumber};
use super::own::OwnBroadcasts;
use super::tabs::{Tab, Tabs};
use super::users::Users;
use crate::base::{MonotonicTime, Secret, random};
use crate::protocol::packet::Ident;

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplaySettings {
    /// Most messages of one stream (`replaySize`).
    pub max_messages: usize,
    /// How long a tab may be away, since it was last heard (`replayTime`). Zero: nobody can opt in.
    pub time: Duration,
    /// Most memory for messages and for tabs that are away, in bytes (`replayMemory`).
    pub max_bytes: usize,
}

impl Default for ReplaySettings {
    fn default() -> Self {
        Self {
            max_messages: 100,
            time: Duration::from_secs(120),
            max_bytes: 16 << 20,
        }
    }
}

/// All streams.
pub struct Mailbox {
    pub(super) settings: ReplaySettings,
    pub(super) epoch: u64,
    /// The number of the last message.
    pub(super) last: u64,
    pub(super) log: Log,
    pub(super) tabs: Tabs,
    pub(super) users: Users,
    pub(super) everybody: Stream,
    pub(super) own: OwnBroadcasts,
    /// Whoever has asked for a position may come with it until then.
    pub(super) position: Option<Position>,
    /// Up to this number, messages of other servers may be missing.
    pub(super) foreign_floor: u64,
    /// The latest tabs that other servers have got, and who.
    pub(super) handed_on: VecDeque<(ClientUuid, Asker)>,
    pub(super) counts: ReplayCounts,
}

/// A time in which all messages to users are kept.
#[derive(Clone, Copy)]
pub(super) struct Position {
    pub(super) until: MonotonicTime,
    /// Of streams that are not there, nothing behind this number is missing.
    pub(super) floor: u64,
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayCounts {
    /// Tabs that have got all they had missed.
    pub filled: u64,
    /// Messages among it.
    pub replayed: u64,
    /// Gaps that tabs were told of, by [`Gap::ALL`].
    pub gaps: [u64; Gap::ALL.len()],
    /// Messages and tabs that were dropped for want of memory.
    pub dropped: u64,
}

/// How much is kept now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayFigures {
    /// Tabs that have opted in and are connected.
    pub connected: usize,
    /// Those who are away.
    pub away: usize,
    /// Streams of tabs, of users, and that of everybody.
    pub streams: usize,
    /// Messages.
    pub messages: usize,
    /// Bytes of memory for all of it.
    pub bytes: usize,
    /// Most bytes for messages and for tabs that are away.
    pub limit_bytes: usize,
    /// What has happened.
    pub counts: ReplayCounts,
}

/// What a message to a user is to those of its tabs that have opted in.
pub struct KeptForUser {
    /// The message with its cursor.
    pub text: KeptText,
    /// Tabs that are away, and get it when they come back.
    pub away: usize,
}

impl Mailbox {
    /// An empty one, of a new epoch.
    pub fn new(settings: ReplaySettings) -> Self {
        let mut epoch = [0; 8];
        random::fill(&mut epoch);
        Self {
            settings,
            epoch: u64::from_be_bytes(epoch),
            last: 0,
            log: Log::default(),
            tabs: Tabs::default(),
            users: Users::default(),
            everybody: Stream::default(),
            own: OwnBroadcasts::default(),
            position: None,
            foreign_floor: 0,
            handed_on: VecDeque::new(),
            counts: ReplayCounts::default(),
        }
    }

    /// Goes by these settings from now on.
    pub fn reload(&mut self, settings: ReplaySettings) {
        self.settings = settings;
        self.keep_within_memory();
    }

    /// By what it goes.
    pub fn settings(&self) -> ReplaySettings {
        self.settings
    }

    /// Everything is forgotten, since another process goes on with it.
    pub fn clear(&mut self) {
        *self = Self::new(self.settings);
    }

    /// Whether tabs can opt in.
    pub fn is_on(&self) -> bool {
        !self.settings.time.is_zero()
    }

    /// How long a tab may be away.
    pub fn time(&self) -> Duration {
        self.settings.time
    }

    /// Whether something is kept, so that messages are numbered.
    pub fn is_active(&self) -> bool {
        self.tabs.len() > 0 || self.position.is_some()
    }

    /// Where whoever is told everything until now stands.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            epoch: self.epoch,
            number: self.last,
        }
    }

    /// `cursor`, and from now on whoever comes with it misses nothing, for as long as a tab may be
    /// away (protocol.md 9.8).
    pub fn position(&mut self, now: MonotonicTime) -> Cursor {
        if !self.is_active() {
            self.begin();
        }
        let floor = self.absent_floor();
        let until = now + self.settings.time;
        self.position = Some(Position { until, floor });
        self.cursor()
    }

    // ---- who is there

    /// A client has opted in. The secret by which it comes back.
    pub fn open(&mut self, client: &Newcomer<'_>) -> Secret {
        if !self.is_active() {
            self.begin();
        }
        let user = client.user.map(|user| self.begin_user(user));
        let secret = Secret::new();
        let tab = Tab {
            slot: client.slot,
            user,
            serial: 0,
            secret: secret.digest(),
            stream: Stream::from_floor(self.last),
            kind: client.kind,
            has_holes: false,
            is_unnamed: false,
        };
        self.tabs.open(client.slot, client.uuid, tab);
        secret
    }

    /// Whether the client in this slot has opted in.
    pub fn has(&self, slot: u32) -> bool {
        self.tabs.on(slot).is_some()
    }

    /// The client in this slot has chosen another name, `after`, than `before`; it may come back by
    /// either, since perhaps only somebody else knows that one.
    pub fn rename(&mut self, slot: u32, before: ClientUuid, after: &ClientUuid) {
        if let Some(number) = self.tabs.on(slot) {
            self.tabs.rename(number, before, after);
        }
    }

    /// Those of a user or session cannot come back.
    pub fn log_out(&mut self, logout: &Logout<'_>) {
        if self.tabs.away_count() > 0 {
            for number in self.tabs.log_out(logout) {
                self.remove(number);
            }
        }
    }

    // ---- messages

    /// Keeps a message to the client in this slot, and gives it its cursor; `None`: it has not opted
    /// in, or the message is no JSON object.
    pub fn keep(&mut self, slot: u32, text: &[u8], now: MonotonicTime) -> Option<KeptText> {
        let number = self.tabs.on(slot)?;
        self.add(Owner::Tab(number), 0, text, now)
    }

    /// Whether somebody of this name is away.
    pub fn is_away(&self, uuid: &str, ident: &Ident<'_>) -> bool {
        self.tabs.find_away(uuid, ident).is_some()
    }

    /// Keeps a message to somebody who is away; whether there is one.
    pub fn keep_for_away(
        &mut self,
        (uuid, ident): (&str, &Ident<'_>),
        text: &[u8],
        now: MonotonicTime,
    ) -> bool {
        let Some(number) = self.tabs.find_away(uuid, ident) else {
            return false;
        };
        self.add(Owner::Tab(number), 0, text, now).is_some()
    }

    /// Keeps a message to a user, if one of its tabs may ask for it.
    pub fn keep_for_user(
        &mut self,
        user: &str,
        text: &[u8],
        now: MonotonicTime,
    ) -> Option<KeptForUser> {
        let number = self.users.find(user).or_else(|| {
            let floor = self.position?.floor;
            Some(self.users.find_or_add(&UserId::new(user)?, floor))
        })?;
        let text = self.add(Owner::User(number), 0, text, now)?;
        let away = self.tabs.away_count_of(user);
        Some(KeptForUser { text, away })
    }

    /// Keeps a message to everybody but the client in the slot `from`.
    pub fn keep_for_all(&mut self, from: u32, text: &[u8], now: MonotonicTime) -> Option<KeptText> {
        if !self.is_active() {
            return None;
        }
        let tab = self.tabs.on(from);
        let sender = tab.and_then(|number| self.tabs.get(number));
        let sender = sender.map_or(0, |tab| tab.serial);
        let text = self.add(Owner::Everybody, sender, text, now)?;
        self.own.note(tab, self.last);
        Some(text)
    }

    pub(super) fn add(
        &mut self,
        owner: Owner,
        sender: u32,
        text: &[u8],
        now: MonotonicTime,
    ) -> Option<KeptText> {
        let cursor = Cursor {
            epoch: self.epoch,
            number: self.last + 1,
        };
        let text = with_cursor(text, cursor)?;
        self.last = cursor.number;
        let kept = Kept {
            number: cursor.number,
            at: now,
            text: text.clone(),
            sender,
        };
        self.put(owner, kept);
        self.keep_within_memory();
        Some(text)
    }

    pub(super) fn put(&mut self, owner: Owner, kept: Kept) {
        let max_messages = self.settings.max_messages;
        let Self {
            tabs,
            users,
            everybody,
            log,
            ..
        } = self;
        let Some(stream) = stream_of(owner, tabs, users, everybody) else {
            return;
        };
        log.push(stream, owner, kept);
        let has_dropped = stream.len() > max_messages;
        while stream.len() > max_messages {
            log.drop_first(stream);
        }
        if has_dropped {
            self.note_hole(owner);
        }
    }

    // ---- inside

    /// From when on nothing is missing in the stream of a user that is not there: with no position
    /// given, from now on, and whoever was told a cursor before has perhaps missed something.
    fn absent_floor(&mut self) -> u64 {
        match self.position {
            Some(position) => position.floor,
            None => self.leave_all_behind(),
        }
    }

    /// A number behind that of every cursor that was told: what had none may have been sent since,
    /// and so nobody who comes with one of those is told that nothing is missing.
    pub fn leave_all_behind(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Somebody may ask for what comes from now on, and nobody could until now.
    fn begin(&mut self) {
        self.everybody = Stream::from_floor(self.leave_all_behind());
    }

    /// A tab of this user has come.
    fn begin_user(&mut self, user: &UserId) -> NonZeroU32 {
        let number = self.users.find(user.as_str()).unwrap_or_else(|| {
            let floor = self.absent_floor();
            self.users.find_or_add(user, floor)
        });
        if let Some(user) = self.users.get_mut(number) {
            user.tab_count += 1;
        }
        number
    }

    /// If nobody can ask any more, nothing is kept.
    pub(super) fn end(&mut self) {
        if !self.is_active() {
            self.log.clear(&mut self.everybody);
        }
    }

    pub(super) fn remove(&mut self, number: TabNumber) {
        let Some(mut tab) = self.tabs.remove(number) else {
            return;
        };
        self.log.clear(&mut tab.stream);
        self.own.remove(number);
        if let Some(user) = tab.user {
            if let Some(stream) = self.users.get_mut(user) {
                stream.tab_count -= 1;
            }
            self.drop_if_idle(user);
        }
        self.end();
    }

    /// Drops the stream of a user that nobody can ask for, or in which nothing is.
    pub(super) fn drop_if_idle(&mut self, number: NonZeroU32) {
        let Some(user) = self.users.get_mut(number).filter(|u| u.tab_count == 0) else {
            return;
        };
        match &mut self.position {
            Some(_) if !user.stream.is_empty() => return,
            Some(position) => position.floor = position.floor.max(user.stream.floor()),
            None => self.log.clear(&mut user.stream),
        }
        self.users.remove(number);
    }
}

/// Somebody who has opted in.
pub struct Newcomer<'a> {
    /// Its connection.
    pub slot: u32,
    /// What it is.
    pub kind: ClientKind,
    /// Its name.
    pub uuid: &'a ClientUuid,
    /// Who it is.
    pub user: Option<&'a UserId>,
}

pub(super) fn stream_of<'a>(
    owner: Owner,
    tabs: &'a mut Tabs,
    users: &'a mut Users,
    everybody: &'a mut Stream,
) -> Option<&'a mut Stream> {
    match owner {
        Owner::Everybody => Some(everybody),
        Owner::Tab(number) => tabs.get_mut(number).map(|tab| &mut tab.stream),
        Owner::User(number) => users.get_mut(number).map(|user| &mut user.stream),
    }
}

/// A JSON object with its cursor as the last key, so that it wins over a key of that name; `None`: it
/// is no object.
fn with_cursor(text: &[u8], cursor: Cursor) -> Option<KeptText> {
    let inside = text.trim_ascii_end().strip_suffix(b"}")?;
    let is_first = inside.trim_ascii().strip_prefix(b"{")?.is_empty();
    let separator = if is_first { "" } else { "," };
    let mut tail = String::with_capacity(MAX_TAIL_LEN);
    write!(tail, r#"{separator}"cursor":"{cursor}"}}"#).ok()?;
    Some(KeptText::new(inside.trim_ascii_end(), tail.as_bytes()))
}

/// Room for what a cursor adds to a message, in bytes: two numbers of 16 digits, and 14 around them.
const MAX_TAIL_LEN: usize = 48;
