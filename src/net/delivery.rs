//! The second half of a turn: deliver, flush, let go.

use std::io::{ErrorKind, IoSlice};
use std::ops::Range;
use std::rc::Rc;

use log::{debug, info, warn};
use mio::{Interest, Token};

use super::deflation::Deflated;
use super::requests::PendingRequest;
use super::server::Core;
use super::table::{Flushing, Membership, Reading};
use crate::app::{Audience, Command};
use crate::connection::{ConnId, Event, Outgoing, SendError, TurnContext};
use crate::protocol::close_code::CloseCode;

impl Core {
    // ---- deliver

    /// Does what the application has asked for. Frames are queued here and leave when their
    /// connection is flushed.
    pub(super) fn deliver(&mut self) {
        while !self.outbox.is_empty() {
            let (mut commands, frames) = self.outbox.take();
            let deflated = self.deflate_broadcasts(&commands, &frames);
            let frames = self.shared_buffers.wrap(frames);
            commands
                .drain(..)
                .for_each(|command| self.carry_out(command, &frames, &deflated));
            let frames = self.shared_buffers.reclaim_handle(frames);
            let frames = frames.unwrap_or_else(|| self.pool.take());
            self.outbox.restore(commands, frames);
            let deflated = deflated
                .frames
                .and_then(|f| self.shared_buffers.reclaim_handle(f));
            self.pool.give(deflated.unwrap_or_default());
        }
    }

    fn carry_out(&mut self, command: Command, frames: &Rc<Vec<u8>>, deflated: &Deflated) {
        match command {
            Command::Send { to, frame } => self.send(to, frames, frame),
            Command::Broadcast {
                from,
                audience,
                frame,
            } => {
                self.broadcast(from, audience, (frames, frame), deflated);
            }
            Command::Close { id, code, reason } => self.close(id, code, &reason),
        }
    }

    fn send(&mut self, to: ConnId, frames: &Rc<Vec<u8>>, frame: Range<usize>) {
        let Some(link) = self.table.get_mut(to) else {
            return debug!("message to #{}, which is gone", to.slot);
        };
        let outgoing = if frame.len() < SHARED_BYTES {
            Outgoing::Copied(frames.get(frame).unwrap_or_default())
        } else {
            Outgoing::Shared(frames, frame)
        };
        let turn = &mut TurnContext {
            now: self.now,
            limits: &self.settings.limits,
            pool: &mut self.pool,
        };
        match link.connection.send_deflated(&outgoing, turn) {
            Ok(()) => {
                self.receipt.queued += 1;
                self.touch(to);
            }
            Err(SendError::NotOpen) => debug!("message to #{}, which is closing", to.slot),
            Err(SendError::QueueFull) => {
                self.receipt.full += 1;
                self.cut_slow_reader(to);
            }
        }
    }

    /// Queues one frame, encoded once and compressed once, for every member of the audience but the
    /// sender.
    fn broadcast(
        &mut self,
        from: ConnId,
        audience: Audience,
        (frames, frame): (&Rc<Vec<u8>>, Range<usize>),
        deflated: &Deflated,
    ) {
        self.has_broadcast = true;
        let forms = deflated.forms_of(frame.start);
        let mut slow = Vec::new();
        let turn = &mut TurnContext {
            now: self.now,
            limits: &self.settings.limits,
            pool: &mut self.pool,
        };
        for link in self.table.iter_mut() {
            if !link.membership.is_in(audience) || link.id == from {
                continue;
            }
            let window_bits = link.connection.window_bits();
            let form = window_bits.and_then(|bits| forms.get(usize::from(bits))?.clone());
            let outgoing = match (form, &deflated.frames) {
                (Some(range), Some(bytes)) => Outgoing::Shared(bytes, range),
                (Some(_), None) | (None, _) => Outgoing::Shared(frames, frame.clone()),
            };
            match link.connection.send(&outgoing, turn) {
                Ok(()) => {
                    self.receipt.queued += 1;
                    if link.flushing == Flushing::Done {
                        link.flushing = Flushing::InTurn;
                        self.audience.push_back(link.id);
                    }
                }
                Err(SendError::NotOpen) => {}
                Err(SendError::QueueFull) => slow.push(link.id),
            }
        }
        self.receipt.full += slow.len();
        slow.into_iter().for_each(|id| self.cut_slow_reader(id));
    }

    /// Closes a connection whose queue has reached `maxQueue`.
    fn cut_slow_reader(&mut self, id: ConnId) {
        warn!(
            "#{} closed: more than maxQueue waits to be sent to it",
            id.slot
        );
        let reason = "more than maxQueue bytes wait to be read";
        self.close(id, CloseCode::POLICY_VIOLATION, reason);
    }

    fn close(&mut self, id: ConnId, code: CloseCode, reason: &str) {
        let Some(link) = self.table.get_mut(id) else {
            return;
        };
        let turn = &mut TurnContext {
            now: self.now,
            limits: &self.settings.limits,
            pool: &mut self.pool,
        };
        link.connection.close(code, reason, turn);
        self.ended.push(id);
        self.touch(id);
    }

    // ---- flush

    /// Notes that a connection is to be flushed at the end of the turn.
    pub(super) fn touch(&mut self, id: ConnId) {
        if let Some(link) = self.table.get_mut(id)
            && link.flushing != Flushing::Now
        {
            link.flushing = Flushing::Now;
            self.touched.push(id);
        }
    }

    /// Writes what may leave now, asks for WRITABLE only if some of it has to wait, and lets go of a
    /// connection that has nothing left to do.
    pub(super) fn flush(&mut self, slot: usize) {
        let Some(is_blocked) = self.write(slot) else {
            return;
        };
        let Some(link) = self.table.slot_mut(slot) else {
            return;
        };
        if link.connection.is_drained() && !link.is_shut {
            link.is_shut = true;
            link.transport.shutdown_write();
        }
        if link.connection.is_finished() && (link.connection.is_aborted() || !is_blocked) {
            return self.remove(slot);
        }
        if is_blocked != link.is_blocked {
            link.is_blocked = is_blocked;
            let interest = if is_blocked {
                Interest::READABLE | Interest::WRITABLE
            } else {
                Interest::READABLE
            };
            let token = Token(slot);
            if let Err(error) = link.transport.reregister(&self.registry, token, interest) {
                warn!("#{slot}: {error}");
                link.connection.abort();
                return self.remove(slot);
            }
        }
        if is_blocked {
            link.connection.shrink_output(&mut self.pool);
        } else if link.reading == Reading::Paused
            && !link.connection.is_congested(&self.settings.limits)
        {
            link.reading = Reading::Backlog;
            self.backlog.push_back(link.id);
        }
        self.count_memory(slot);
        self.rearm(slot);
    }

    /// Writes; whether something is left that the socket does not take, `None` if nobody is there.
    fn write(&mut self, slot: usize) -> Option<bool> {
        let link = self.table.slot_mut(slot)?;
        match link.transport.flush() {
            Ok(false) => {}
            Ok(true) => return Some(true),
            Err(error) => {
                debug!("#{slot}: {error}");
                return Some(self.stop_writing(slot));
            }
        }
        loop {
            // Frames that have to keep a distance need the time of each write.
            let is_paced = link.connection.next_write().is_some();
            let now = if is_paced { self.clock.now() } else { self.now };
            let mut slices = [IoSlice::new(&[]); PIECES_PER_WRITE];
            let count = link.connection.output(&mut slices, now);
            if count == 0 {
                return Some(false);
            }
            match link.transport.write(&slices[..count]) {
                Ok(written) => {
                    link.connection
                        .consume_output(written.len, now, &mut self.pool);
                    if written.is_blocked {
                        return Some(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    debug!("#{slot}: {error}");
                    return Some(self.stop_writing(slot));
                }
            }
        }
    }

    /// The peer takes nothing more; what it had sent before is still read.
    fn stop_writing(&mut self, slot: usize) -> bool {
        if let Some(link) = self.table.slot_mut(slot) {
            let lost = link.connection.output_len();
            debug!("#{slot} takes nothing more: {lost} bytes dropped");
            link.write_closed = true;
            link.connection.drop_output();
        }
        self.put_on_backlog(slot);
        false
    }

    // ---- deadlines

    /// Sees to it that the wheel wakes this connection no later than it needs.
    pub(super) fn rearm(&mut self, slot: usize) {
        let Some(link) = self.table.slot_mut(slot) else {
            return;
        };
        let deadline = link.connection.next_deadline(&self.settings.limits);
        // What the socket does not take waits for WRITABLE, not for its time.
        let held_back = link.connection.next_write().filter(|_| !link.is_blocked);
        let Some(next) = deadline.into_iter().chain(held_back).min() else {
            return;
        };
        // An link that fires too early is put back then; that is cheaper than moving it each time.
        if link.armed.is_none_or(|armed| next < armed) {
            link.armed = Some(next);
            self.wheel.set(slot, next);
        }
    }

    pub(super) fn handle_timeout(&mut self, slot: usize) {
        let Some(link) = self.table.slot_mut(slot) else {
            return;
        };
        link.armed = None;
        let id = link.id;
        let (output_len, was_open) = (link.connection.output_len(), link.connection.is_open());
        let turn = &mut TurnContext {
            now: self.now,
            limits: &self.settings.limits,
            pool: &mut self.pool,
        };
        match link.connection.handle_timeout(turn) {
            Some(Event::Refused(rejection)) => self.log_refusal(id, rejection),
            Some(Event::Failed(violation)) => {
                info!("#{slot} broke a rule: {}", violation.reason());
                self.app.handle_error(id, violation, &mut self.outbox);
                self.deliver();
                self.ended.push(id);
            }
            Some(Event::Lost) => {
                if was_open {
                    info!("#{slot} did not answer in time: over pongTimeout");
                } else if output_len > 0 {
                    info!("#{slot} cut over closeTimeout: {output_len} bytes not taken");
                } else {
                    debug!("#{slot} cut over closeTimeout");
                }
                self.ended.push(id);
            }
            Some(
                Event::Head(_)
                | Event::Body(_)
                | Event::Message(_)
                | Event::AssembledMessage(_)
                | Event::Closed(_),
            ) => {}
            None if link.connection.output_len() > output_len => self.log_ping(),
            None => {}
        }
        self.touch(id);
    }

    /// One line per `pingInterval`, as the PHP server wrote it.
    fn log_ping(&mut self) {
        let interval = self.settings.limits.ping_interval;
        if self
            .last_ping_line
            .is_none_or(|last| last + interval <= self.now)
        {
            self.last_ping_line = Some(self.now);
            info!("Ping Clients");
        }
    }

    // ---- letting go

    /// Tells the application that a connection is no longer open.
    pub(super) fn end(&mut self, id: ConnId) {
        let peer = self.peer_of(id);
        let Some(link) = self.table.get_mut(id) else {
            return;
        };
        if link.connection.is_open() || link.membership == Membership::None {
            return;
        }
        link.membership = Membership::None;
        self.app.handle_close(id, peer, &mut self.outbox);
    }

    fn remove(&mut self, slot: usize) {
        let Some(link) = self.table.slot_mut(slot) else {
            return;
        };
        let id = link.id;
        self.end(id);
        let Some(mut link) = self.table.remove(slot) else {
            return;
        };
        link.transport.say_goodbye();
        info!("Connection closed to socket #{slot}");
        self.wheel.forget(slot);
        self.held_bytes -= link.held_bytes;
        self.pending_count -= usize::from(link.is_pending);
        self.deliver();
    }

    // ---- memory

    pub(super) fn count_memory(&mut self, slot: usize) {
        let Some(link) = self.table.slot_mut(slot) else {
            return;
        };
        let pushing = link.pending_request().map_or(0, PendingRequest::held_bytes);
        let held = link.connection.held_bytes()
            + link.transport.held_bytes()
            + link.unread_len()
            + pushing;
        self.held_bytes = self.held_bytes - link.held_bytes + held;
        link.held_bytes = held;
    }

    fn total_bytes(&self) -> usize {
        self.held_bytes
            + self.shared_buffers.held_bytes()
            + self.app.held_bytes()
            + self.pool.held_bytes()
    }

    /// Whether new connections are refused for want of memory.
    pub(super) fn is_memory_scarce(&self) -> bool {
        self.total_bytes() > self.settings.memory_limit_bytes / 16 * 15
    }

    pub(super) fn is_over_memory_limit(&self) -> bool {
        self.total_bytes() > self.settings.memory_limit_bytes
    }

    /// Ends the connection that holds most if `memoryLimit` is passed; whether it has.
    pub(super) fn relieve_memory(&mut self) -> bool {
        if !self.is_over_memory_limit() {
            return false;
        }
        self.shared_buffers.reclaim(&mut self.pool);
        self.pool.trim();
        if !self.is_over_memory_limit() {
            return false;
        }
        let app = &self.app;
        let weight =
            |link: &super::table::Link| link.connection.pinned_bytes() + app.held_bytes_of(link.id);
        let largest = self.table.iter_mut().max_by_key(|link| weight(link));
        let Some(largest) = largest.filter(|link| weight(link) > 0) else {
            return false;
        };
        warn!(
            "memoryLimit reached: #{} cut, which held {} bytes",
            largest.id.slot,
            weight(largest)
        );
        largest.connection.abort();
        let id = largest.id;
        self.ended.push(id);
        self.touch(id);
        true
    }
}

/// Frames from this size on are shared with the receiver instead of copied, in bytes.
const SHARED_BYTES: usize = 16 << 10;

/// Most pieces of one connection's output that leave in one write.
const PIECES_PER_WRITE: usize = 16;
