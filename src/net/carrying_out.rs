//! Between connections and application: an event goes in at the application's door, and what comes
//! out is carried out.

use std::borrow::Cow;
use std::rc::Rc;

use super::event_loop::EventLoop;
use super::handle::Request;
use super::memory::HeldBy;
use super::system::System;
use crate::app::{BodyLimit, Command, CurrentMessage, Encryption, Event, IncomingRequest, NOBODY};
use crate::base::SharedBytes;
use crate::connection::{ConnId, PostError};
use crate::ops::signals::Signal;
use crate::protocol::message::{AssembledMessage, MessageKind};

impl<Y: System> EventLoop<Y> {
    /// Hands an event to the application, and carries out what comes of it.
    pub(super) fn dispatch(&mut self, id: ConnId, event: Event<'_>) {
        self.commands.begin(id, CurrentMessage::Lent);
        self.app.handle(event, self.context.now, &mut self.commands);
        self.after_event(id, None);
    }

    /// Sees to what other threads have asked for.
    pub(super) fn serve_handles(&mut self) {
        while let Some(request) = self.handle_requests.next() {
            match request {
                Request::Push { packet, answer } => {
                    let ticket = self.handle_requests.wait_for(answer);
                    let packet = packet.as_str();
                    self.dispatch(NOBODY, Event::Push { ticket, packet });
                }
                Request::Stop => self.handle_signal(Signal::Stop),
            }
        }
    }

    /// Hands a request head to the application.
    pub(super) fn dispatch_request(&mut self, id: ConnId, head: &[u8]) {
        let Some(link) = self.links.table.get_mut(id) else {
            return;
        };
        let encryption = match link.transport.is_encrypted() {
            true => Encryption::Tls,
            false => Encryption::None,
        };
        let request = IncomingRequest {
            id,
            head,
            peer: link.peer,
            encryption,
            local_ip: &|| link.transport.local_ip(),
        };
        self.commands.begin(id, CurrentMessage::Lent);
        self.app.handle(
            Event::Request(request),
            self.context.now,
            &mut self.commands,
        );
        self.after_event(id, None);
    }

    /// Queues what goes back to `id`, before anything that its next frame brings about; frames to
    /// others may wait for more of them.
    pub(super) fn after_event(&mut self, id: ConnId, message: Option<AssembledMessage>) {
        let app_bytes = self.app.held_bytes();
        if app_bytes != self.app_bytes {
            self.app_bytes = app_bytes;
            self.weigh_for_app(id);
        }
        if self.commands.is_urgent() {
            self.carry_out(message);
        } else {
            self.reply(message);
        }
    }

    /// The application keeps more or less for a connection than before.
    fn weigh_for_app(&mut self, id: ConnId) {
        let bytes = self.app.held_bytes_of(id);
        if let Some(link) = self.links.table.get_mut(id) {
            let address = link.peer.ip;
            self.links
                .heavy
                .set(id.slot as usize, address, HeldBy::App, bytes);
        }
    }

    fn reply(&mut self, message: Option<AssembledMessage>) {
        let id = self.commands.current();
        let counts = self.commands.take_reply_counts();
        // The 101 comes before what is replied.
        if let Some(accept) = self.commands.take_accept() {
            self.links.accept(&accept, &mut self.context);
            self.links.touch(id);
        }
        let (frames, current) = self.commands.reply_mut();
        let mut message = message;
        let returned = message.take_if(|_| current == CurrentMessage::Returned);
        if let Some(handled) = message {
            self.context.pool.give(handled.into_bytes());
        }
        if frames.is_empty() && returned.is_none() {
            return;
        }
        self.links.catch_up(id.slot as usize, &mut self.context);
        let Some(link) = self.links.table.get_mut(id) else {
            return frames.clear();
        };
        let sent = match returned {
            Some(message) => link
                .connection
                .reply_message(frames, message, &mut self.context),
            None => link.connection.reply(frames, &mut self.context),
        };
        // It is flushed when its input has been taken in; only what went wrong is to be seen to.
        match sent {
            Ok(()) => self.context.traffic.sent.add_all(&counts),
            Err(_) => drop(self.links.note_sent(id, sent, &mut self.context)),
        }
    }

    /// Carries out all commands, and tells the application what it wanted to know, until nothing is
    /// left to be done.
    pub(super) fn carry_out(&mut self, mut message: Option<AssembledMessage>) {
        loop {
            let (mut list, frames) = self.commands.take();
            self.reply(message.take());
            if list.is_empty() {
                return self.commands.restore(list, frames);
            }
            let mut answers = Vec::new();
            let frames = self.links.shared_buffers.wrap(frames);
            for command in list.drain(..) {
                answers.extend(self.carry_out_one(command, &frames));
            }
            let frames = self.links.shared_buffers.reclaim_handle(frames);
            let frames = frames.unwrap_or_else(|| self.context.pool.take());
            self.commands.restore(list, frames);
            for (id, event) in answers {
                self.commands.begin(id, CurrentMessage::Lent);
                self.app.handle(event, self.context.now, &mut self.commands);
                self.reply(None);
            }
            if self.commands.is_empty() {
                return;
            }
        }
    }

    /// What the application is told about it, if it has asked.
    fn carry_out_one(
        &mut self,
        command: Command,
        frames: &Rc<SharedBytes>,
    ) -> Option<(ConnId, Event<'static>)> {
        let context = &mut self.context;
        match command {
            Command::Send { to, frame, call } => {
                let receipt = self.links.send(to, (frames, frame), context);
                call.map(|call| (NOBODY, Event::Delivered { call, receipt }))
            }
            Command::Broadcast {
                from,
                audience,
                frame,
                call,
            } => {
                let settings = &self.settings.compression;
                let sending = (from, &audience, call);
                let sent = self
                    .links
                    .broadcast(sending, (frames, frame), settings, context);
                let (call, receipt) = call.zip(sent)?;
                Some((NOBODY, Event::Delivered { call, receipt }))
            }
            Command::Replay { to, frames } => {
                let settings = &self.settings.compression;
                self.links.replay(to, &frames, settings, context);
                None
            }
            Command::Reject { id, rejection } => {
                self.links.respond(
                    id,
                    |link, context| link.connection.reject(rejection, context),
                    context,
                );
                None
            }
            Command::Respond { id, after, bytes } => {
                let write = |out: &mut Vec<u8>| out.extend_from_slice(&bytes);
                self.links.respond(
                    id,
                    |link, context| link.connection.respond(after, write, context),
                    context,
                );
                // What was kept for the request has gone with it.
                self.app_bytes = self.app.held_bytes();
                self.weigh_for_app(id);
                None
            }
            Command::ReadBody {
                id,
                length,
                expectation,
                limit,
            } => {
                let max_bytes = match limit {
                    BodyLimit::Script => context.limits.max_message_bytes,
                    BodyLimit::Page => context.limits.max_posted_bytes(),
                };
                let link = self.links.table.get_mut(id)?;
                let peer = link.peer;
                let length = (length, max_bytes);
                match link.connection.expect_body(length, expectation, context) {
                    Ok(body) => body.map(|body| (id, Event::Body { id, body })),
                    Err(rejection) => {
                        link.connection.reject(rejection, context);
                        self.links.touch(id);
                        let refused = Event::Refused {
                            id,
                            peer,
                            rejection,
                        };
                        Some((id, refused))
                    }
                }
            }
            Command::Call { upstream, call } => {
                let now = context.now;
                self.upstreams.call(upstream, call, &mut self.system, now);
                None
            }
            Command::ChangeSubscriptions {
                upstream,
                change,
                channels,
            } => {
                let (system, now) = (&mut self.system, context.now);
                self.upstreams
                    .change_subscriptions(upstream, change, &channels, system, now);
                None
            }
            Command::ReadSession { call, file } => {
                self.system.read_session(call, file);
                None
            }
            Command::Report { id, detail } => {
                let report = self.report(detail);
                Some((id, Event::Reported { id, report }))
            }
            Command::Post { to, text } => self.post(to, text),
            Command::Resume { id } => Some((id, Event::Resumed { id })),
            Command::AnswerPush { ticket, outcome } => {
                self.handle_requests.answer(ticket, outcome);
                None
            }
            Command::Close { id, code, reason } => {
                // What was made for one client alone counts by what stands before its colon.
                let name = match &reason {
                    Cow::Borrowed(text) => text,
                    Cow::Owned(text) => text.split(':').next().unwrap_or_default(),
                };
                self.links.close(id, code, (&reason, name), context);
                None
            }
        }
    }

    /// A message of a page that reads a stream of events: it counts as if it had come on that.
    fn post(&mut self, id: ConnId, text: String) -> Option<(ConnId, Event<'static>)> {
        self.links.catch_up(id.slot as usize, &mut self.context);
        let link = self.links.table.get_mut(id)?;
        let peer = link.peer;
        let event = match link.connection.count_posted(&mut self.context) {
            Ok(()) => {
                let received = &mut self.context.traffic.received;
                received.add_message(MessageKind::Text, text.len());
                Event::Posted { id, text }
            }
            Err(PostError::Send(error)) => {
                self.links.note_sent(id, Err(error), &mut self.context);
                return None;
            }
            Err(PostError::Violation(violation)) => {
                let (code, reason) = (violation.close_code().as_u16(), violation.reason());
                self.links.count_end(id, code, reason);
                self.links.ended.push(id);
                Event::Failed {
                    id,
                    peer,
                    violation,
                }
            }
        };
        // What goes back leaves at the end of this turn.
        self.links.touch(id);
        Some((id, event))
    }

    /// Tells the application what became of broadcasts that are through; whether there were any.
    pub(super) fn tell_receipts(&mut self) -> bool {
        let mut has_told = false;
        while let Some((call, receipt)) = self.links.broadcasts.next_receipt() {
            has_told = true;
            self.commands.begin(NOBODY, CurrentMessage::Lent);
            let event = Event::Delivered { call, receipt };
            self.app.handle(event, self.context.now, &mut self.commands);
            self.carry_out(None);
        }
        has_told
    }

    /// Goes on with all calls to other servers, and tells the application what was answered. What
    /// it asks then is sent in the next turn.
    pub(super) fn run_upstreams(&mut self) {
        let now = self.context.now;
        self.upstreams.run(&mut self.system, now, &mut self.timers);
        if self.keeps_answers {
            return;
        }
        while let Some((upstream, event)) = self.upstreams.next_subscriber_event() {
            self.commands.begin(NOBODY, CurrentMessage::Lent);
            let event = Event::Subscriber { upstream, event };
            self.app.handle(event, now, &mut self.commands);
            self.carry_out(None);
        }
        for _ in 0..self.upstreams.answer_count() {
            if let Some((upstream, answer)) = self.upstreams.next_answer() {
                self.commands.begin(NOBODY, CurrentMessage::Lent);
                let event = Event::Answered { upstream, answer };
                self.app.handle(event, now, &mut self.commands);
                self.carry_out(None);
            }
        }
    }

    /// Tells the application which sessions have been read, up to its share of a turn. What it asks
    /// then is answered in a later turn.
    pub(super) fn take_up_sessions(&mut self) {
        if !std::mem::take(&mut self.has_sessions) {
            return;
        }
        let mut budget_bytes = SESSION_BYTES_PER_TURN;
        let mut outcomes = Vec::new();
        while budget_bytes > 0
            && let Some((call, outcome)) = self.system.next_session()
        {
            budget_bytes = budget_bytes.saturating_sub(SESSION_COST_BYTES + outcome.byte_count());
            outcomes.push((call, outcome));
        }
        self.has_sessions = budget_bytes == 0;
        for (call, outcome) in outcomes {
            self.commands.begin(NOBODY, CurrentMessage::Lent);
            let event = Event::SessionRead { call, outcome };
            self.app.handle(event, self.context.now, &mut self.commands);
            self.carry_out(None);
        }
    }
}

/// Bytes of sessions after which the others wait for the next turn. The application walks through
/// each of them several times, which takes some milliseconds for so many.
const SESSION_BYTES_PER_TURN: usize = 512 << 10;

/// What handing over a session costs apart from its length, in the same measure.
const SESSION_COST_BYTES: usize = 4 << 10;
