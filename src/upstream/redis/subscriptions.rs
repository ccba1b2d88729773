//! [`Subscriptions`]: the channels that are wanted, what the other end knows of that, and what has
//! come. They outlive the connection, which is told all of them anew.

use std::collections::{BTreeMap, VecDeque};

use super::super::error::CallError;
use crate::protocol::redis::encode_command;

/// What has happened at a subscriber, in the order in which it has.
#[derive(Clone, PartialEq, Eq)]
pub enum SubscriberEvent {
    /// Somebody has published this.
    Message {
        /// Where.
        channel: Vec<u8>,
        /// What.
        payload: Vec<u8>,
    },
    /// Somebody has published what is longer than [`max_message_bytes`](crate::upstream::Settings): it
    /// was read over.
    Skipped,
    /// From here on nothing that is published there is missed, until [`Lost`](Self::Lost). It comes
    /// once for each channel after each new connection.
    Subscribed {
        /// The channel.
        channel: Vec<u8>,
    },
    /// All that is wanted is subscribed to, and nothing else. It comes again after each change.
    Ready,
    /// The connection is lost, with whatever is published until `Subscribed` comes. It comes once, also
    /// if other connections are lost before anything has come from them.
    Lost,
}

/// The channels.
#[derive(Debug, Default)]
pub(in super::super) struct Subscriptions {
    channels: BTreeMap<Box<[u8]>, Channel>,
    /// Those that the other end has to be told of. Each is here once at most.
    changed: VecDeque<Box<[u8]>>,
    unconfirmed_count: usize,
    is_connected: bool,
    /// Something has come from this connection.
    has_told: bool,
    events: VecDeque<SubscriberEvent>,
}

/// One that is wanted, or that the other end may still think so of.
#[derive(Clone, Copy, Debug)]
struct Channel {
    is_wanted: bool,
    /// What the other end has been told last.
    is_told: bool,
    /// It was given back, of which the other end has not been told. Whoever wants it again is to hear
    /// once more from when on nothing is missed.
    is_wanted_again: bool,
    is_in_changed: bool,
}

/// What the other end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Subscribe,
    Unsubscribe,
}

impl Subscriptions {
    /// Wants a channel; whether there is room for it.
    pub(in super::super) fn add(
        &mut self,
        name: &[u8],
        max_channels: usize,
    ) -> Result<(), CallError> {
        let is_full = self.channels.len() >= max_channels;
        match self.channels.get_mut(name) {
            Some(channel) => {
                channel.is_wanted_again |= !channel.is_wanted && channel.is_told;
                channel.is_wanted = true;
            }
            None if is_full => return Err(CallError::QueueFull),
            None => {
                let channel = Channel {
                    is_wanted: true,
                    is_told: false,
                    is_wanted_again: false,
                    is_in_changed: false,
                };
                self.channels.insert(name.into(), channel);
            }
        }
        self.note_change(name);
        Ok(())
    }

    /// Does not want a channel any more.
    pub(in super::super) fn remove(&mut self, name: &[u8]) {
        if let Some(channel) = self.channels.get_mut(name) {
            channel.is_wanted = false;
            match channel.is_told || channel.is_in_changed {
                true => self.note_change(name),
                false => drop(self.channels.remove(name)),
            }
        }
    }

    fn note_change(&mut self, name: &[u8]) {
        if let Some(channel) = self.channels.get_mut(name)
            && self.is_connected
            && channel.is_wanted != channel.is_told
            && !std::mem::replace(&mut channel.is_in_changed, true)
        {
            self.changed.push_back(name.into());
        }
    }

    /// A connection stands, whose other end knows nothing yet.
    pub(in super::super) fn handle_connected(&mut self) {
        self.is_connected = true;
        self.unconfirmed_count = 0;
        self.changed = self.channels.keys().cloned().collect();
        for channel in self.channels.values_mut() {
            channel.is_told = false;
            channel.is_wanted_again = false;
            channel.is_in_changed = true;
        }
        if self.changed.is_empty() {
            self.tell(SubscriberEvent::Ready);
        }
    }

    /// The connection is lost.
    pub(in super::super) fn handle_lost(&mut self) {
        self.is_connected = false;
        self.changed = VecDeque::new();
        self.unconfirmed_count = 0;
        self.channels.retain(|_, channel| channel.is_wanted);
        for channel in self.channels.values_mut() {
            channel.is_told = false;
            channel.is_in_changed = false;
        }
        if std::mem::take(&mut self.has_told) {
            self.events.push_back(SubscriberEvent::Lost);
        }
    }

    fn tell(&mut self, event: SubscriberEvent) {
        self.has_told = true;
        self.events.push_back(event);
    }

    /// Writes what the other end has to be told, as far as that is not too much at once.
    pub(super) fn write_changes(&mut self, output: &mut Vec<u8>) {
        let has_changes = !self.changed.is_empty();
        while self.unconfirmed_count < MAX_UNCONFIRMED {
            let Some((change, batch)) = self.next_batch() else {
                // All that was left has been given back before it was told.
                if has_changes && self.unconfirmed_count == 0 {
                    self.tell(SubscriberEvent::Ready);
                }
                return;
            };
            self.unconfirmed_count += batch.len();
            let parts: Vec<&[u8]> = std::iter::once(change.command())
                .chain(batch.iter().map(|name| &**name))
                .collect();
            encode_command(&parts, output);
        }
    }

    /// The next channels of which the same is to be told.
    fn next_batch(&mut self) -> Option<(Change, Vec<Box<[u8]>>)> {
        let mut batch = Vec::new();
        let mut of_batch = None;
        while batch.len() < MAX_BATCH
            && let Some(name) = self.changed.front()
        {
            let channel = self.channels.get_mut(name);
            let change = match channel.as_ref().map(|c| (c.is_wanted, c.is_known())) {
                Some((true, false)) => Some(Change::Subscribe),
                Some((false, true)) => Some(Change::Unsubscribe),
                Some((true, true) | (false, false)) | None => None,
            };
            if change.is_some() && of_batch.is_some() && of_batch != change {
                break;
            }
            let name = self.changed.pop_front()?;
            if let Some(channel) = channel {
                channel.is_in_changed = false;
                channel.is_wanted_again = false;
                channel.is_told = channel.is_wanted;
                if !channel.is_wanted {
                    self.channels.remove(&name);
                }
            }
            if change.is_some() {
                of_batch = change;
                batch.push(name);
            }
        }
        of_batch.map(|change| (change, batch))
    }

    /// The other end has confirmed one of the changes; `Err`: it was told none.
    pub(super) fn handle_confirmed(&mut self, subscribed: Option<Vec<u8>>) -> Result<(), ()> {
        self.unconfirmed_count = self.unconfirmed_count.checked_sub(1).ok_or(())?;
        if let Some(channel) = subscribed {
            self.tell(SubscriberEvent::Subscribed { channel });
        }
        if self.unconfirmed_count == 0 && self.changed.is_empty() {
            self.tell(SubscriberEvent::Ready);
        }
        Ok(())
    }

    pub(super) fn handle_message(&mut self, channel: Vec<u8>, payload: Vec<u8>) {
        self.tell(SubscriberEvent::Message { channel, payload });
    }

    pub(super) fn handle_skipped(&mut self) {
        self.tell(SubscriberEvent::Skipped);
    }

    /// The next thing that has happened.
    pub(in super::super) fn next_event(&mut self) -> Option<SubscriberEvent> {
        self.events.pop_front()
    }

    /// Changes that have not been confirmed, or not been told.
    pub(super) fn open_count(&self) -> usize {
        self.unconfirmed_count + self.changed.len()
    }

    /// Changes that have been told and not been confirmed.
    pub(super) fn unconfirmed_count(&self) -> usize {
        self.unconfirmed_count
    }

    /// Channels, those included that the other end has not been told to forget.
    pub(in super::super) fn len(&self) -> usize {
        self.channels.len()
    }

    /// Whether all that is wanted is subscribed to.
    pub(in super::super) fn is_ready(&self) -> bool {
        self.is_connected && self.open_count() == 0
    }
}

impl Channel {
    /// Whether the other end has been told last what it is to be told.
    fn is_known(self) -> bool {
        self.is_told && !(self.is_wanted && self.is_wanted_again)
    }
}

impl Change {
    fn command(self) -> &'static [u8] {
        match self {
            Self::Subscribe => b"SUBSCRIBE",
            Self::Unsubscribe => b"UNSUBSCRIBE",
        }
    }
}

/// Of what was published only the length.
impl std::fmt::Debug for SubscriberEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Message { payload, .. } => write!(f, "Message({} bytes)", payload.len()),
            Self::Subscribed { .. } => f.write_str("Subscribed"),
            Self::Ready => f.write_str("Ready"),
            Self::Skipped => f.write_str("Skipped"),
            Self::Lost => f.write_str("Lost"),
        }
    }
}

/// Channels of one command: Redis answers each, and serves nobody else
/// meanwhile.
const MAX_BATCH: usize = 512;

/// Most changes that wait to be confirmed, before one batch more.
const MAX_UNCONFIRMED: usize = 8 * MAX_BATCH;
