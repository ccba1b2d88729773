//! What is due when: handshake, pings, pongs, progress, close.

use super::event::Event;
use super::limits::{Limits, TurnContext};
use super::state::{Asked, State};
use super::{Connection, Keepalive};
use crate::base::time::MonotonicTime;
use crate::protocol::error::{Rejection, Violation};
use crate::protocol::frame::Opcode;

impl Connection {
    /// Does what is due at `context.now`; harmless if early.
    pub fn handle_timeout(&mut self, context: &mut TurnContext<'_>) -> Option<Event<'static>> {
        if self
            .next_deadline(context.limits)
            .is_none_or(|due| due > context.now)
        {
            return None;
        }
        match self.state {
            State::Connecting { .. } | State::ReadingHead(_) | State::AwaitingDecision { .. } => {
                self.reject(Rejection::Timeout, context);
                Some(Event::Refused(Rejection::Timeout))
            }
            State::ReadingBody(ref mut receiving) => {
                if receiving.progress >= context.limits.min_progress_bytes {
                    (receiving.judged, receiving.progress) = (context.now, 0);
                    return None;
                }
                self.reject(Rejection::Timeout, context);
                Some(Event::Refused(Rejection::Timeout))
            }
            State::KeepAlive { .. } => {
                self.state = State::Closed {
                    deadline: context.now + context.limits.close_timeout,
                };
                None
            }
            State::Open { .. } => self.handle_open_timeout(context),
            State::Closing { .. } | State::Draining { .. } | State::Closed { .. } => {
                self.abort();
                Some(Event::Lost)
            }
            State::AwaitingResponse | State::Aborted => None,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn next_deadline(&self, limits: &Limits) -> Option<MonotonicTime> {
        match self.state {
            State::Connecting { deadline }
            | State::AwaitingDecision { deadline }
            | State::KeepAlive { deadline }
            | State::Closing { deadline }
            | State::Draining { deadline }
            | State::Closed { deadline } => Some(deadline),
            State::ReadingHead(ref reading) => Some(reading.deadline),
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
            State::ReadingBody(ref receiving) => Some(receiving.judged + limits.stall_timeout),
            State::AwaitingResponse | State::Aborted => None,
        }
    }

    fn handle_open_timeout(&mut self, context: &mut TurnContext<'_>) -> Option<Event<'static>> {
        let is_congested = self.is_congested(context.limits);
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
            since,
            asked,
            keepalive,
        } = &mut self.state
        else {
            return None;
        };
        let due = keepalive_deadline((*since, *asked), *keepalive, context.limits)?;
        if due > context.now {
            return None;
        }
        if *asked == Asked::Yes {
            self.abort();
            return Some(Event::Lost);
        }
        (*since, *asked) = (context.now, Asked::Yes);
        self.push_control(Opcode::Ping, PING_PAYLOAD, context.pool);
        None
    }
}

/// When a peer that was last heard or asked at `since` is asked, or given up.
fn keepalive_deadline(
    (since, asked): (MonotonicTime, Asked),
    keepalive: Keepalive,
    limits: &Limits,
) -> Option<MonotonicTime> {
    match (keepalive, asked) {
        (Keepalive::None, _) => None,
        (Keepalive::Pings, Asked::Yes) => Some(since + limits.pong_timeout),
        (Keepalive::Pings, Asked::No) if limits.ping_interval.is_zero() => None,
        (Keepalive::Pings, Asked::No) => Some(since + limits.ping_interval),
    }
}

/// Payload of the server's own pings (protocol.md 5.2).
pub const PING_PAYLOAD: &[u8] = br#"{"opcode":"PING"}"#;
