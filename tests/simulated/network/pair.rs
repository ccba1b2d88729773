//! One peer's connection: both ends, what lies between, and what must hold for them.

use std::time::Duration;

use websock::connection::{Connection, Keepalive, MonotonicTime, Outgoing, PhpFraming, SendError};
use websock::protocol::close_code::CloseCode;
use websock::protocol::error::Violation;
use websock::protocol::extension::CompressionSettings;

use super::link::Link;
use super::peer::{Habit, Peer};
use super::{LIMITS, MOST_MILLIS};
use crate::client::{TEXT, server_frame};
use crate::host::{Host, Seen, Service};
use crate::random::Random;

/// Both ends of one connection, and what lies between.
pub(super) struct Pair {
    pub(super) host: Host,
    pub(super) peer: Peer,
    up: Link,
    down: Link,
    /// Data frames that the server has queued, in order.
    pub(super) queued: Vec<String>,
    /// Handled events.
    handled: usize,
    /// Messages at the far end that have been compared.
    checked: usize,
    end: Option<End>,
    /// The server may have lost it for good reason: the clock has jumped.
    pub(super) is_jolted: bool,
    born: MonotonicTime,
    /// When it left the open state, or was born if it never opened.
    last_open: MonotonicTime,
}

/// How a connection went, as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Dropped after all had been said and sent.
    Orderly,
    /// The link was reset.
    Reset,
}

impl Pair {
    pub(super) fn new(
        at: usize,
        now: MonotonicTime,
        compression: CompressionSettings,
        random: &mut Random,
    ) -> Self {
        let mut host = Host::new(LIMITS);
        host.context.now = now;
        host.connection = host.call(|_, turn| Connection::new(turn));
        host.service = Service::Listen;
        host.compression = compression;
        let framing = [PhpFraming::Padded, PhpFraming::Spaced, PhpFraming::Records];
        (host.framing, host.keepalive) = if random.chance(75) {
            (PhpFraming::Stream, Keepalive::Pings)
        } else {
            (random.pick(&framing), Keepalive::None)
        };
        let answers_late = host.keepalive == Keepalive::None;
        Self {
            host,
            peer: Peer::new(at, answers_late, random),
            up: Link::default(),
            down: Link::default(),
            queued: Vec::new(),
            handled: 0,
            checked: 0,
            end: None,
            is_jolted: false,
            born: now,
            last_open: now,
        }
    }

    /// The first half of a turn: what has arrived, then what is due.
    pub(super) fn turn(&mut self, now: MonotonicTime, random: &mut Random) {
        self.host.context.now = now;
        if self.end.is_some() {
            return;
        }
        if self.peer.resets(now) {
            self.host.connection.abort();
            self.end = Some(End::Reset);
            return;
        }
        // A peer that does not take its output is not read (back-pressure).
        while !self.host.connection.is_congested(&LIMITS) {
            let Some(packet) = self.up.arrived(now) else {
                break;
            };
            if packet.is_empty() {
                self.host.eof();
            }
            self.host.feed(&packet);
            self.handle_events();
        }
        self.host.expire();
        self.handle_events();
        self.flush(random);
    }

    /// Echoes what is new.
    fn handle_events(&mut self) {
        let fresh: Vec<Seen> = self.host.seen[self.handled..].to_vec();
        self.handled = self.host.seen.len();
        for seen in fresh {
            match seen {
                Seen::Text(text) => {
                    let frame = server_frame(TEXT, text.as_bytes());
                    let _ = self.queue(&Outgoing::Copied(&frame), &text);
                    self.peer.accepted.push(text);
                }
                Seen::Failed(violation) => {
                    let is_stall = violation == Violation::MessageStalled;
                    let is_expected = self.is_jolted && is_stall || self.peer.may_break(violation);
                    assert!(is_expected, "{violation:?} by {:?}", self.peer);
                }
                Seen::Lost => self.expect_loss(),
                Seen::Head(_)
                | Seen::Body(_)
                | Seen::Refused(_)
                | Seen::Closed(_)
                | Seen::Binary(_)
                | Seen::PingSent => {}
            }
        }
    }

    pub(super) fn queue(&mut self, outgoing: &Outgoing<'_>, text: &str) -> Result<(), SendError> {
        let waiting = self.host.connection.output_len();
        let queued = self.host.send_frame(outgoing);
        match queued {
            Ok(()) => self.queued.push(text.to_owned()),
            Err(SendError::NotOpen) => assert!(!self.host.connection.is_open()),
            Err(SendError::QueueFull) => {
                let room = text.len() + 10 + MOST_PIECE_COST;
                assert!(
                    waiting + room > LIMITS.max_queue_bytes / 2,
                    "{waiting} wait"
                );
                self.peer.is_cut = true;
                self.host
                    .close(CloseCode::POLICY_VIOLATION, "output over maxQueue");
            }
        }
        queued
    }

    fn expect_loss(&mut self) {
        // Frames that keep a distance leave one a turn, and turns are long here: those that wait
        // when a script closes may outlast closeTimeout.
        self.peer.is_cut |= self.host.framing != PhpFraming::Stream;
        let is_expected = self.is_jolted || self.peer.may_be_lost() || self.peer.is_cut;
        assert!(is_expected, "{:?} was lost", self.peer);
    }

    /// Writes as much as the network takes now.
    pub(super) fn flush(&mut self, random: &mut Random) {
        if self.end.is_some() {
            return;
        }
        if flush(&mut self.host, &mut self.down, self.peer.reads(), random) {
            self.end = Some(End::Orderly);
        }
    }

    pub(super) fn far_end(&mut self, now: MonotonicTime, random: &mut Random) {
        if self.end == Some(End::Reset) {
            return;
        }
        while self.peer.reads() {
            let Some(packet) = self.down.arrived(now) else {
                break;
            };
            self.peer.hear(&packet);
        }
        self.peer.act(now, &mut self.up, random);
    }

    /// Whether both ends know all that they will.
    pub(super) fn is_over(&self) -> bool {
        let hears = self.end == Some(End::Orderly) && self.peer.reads();
        self.end.is_some() && !(hears && self.down.is_busy())
    }

    // ---- what must hold

    pub(super) fn check(&mut self) {
        let connection = &self.host.connection;
        let held = connection.held_bytes();
        let codec = connection.window_bits().map_or(0, |_| CODEC_BYTES);
        let most = MOST_BYTES + codec;
        assert!(held <= most, "{held} bytes held by {:?}", self.peer);
        let now = self.host.context.now;
        if self.end.is_some() {
            return assert_eq!(held, 0);
        }
        let due = connection.next_deadline(&LIMITS);
        assert!(due.is_none_or(|due| due > now), "outlives its deadline");
        if connection.is_open() {
            self.last_open = now;
        }
        let step = Duration::from_millis(MOST_MILLIS as u64);
        if connection.is_pending() {
            assert!(now < self.born + LIMITS.handshake_timeout + step || self.is_jolted);
        } else if !connection.is_open() {
            // Closing, then Draining or Closed: each with its own time.
            let most = LIMITS.handshake_timeout + LIMITS.close_timeout * 3 + step * 3;
            assert!(
                now < self.last_open + most || self.is_jolted,
                "{:?}",
                self.peer
            );
        }
        let texts = &self.peer.texts;
        for at in std::mem::replace(&mut self.checked, texts.len())..texts.len() {
            assert_eq!(texts.get(at), self.queued.get(at), "not what was queued");
        }
    }

    /// Whether nothing that was queued for it may be missing.
    pub(super) fn is_whole(&self) -> bool {
        self.peer.habit == Habit::Honest && !self.is_jolted && !self.peer.is_cut
    }

    pub(super) fn check_end(&self) {
        assert!(self.end.is_some(), "{:?} is still there", self.peer);
        let peer = &self.peer;
        let said = &peer.texts;
        assert!(self.queued.starts_with(said));
        if self.is_whole() {
            let missing = self.queued.len() - said.len();
            assert_eq!(missing, 0, "{peer:?} has not got everything");
            let echoes: Vec<&String> = said.iter().filter(|t| t.starts_with("echo ")).collect();
            assert_eq!(echoes, peer.accepted.iter().collect::<Vec<_>>());
            assert_eq!(peer.sent, peer.accepted, "a message got lost on its way in");
            peer.check_whole();
        }
    }
}

/// Writes as much as the network takes now; whether the connection is done.
pub(super) fn flush(host: &mut Host, down: &mut Link, reads: bool, random: &mut Random) -> bool {
    let start = host.wire.len();
    let mut room = down.free_bytes(reads);
    while room > 0 {
        let written = host.write(room);
        room -= written;
        if written == 0 {
            break;
        }
    }
    if host.connection.output_len() > 0 {
        host.call(|connection, turn| connection.shrink_output(&mut turn.pool));
    }
    let bytes = host.wire[start..].to_vec();
    down.send(&bytes, host.context.now, random);
    if host.connection.is_drained() || host.connection.is_finished() {
        down.end(host.context.now, random);
    }
    host.connection.is_finished()
}

/// What a waiting piece may count beyond its bytes, padding included.
const MOST_PIECE_COST: usize = 8192 + 64;

/// What a connection may hold, as in the attack suite.
pub(super) const MOST_BYTES: usize = LIMITS.max_message_bytes + 2 * LIMITS.max_queue_bytes + 20_000;

/// What it may hold besides if compression was agreed on: two inflaters and a deflater.
const CODEC_BYTES: usize = 400_000;
