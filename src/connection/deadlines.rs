//! What is due when: handshake, pings, pongs, progress, close.

use super::event::Event;
use super::limits::{Limits, Turn};
use super::moment::Moment;
use super::state::{Asked, State};
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
            State::Connecting { .. } | State::Heading(_) | State::Deciding { .. } => {
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
            State::Open { .. } => self.handle_open_timeout(turn),
            State::Closing { .. } | State::Draining { .. } | State::Closed { .. } => {
                self.abort();
                Some(Event::Lost)
            }
            State::Answering | State::Gone => None,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn next_deadline(&self, limits: &Limits) -> Option<Moment> {
        match self.state {
            State::Connecting { deadline }
            | State::Deciding { deadline }
            | State::Resting { deadline }
            | State::Closing { deadline }
            | State::Draining { deadline }
            | State::Closed { deadline } => Some(deadline),
            State::Heading(ref heading) => Some(heading.deadline),
            State::Open {
                since,
                asked,
                keepalive,
            } => {
                let alive = keepalive_deadline((since, asked), keepalive, limits);
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

    fn handle_open_timeout(&mut self, turn: &mut Turn<'_>) -> Option<Event<'static>> {
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
        let State::Open {
            since,
            asked,
            keepalive,
        } = &mut self.state
        else {
            return None;
        };
        let due = keepalive_deadline((*since, *asked), *keepalive, turn.limits)?;
        if due > turn.now {
            return None;
        }
        if *asked == Asked::Yes {
            self.abort();
            return Some(Event::Lost);
        }
        (*since, *asked) = (turn.now, Asked::Yes);
        self.push_control(Opcode::Ping, PING_PAYLOAD, turn.pool);
        None
    }
}

/// When a peer that was last heard or asked at `since` is asked, or given up.
fn keepalive_deadline(
    (since, asked): (Moment, Asked),
    keepalive: Keepalive,
    limits: &Limits,
) -> Option<Moment> {
    match (keepalive, asked) {
        (Keepalive::None, _) => None,
        (Keepalive::Pings, Asked::Yes) => Some(since + limits.pong_timeout),
        (Keepalive::Pings, Asked::No) if limits.ping_interval.is_zero() => None,
        (Keepalive::Pings, Asked::No) => Some(since + limits.ping_interval),
    }
}

/// Payload of the server's own pings (contract 5.2).
pub const PING_PAYLOAD: &[u8] = br#"{"opcode":"PING"}"#;
