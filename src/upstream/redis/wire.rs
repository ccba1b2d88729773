//! [`Wire`]: an established connection on which many calls are under way, answered in their order.
//!
//! A call that nobody waits for any more keeps its place in the order: its values are dropped when
//! they come. If they do not come for long, nothing behind them does, and the connection is given up.

use std::collections::VecDeque;

use super::super::call::{Call, CallId, Response};
use super::super::error::CallError;
use super::super::queue::{Attempt, Waiting};
use super::super::settings::{Settings, Upkeep};
use super::super::wire_context::{Fate, Service, Unanswered, WireContext};
use super::request::Request;
use crate::base::time::MonotonicTime;
use crate::protocol::redis::{Decoded, Decoder, Value, encode_command};

/// One connection.
#[derive(Debug)]
pub(in super::super) struct Wire {
    upkeep: Upkeep,
    service: Service,
    decoder: Decoder,
    /// Bytes of a value that is not whole.
    value_bytes: usize,
    output: Vec<u8>,
    /// Bytes of `output` that have left.
    sent: usize,
    /// Bytes that have left before those of `output`.
    sent_before: u64,
    pending: VecDeque<Pending>,
    /// Bytes of their requests.
    pending_bytes: usize,
    /// Nothing of `pending` is due before; there may be none any more that is due then.
    earliest: Option<MonotonicTime>,
    /// When something was last sent or received.
    active_at: MonotonicTime,
    /// No more calls are taken, and why.
    is_ending: Option<CallError>,
}

/// Commands that have no whole answer.
#[derive(Debug)]
struct Pending {
    asker: Asker,
    /// Which byte of all that are sent is its first one.
    begins_at: u64,
    /// Values that have not come.
    missing: usize,
    /// Those that have come; `None`: they are too long.
    values: Option<Vec<Value>>,
    /// Bytes that they may still have.
    bytes_left: usize,
    deadline: MonotonicTime,
}

#[derive(Debug)]
enum Asker {
    Caller(Call, Attempt),
    /// Nobody waits for the values any more.
    Nobody,
    /// The connection itself, to see whether it is alive.
    Ping,
}

impl Wire {
    /// One that has just been let in.
    pub(in super::super) fn new(upkeep: Upkeep, now: MonotonicTime) -> Self {
        Self {
            upkeep,
            service: Service::None,
            decoder: Decoder::default(),
            value_bytes: 0,
            output: Vec::new(),
            sent: 0,
            sent_before: 0,
            pending: VecDeque::new(),
            pending_bytes: 0,
            earliest: None,
            active_at: now,
            is_ending: None,
        }
    }

    pub(in super::super) fn service(&self) -> Service {
        self.service
    }

    /// How many more calls it takes.
    pub(in super::super) fn room(&self, settings: &Settings) -> usize {
        let is_full = self.output().len() >= MAX_OUTPUT_BYTES
            || self.pending_bytes >= settings.max_queued_bytes;
        match is_full || self.is_ending.is_some() {
            true => 0,
            false => settings
                .max_pipelined_calls
                .saturating_sub(self.pending.len()),
        }
    }

    /// Sends a call behind all others.
    pub(in super::super) fn start(&mut self, waiting: Waiting, request: &Request) {
        let Waiting { call, attempt } = waiting;
        let (deadline, bytes_left) = (call.deadline, call.max_body_bytes);
        let begins_at = self.sent_before + self.output.len() as u64;
        self.output.extend_from_slice(request.as_bytes());
        self.pending_bytes += request.as_bytes().len();
        self.push(Pending {
            asker: Asker::Caller(call, attempt),
            begins_at,
            missing: request.command_count(),
            values: Some(Vec::new()),
            bytes_left,
            deadline,
        });
    }

    fn push(&mut self, pending: Pending) {
        let deadline = pending.deadline;
        self.earliest = Some(self.earliest.map_or(deadline, |e| e.min(deadline)));
        self.pending.push_back(pending);
    }

    pub(in super::super) fn cancel(
        &mut self,
        id: CallId,
        context: &WireContext<'_>,
    ) -> Option<Fate> {
        let is_it = |pending: &&mut Pending| match &pending.asker {
            Asker::Caller(call, _) => call.id == id,
            Asker::Nobody | Asker::Ping => false,
        };
        let pending = self.pending.iter_mut().find(is_it)?;
        self.pending_bytes -= pending.request_len();
        pending.abandon(context);
        Some(Fate::Open)
    }

    pub(in super::super) fn receive(
        &mut self,
        mut input: &[u8],
        context: &mut WireContext<'_>,
    ) -> Fate {
        self.active_at = context.now;
        while !input.is_empty() {
            let sent = self.sent_before + self.sent as u64;
            let Some(first) = self.pending.front_mut().filter(|p| p.begins_at < sent) else {
                context.counts.unsolicited += 1;
                return Fate::Lost(CallError::Malformed);
            };
            let before = input.len();
            let decoded = self.decoder.push(&mut input, first.bytes_left);
            self.value_bytes += before - input.len();
            match decoded {
                Ok(None) => return Fate::Open,
                Ok(Some(decoded)) => {
                    let value_bytes = std::mem::take(&mut self.value_bytes);
                    if let Decoded::Value(Value::Error(kind)) = &decoded
                        && kind.ends_connection()
                    {
                        self.is_ending = Some(CallError::Rejected(*kind));
                    }
                    first.take(decoded, value_bytes);
                    if first.missing == 0 {
                        self.finish_first(context);
                    }
                }
                Err(error) => return Fate::Failed(error.into()),
            }
        }
        match self.is_ending {
            Some(error) if self.pending.is_empty() => Fate::Lost(error),
            Some(_) | None => Fate::Open,
        }
    }

    /// All values of the first one are there.
    fn finish_first(&mut self, context: &mut WireContext<'_>) {
        let Some(first) = self.pending.pop_front() else {
            return;
        };
        self.pending_bytes -= first.request_len();
        self.service = Service::Some;
        match first.asker {
            Asker::Caller(call, _) => {
                let values = first.values.map(Response::Redis);
                context.answer(call.id, values.ok_or(CallError::TooLarge));
            }
            Asker::Nobody => context.counts.late += 1,
            Asker::Ping => {}
        }
        if self.pending.is_empty() {
            self.earliest = None;
        }
    }

    /// The connection has ended, by whatever.
    pub(in super::super) fn handle_end(&self) -> Fate {
        match (self.is_ending, self.pending.is_empty(), self.upkeep) {
            (Some(error), ..) => Fate::Lost(error),
            // Redis closes what it has not heard from for long (`timeout`).
            (None, true, Upkeep::OnDemand) => Fate::Close,
            (None, ..) => Fate::Lost(CallError::Closed),
        }
    }

    pub(in super::super) fn handle_timeout(&mut self, context: &mut WireContext<'_>) -> Fate {
        let now = context.now;
        for pending in self.pending.iter_mut().filter(|p| p.deadline <= now) {
            let Asker::Caller(call, _) = &pending.asker else {
                return Fate::Lost(CallError::Timeout);
            };
            context.answer(call.id, Err(CallError::Timeout));
            self.pending_bytes -= pending.request_len();
            pending.abandon(context);
        }
        self.earliest = self.pending.iter().map(|pending| pending.deadline).min();
        if self.pending.is_empty() && self.quiet_until(context.settings) <= now {
            match self.upkeep {
                Upkeep::OnDemand => return Fate::Close,
                Upkeep::Always => self.ping(context),
            }
        }
        Fate::Open
    }

    fn ping(&mut self, context: &WireContext<'_>) {
        let begins_at = self.sent_before + self.output.len() as u64;
        encode_command(&[b"PING"], &mut self.output);
        self.active_at = context.now;
        self.push(Pending {
            asker: Asker::Ping,
            begins_at,
            missing: 1,
            values: Some(Vec::new()),
            bytes_left: MAX_PONG_BYTES,
            deadline: context.now + context.settings.late_answer_timeout,
        });
    }

    /// Until when it may be quiet.
    fn quiet_until(&self, settings: &Settings) -> MonotonicTime {
        match self.upkeep {
            Upkeep::OnDemand => self.active_at + settings.idle_timeout,
            Upkeep::Always => self.active_at + settings.ping_interval,
        }
    }

    pub(in super::super) fn deadline(&self, settings: &Settings) -> MonotonicTime {
        let earliest = self.earliest.filter(|_| !self.pending.is_empty());
        earliest.unwrap_or_else(|| self.quiet_until(settings))
    }

    pub(in super::super) fn output(&self) -> &[u8] {
        self.output.get(self.sent..).unwrap_or_default()
    }

    pub(in super::super) fn consume_output(&mut self, byte_count: usize) {
        debug_assert!(byte_count <= self.output().len());
        self.sent += byte_count.min(self.output().len());
        // What has left is given back when it is much, or all.
        if self.sent == self.output.len() || self.sent >= MAX_OUTPUT_BYTES {
            self.output.drain(..self.sent);
            self.sent_before += self.sent as u64;
            self.sent = 0;
            self.output.shrink_to(MAX_OUTPUT_BYTES);
        }
    }

    pub(in super::super) fn into_unanswered(self) -> Vec<Unanswered> {
        let sent = self.sent_before + self.sent as u64;
        let unanswered = |pending: Pending| match pending.asker {
            Asker::Caller(call, attempt) => Some(Unanswered {
                can_be_repeated: attempt == Attempt::First
                    && (pending.begins_at >= sent || call.request.is_repeatable()),
                call,
            }),
            Asker::Nobody | Asker::Ping => None,
        };
        self.pending.into_iter().filter_map(unanswered).collect()
    }
}

impl Pending {
    /// Bytes of the request that are kept for it.
    fn request_len(&self) -> usize {
        match &self.asker {
            Asker::Caller(call, _) => call.request.as_bytes().len(),
            Asker::Nobody | Asker::Ping => 0,
        }
    }

    /// One more value has come.
    fn take(&mut self, decoded: Decoded, byte_count: usize) {
        self.missing -= 1;
        self.bytes_left = self.bytes_left.saturating_sub(byte_count);
        match (decoded, &mut self.values) {
            (Decoded::Value(value), Some(values)) => values.push(value),
            (Decoded::Value(_), None) => {}
            (Decoded::Skipped, values) => {
                *values = None;
                self.bytes_left = 0;
            }
        }
    }

    /// Nobody waits for the values any more; they are awaited a while longer.
    fn abandon(&mut self, context: &WireContext<'_>) {
        self.asker = Asker::Nobody;
        self.values = None;
        self.bytes_left = 0;
        self.deadline = context.now + context.settings.late_answer_timeout;
    }
}

/// As much waits in one connection's output at most, before one more call: what a socket takes.
const MAX_OUTPUT_BYTES: usize = 256 << 10;

/// Longest answer to `PING`, an error included.
const MAX_PONG_BYTES: usize = 1024;
