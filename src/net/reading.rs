//! The first half of a turn for one connection: read, receive, hand over.

use std::io::{self, ErrorKind};

use log::{debug, info};

use super::counts::{ABNORMAL_CLOSURE, CLOSED_BY_CLIENT, LOST, NO_PONG, code_of_client};
use super::event_loop::EventLoop;
use super::link::{Reading, Writing};
use super::pending_links::Activity;
use super::proxy_headers::HeaderRead;
use super::received::{More, Received};
use super::system::System;
use super::tls::{HANDSHAKE_RECORD, MAX_INCOMING, NotTls};
use crate::app::{CurrentMessage, Event};
use crate::base::plain;
use crate::connection::{self, ConnId, Message, TimedOut};
use crate::protocol::error::{Rejection, Violation};
use crate::protocol::http::BodyPart;

/// Whether the kernel tells when there is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextRead {
    /// It does, since the last read has drained the socket.
    WhenTold,
    /// It has told already: of the end, or of what was left for later.
    AtOnce,
}

impl<Y: System> EventLoop<Y> {
    /// Reads what the kernel has for a connection. `is_ended`: it has said that nothing will follow.
    pub(super) fn read(&mut self, slot: usize, is_ended: bool) {
        let Some(link) = self.links.table.slot_mut(slot) else {
            return;
        };
        match link.reading {
            // It stands in the backlog, or waits until it can be read on.
            Reading::Backlog | Reading::Paused | Reading::Awaiting => return,
            Reading::PutOff if is_ended => {
                link.reading = Reading::Backlog;
                return;
            }
            Reading::PutOff => return,
            Reading::Waiting => {}
        }
        if link.transport.is_handshaking() || link.connection.is_within_long_message() {
            return match is_ended {
                true => self.links.put_on_backlog(slot),
                false => self.links.put_off_read(slot),
            };
        }
        self.links.catch_up(slot, &mut self.context);
        let next = match is_ended {
            true => NextRead::AtOnce,
            false => NextRead::WhenTold,
        };
        self.read_once(slot, next);
    }

    /// Goes on with a connection that had more to read than its share of the last turn.
    pub(super) fn read_again(&mut self, id: ConnId) {
        let Some(link) = self.links.table.get_mut(id) else {
            return;
        };
        let next = match std::mem::replace(&mut link.reading, Reading::Waiting) {
            Reading::PutOff => NextRead::WhenTold,
            Reading::Waiting | Reading::Backlog | Reading::Paused | Reading::Awaiting => {
                NextRead::AtOnce
            }
        };
        let slot = id.slot as usize;
        self.links.catch_up(slot, &mut self.context);
        let Some(link) = self.links.table.get_mut(id) else {
            return;
        };
        match link.take_unread() {
            Some(mut unread) => {
                self.receive(slot, &mut unread);
                // The kernel has not been asked since; there may be more.
                self.links.put_on_backlog(slot);
            }
            None => self.read_once(slot, next),
        }
    }

    /// One read, to where the connection wants it: the rest of a long message goes straight into
    /// that message's buffer, which saves a copy; everything else into the loop's.
    fn read_once(&mut self, slot: usize, next: NextRead) {
        let (Some(most_bytes), Some(link)) =
            (self.readable_bytes(slot), self.links.table.slot_mut(slot))
        else {
            return;
        };
        if link.proxy_header().is_some() {
            return self.read_proxy_header(slot);
        }
        if link.transport.is_handshaking() {
            match self.handshake_budget.checked_sub(1) {
                Some(left) => self.handshake_budget = left,
                None => return self.links.put_on_backlog(slot),
            }
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let cipher_buffer = &mut self.cipher_buffer;
        let own_buffer = link
            .connection
            .payload_buffer(LEAST_PAYLOAD_BYTES, buffer.len());
        let read = match own_buffer {
            Some(payload_buffer) => {
                let read = link.transport.read(payload_buffer, cipher_buffer);
                let len = read.as_ref().map_or(0, |received| received.len);
                self.receive_payload(slot, len);
                read
            }
            None => {
                let most_bytes = most_bytes.min(buffer.len());
                let read = link
                    .transport
                    .read(&mut buffer[..most_bytes], cipher_buffer);
                match &read {
                    Err(_)
                    | Ok(Received {
                        len: 0,
                        more: More::Ended,
                    }) => {}
                    // Also where nothing could be decrypted yet: what is kept of it counts.
                    Ok(Received { len, .. }) => self.receive(slot, &mut buffer[..*len]),
                }
                read
            }
        };
        self.buffer = buffer;
        self.after_read(slot, read, next);
    }

    /// Whether more is to be read, and what becomes of the connection if not.
    fn after_read(&mut self, slot: usize, read: io::Result<Received>, next: NextRead) {
        if let Ok(received) = &read {
            self.context.traffic.received_bytes += received.len as u64;
        }
        let Some(link) = self.links.table.slot_mut(slot) else {
            return;
        };
        let takes_output = link.writing != Writing::Closed;
        match read {
            Ok(Received {
                len: 0,
                more: More::Ended,
            }) => self.handle_eof(slot),
            Ok(Received { more: More::No, .. }) => {
                self.shrink_input(slot);
                if next == NextRead::AtOnce {
                    self.links.put_on_backlog(slot);
                }
            }
            Ok(_) => self.links.put_on_backlog(slot),
            Err(error) if error.kind() == ErrorKind::WouldBlock && takes_output => {
                self.shrink_input(slot);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.links.put_on_backlog(slot);
            }
            Err(error) if error.get_ref().is_some_and(|inner| inner.is::<NotTls>()) => {
                self.refuse_plain(slot);
            }
            Err(error) => self.lose(slot, &error),
        }
    }

    fn read_proxy_header(&mut self, slot: usize) {
        let Some(link) = self.links.table.slot_mut(slot) else {
            return;
        };
        match self.proxy_headers.read(link, self.context.now) {
            // The kernel does not tell again of what has come with it.
            HeaderRead::Whole => self.links.put_on_backlog(slot),
            HeaderRead::Unfinished => {}
            HeaderRead::Failed(error) => self.lose(slot, &error),
        }
    }

    /// Nothing more has come: an unfinished message keeps no more memory than it needs.
    fn shrink_input(&mut self, slot: usize) {
        if let Some(link) = self.links.table.slot_mut(slot)
            && link.connection.shrink_input(&mut self.context.pool)
        {
            self.links.count_memory(slot);
        }
    }

    /// As nginx does: plain HTTP on a TLS port gets a plain answer.
    fn refuse_plain(&mut self, slot: usize) {
        let Some(link) = self.links.table.slot_mut(slot) else {
            return;
        };
        let (id, peer, rejection) = (link.id, link.peer, Rejection::PlainOnTls);
        let mut response = Vec::new();
        rejection.write_response(BodyPart::Sent, &mut response);
        link.transport.write_plain(&response);
        self.links.abort(slot);
        self.dispatch(
            id,
            Event::Refused {
                id,
                peer,
                rejection,
            },
        );
    }

    fn handle_eof(&mut self, slot: usize) {
        let Some(link) = self.links.table.slot_mut(slot) else {
            return;
        };
        let id = link.id;
        if link.transport.is_within_handshake() {
            let address = link.peer.name();
            info!("#{slot}: the TLS handshake failed: the client has left it ({address})");
            self.counts.failed_handshake_count += 1;
        }
        let is_event_stream = link.connection.is_event_stream();
        if link.connection.handle_eof(&mut self.context).is_some() {
            debug!("#{slot} ends without a close frame");
            match is_event_stream {
                // Its reader has no other way to leave.
                true => (self.links).count_end(id, code_of_client(None), CLOSED_BY_CLIENT),
                false => self.links.count_end(id, ABNORMAL_CLOSURE, LOST),
            }
        }
        self.links.ended.push(id);
        self.links.touch(id);
    }

    fn lose(&mut self, slot: usize, error: &io::Error) {
        if let Some(link) = self.links.table.slot_mut(slot) {
            let (error, address) = (plain(error), link.peer.name());
            if link.transport.is_within_handshake() {
                info!("#{slot}: the TLS handshake failed: {error} ({address})");
                self.counts.failed_handshake_count += 1;
            } else {
                debug!("#{slot}: {error} ({address})");
            }
        }
        self.links.abort(slot);
    }

    // ---- receive

    /// Feeds input to a connection, and its events to the application, up to the turn's share;
    /// what cannot be taken yet stays with the link.
    fn receive(&mut self, slot: usize, mut input: &mut [u8]) {
        if self.is_tls_on_plain(slot, input) {
            return self.lose(slot, &io::Error::other("TLS spoken to a port without it"));
        }
        self.context.inflate_budget_bytes = INFLATED_BYTES_PER_TURN;
        self.commands.begin_share();
        let mut message_budget = MESSAGES_PER_TURN;
        let mut byte_budget = MESSAGE_BYTES_PER_TURN;
        let reading = loop {
            let Some(link) = self.links.table.slot_mut(slot) else {
                return;
            };
            let id = link.id;
            let Some(event) = link.connection.receive(&mut input, &mut self.context) else {
                break Reading::Backlog;
            };
            let message_len = event.message_len();
            byte_budget = byte_budget.saturating_sub(message_len);
            self.work_budget_bytes = self.work_budget_bytes.saturating_sub(message_len);
            message_budget -= 1;
            self.handle_event(id, event);
            let brought = self.commands.share();
            let is_spent = message_budget == 0
                || byte_budget == 0
                || brought.frame_bytes > FRAMES_BYTES_PER_TURN
                || brought.count > DELIVERIES_PER_TURN;
            // So that what others have to take is seen in their queues.
            if self.commands.frames_len() > self.context.limits.max_queue_bytes / 8 {
                self.carry_out(None);
            }
            if self.is_output_near_limit(slot) {
                break Reading::Paused;
            }
            if is_spent {
                break Reading::Backlog;
            }
        };
        let inflated = INFLATED_BYTES_PER_TURN - self.context.inflate_budget_bytes;
        self.work_budget_bytes = self.work_budget_bytes.saturating_sub(inflated);
        let link = self.links.table.slot_mut(slot);
        let reading = match link.is_some_and(|link| link.connection.is_awaiting()) {
            // Whatever has ended the loop: nothing more is read before the answer, not even an end.
            true => Reading::Awaiting,
            false => reading,
        };
        self.keep_unread(slot, input, reading);
        self.finish_receiving(slot);
    }

    /// Takes in what was read straight into a message's buffer.
    fn receive_payload(&mut self, slot: usize, len: usize) {
        let Some(link) = self.links.table.slot_mut(slot) else {
            return;
        };
        let id = link.id;
        let event = link.connection.receive_payload(len, &mut self.context);
        self.work_budget_bytes = self.work_budget_bytes.saturating_sub(len);
        if let Some(event) = event {
            self.handle_event(id, event);
            if self.is_output_near_limit(slot) {
                self.keep_unread(slot, &[], Reading::Paused);
            }
        }
        self.finish_receiving(slot);
    }

    /// Carries out what has come of input, and sends what waits for the peer itself.
    fn finish_receiving(&mut self, slot: usize) {
        if !self.commands.is_empty() {
            self.carry_out(None);
        }
        let Some(link) = self.links.table.slot_mut(slot) else {
            return;
        };
        let id = link.id;
        if !link.connection.is_open() && !link.connection.is_pending() {
            self.end(id);
        }
        self.flush(slot);
        // Before the next one takes more.
        while self.is_over_memory_limit() && self.relieve_memory() {}
    }

    fn keep_unread(&mut self, slot: usize, input: &[u8], reading: Reading) {
        let Some(link) = self.links.table.slot_mut(slot) else {
            return;
        };
        if !input.is_empty() {
            link.set_unread(input.to_vec());
        }
        let has_cause = match reading {
            Reading::Paused | Reading::Awaiting => true,
            Reading::Backlog => !input.is_empty(),
            Reading::Waiting | Reading::PutOff => false,
        };
        if link.reading == Reading::Waiting && has_cause {
            link.reading = reading;
            if reading == Reading::Backlog {
                self.links.backlog.push_back(link.id);
            }
        }
    }

    /// A connection whose own output is near its limit is not read (back-pressure on echo loops).
    fn is_output_near_limit(&mut self, slot: usize) -> bool {
        let limits = &self.context.limits;
        let link = self.links.table.slot_mut(slot);
        link.is_some_and(|link| link.connection.is_congested(limits))
    }

    /// Whether a TLS handshake arrives where a request is expected.
    fn is_tls_on_plain(&mut self, slot: usize, input: &[u8]) -> bool {
        let Some(link) = self.links.table.slot_mut(slot) else {
            return false;
        };
        let is_tls = link.connection.is_untouched() && input.first() == Some(&HANDSHAKE_RECORD);
        if is_tls {
            info!(
                "#{slot} speaks TLS to a port that does not: use wss:// for adress, or ws:// in the \
                 client ({})",
                link.peer.name()
            );
        }
        is_tls
    }

    pub(super) fn handle_event(&mut self, id: ConnId, event: connection::Event<'_>) {
        use connection::Event as From;
        match event {
            From::Message(message) => {
                let len = message.as_bytes().len();
                let traffic = &mut self.context.traffic;
                traffic.received.add_single(message.kind(), len);
                self.commands.begin(id, CurrentMessage::Lent);
                self.hand_over(id, &message);
                self.after_event(id, None);
            }
            From::AssembledMessage(message) => {
                let len = message.as_bytes().len();
                let traffic = &mut self.context.traffic;
                traffic.received.add_message(message.kind(), len);
                self.commands.begin(id, CurrentMessage::Owned);
                self.hand_over(id, &Message::from(&message));
                self.after_event(id, Some(message));
            }
            From::Head(head) => {
                self.links.pending.update(id, Activity::Busy);
                self.dispatch_request(id, &head);
            }
            From::Body(body) => self.dispatch(id, Event::Body { id, body }),
            From::Refused(rejection) => self.tell_refusal(id, rejection),
            From::Failed(violation) => self.tell_failure(id, violation),
            From::Closed(code) => {
                match code {
                    Some(code) => debug!("#{} closes with {}", id.slot, code.as_u16()),
                    None => debug!("#{} closes without a code", id.slot),
                }
                self.links
                    .count_end(id, code_of_client(code), CLOSED_BY_CLIENT);
            }
            From::Lost => debug!("#{} is lost", id.slot),
            From::TimedOut(what) => {
                log_timeout(id, what);
                if what == TimedOut::Pong {
                    self.links.count_end(id, ABNORMAL_CLOSURE, NO_PONG);
                }
                self.links.ended.push(id);
            }
            From::PingSent => self.pings.log(self.context.now, &self.context.limits),
        }
    }

    fn hand_over(&mut self, id: ConnId, message: &Message<'_>) {
        let event = Event::Message { id, message };
        self.app.handle(event, self.context.now, &mut self.commands);
    }

    fn tell_refusal(&mut self, id: ConnId, rejection: Rejection) {
        let Some(link) = self.links.table.get_mut(id) else {
            return;
        };
        let peer = link.peer;
        if rejection == Rejection::Timeout && link.proxy_header().is_some() {
            self.proxy_headers.warn_missing(peer, self.context.now);
        }
        self.dispatch(
            id,
            Event::Refused {
                id,
                peer,
                rejection,
            },
        );
    }

    fn tell_failure(&mut self, id: ConnId, violation: Violation) {
        let Some(link) = self.links.table.get_mut(id) else {
            return;
        };
        let peer = link.peer;
        let (code, reason) = (violation.close_code().as_u16(), violation.reason());
        self.links.count_end(id, code, reason);
        self.dispatch(
            id,
            Event::Failed {
                id,
                peer,
                violation,
            },
        );
        self.links.ended.push(id);
    }
}

fn log_timeout(id: ConnId, what: TimedOut) {
    let slot = id.slot;
    match what {
        TimedOut::Pong => info!("#{slot} did not answer in time: over pongTimeout"),
        TimedOut::Close { unsent_bytes: 0 } => debug!("#{slot} cut over closeTimeout"),
        TimedOut::Close { unsent_bytes } => {
            info!("#{slot} cut over closeTimeout: {unsent_bytes} bytes not taken");
        }
    }
}

/// Least free room in a long message's own buffer that is read into: more than an encrypted stream
/// may keep back, and worth the call.
const LEAST_PAYLOAD_BYTES: usize = 96 << 10;
const _: () = assert!(LEAST_PAYLOAD_BYTES > MAX_INCOMING);

/// Most messages of one connection in one turn.
const MESSAGES_PER_TURN: usize = 512;

/// Most bytes of messages of one connection in one turn: more than what arrives in it, so that it
/// is reached by what is inflated only, and by a long message, which comes to its end once.
const MESSAGE_BYTES_PER_TURN: usize = 1 << 20;

/// Most bytes that are inflated for one connection in one turn, or what takes as long and becomes
/// nothing: a part of a slice, as inflating makes some hundred bytes in a microsecond.
const INFLATED_BYTES_PER_TURN: usize = 64 << 10;

/// Most bytes of frames to others that one connection brings about in one turn, before the next one
/// has its say.
const FRAMES_BYTES_PER_TURN: usize = 1 << 20;

/// Most frames that one connection's messages bring into others' queues in one turn: some
/// milliseconds' work.
const DELIVERIES_PER_TURN: usize = 1 << 16;
