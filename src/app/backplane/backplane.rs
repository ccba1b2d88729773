//! [`Backplane`]: its parts, its door, and what is due.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::Path;
use std::time::Duration;

use super::channel::Channels;
use super::counts::Counts;
use super::envelope::{NodeReceipt, Past, Sender};
use super::freshness::Freshness;
use super::interest::Interest;
use super::moved_tab::ArrivedTab;
use super::node::NodeClaim;
use super::origins::Origins;
use super::peers::Peers;
use super::published::Published;
use super::routed::{Message, Routed, Total};
use super::settings::{BackplaneSecret, BackplaneSettings};
use super::window::Window;
use crate::app::calls::CallId;
use crate::base::{LogLimiter, MonotonicTime, random};
use crate::connection::ConnId;
use crate::registry::Gap;
use crate::upstream::{Settings, Target, Upkeep, Upstream, UpstreamId};

/// This node among others.
pub(crate) struct Backplane {
    pub(super) settings: BackplaneSettings,
    /// Longest message of anybody (`maxMessageSize`).
    max_message_bytes: usize,
    pub(super) secret: BackplaneSecret,
    pub(super) channels: Channels,
    pub(super) wall_clock: fn() -> Duration,
    pub(super) publisher: Option<UpstreamId>,
    pub(super) subscriber: Option<UpstreamId>,
    pub(super) claim: NodeClaim,
    pub(super) interest: Interest,
    pub(super) peers: Peers,
    pub(super) freshness: Freshness,
    pub(super) routed: Routed,
    /// All that is wanted is subscribed to, or has been so.
    pub(super) is_subscribed: bool,
    /// Since when clients have been here while not all that is for them was heard.
    pub(super) deaf_since: Option<MonotonicTime>,
    /// What is for this node by its number comes here.
    pub(super) is_listening: bool,
    pub(super) leaving: Leaving,
    /// While this node leaves: until when others may ask for tabs that have gone from here.
    pub(super) asked_until: Option<MonotonicTime>,
    /// All clients here.
    pub(super) clients: HashMap<ConnId, OpenClient>,
    /// Those of them who wait for what another node has kept for them.
    pub(super) claims: HashMap<ConnId, CallId>,
    /// Who waits for a channel to be heard; those who have waited.
    pub(super) awaiting: HashMap<Vec<u8>, Vec<CallId>>,
    pub(super) awaited: Vec<CallId>,
    /// Who waits for others to be reached.
    pub(super) unconnected: Vec<CallId>,
    /// Names of tabs here that other nodes answer for until they know.
    pub(super) not_yet_taken: HashSet<String>,
    pub(super) origins: Origins,
    /// What Redis has not confirmed.
    pub(super) published: HashMap<CallId, Published>,
    pub(super) published_bytes: usize,
    /// Since when all that is wanted is heard.
    pub(super) connected_at: MonotonicTime,
    /// Somebody was here before, who may have missed something.
    pub(super) had_deaf: bool,
    /// When those are looked at that have not been heard since an outage.
    pub(super) outage_check: Option<MonotonicTime>,
    /// When pages are told that something may be missing, and when they were last.
    pub(super) gap_at: Option<MonotonicTime>,
    pub(super) gap_told_at: Option<MonotonicTime>,
    /// When Redis has confirmed something, or was given something while it owed nothing.
    pub(super) progress_at: MonotonicTime,
    /// Deliveries to clients here whose receipt another node wants.
    pub(super) arrived: HashMap<CallId, (Sender, u64)>,
    pub(super) receipts: BTreeMap<Sender, Vec<NodeReceipt>>,
    pub(super) effects: VecDeque<Effect>,
    pub(super) call_count: u64,
    pub(super) sequence: u64,
    /// What of these has come back.
    pub(super) own_window: Window,
    /// Of the last that everybody was told, or should have been.
    pub(super) number: u64,
    pub(super) message_count: u64,
    /// Who this node was before, as others are told.
    pub(super) past: Past,
    pub(super) next_beat: MonotonicTime,
    pub(super) started_at: Option<MonotonicTime>,
    /// What cursors of clients here begin with.
    pub(super) streams: u64,
    pub(super) counts: Counts,
    pub(super) refusals: LogLimiter,
    pub(super) losses: LogLimiter,
    pub(super) unclaimed: LogLimiter,
}

/// A client here.
#[derive(Clone, Copy)]
pub(super) struct OpenClient {
    pub(super) opened_at: MonotonicTime,
    /// It is found by a channel of its name, since its uuid does not lead to this node.
    pub(super) is_by_name: bool,
    pub(super) place: ClientPlace,
}

/// Where a client has come in, in all that is kept and heard here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClientPlace {
    /// The number of the last message before.
    pub(super) number: u64,
    /// Origins that were noted before.
    pub(super) origin_count: u64,
}

/// What comes of it for others here.
pub(crate) enum Effect {
    /// Somebody is told what became of a message.
    Answer { asker: CallId, total: Total },
    /// Somebody is told how many tabs users have.
    Counted {
        asker: CallId,
        tabs: Vec<u64>,
        total: Total,
    },
    /// Whoever of its uuid or ident was found here gets a message, now or when it is back.
    Deliver {
        message: Box<Message>,
        call: Option<CallId>,
    },
    /// A client here is a tab that was at another node.
    TabArrived(Box<ArrivedTab>),
    /// It is not, or nobody knows.
    TabRefused { client: ConnId, gap: Gap },
    /// Something that was for clients here may be lost.
    Gap,
    /// The uuids of clients here lead to another node by now.
    NumberLost,
}

impl Backplane {
    /// This node knows nothing of others yet; `None`: there is no Redis for it.
    pub(crate) fn new(settings: &BackplaneSettings, wall_clock: fn() -> Duration) -> Option<Self> {
        settings.target.as_ref()?;
        let channels = Channels::new(&settings.prefix);
        let mut interest = Interest::default();
        interest.want(channels.everybody());
        let secret = settings.secret.clone();
        Some(Self {
            settings: settings.clone(),
            max_message_bytes: 0,
            secret: secret.unwrap_or_else(BackplaneSecret::none),
            channels,
            wall_clock,
            publisher: None,
            subscriber: None,
            claim: NodeClaim::new(),
            interest,
            peers: Peers::default(),
            freshness: Freshness::default(),
            routed: Routed::default(),
            is_subscribed: false,
            deaf_since: None,
            is_listening: false,
            leaving: Leaving::No,
            asked_until: None,
            clients: HashMap::new(),
            claims: HashMap::new(),
            awaiting: HashMap::new(),
            awaited: Vec::new(),
            unconnected: Vec::new(),
            not_yet_taken: HashSet::new(),
            origins: Origins::default(),
            published: HashMap::new(),
            published_bytes: 0,
            connected_at: MonotonicTime::START,
            had_deaf: false,
            outage_check: None,
            gap_at: None,
            gap_told_at: None,
            progress_at: MonotonicTime::START,
            arrived: HashMap::new(),
            receipts: BTreeMap::new(),
            effects: VecDeque::new(),
            call_count: first_call_count(),
            sequence: 0,
            own_window: Window::default(),
            number: 0,
            message_count: 0,
            past: Past::default(),
            next_beat: MonotonicTime::START,
            started_at: None,
            streams: 0,
            counts: Counts::default(),
            refusals: LogLimiter::default(),
            losses: LogLimiter::default(),
            unclaimed: LogLimiter::default(),
        })
    }

    /// Adds both connections to Redis: one that publishes, and one that is subscribed. `add` says by
    /// which name, for roots in this file.
    pub(crate) fn add_upstreams(
        &mut self,
        max_message_bytes: usize,
        add: &mut dyn FnMut(Upstream, Option<&Path>) -> UpstreamId,
    ) {
        let Some(target) = self.settings.target.clone() else {
            return;
        };
        self.max_message_bytes = max_message_bytes;
        let settings = upstream_settings(self.settings.max_queue_bytes, max_message_bytes);
        let roots = self.settings.roots.as_deref();
        let publisher = Upstream::new(Target::clone(&target), settings);
        self.publisher = Some(add(publisher, roots));
        self.subscriber = Some(add(Upstream::subscriber(target, settings), roots));
    }

    /// Goes by these settings from now on. Where Redis is, and what is said to it, stays.
    pub(crate) fn reload(&mut self, settings: &BackplaneSettings, max_message_bytes: usize) {
        self.max_message_bytes = max_message_bytes;
        self.settings.timeout = settings.timeout;
        self.settings.max_queue_bytes = settings.max_queue_bytes;
    }

    /// The most that may wait at each of both connections, and the longest message.
    pub(super) fn limits(
        &self,
        max_message_bytes: usize,
    ) -> impl Iterator<Item = (UpstreamId, Settings)> {
        let settings = upstream_settings(self.settings.max_queue_bytes, max_message_bytes);
        let both = self.publisher.into_iter().chain(self.subscriber);
        both.map(move |upstream| (upstream, settings))
    }

    /// Most bytes of messages that go with a tab to another node: more would not be read there.
    pub(super) fn max_moved_bytes(&self) -> usize {
        let half = self.settings.max_queue_bytes / 2;
        // The other half is for what else is in the envelope.
        half.min(self.max_message_bytes.saturating_add(ENVELOPE_BYTES / 2))
    }

    /// Whether an upstream is one of those that were added here.
    pub(crate) fn has(&self, upstream: UpstreamId) -> bool {
        [self.publisher, self.subscriber].contains(&Some(upstream))
    }

    /// These are the streams that are kept here.
    pub(crate) fn note_streams(&mut self, epoch: u64) {
        self.streams = epoch;
    }

    /// Whether another node keeps these streams, or has done so.
    pub(crate) fn has_peer_of_streams(&self, epoch: u64) -> bool {
        self.peers.has_streams(epoch)
    }

    /// Whether others can be asked and can answer.
    pub(crate) fn is_connected(&self) -> bool {
        self.is_subscribed && self.is_listening
    }

    /// The next thing that comes of it for others here.
    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    pub(super) fn add_effect(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// Bytes of memory held.
    pub(crate) fn held_bytes(&self) -> usize {
        let clients = self.clients.len() * size_of::<(ConnId, OpenClient)>();
        self.interest.held_bytes()
            + self.peers.held_bytes()
            + self.freshness.held_bytes()
            + self.routed.held_bytes()
            + self.published_bytes
            + self.origins.held_bytes()
            + clients
    }

    /// Since the start.
    pub(super) fn uptime(&self, now: MonotonicTime) -> Duration {
        now - self.started_at.unwrap_or(now)
    }

    /// Number of channels.
    pub(super) fn channel_count(&self) -> usize {
        self.interest.len()
    }

    /// One that is not connected yet.
    #[cfg(test)]
    pub(super) fn for_test() -> Self {
        let settings = BackplaneSettings {
            target: Target::redis("unix:/redis.sock").ok(),
            secret: BackplaneSecret::new(&[7; 32]),
            ..BackplaneSettings::default()
        };
        let backplane = Self::new(&settings, || Duration::from_secs(1_800_000_000));
        backplane.expect("it has a target and a secret")
    }

    /// Number of clients here.
    pub(super) fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// Whether something that was said here is on its way still, and needs this process for it.
    pub(crate) fn has_under_way(&self) -> bool {
        self.published
            .values()
            .any(|published| published.is_message)
            || self.routed.has_messages()
    }

    /// The same of what will have arrived soon, as Redis takes it.
    pub(crate) fn will_have_arrived(&self, now: MonotonicTime) -> bool {
        let until = self.progress_at + self.settings.timeout;
        self.is_connected() && self.has_under_way() && (self.published.is_empty() || now < until)
    }

    /// Until when whoever has much to send had better wait: as much is on its way to Redis as fits.
    /// `None`: there is room, or no use in waiting.
    pub(crate) fn congested_until(&self, now: MonotonicTime) -> Option<MonotonicTime> {
        let is_full = self.published_bytes > self.settings.max_queue_bytes / 2
            || self.published.len() >= MAX_UNCONFIRMED
            || self.routed.len() >= MAX_UNANSWERED;
        let until = self.progress_at + self.settings.timeout;
        (is_full && self.is_connected() && now < until).then_some(until)
    }

    /// By the clock on the wall, for those who remember nothing of us.
    pub(super) fn wall_clock_seconds(&self) -> u64 {
        (self.wall_clock)().as_secs()
    }
}

/// Whether a node is about to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It is.
    Yes,
    /// Another process goes on as this node: this one only ends what it has begun.
    Replaced,
    /// It is not.
    No,
}

fn upstream_settings(max_queue_bytes: usize, max_message_bytes: usize) -> Settings {
    let longest = max_message_bytes.saturating_add(ENVELOPE_BYTES);
    Settings {
        // How much waits is seen to here, where it is known what is lost by it.
        max_pipelined_calls: MAX_CALLS,
        max_queued_calls: MAX_CALLS,
        max_queued_bytes: max_queue_bytes.saturating_mul(2).saturating_add(longest),
        max_message_bytes: longest,
        max_backoff: Duration::from_secs(1),
        upkeep: Upkeep::Always,
        ..Settings::redis()
    }
}

/// Another one for each process, so that no two servers have one number for two questions.
fn first_call_count() -> u64 {
    let mut bytes = [0; 8];
    random::fill(&mut bytes);
    // Twice as many are left as there are.
    u64::from_be_bytes(bytes) >> 2
}

/// Calls of this module are told apart from those of requests, which count from 1.
pub(super) const FIRST_CALL: u64 = 1 << 63;

/// Most envelopes that Redis has not confirmed, and most messages whose receipts are awaited, before
/// a batch waits: what is at its end would else be late without any fault of others.
const MAX_UNCONFIRMED: usize = 256;
pub(super) const MAX_UNANSWERED: usize = 1024;

/// Most envelopes that wait for Redis or its answer: bytes are bounded before.
const MAX_CALLS: usize = 1 << 20;

/// What an envelope adds to a message, its channel and the syntax of Redis included.
const ENVELOPE_BYTES: usize = 64 << 10;
