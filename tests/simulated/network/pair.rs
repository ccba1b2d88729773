//! One peer's connection: its end, what lies between it and the server, and what must hold for them.

use std::time::Duration;

use websock::connection::MonotonicTime;
use websock::protocol::error::Violation;

use super::link::Link;
use super::peer::{Habit, Peer};
use super::records::Records;
use super::{LIMITS, MOST_MILLIS};
use crate::random::Random;
use crate::server::Server;
use crate::system::FarEnd;

/// A far end, and what lies between it and the server.
pub(super) struct Pair {
    pub(super) peer: Peer,
    pub(super) line: Line,
    /// Own answers that have been compared.
    checked: usize,
    born: MonotonicTime,
    /// When it left the open state, or was born if it never opened.
    last_open: MonotonicTime,
}

/// A connection whose packets take their time.
pub(super) struct Line {
    end: FarEnd,
    pub(super) up: Link,
    down: Link,
    is_reset: bool,
    /// The server may have lost it for good reason: the clock has jumped.
    pub(super) is_jolted: bool,
    /// What the server has sent, for comparison.
    pub(super) wire: Vec<u8>,
}

impl Line {
    pub(super) fn new(server: &Server, ip: &str, random: &mut Random) -> Self {
        let capacity = random.pick(&[500, 5000, 20_000]);
        Self {
            end: server.connect_with(ip, capacity),
            up: Link::default(),
            down: Link::default(),
            is_reset: false,
            is_jolted: false,
            wire: Vec::new(),
        }
    }

    pub(super) fn reset(&mut self) {
        self.end.reset();
        self.is_reset = true;
    }

    pub(super) fn is_reset(&self) -> bool {
        self.is_reset
    }

    /// Hands the next packet that has arrived to the server; whether there was one.
    pub(super) fn deliver(&mut self, now: MonotonicTime) -> bool {
        let Some(packet) = self.up.arrived(now).filter(|_| !self.is_reset) else {
            return false;
        };
        if packet.is_empty() {
            self.end.end();
        } else {
            let taken = self.end.offer(&packet);
            let is_taken = taken == packet.len() || self.end.closed().is_some();
            assert!(is_taken, "the server's receive buffer is full");
        }
        true
    }

    /// Sends what the server has written on its way, as far as the network takes it; whether there
    /// was something.
    pub(super) fn collect(&mut self, now: MonotonicTime, reads: bool, random: &mut Random) -> bool {
        if self.is_reset {
            return false;
        }
        let bytes = self.end.take(self.down.free_bytes(reads));
        self.wire.extend_from_slice(&bytes);
        self.down.send(&bytes, now, random);
        if self.end.has_ended() && self.end.waiting_len() == 0 {
            self.down.end(now, random);
        }
        !bytes.is_empty()
    }

    /// The next packet that has come to the far end.
    pub(super) fn arrived(&mut self, now: MonotonicTime) -> Option<Vec<u8>> {
        self.down.arrived(now)
    }

    /// Whether both ends know all that they will.
    pub(super) fn is_over(&self, reads: bool) -> bool {
        let hears = reads && (self.down.is_busy() || self.end.waiting_len() > 0);
        self.is_reset || (self.end.closed().is_some() && !hears)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.is_reset || self.end.closed().is_some()
    }
}

impl Pair {
    pub(super) fn new(peer: Peer, server: &Server, random: &mut Random) -> Self {
        let now = server.system.time();
        Self {
            line: Line::new(server, peer.ip(), random),
            peer,
            checked: 0,
            born: now,
            last_open: now,
        }
    }

    /// Breaks the connection if its time has come.
    pub(super) fn break_off(&mut self, now: MonotonicTime) {
        if self.peer.resets(now) && !self.line.is_reset() {
            self.line.reset();
        }
    }

    /// As [`Line::collect`].
    pub(super) fn collect(&mut self, now: MonotonicTime, random: &mut Random) -> bool {
        self.line.collect(now, self.peer.reads(), random)
    }

    pub(super) fn far_end(&mut self, now: MonotonicTime, random: &mut Random) {
        if self.line.is_reset() {
            return;
        }
        while self.peer.reads()
            && let Some(packet) = self.line.arrived(now)
        {
            self.peer.hear(&packet);
        }
        self.peer.act(now, &mut self.line.up, random);
    }

    pub(super) fn is_over(&self) -> bool {
        self.line.is_over(self.peer.reads())
    }

    // ---- what must hold

    pub(super) fn check(&mut self, now: MonotonicTime, records: &Records) {
        records.with(self.peer.name, |record| {
            let texts = &self.peer.own_texts;
            let start = std::mem::replace(&mut self.checked, texts.len());
            if start < texts.len() {
                let expected = self.peer.answers_to(&record.accepted);
                assert!(
                    expected.get(start..texts.len()) == texts.get(start..),
                    "{:?} hears what was not answered",
                    self.peer
                );
            }
            for violation in &record.violations {
                let is_stall = *violation == Violation::MessageStalled;
                let is_expected =
                    self.line.is_jolted && is_stall || self.peer.may_break(*violation);
                assert!(is_expected, "{violation:?} by {:?}", self.peer);
            }
            if record.is_open {
                self.last_open = now;
            }
        });
        self.check_deadlines(now);
    }

    /// Never early, and as late as the wheel and a step may be.
    fn check_deadlines(&self, now: MonotonicTime) {
        if self.line.is_gone() || self.line.is_jolted || self.last_open == now {
            return;
        }
        let step = Duration::from_millis(MOST_MILLIS as u64);
        let late = |time: Duration| time + time / 7 + step * 2;
        // It may not have opened; then Closing, Draining and Closed, each with its own time.
        let most = late(LIMITS.handshake_timeout) + late(LIMITS.close_timeout) * 3;
        let since = self.born.max(self.last_open);
        assert!(now < since + most, "{:?} outlives its deadline", self.peer);
    }

    /// Whether nothing that was queued for it may be missing.
    pub(super) fn is_whole(&self) -> bool {
        self.peer.habit == Habit::Honest && !self.line.is_jolted && !self.peer.is_cut
    }

    pub(super) fn check_end(&self, records: &Records) {
        let peer = &self.peer;
        assert!(self.line.is_gone(), "{peer:?} is still there");
        peer.check_others();
        if !self.is_whole() {
            return;
        }
        records.with(peer.name, |record| {
            assert_eq!(
                peer.sent, record.accepted,
                "{peer:?}: a message got lost on its way in"
            );
            assert!(
                peer.own_texts == peer.answers_to(&record.accepted),
                "{peer:?} has not got everything"
            );
        });
        peer.check_whole();
    }
}
