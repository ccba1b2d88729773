//! [`Wire`]: a connection that carries one exchange after the other (RFC 9112 §9.3).

use super::super::call::{Call, CallId, Response};
use super::super::error::CallError;
use super::super::wire_context::{Fate, History, Unanswered, WireContext};
use super::request::Method;
use super::response_reader::{AfterAnswer, ResponseReader};
use crate::base::time::MonotonicTime;

/// One connection.
#[derive(Debug)]
pub(in super::super) struct Wire {
    state: State,
}

#[derive(Debug)]
enum State {
    /// It carries nothing, and is closed at that time.
    Kept { until: MonotonicTime },
    /// It carries one exchange.
    Busy(Box<Exchange>),
}

/// One request and its answer.
#[derive(Debug)]
struct Exchange {
    call: Call,
    /// Bytes of the request that have left.
    sent: usize,
    reader: ResponseReader,
    history: History,
    awaited_by: AwaitedBy,
    /// When the answer has to be whole.
    deadline: MonotonicTime,
}

/// Whom an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AwaitedBy {
    /// The one who has called.
    Caller,
    /// Nobody any more; the connection can be used again behind it.
    Nobody,
}

impl Wire {
    /// One that carries nothing yet.
    pub(in super::super) fn new(until: MonotonicTime) -> Self {
        Self {
            state: State::Kept { until },
        }
    }

    /// Until when it is kept; `None`: it carries an exchange.
    pub(in super::super) fn kept_until(&self) -> Option<MonotonicTime> {
        match self.state {
            State::Kept { until } => Some(until),
            State::Busy(_) => None,
        }
    }

    /// Sends a call; nothing else is under way.
    pub(in super::super) fn start(&mut self, call: Call, method: Method, history: History) {
        debug_assert!(matches!(self.state, State::Kept { .. }));
        self.state = State::Busy(Box::new(Exchange {
            sent: 0,
            reader: ResponseReader::new(method, call.max_body_bytes),
            history,
            awaited_by: AwaitedBy::Caller,
            deadline: call.deadline,
            call,
        }));
    }

    pub(in super::super) fn cancel(
        &mut self,
        id: CallId,
        context: &WireContext<'_>,
    ) -> Option<Fate> {
        match &self.state {
            State::Busy(exchange)
                if exchange.call.id == id && exchange.awaited_by == AwaitedBy::Caller =>
            {
                Some(self.abandon(context))
            }
            State::Busy(_) | State::Kept { .. } => None,
        }
    }

    pub(in super::super) fn receive(
        &mut self,
        mut input: &[u8],
        context: &mut WireContext<'_>,
    ) -> Fate {
        match &mut self.state {
            State::Kept { .. } => {
                context.counts.unsolicited += 1;
                Fate::Close
            }
            // What comes before a request has left is no answer to it, but somebody else's.
            State::Busy(exchange) if exchange.sent == 0 => {
                context.counts.unsolicited += 1;
                Fate::Lost(CallError::Malformed)
            }
            State::Busy(exchange) => match exchange.reader.push(&mut input) {
                Ok(None) => Fate::Open,
                Ok(Some((response, after))) => {
                    let after = match input.is_empty() {
                        true => after,
                        false => AfterAnswer::Close,
                    };
                    context.counts.unsolicited += u64::from(!input.is_empty());
                    self.finish(Response::Http(response), after, context)
                }
                Err(error) => Fate::Failed(error),
            },
        }
    }

    /// The answer is whole.
    fn finish(
        &mut self,
        response: Response,
        after: AfterAnswer,
        context: &mut WireContext<'_>,
    ) -> Fate {
        let State::Busy(exchange) = &self.state else {
            return Fate::Open;
        };
        // An answer may come before the request has left; what is left of that cannot be sent as
        // the beginning of another one.
        let is_reusable = after == AfterAnswer::Keep && exchange.unsent().is_empty();
        match exchange.awaited_by {
            AwaitedBy::Caller => context.answer(exchange.call.id, Ok(response)),
            AwaitedBy::Nobody => context.counts.late += 1,
        }
        let until = context.now + context.settings.idle_timeout;
        self.state = State::Kept { until };
        match is_reusable {
            true => Fate::Open,
            false => Fate::Close,
        }
    }

    pub(in super::super) fn handle_eof(&mut self, context: &mut WireContext<'_>) -> Fate {
        if let State::Busy(exchange) = &mut self.state
            && let Some((response, _)) = exchange.reader.handle_eof()
        {
            return self.finish(Response::Http(response), AfterAnswer::Close, context);
        }
        self.handle_lost()
    }

    pub(in super::super) fn handle_lost(&self) -> Fate {
        match self.state {
            State::Kept { .. } => Fate::Close,
            State::Busy(_) => Fate::Lost(CallError::Closed),
        }
    }

    pub(in super::super) fn handle_timeout(&mut self, context: &mut WireContext<'_>) -> Fate {
        match &self.state {
            State::Kept { .. } => Fate::Close,
            State::Busy(exchange) => match exchange.awaited_by {
                AwaitedBy::Caller => {
                    context.answer(exchange.call.id, Err(CallError::Timeout));
                    self.abandon(context)
                }
                AwaitedBy::Nobody => Fate::Close,
            },
        }
    }

    /// Nobody waits for the answer any more. The connection stays occupied for a while: the other
    /// end works on the request all the same.
    fn abandon(&mut self, context: &WireContext<'_>) -> Fate {
        let State::Busy(exchange) = &mut self.state else {
            return Fate::Open;
        };
        exchange.awaited_by = AwaitedBy::Nobody;
        exchange.deadline = context.now + context.settings.late_answer_timeout;
        match exchange.unsent().is_empty() {
            true => Fate::Open,
            false => Fate::Close,
        }
    }

    pub(in super::super) fn deadline(&self) -> MonotonicTime {
        match &self.state {
            State::Kept { until } => *until,
            State::Busy(exchange) => exchange.deadline,
        }
    }

    pub(in super::super) fn output(&self) -> &[u8] {
        match &self.state {
            State::Busy(exchange) => exchange.unsent(),
            State::Kept { .. } => &[],
        }
    }

    pub(in super::super) fn consume_output(&mut self, byte_count: usize) {
        if let State::Busy(exchange) = &mut self.state {
            debug_assert!(byte_count <= exchange.unsent().len());
            exchange.sent += byte_count.min(exchange.unsent().len());
        }
    }

    pub(in super::super) fn into_unanswered(self) -> Option<Unanswered> {
        match self.state {
            State::Busy(exchange) if exchange.awaited_by == AwaitedBy::Caller => {
                let can_be_repeated = exchange.can_be_repeated();
                Some(Unanswered {
                    call: exchange.call,
                    can_be_repeated,
                })
            }
            State::Busy(_) | State::Kept { .. } => None,
        }
    }
}

impl Exchange {
    /// Bytes of the request that have not left.
    fn unsent(&self) -> &[u8] {
        let bytes = self.call.request.as_bytes();
        bytes.get(self.sent..).unwrap_or_default()
    }

    /// Whether the request can be sent once more now that its connection is lost: the other end
    /// had probably closed that before it could know of the request, and asking twice does no harm
    /// (RFC 9110 §9.2.2, RFC 9112 §9.3.1).
    fn can_be_repeated(&self) -> bool {
        self.history == History::Kept
            && !self.reader.has_begun()
            && (self.sent == 0 || self.call.request.is_repeatable())
    }
}
