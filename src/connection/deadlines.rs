//! What is due when: handshake, pings, pongs, progress, close.

use std::time::Instant;

use super::event::Event;
use super::limits::{Limits, Turn};
use super::state::State;
use super::{Connection, Keepalive};
use crate::protocol::error::{Rejection, Violation};
use crate::protocol::frame::Opcode;

impl Connection {
    /// Does what is due at `turn.now`; harmless if early.
    pub fn handle_timeout(&mut self, turn: &mut Turn<'_>) -> Option<Event<'static>> {
        if self
            .next_deadline(turn.limits)
            .is_none_or(|due| due > turn.now)
        {
            return None;
        }
        match self.state {
            State::Connecting { .. } | State::Deciding { .. } => {
                self.reject(Rejection::Timeout, turn);
                Some(Event::Refused(Rejection::Timeout))
            }
            State::Receiving(ref mut receiving) => {
                if receiving.progress >= turn.limits.min_progress_bytes {
                    (receiving.judged, receiving.progress) = (turn.now, 0);
                    return None;
                }
                self.reject(Rejection::Timeout, turn);
                Some(Event::Refused(Rejection::Timeout))
            }
            State::Resting { .. } => {
                self.state = State::Closed {
                    deadline: turn.now + turn.limits.close_timeout,
                };
                None
            }
            State::Open { heard, pinged } => self.handle_open_timeout(heard, pinged, turn),
            State::Closing { .. } | State::Draining { .. } | State::Closed { .. } => {
                self.abort();
                Some(Event::Lost)
            }
            State::Answering | State::Gone => None,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn next_deadline(&self, limits: &Limits) -> Option<Instant> {
        match self.state {
            State::Connecting { deadline, .. }
            | State::Deciding { deadline }
            | State::Resting { deadline }
            | State::Closing { deadline }
            | State::Draining { deadline }
            | State::Closed { deadline } => Some(deadline),
            State::Open { heard, pinged } => {
                let alive = self.keepalive_deadline(heard, pinged, limits);
                let stalled = self
                    .inbound
                    .as_ref()
                    .map(|i| i.judged + limits.stall_timeout);
                alive.into_iter().chain(stalled).min()
            }
            State::Receiving(ref receiving) => Some(receiving.judged + limits.stall_timeout),
            State::Answering | State::Gone => None,
        }
    }

    fn keepalive_deadline(
        &self,
        heard: Instant,
        pinged: Option<Instant>,
        limits: &Limits,
    ) -> Option<Instant> {
        match (self.keepalive, pinged) {
            (Keepalive::None, _) => None,
            (Keepalive::Pings, Some(pinged)) => Some(pinged + limits.pong_timeout),
            (Keepalive::Pings, None) if limits.ping_interval.is_zero() => None,
            (Keepalive::Pings, None) => Some(heard + limits.ping_interval),
        }
    }

    fn handle_open_timeout(
        &mut self,
        heard: Instant,
        pinged: Option<Instant>,
        turn: &mut Turn<'_>,
    ) -> Option<Event<'static>> {
        let is_congested = self.is_congested(turn.limits);
        if let Some(inbound) = &mut self.inbound
            && inbound.judged + turn.limits.stall_timeout <= turn.now
        {
            // What is not read cannot advance.
            if inbound.progress < turn.limits.min_progress_bytes && !is_congested {
                self.break_off(Violation::MessageStalled, turn);
                return Some(Event::Failed(Violation::MessageStalled));
            }
            (inbound.judged, inbound.progress) = (turn.now, 0);
        }
        let due = self.keepalive_deadline(heard, pinged, turn.limits)?;
        if due > turn.now {
            return None;
        }
        if pinged.is_some() {
            self.abort();
            return Some(Event::Lost);
        }
        self.state = State::Open {
            heard,
            pinged: Some(turn.now),
        };
        self.push_control(Opcode::Ping, PING_PAYLOAD, turn.pool);
        None
    }
}

/// Payload of the server's own pings (contract 5.2).
pub const PING_PAYLOAD: &[u8] = br#"{"opcode":"PING"}"#;
