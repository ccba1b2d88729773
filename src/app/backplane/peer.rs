//! [`Peer`]: what is known of one other node.

use std::time::Duration;

use super::clock::ClockOffset;
use super::envelope::{Heartbeat, Sender};
use super::window::Window;
use crate::base::{BadRecord, MonotonicTime, Record, RecordWriter};

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) node: u16,
    pub(super) standing: Standing,
    pub(super) window: Window,
    /// When it was last asked for a proof, and when it was last given one.
    pub(super) asked_at: Option<MonotonicTime>,
    pub(super) answered_at: Option<MonotonicTime>,
    /// The highest number of what it has told everybody; `None`: it is not known yet.
    pub(super) number: Option<u64>,
    pub(super) beat: Heartbeat,
    /// Messages of it that have come since `beat`.
    pub(super) heard_count: u64,
    /// This node was cut off since `beat`.
    pub(super) has_outage: bool,
    pub(super) has_beaten: bool,
    pub(super) created_at: MonotonicTime,
    /// When something of it has last counted.
    pub(super) last_heard: Option<MonotonicTime>,
    pub(super) has_left: bool,
    pub(super) clock: ClockOffset,
    /// When it has sent what has counted last, by its clock.
    pub(super) sent_last: u64,
}

/// Whether what comes from a peer is of now: a signature does not say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has never been seen to live: it may be a record of one that has.
    Unknown,
    /// It has, but not since this node is connected as it is now.
    Lapsed,
    /// It has answered this node's challenge. What it has sent before this time by its own clock, in
    /// microseconds, does not count any more.
    Proven { floor: u64 },
}

/// Whether something of a peer has not arrived here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hole {
    /// As far as is known everything has.
    None,
    /// Something is missing, or may be.
    Some,
}

impl Peer {
    pub(super) fn new(now: MonotonicTime) -> Self {
        Self {
            node: 0,
            standing: Standing::Unknown,
            window: Window::default(),
            asked_at: None,
            answered_at: None,
            number: None,
            beat: Heartbeat::default(),
            heard_count: 0,
            has_outage: false,
            has_beaten: false,
            created_at: now,
            last_heard: None,
            has_left: false,
            clock: ClockOffset::new(now),
            sent_last: 0,
        }
    }

    pub(super) fn sender(&self, epoch: u64) -> Sender {
        let node = self.node;
        Sender { node, epoch }
    }

    pub(super) fn last_seen(&self) -> MonotonicTime {
        self.last_heard.unwrap_or(self.created_at)
    }

    /// Whether it may have sent something just now: whoever has been silent for long has not. One
    /// that leaves goes on until it ends.
    pub(super) fn may_have_sent(&self, now: MonotonicTime) -> bool {
        let time = match self.has_left {
            true => LEAVER_TIMEOUT,
            false => PEER_TIMEOUT * 2,
        };
        self.last_heard.is_some_and(|heard| now - heard < time)
    }

    /// Messages of it, as far as they are known.
    pub(super) fn message_count(&self) -> u64 {
        // It says what it likes.
        self.beat.message_count.saturating_add(self.heard_count)
    }

    /// `number` is the last that it has told everybody; `count` of these come with it.
    pub(super) fn note_number(&mut self, number: u64, count: u64) -> Hole {
        let expected = self.number.map(|before| before.saturating_add(count));
        self.number = Some(self.number.map_or(number, |before| before.max(number)));
        match expected.is_some_and(|expected| number > expected) {
            true => Hole::Some,
            false => Hole::None,
        }
    }

    /// How far it is, for [`take_over`](Self::take_over).
    pub(super) fn hand_over(&self, epoch: u64) -> Vec<u8> {
        let mut record = RecordWriter::default();
        record.put_number(NODE, self.node.into());
        record.put_number(EPOCH, epoch);
        record.put_number(SEQUENCE, self.window.highest());
        record.put_number_if(LAST_NUMBER, self.number);
        record.put_number(MESSAGE_COUNT, self.message_count());
        // A process before this one; any other that leaves may still send something.
        let is_past_self = self.has_left && self.node == 0;
        record.put_number_if(HAS_LEFT, is_past_self.then_some(1));
        if let (true, Standing::Proven { floor }) = (is_past_self, self.standing) {
            record.put_number(PROVEN_FROM, floor);
        }
        record.into_bytes()
    }

    /// What another process has heard of one, and its epoch.
    ///
    /// # Errors
    /// A record that is not understood.
    pub(super) fn take_over(
        mut record: Record<'_>,
        now: MonotonicTime,
    ) -> Result<(u64, Self), BadRecord> {
        let mut peer = Self::new(now);
        peer.node = record.number(NODE)?;
        peer.standing = Standing::Lapsed;
        peer.last_heard = Some(now);
        let epoch = record.number(EPOCH)?;
        peer.window.skip(record.number(SEQUENCE)?);
        peer.number = record.number_if(LAST_NUMBER)?;
        peer.beat.message_count = record.number(MESSAGE_COUNT)?;
        peer.has_left = record.number_if(HAS_LEFT)?.is_some();
        if let Some(floor) = record.number_if(PROVEN_FROM)? {
            peer.standing = Standing::Proven { floor };
        }
        peer.has_outage = !peer.has_left;
        peer.has_beaten = true;
        record.end()?;
        Ok((epoch, peer))
    }
}

const NODE: u8 = 1;
const EPOCH: u8 = 2;
const SEQUENCE: u8 = 3;
const LAST_NUMBER: u8 = 4;
const MESSAGE_COUNT: u8 = 5;
/// There only of what is not there any more.
const HAS_LEFT: u8 = 128;
/// There only of the process before: what it still says is of now, and it may be gone before it can
/// prove that.
const PROVEN_FROM: u8 = 129;

/// Whoever is silent for so long is not there any more: three heartbeats.
pub(super) const PEER_TIMEOUT: Duration = Duration::from_secs(15);

/// Whoever has said that it leaves, and is silent for so long, has ended: two heartbeats.
const LEAVER_TIMEOUT: Duration = Duration::from_secs(10);
