//! [`Subscriber`]: an established connection that carries subscriptions, and nothing else: a server
//! that speaks RESP2 takes little else on it.

use super::super::error::CallError;
use super::super::settings::Settings;
use super::super::wire_context::{Fate, Service, WireContext};
use super::subscriptions::Subscriptions;
use crate::base::time::MonotonicTime;
use crate::protocol::redis::{Decoded, Decoder, Value, encode_command};

/// One connection.
#[derive(Debug)]
pub(in super::super) struct Subscriber {
    decoder: Decoder,
    output: Vec<u8>,
    sent: usize,
    /// When something was last received.
    heard_at: MonotonicTime,
    /// Since when an answer is awaited without any having come.
    awaiting_since: Option<MonotonicTime>,
    is_pinged: bool,
    service: Service,
}

impl Subscriber {
    /// One that has just been let in.
    pub(in super::super) fn new(now: MonotonicTime) -> Self {
        Self {
            decoder: Decoder::default(),
            output: Vec::new(),
            sent: 0,
            heard_at: now,
            awaiting_since: None,
            is_pinged: false,
            service: Service::None,
        }
    }

    pub(in super::super) fn service(&self) -> Service {
        self.service
    }

    /// Tells the other end what has changed.
    pub(in super::super) fn tell_changes(&mut self, context: &mut WireContext<'_>) -> Fate {
        context.subscriptions.write_changes(&mut self.output);
        self.watch(context.subscriptions, context.now);
        Fate::Open
    }

    /// Begins to watch the time if an answer is awaited, and ends that if none is.
    fn watch(&mut self, subscriptions: &Subscriptions, now: MonotonicTime) {
        let is_awaiting = self.is_pinged || subscriptions.unconfirmed_count() > 0;
        self.awaiting_since = is_awaiting.then(|| self.awaiting_since.unwrap_or(now));
    }

    pub(in super::super) fn receive(
        &mut self,
        mut input: &[u8],
        context: &mut WireContext<'_>,
    ) -> Fate {
        self.heard_at = context.now;
        let max_bytes = context.settings.max_message_bytes;
        while !input.is_empty() {
            match self.decoder.push(&mut input, max_bytes) {
                Ok(None) => break,
                Ok(Some(Decoded::Value(value))) => {
                    if let Err(error) = self.take(value, context) {
                        return Fate::Lost(error);
                    }
                }
                Ok(Some(Decoded::Skipped)) => {
                    context.counts.skipped += 1;
                    context.subscriptions.handle_skipped();
                }
                Err(error) => return Fate::Lost(error.into()),
            }
        }
        context.subscriptions.write_changes(&mut self.output);
        self.watch(context.subscriptions, context.now);
        Fate::Open
    }

    fn take(&mut self, value: Value, context: &mut WireContext<'_>) -> Result<(), CallError> {
        let elements = match value {
            Value::Array(elements) => elements,
            Value::Error(kind) => return Err(CallError::Rejected(kind)),
            // As long as nothing is subscribed to.
            Value::Bytes(text) if text == b"PONG" => return self.take_pong(),
            Value::Nil | Value::Integer(_) | Value::Bytes(_) => return Err(CallError::Malformed),
        };
        let mut elements = elements.into_iter();
        let mut next = || elements.next();
        match (next(), next(), next(), next()) {
            (Some(Value::Bytes(kind)), Some(Value::Bytes(_)), None, None) if kind == b"pong" => {
                self.take_pong()
            }
            (
                Some(Value::Bytes(kind)),
                Some(Value::Bytes(channel)),
                Some(Value::Bytes(payload)),
                None,
            ) if kind == b"message" => {
                context.subscriptions.handle_message(channel, payload);
                Ok(())
            }
            (
                Some(Value::Bytes(kind)),
                Some(Value::Bytes(channel)),
                Some(Value::Integer(_)),
                None,
            ) => {
                let subscribed = match kind.as_slice() {
                    b"subscribe" => Some(channel),
                    b"unsubscribe" => None,
                    _ => return Err(CallError::Malformed),
                };
                self.service = Service::Some;
                self.awaiting_since = Some(context.now);
                let confirmed = context.subscriptions.handle_confirmed(subscribed);
                confirmed.map_err(|()| CallError::Malformed)
            }
            _ => Err(CallError::Malformed),
        }
    }

    fn take_pong(&mut self) -> Result<(), CallError> {
        self.service = Service::Some;
        match std::mem::take(&mut self.is_pinged) {
            true => Ok(()),
            false => Err(CallError::Malformed),
        }
    }

    pub(in super::super) fn handle_timeout(&mut self, context: &WireContext<'_>) -> Fate {
        if self.awaiting_since.is_some() {
            return Fate::Lost(CallError::Timeout);
        }
        encode_command(&[b"PING"], &mut self.output);
        self.is_pinged = true;
        self.awaiting_since = Some(context.now);
        Fate::Open
    }

    pub(in super::super) fn deadline(&self, settings: &Settings) -> MonotonicTime {
        match self.awaiting_since {
            Some(since) => since + settings.late_answer_timeout,
            None => self.heard_at + settings.ping_interval,
        }
    }

    pub(in super::super) fn output(&self) -> &[u8] {
        self.output.get(self.sent..).unwrap_or_default()
    }

    pub(in super::super) fn consume_output(&mut self, byte_count: usize) {
        debug_assert!(byte_count <= self.output().len());
        self.sent += byte_count.min(self.output().len());
        if self.sent == self.output.len() {
            self.output = Vec::new();
            self.sent = 0;
        }
    }
}
