//! What is due when: handshake, pings, pongs, progress, close.

use super::connection::Connection;
use super::event::{Event, TimedOut};
use super::inbound::Inbound;
use super::limits::{Limits, TurnContext};
use super::state::{Keepalive, Liveness, State};
use crate::base::time::MonotonicTime;
use crate::protocol::error::{Rejection, Violation};
use crate::protocol::frame::Opcode;

impl Connection {
    /// Does what is due at `context.now`; harmless if early.
    pub fn handle_timeout(&mut self, context: &mut TurnContext) -> Option<Event<'static>> {
        if self
            .next_deadline(&context.limits)
            .is_none_or(|due| due > context.now)
        {
            return None;
        }
        match self.state {
            State::Connecting { .. } | State::ReadingHead(_) => {
                self.reject(Rejection::Timeout, context);
                Some(Event::Refused(Rejection::Timeout))
            }
            // The client has done all that it can.
            State::AwaitingDecision { .. } => {
                self.reject(Rejection::Undecided, context);
                Some(Event::Refused(Rejection::Undecided))
            }
            State::ReadingBody(ref mut reading) => {
                if reading.progress >= context.limits.min_progress_bytes {
                    (reading.judged, reading.progress) = (context.now, 0);
                    return None;
                }
                self.reject(Rejection::Timeout, context);
                Some(Event::Refused(Rejection::Timeout))
            }
            State::KeepAlive { .. } => {
                self.state = State::Closed {
                    deadline: context.now + context.limits.close_timeout,
                    heard: None,
                };
                None
            }
            State::Open { .. } => self.handle_open_timeout(context),
            State::Streaming { .. } => {
                self.comment(context);
                None
            }
            State::Closing { .. } | State::Draining { .. } | State::Closed { .. } => {
                let unsent_bytes = self.output_len();
                self.abort();
                Some(Event::TimedOut(TimedOut::Close { unsent_bytes }))
            }
            State::AwaitingResponse | State::Aborted { .. } => None,
        }
    }

    /// Whether [`handle_timeout`](Self::handle_timeout) may give the peer up now, for what it has not
    /// sent as far as is known here.
    pub fn is_overdue(&self, context: &TurnContext) -> bool {
        let deadline = self.next_deadline(&context.limits);
        let is_expected = match self.state {
            State::Connecting { .. }
            | State::ReadingHead(_)
            | State::ReadingBody(_)
            | State::Closing { .. } => true,
            State::Open { liveness, .. } => {
                let least = context.limits.min_progress_bytes;
                let is_slow = |inbound: &Inbound| inbound.progress < least;
                let is_slow = self.inbound.as_deref().is_some_and(is_slow);
                is_slow || matches!(liveness, Liveness::Pinged(_))
            }
            State::AwaitingDecision { .. }
            | State::AwaitingResponse
            | State::KeepAlive { .. }
            | State::Streaming { .. }
            | State::Draining { .. }
            | State::Closed { .. }
            | State::Aborted { .. } => false,
        };
        is_expected && deadline.is_some_and(|due| due <= context.now)
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn next_deadline(&self, limits: &Limits) -> Option<MonotonicTime> {
        match self.state {
            State::Connecting { deadline }
            | State::AwaitingDecision { deadline }
            | State::KeepAlive { deadline }
            | State::Closing { deadline, .. }
            | State::Draining { deadline, .. }
            | State::Closed { deadline, .. } => Some(deadline),
            State::ReadingHead(ref reading) => Some(reading.deadline),
            State::Open {
                liveness,
                keepalive,
            } => {
                let alive = keepalive_deadline(liveness, keepalive, limits);
                let stalled = self
                    .inbound
                    .as_ref()
                    .map(|i| i.judged + limits.stall_timeout);
                alive.into_iter().chain(stalled).min()
            }
            State::Streaming { last_comment, .. } => {
                let interval = limits.ping_interval;
                (!interval.is_zero()).then(|| last_comment + interval)
            }
            State::ReadingBody(ref reading) => Some(reading.judged + limits.stall_timeout),
            State::AwaitingResponse | State::Aborted { .. } => None,
        }
    }

    fn handle_open_timeout(&mut self, context: &mut TurnContext) -> Option<Event<'static>> {
        let is_congested = self.is_congested(&context.limits);
        if let Some(inbound) = &mut self.inbound
            && inbound.judged + context.limits.stall_timeout <= context.now
        {
            // What is not read cannot advance.
            if inbound.progress < context.limits.min_progress_bytes && !is_congested {
                self.break_off(Violation::MessageStalled, context);
                return Some(Event::Failed(Violation::MessageStalled));
            }
            (inbound.judged, inbound.progress) = (context.now, 0);
        }
        let State::Open {
            liveness,
            keepalive,
        } = &mut self.state
        else {
            return None;
        };
        let due = keepalive_deadline(*liveness, *keepalive, &context.limits)?;
        if due > context.now {
            return None;
        }
        match *liveness {
            Liveness::Heard(_) => {
                *liveness = Liveness::Pinged(context.now);
                self.push_control(Opcode::Ping, PING_PAYLOAD, context);
                Some(Event::PingSent)
            }
            Liveness::Pinged(_) => {
                self.abort();
                Some(Event::TimedOut(TimedOut::Pong))
            }
        }
    }
}

/// When a peer is pinged, or given up.
fn keepalive_deadline(
    liveness: Liveness,
    keepalive: Keepalive,
    limits: &Limits,
) -> Option<MonotonicTime> {
    match (keepalive, liveness) {
        (Keepalive::None, _) => None,
        (Keepalive::Pings, Liveness::Pinged(at)) => Some(at + limits.pong_timeout),
        (Keepalive::Pings, Liveness::Heard(_)) if limits.ping_interval.is_zero() => None,
        (Keepalive::Pings, Liveness::Heard(at)) => Some(at + limits.ping_interval),
    }
}

/// Payload of the server's own pings (protocol.md 5.2).
pub const PING_PAYLOAD: &[u8] = br#"{"opcode":"PING"}"#;
