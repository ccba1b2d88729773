//! From bytes to events: the request head, frames, messages, and what control frames bring about.

use std::borrow::Cow;

use super::connection::Connection;
use super::event::{Event, Message};
use super::inbound::Inbound;
use super::limits::TurnContext;
use super::output::BufferPool;
use super::state::{ReadingHead, State};
use crate::base::time::MonotonicTime;
use crate::protocol::close;
use crate::protocol::close_code::CloseCode;
use crate::protocol::error::Violation;
use crate::protocol::frame::{Header, Opcode, Role, Rsv1};
use crate::protocol::http::{BodyPart, MAX_HEAD_BYTES, find_head};
use crate::protocol::message::{Assembler, MessageKind, MessageLimits, check_order};
use crate::protocol::{mask, utf8};

impl Connection {
    pub(super) fn receive_head<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        context: &mut TurnContext,
    ) -> Option<Event<'a>> {
        let (mut head, deadline) = match &mut self.state {
            State::Connecting { deadline } => (Vec::new(), *deadline),
            State::ReadingHead(reading) => (std::mem::take(&mut reading.head), reading.deadline),
            _ => return None,
        };
        let searched = head.len();
        let found = if searched == 0 {
            find_head(input, 0)
        } else {
            head.extend_from_slice(&input[..input.len().min(MAX_HEAD_BYTES + 1 - searched)]);
            find_head(&head, searched)
        };
        match found {
            Ok(Some(len)) => {
                self.state = State::AwaitingDecision { deadline };
                let taken = take(input, len - searched);
                let head = whole_head(head, taken, len);
                self.response_part = BodyPart::of_response_to(&head);
                Some(Event::Head(head))
            }
            Ok(None) => {
                if searched == 0 {
                    head.extend_from_slice(input);
                }
                *input = &mut [];
                self.keep_head(head, deadline);
                None
            }
            Err(rejection) => {
                *input = &mut [];
                self.reject(rejection, context);
                Some(Event::Refused(rejection))
            }
        }
    }

    fn keep_head(&mut self, head: Vec<u8>, deadline: MonotonicTime) {
        match &mut self.state {
            State::ReadingHead(reading) => reading.head = head,
            state => *state = State::ReadingHead(Box::new(ReadingHead { head, deadline })),
        }
    }

    pub(super) fn receive_body<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        context: &mut TurnContext,
    ) -> Option<Event<'a>> {
        let State::ReadingBody(receiving) = &mut self.state else {
            return None;
        };
        match receiving.body.push(input) {
            Ok((taken, body)) => {
                receiving.progress += taken;
                take(input, taken);
                let body = body?;
                self.state = State::AwaitingResponse;
                Some(Event::Body(body))
            }
            Err(rejection) => {
                *input = &mut [];
                self.reject(rejection, context);
                Some(Event::Refused(rejection))
            }
        }
    }

    #[inline]
    pub(super) fn receive_frames<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        context: &mut TurnContext,
    ) -> Option<Event<'a>> {
        while !input.is_empty() {
            match self.take_whole_message(input, context) {
                Some(Ok(message)) if self.is_open() => {
                    self.note_that_client_spoke();
                    return Some(Event::Message(message));
                }
                Some(Ok(_)) => continue,
                Some(Err(violation)) => return self.fail(violation, input, context),
                None => {}
            }
            match self.next_frame(input, context) {
                Ok(Some(Event::AssembledMessage(_))) if !self.is_open() => {}
                Ok(Some(event)) => return Some(event),
                Ok(None) if self.waits_for_budget(context) => return None,
                Ok(None) => {}
                Err(violation) => return self.fail(violation, input, context),
            }
        }
        None
    }

    /// The usual case, in one go: a message in a single frame, not compressed, lies whole at the front
    /// of `input`. Anything else is left to [`next_frame`](Self::next_frame), which decides the same.
    #[inline(always)]
    fn take_whole_message<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        context: &TurnContext,
    ) -> Option<Result<Message<'a>, Violation>> {
        if self.inbound.is_some() {
            return None;
        }
        let (header, header_len) = Header::parse(input, Role::Server, Rsv1::Forbidden).ok()??;
        let is_whole = header.fin && header.payload_len <= (input.len() - header_len) as u64;
        if !is_whole || !matches!(header.opcode, Opcode::Text | Opcode::Binary) {
            return None;
        }
        if let Err(violation) = self.count_message(context) {
            return Some(Err(violation));
        }
        if header.payload_len > self.max_message_bytes(&context.limits) as u64 {
            return Some(Err(Violation::MessageTooBig));
        }
        take(input, header_len);
        let payload = take(input, header.payload_len as usize);
        mask::apply(header.masking_key, 0, payload);
        Some(whole_message(header.opcode, payload))
    }

    /// One step: completes a header, or a frame, or takes in what there is.
    fn next_frame<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        context: &mut TurnContext,
    ) -> Result<Option<Event<'a>>, Violation> {
        let rsv1 = self.rsv1();
        let parsed = match &mut self.inbound {
            Some(inbound) if inbound.frame.is_some() => return self.continue_frame(input, context),
            Some(inbound) if inbound.has_kept_header() => inbound.complete_header(input, rsv1)?,
            Some(_) | None => {
                let parsed = Header::parse(input, Role::Server, rsv1)?;
                if parsed.is_none() {
                    self.inbound_mut(context.now).keep_header(input);
                }
                parsed
            }
        };
        let Some((header, len)) = parsed else {
            *input = &mut [];
            return Ok(None);
        };
        take(input, len);
        self.begin_frame(header, input, context)
    }

    /// Judges a frame by its header and what came before it.
    fn begin_frame<'a>(
        &mut self,
        header: Header,
        input: &mut &'a mut [u8],
        context: &mut TurnContext,
    ) -> Result<Option<Event<'a>>, Violation> {
        let is_message_begun = self.inbound.as_ref().is_some_and(|i| i.message.is_some());
        check_order(header.opcode, is_message_begun)?;
        if header.opcode.is_control() {
            self.count_control(context)?;
        } else {
            if header.opcode != Opcode::Continuation {
                self.count_message(context)?;
            }
            let limits = MessageLimits {
                max_bytes: self.max_message_bytes(&context.limits),
                max_fragments: context.limits.max_fragments,
            };
            let begun = self.inbound_mut(context.now).message.take();
            let mut message =
                begun.unwrap_or_else(|| self.begin_message(&header, &mut context.pool));
            message.begin_fragment(&header, limits)?;
            self.inbound_mut(context.now).message = Some(message);
        }
        self.inbound_mut(context.now).begin(header);
        self.continue_frame(input, context)
    }

    /// Whether the turn's share of inflating is spent, so that the rest of a compressed message has
    /// to wait.
    fn waits_for_budget(&self, context: &TurnContext) -> bool {
        let message = self.inbound.as_ref().and_then(|i| i.message.as_ref());
        context.inflate_budget_bytes == 0 && message.is_some_and(Assembler::is_inflating)
    }

    #[inline]
    fn note_that_client_spoke(&mut self) {
        if let Some(framer) = &mut self.php_framer {
            framer.client_spoke();
        }
    }

    /// Where the message of this first header is gathered.
    fn begin_message(&mut self, header: &Header, pool: &mut BufferPool) -> Assembler {
        let mut message = self.new_message(header, pool);
        message.want_outline();
        message
    }

    fn new_message(&mut self, header: &Header, pool: &mut BufferPool) -> Assembler {
        let is_open = self.is_open();
        let kind = match header.opcode {
            Opcode::Text => MessageKind::Text,
            _ => MessageKind::Binary,
        };
        match &mut self.compression {
            Some(compression) if header.rsv1 && is_open => {
                let inflater = compression.take_inflater(pool);
                // What it becomes is not known; text gets to a quarter or less.
                let likely_len = header.payload_len.saturating_mul(4);
                let mut buffer = pool.take_for(likely_len);
                buffer.clear();
                Assembler::with_inflater(kind, buffer, inflater)
            }
            // Once our close frame is out nobody reads messages: their bytes are let pass.
            _ if header.rsv1 => Assembler::with_buffer(MessageKind::Binary, pool.take()),
            _ => Assembler::with_buffer(kind, pool.take_for(header.payload_len)),
        }
    }

    fn end_message(
        &mut self,
        mut message: Assembler,
        pool: &mut BufferPool,
    ) -> Result<Event<'static>, Violation> {
        if let (Some(inflater), Some(compression)) =
            (message.end_inflating()?, &mut self.compression)
        {
            compression.give_inflater(inflater, pool);
        }
        message.finish().map(Event::AssembledMessage)
    }

    /// Takes payload of the frame that has begun; acts on it once it is complete.
    fn continue_frame<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        context: &mut TurnContext,
    ) -> Result<Option<Event<'a>>, Violation> {
        let Some(inbound) = &mut self.inbound else {
            return Ok(None);
        };
        let len = inbound.missing().min(input.len() as u64) as usize;
        let piece = input.get_mut(..len).unwrap_or_default();
        let taken_len = inbound.push(piece, &mut context.inflate_budget_bytes)?;
        take(input, taken_len);
        match inbound.ended_frame() {
            Some(header) => self.end_frame(header, context),
            None => Ok(None),
        }
    }

    /// Acts on a frame whose payload is complete.
    pub(super) fn end_frame(
        &mut self,
        header: Header,
        context: &mut TurnContext,
    ) -> Result<Option<Event<'static>>, Violation> {
        if self.is_open() || header.opcode == Opcode::Close {
            context.traffic.received.add_frame(header.opcode);
        }
        let Some(inbound) = &mut self.inbound else {
            return Ok(None);
        };
        let event = if header.opcode.is_control() {
            let payload = std::mem::take(&mut inbound.control);
            self.drop_inbound_if_done();
            self.handle_control(header.opcode, &payload, context)?
        } else if header.fin {
            let message = inbound.message.take();
            self.drop_inbound_if_done();
            self.note_that_client_spoke();
            message
                .map(|message| self.end_message(message, &mut context.pool))
                .transpose()?
        } else {
            None
        };
        Ok(event)
    }

    fn handle_control(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        context: &mut TurnContext,
    ) -> Result<Option<Event<'static>>, Violation> {
        match opcode {
            Opcode::Close => {
                let parsed = close::parse(payload)?.map(|(code, _)| code);
                self.handle_close(parsed, context);
                Ok(Some(Event::Closed(parsed)))
            }
            Opcode::Ping if self.is_open() => {
                // §5.5.3: only the latest of several pings needs its pong; a peer that pings and
                // does not read gets none while its queue is full.
                if self.output_weight() <= context.limits.max_queue_bytes {
                    self.push_control(Opcode::Pong, payload, context);
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// RFC 6455 §5.5.1: a close frame is answered by one with the same code, once.
    fn handle_close(&mut self, code: Option<CloseCode>, context: &mut TurnContext) {
        if self.is_open() {
            self.push_close(code.map(|code| (code, "")), context);
        }
        self.forget_input();
        self.state = State::Closed {
            deadline: context.now + context.limits.close_timeout,
            heard: Some(context.now),
        };
    }

    /// RFC 6455 §7.1.7: says what was wrong and stops listening.
    pub(super) fn fail<'a>(
        &mut self,
        violation: Violation,
        input: &mut &'a mut [u8],
        context: &mut TurnContext,
    ) -> Option<Event<'a>> {
        *input = &mut [];
        let was_open = self.is_open();
        self.break_off(violation, context);
        was_open.then_some(Event::Failed(violation))
    }

    pub(super) fn break_off(&mut self, violation: Violation, context: &mut TurnContext) {
        if self.is_open() {
            self.push_close(Some((violation.close_code(), violation.reason())), context);
        }
        self.forget_input();
        self.state = State::Draining {
            deadline: context.now + context.limits.close_timeout,
            heard: self.last_heard(&context.limits),
        };
    }

    fn count_control(&mut self, context: &TurnContext) -> Result<(), Violation> {
        let limit = context.limits.max_control_frames_per_second;
        let counted = self.control_rate.count(limit, context.now);
        if counted {
            Ok(())
        } else {
            Err(Violation::TooManyControlFrames)
        }
    }

    #[inline]
    pub(super) fn count_message(&mut self, context: &TurnContext) -> Result<(), Violation> {
        let limit = context.limits.max_messages_per_second;
        let counted = limit == 0 || self.message_rate.count(limit, context.now);
        if counted {
            Ok(())
        } else {
            Err(Violation::TooManyMessages)
        }
    }

    /// RSV1 has a meaning only where compression was agreed on (RFC 7692 §6).
    fn rsv1(&self) -> Rsv1 {
        if self.compression.is_some() {
            Rsv1::MarksCompressed
        } else {
            Rsv1::Forbidden
        }
    }

    /// Nothing more is received and no message is sent: frees what only those need.
    pub(super) fn forget_input(&mut self) {
        self.inbound = None;
        self.compression = None;
    }

    fn inbound_mut(&mut self, now: MonotonicTime) -> &mut Inbound {
        self.inbound
            .get_or_insert_with(|| Box::new(Inbound::new(now)))
    }

    fn drop_inbound_if_done(&mut self) {
        if self
            .inbound
            .as_ref()
            .is_some_and(|inbound| inbound.is_done())
        {
            self.inbound = None;
        }
    }
}

/// The head as it came in one piece, or as it was gathered.
fn whole_head<'a>(mut gathered: Vec<u8>, in_one_piece: &'a [u8], len: usize) -> Cow<'a, [u8]> {
    if gathered.is_empty() {
        return Cow::Borrowed(in_one_piece);
    }
    gathered.truncate(len);
    Cow::Owned(gathered)
}

/// Splits `len` bytes off the front of `input`.
fn take<'a>(input: &mut &'a mut [u8], len: usize) -> &'a mut [u8] {
    let all = std::mem::take(input);
    let (front, rest) = all.split_at_mut(len.min(all.len()));
    *input = rest;
    front
}

#[inline]
fn whole_message<'a>(opcode: Opcode, payload: &'a [u8]) -> Result<Message<'a>, Violation> {
    if opcode != Opcode::Text {
        return Ok(Message::Binary(payload));
    }
    match utf8::check(payload) {
        Some(text) => Ok(Message::Text(text.into())),
        None => Err(Violation::InvalidUtf8),
    }
}
