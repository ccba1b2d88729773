//! [`Backplane`]: its parts, its door, and what is due.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use log::{info, warn};

use super::channel::{Channels, node_of, with_node};
use super::counts::Counts;
use super::envelope::{Body, Envelope, Found, Heartbeat, NodeReceipt, Sender};
use super::interest::Interest;
use super::node::{Change, NodeClaim};
use super::peers::{Hole, PEER_TIMEOUT, Peers, Verdict, micros};
use super::published::Published;
use super::routed::{Message, Routed, Total};
use super::settings::{BackplaneSecret, BackplaneSettings};
use crate::app::calls::{CallId, Receipt};
use crate::app::commands::Commands;
use crate::base::{LogLimiter, MonotonicTime};
use crate::connection::ConnId;
use crate::protocol::packet::Ident;
use crate::registry::{ClientKind, ClientUuid, Clients};
use crate::upstream::redis::{SubscriberEvent, Value};
use crate::upstream::{Answer, Settings, Target, Upkeep, Upstream, UpstreamId};

/// This node among others.
pub(crate) struct Backplane {
    pub(super) settings: BackplaneSettings,
    pub(super) secret: BackplaneSecret,
    pub(super) channels: Channels,
    wall_clock: fn() -> Duration,
    pub(super) publisher: Option<UpstreamId>,
    subscriber: Option<UpstreamId>,
    pub(super) claim: NodeClaim,
    interest: Interest,
    pub(super) peers: Peers,
    pub(super) routed: Routed,
    /// All that is wanted is subscribed to, or has been so.
    is_subscribed: bool,
    /// What is for this node by its number comes here.
    is_listening: bool,
    leaving: Leaving,
    /// All clients here.
    clients: HashMap<ConnId, OpenClient>,
    /// What Redis has not confirmed.
    pub(super) published: HashMap<CallId, Published>,
    pub(super) published_bytes: usize,
    /// Since when all that is wanted is heard.
    connected_at: MonotonicTime,
    /// When those are looked at that have not been heard since an outage.
    outage_check: Option<MonotonicTime>,
    /// When pages are told that something may be missing, and when they were last.
    gap_at: Option<MonotonicTime>,
    gap_told_at: Option<MonotonicTime>,
    /// When Redis has confirmed something, or was given something while it owed nothing.
    pub(super) progress_at: MonotonicTime,
    /// Deliveries to clients here whose receipt another node wants.
    arrived: HashMap<CallId, (Sender, u64)>,
    receipts: BTreeMap<Sender, Vec<NodeReceipt>>,
    effects: VecDeque<Effect>,
    pub(super) call_count: u64,
    pub(super) sequence: u64,
    /// Of the last that everybody was told, or should have been.
    pub(super) number: u64,
    pub(super) message_count: u64,
    next_beat: MonotonicTime,
    started_at: Option<MonotonicTime>,
    pub(super) counts: Counts,
    pub(super) refusals: LogLimiter,
    pub(super) losses: LogLimiter,
    unclaimed: LogLimiter,
}

/// A client here.
#[derive(Clone, Copy)]
struct OpenClient {
    opened_at: MonotonicTime,
    /// It is found by a channel of its name, since its uuid does not lead to this node.
    is_by_name: bool,
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
    /// A client here gets a message.
    Deliver {
        client: ConnId,
        text: String,
        call: Option<CallId>,
    },
    /// A message is kept for whoever of its uuid or ident is away.
    Keep {
        message: Box<Message>,
        call: Option<CallId>,
    },
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
        if secret.is_none() {
            warn!("{NO_SECRET}");
        }
        Some(Self {
            settings: settings.clone(),
            secret: secret.unwrap_or_else(BackplaneSecret::none),
            channels,
            wall_clock,
            publisher: None,
            subscriber: None,
            claim: NodeClaim::new(),
            interest,
            peers: Peers::default(),
            routed: Routed::default(),
            is_subscribed: false,
            is_listening: false,
            leaving: Leaving::No,
            clients: HashMap::new(),
            published: HashMap::new(),
            published_bytes: 0,
            connected_at: MonotonicTime::START,
            outage_check: None,
            gap_at: None,
            gap_told_at: None,
            progress_at: MonotonicTime::START,
            arrived: HashMap::new(),
            receipts: BTreeMap::new(),
            effects: VecDeque::new(),
            call_count: 0,
            sequence: 0,
            number: 0,
            message_count: 0,
            next_beat: MonotonicTime::START,
            started_at: None,
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
        let settings = upstream_settings(self.settings.max_queue_bytes, max_message_bytes);
        let roots = self.settings.roots.as_deref();
        let publisher = Upstream::new(Target::clone(&target), settings);
        self.publisher = Some(add(publisher, roots));
        self.subscriber = Some(add(Upstream::subscriber(target, settings), roots));
    }

    /// Goes by these settings from now on. Where Redis is, and what is said to it, stays.
    pub(crate) fn reload(&mut self, settings: &BackplaneSettings) {
        self.settings.timeout = settings.timeout;
        self.settings.max_queue_bytes = settings.max_queue_bytes;
    }

    /// Whether an upstream is one of those that were added here.
    pub(crate) fn has(&self, upstream: UpstreamId) -> bool {
        [self.publisher, self.subscriber].contains(&Some(upstream))
    }

    /// Whether others can be asked and can answer.
    pub(super) fn is_connected(&self) -> bool {
        self.is_subscribed && self.is_listening
    }

    // ---- clients here

    /// The uuid of a newcomer: it says where the client is.
    pub(crate) fn stamp(&self, uuid: u128, now: MonotonicTime) -> u128 {
        with_node(uuid, self.claim.number_for_newcomers(now))
    }

    /// A client has come, or has opened before and comes from another process.
    pub(crate) fn enter(&mut self, id: ConnId, clients: &Clients, opened_at: MonotonicTime) {
        let uuid = clients.uuid(id);
        let is_web = clients.kind(id) == Some(ClientKind::Web);
        let uuid = uuid.filter(|uuid| is_web && !self.leads_here(uuid));
        let client = OpenClient {
            opened_at,
            is_by_name: uuid.is_some(),
        };
        self.clients.insert(id, client);
        let name = uuid.map(|uuid| self.channels.of_name(&uuid.to_string()));
        let channels = name.into_iter().chain(self.channels_of(id, clients));
        channels.for_each(|channel| self.interest.want(channel));
    }

    /// A client goes, of whom the registry still knows; until then it may come back.
    pub(crate) fn leave(&mut self, id: ConnId, clients: &Clients, until: MonotonicTime) {
        let Some(client) = self.clients.remove(&id) else {
            return;
        };
        let uuid = clients.uuid(id).filter(|_| client.is_by_name);
        let name = uuid.map(|uuid| self.channels.of_name(&uuid.to_string()));
        let channels = name.into_iter().chain(self.channels_of(id, clients));
        channels.for_each(|channel| self.interest.give_back(&channel, until));
    }

    /// Whether all that others say to this user is heard.
    pub(crate) fn hears_user(&self, user: &str) -> bool {
        self.is_connected() && self.interest.has(&self.channels.of_user(user))
    }

    /// A client has another uuid than before.
    pub(crate) fn rename(
        &mut self,
        id: ConnId,
        (before, after): (&ClientUuid, &ClientUuid),
        now: MonotonicTime,
    ) {
        let is_by_name = !self.leads_here(after);
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        if is_by_name {
            self.interest
                .want(self.channels.of_name(&after.to_string()));
        }
        if std::mem::replace(&mut client.is_by_name, is_by_name) {
            let name = self.channels.of_name(&before.to_string());
            self.interest.give_back(&name, now);
        }
    }

    /// The number has changed: whoever has a uuid of the old one is to be found by name.
    pub(crate) fn find_by_name(&mut self, clients: &Clients) {
        let number = self.claim.number();
        for (id, client) in &mut self.clients {
            let is_web = clients.kind(*id) == Some(ClientKind::Web);
            if let Some(uuid) = clients.uuid(*id).filter(|_| is_web && !client.is_by_name)
                && !leads_to(&uuid, number)
            {
                client.is_by_name = true;
                self.interest.want(self.channels.of_name(&uuid.to_string()));
            }
        }
    }

    /// This node has the number that its clients' uuids name.
    pub(super) fn find_by_number(&mut self, clients: &Clients, now: MonotonicTime) {
        let number = self.claim.number();
        for (id, client) in &mut self.clients {
            if let Some(uuid) = clients.uuid(*id).filter(|_| client.is_by_name)
                && leads_to(&uuid, number)
            {
                client.is_by_name = false;
                let name = self.channels.of_name(&uuid.to_string());
                self.interest.give_back(&name, now);
            }
        }
    }

    /// What is for this node by its number is to come here.
    pub(super) fn begin_to_listen(&mut self) {
        let number = self.claim.number();
        self.interest.want(self.channels.of_node(number));
    }

    pub(super) fn opened_at(&self, id: ConnId) -> Option<MonotonicTime> {
        self.clients.get(&id).map(|client| client.opened_at)
    }

    fn channels_of(&self, id: ConnId, clients: &Clients) -> impl Iterator<Item = Vec<u8>> + use<> {
        let ident = match clients.ident(id) {
            "" => Ident::None,
            ident => Ident::Text(ident.into()),
        };
        let user = clients.user(id);
        let user = user.map(|user| self.channels.of_user(user));
        user.into_iter().chain(self.channels.of_ident(&ident))
    }

    /// Whether this uuid says that its client is here.
    fn leads_here(&self, uuid: &ClientUuid) -> bool {
        leads_to(uuid, self.claim.number())
    }

    /// A client here as others are told of it.
    pub(super) fn found(&self, client: ConnId, now: MonotonicTime) -> Found {
        Found {
            client,
            opened_at: micros(self.opened_at(client).unwrap_or(now)),
        }
    }

    // ---- what Redis says

    /// The subscriber has told something; a message is to be [opened](Self::open).
    pub(crate) fn handle_subscriber(
        &mut self,
        event: SubscriberEvent,
        now: MonotonicTime,
    ) -> Option<(Vec<u8>, Vec<u8>)> {
        match event {
            SubscriberEvent::Message { channel, payload } => return Some((channel, payload)),
            SubscriberEvent::Subscribed { channel } => {
                let number = self.claim.number();
                if number != 0 && channel == self.channels.of_node(number) {
                    self.is_listening = true;
                    self.next_beat = now;
                }
            }
            SubscriberEvent::Ready => {
                if !std::mem::replace(&mut self.is_subscribed, true) {
                    info!("backplane: subscribed to {} channels", self.interest.len());
                    self.claim.ask_soon(now);
                    self.connected_at = now;
                    self.outage_check = Some(now + PEER_TIMEOUT);
                    self.next_beat = now;
                }
            }
            SubscriberEvent::Lost => {
                warn!("backplane: Redis is away, other servers are not reached");
                self.is_subscribed = false;
                self.is_listening = false;
                self.counts.outages += 1;
                self.peers.note_outage();
            }
        }
        None
    }

    /// The envelope of a message, if it is one that counts.
    pub(super) fn open<'a>(
        &mut self,
        channel: &[u8],
        payload: &'a [u8],
        now: MonotonicTime,
        commands: &mut Commands,
    ) -> Option<Envelope<'a>> {
        let Ok(envelope) = Envelope::open(payload, channel, &self.secret) else {
            self.counts.forged += 1;
            self.refuse("not signed by backplaneSecret, or of another version", now);
            return None;
        };
        if self.claim.is_own(envelope.sender) {
            self.note_own(&envelope.body, now, commands);
            return None;
        }
        let wall_clock = (self.wall_clock)().as_secs();
        match self.peers.judge(&envelope, wall_clock, now) {
            verdict @ (Verdict::New | Verdict::First) => {
                if verdict == Verdict::First {
                    // It learns of us, though not of all at the same moment.
                    let soon = Duration::from_millis(u64::from(self.claim.number() % 128));
                    self.next_beat = self.next_beat.min(now + soon);
                }
                self.counts.received += 1;
                Some(envelope)
            }
            Verdict::Repeated => {
                self.counts.repeated += 1;
                self.refuse("heard before", now);
                None
            }
            Verdict::Untimely => {
                self.counts.untimely += 1;
                self.refuse("sent at another time: check the servers' clocks", now);
                None
            }
        }
    }

    fn refuse(&mut self, why: &str, now: MonotonicTime) {
        if let Some(count) = self.refusals.count(now) {
            warn!("backplane: {count} envelopes refused, the last one: {why}");
        }
    }

    /// What this node has published has come back.
    fn note_own(&mut self, body: &Body<'_>, now: MonotonicTime, commands: &mut Commands) {
        let call = body.call();
        if call != 0
            && let Some(routed) = self.routed.get_mut(CallId(call))
        {
            routed.own_count += 1;
            self.settle(CallId(call), now, commands);
        }
    }

    /// Redis has answered the publisher.
    pub(crate) fn handle_answer(
        &mut self,
        answer: Answer,
        now: MonotonicTime,
        commands: &mut Commands,
    ) {
        let call = answer.call;
        let values = answer.into_redis();
        let known = values.as_deref().ok();
        match self.claim.handle_answer(call, known, now) {
            Some(change) => {
                let error = known.and_then(|values| values.iter().find_map(Value::as_error));
                if let Some(error) = error
                    && let Some(count) = self.unclaimed.count(now)
                {
                    warn!("backplane: no node number was given ({count} times): {error}");
                }
                self.note_number(change, now);
            }
            None => {
                let reached = match &values {
                    Ok(values) => reached_count(values),
                    Err(error) => Err(error.to_string()),
                };
                self.note_published(call, reached, now, commands);
            }
        }
    }

    fn note_number(&mut self, change: Change, now: MonotonicTime) {
        match change {
            Change::None => {}
            Change::Claimed => {
                let number = self.claim.number();
                info!("backplane: this is node {number}");
                self.begin_to_listen();
            }
            Change::Lost(number) => {
                warn!("backplane: node {number} is another server by now: a new number is taken");
                let channel = self.channels.of_node(number);
                self.interest.give_back(&channel, now);
                self.is_listening = false;
                // A sender of its own, whose numbers begin anew.
                (self.sequence, self.number, self.message_count) = (0, 0, 0);
                self.effects.push_back(Effect::NumberLost);
            }
        }
    }

    // ---- deliveries here that others have asked for

    /// A delivery to clients here, of which another node wants a receipt.
    pub(super) fn expect(&mut self, sender: Sender, call: u64) -> Option<CallId> {
        if call == 0 {
            return None;
        }
        let id = self.next_call();
        self.arrived.insert(id, (sender, call));
        Some(id)
    }

    /// Another node is told what became of its message.
    pub(super) fn give_receipt(&mut self, id: Option<CallId>, receipt: NodeReceipt) {
        if let Some((sender, call)) = id.and_then(|id| self.arrived.remove(&id)) {
            let receipts = self.receipts.entry(sender).or_default();
            receipts.push(NodeReceipt { call, ..receipt });
        }
    }

    /// What became of a message at clients here; whether it was one of those sent by this.
    pub(crate) fn handle_delivered(
        &mut self,
        call: CallId,
        receipt: Receipt,
        now: MonotonicTime,
        commands: &mut Commands,
    ) -> bool {
        let Receipt { queued, full, kept } = receipt;
        if self.arrived.contains_key(&call) {
            let receipt = NodeReceipt {
                queued: queued as u64,
                full: full as u64,
                kept: kept as u64,
                ..NodeReceipt::default()
            };
            self.give_receipt(Some(call), receipt);
            return true;
        }
        let Some(routed) = self.routed.get_mut(call) else {
            return call.0 >= FIRST_CALL;
        };
        routed.awaits_local = false;
        routed.receipt.add(receipt);
        self.settle(call, now, commands);
        true
    }

    /// A peer has told how far it is.
    pub(super) fn note_beat(&mut self, sender: Sender, beat: Heartbeat, now: MonotonicTime) {
        let connected = now - self.connected_at;
        if self.peers.note_beat(sender, beat, connected) == Hole::Some {
            self.note_gap(now);
        }
    }

    /// Something of others may be missing here: pages are told, once for all that comes up in a
    /// second.
    pub(super) fn note_gap(&mut self, now: MonotonicTime) {
        let next = self
            .gap_told_at
            .map_or(now, |told| now.max(told + GAP_PAUSE));
        self.gap_at.get_or_insert(next);
    }

    fn tell_gaps(&mut self, now: MonotonicTime) {
        if self.outage_check.take_if(|at| *at <= now).is_some() && self.peers.forget_unheard() {
            self.note_gap(now);
        }
        if self.gap_at.take_if(|at| *at <= now).is_some() {
            self.gap_told_at = Some(now);
            self.counts.gaps += 1;
            self.effects.push_back(Effect::Gap);
        }
    }

    // ---- time

    /// Does what is due at `now`; harmless if nothing is.
    pub(crate) fn handle_timeout(&mut self, now: MonotonicTime, commands: &mut Commands) {
        self.started_at.get_or_insert(now);
        self.change_subscriptions(now, commands);
        let call = CallId(FIRST_CALL + self.call_count + 1);
        if let Some(request) = self.claim.next_question(&self.channels, call, now) {
            self.call_count += 1;
            self.ask(call, request, now, commands);
        }
        while let Some((id, call)) = self.routed.take_late(now) {
            self.counts.late += 1;
            self.go_on(id, call, now, commands);
        }
        if self.is_connected() && self.next_beat <= now {
            self.next_beat = now + HEARTBEAT;
            self.beat(now, commands);
        }
        self.tell_gaps(now);
        for (sender, receipts) in std::mem::take(&mut self.receipts) {
            self.publish_receipts(sender, receipts, now, commands);
        }
    }

    fn change_subscriptions(&mut self, now: MonotonicTime, commands: &mut Commands) {
        let (Some(subscriber), changes) = (self.subscriber, self.interest.take_changes(now)) else {
            return;
        };
        if !changes.subscribe.is_empty() {
            commands.subscribe(subscriber, changes.subscribe);
        }
        if !changes.unsubscribe.is_empty() {
            commands.unsubscribe(subscriber, changes.unsubscribe);
        }
    }

    /// This node is about to go: others are told.
    pub(crate) fn leave_others(&mut self, now: MonotonicTime) {
        self.leaving = Leaving::Yes;
        self.next_beat = now;
    }

    fn beat(&mut self, now: MonotonicTime, commands: &mut Commands) {
        let body = Body::Heartbeat(Heartbeat {
            number: self.number,
            message_count: self.message_count,
            client_count: self.clients.len() as u64,
            uptime_seconds: self.uptime(now).as_secs(),
            is_leaving: self.leaving == Leaving::Yes,
        });
        self.publish_quietly(self.channels.everybody(), body, now, commands);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<MonotonicTime> {
        if !self.receipts.is_empty() || !self.effects.is_empty() {
            return Some(MonotonicTime::START);
        }
        let beat = self.is_connected().then_some(self.next_beat);
        let parts = [
            beat,
            self.interest.next_deadline(),
            self.claim.next_deadline(),
            self.routed.next_deadline(),
            self.outage_check,
            self.gap_at,
        ];
        parts.into_iter().flatten().min()
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
            + self.routed.held_bytes()
            + self.published_bytes
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

    /// Number of clients here.
    pub(super) fn client_count(&self) -> usize {
        self.clients.len()
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
    /// It is not.
    No,
}

/// How many have got what was published.
fn reached_count(values: &[Value]) -> Result<usize, String> {
    let value = values.first();
    if let Some(kind) = value.and_then(Value::as_error) {
        return Err(kind.to_string());
    }
    let count = value.and_then(Value::as_integer);
    let count = count.and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| "the answer is none to PUBLISH".to_owned())
}

fn leads_to(uuid: &ClientUuid, number: u16) -> bool {
    match uuid {
        ClientUuid::Standard(bits) => number != 0 && node_of(*bits) == number,
        ClientUuid::Chosen(_) => false,
    }
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

/// Calls of this module are told apart from those of requests, which count from 1.
pub(super) const FIRST_CALL: u64 = 1 << 63;

/// Most envelopes that Redis has not confirmed, and most messages whose receipts are awaited, before
/// a batch waits: what is at its end would else be late without any fault of others.
const MAX_UNCONFIRMED: usize = 256;
const MAX_UNANSWERED: usize = 1024;

/// Between two times that pages are told that something may be missing.
const GAP_PAUSE: Duration = Duration::from_secs(1);

/// Between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Most envelopes that wait for Redis or its answer: bytes are bounded before.
const MAX_CALLS: usize = 1 << 20;

/// What an envelope adds to a message, its channel and the syntax of Redis included.
const ENVELOPE_BYTES: usize = 64 << 10;

const NO_SECRET: &str = "backplaneSecret is not set: whoever may publish in that Redis can send to \
    all pages; set the same secret at all servers";
