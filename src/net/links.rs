//! [`Links`]: every connection, what is done to it, and what leaves it.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use log::{debug, warn};

use super::broadcasts::Broadcasts;
use super::counts::{ABNORMAL_CLOSURE, DeliveredTo, LOST, LinkCounts, SLOW_READER};
use super::link::{Flushing, Link, Reading, Standing, Writing};
use super::link_table::LinkTable;
use super::memory::{HeavyHolders, HeldBy};
use super::pending_links::{Activity, PendingLinks};
use super::replayed_forms::ReplayedForms;
use super::shared_buffers::SharedBuffers;
use super::shared_frame::make_event;
use super::system::{Stream, System};
use super::timers::{Timer, Timers};
use super::writing::{Progress, rewatch, stop_writing, write};
use crate::app::{Accept, Admitted, Opening, Receipt};
use crate::base::{SharedBytes, plain};
use crate::connection::{ConnId, Keepalive, Outgoing, SendError, TurnContext};
use crate::protocol::close_code::CloseCode;

/// All connections, and the lists of those that something is to be done with.
pub(super) struct Links<S> {
    pub(super) table: LinkTable<S>,
    pub(super) pending: PendingLinks,
    pub(super) shared_buffers: SharedBuffers,
    pub(super) replayed_forms: ReplayedForms,
    pub(super) heavy: HeavyHolders,
    pub(super) counts: LinkCounts,
    /// Bytes of memory that connections hold, but for what they share.
    pub(super) held_bytes: usize,
    /// Connections that have more to read than their share of a turn.
    pub(super) backlog: VecDeque<ConnId>,
    /// Connections that have something to send at the end of the turn.
    touched: Vec<ConnId>,
    /// Connections whose sockets take more, or bytes again: what waits for them is usually long.
    writable: VecDeque<ConnId>,
    /// Broadcasts that some are still to get.
    pub(super) broadcasts: Broadcasts,
    /// Connections that are no longer open and of which the application has not been told.
    pub(super) ended: Vec<ConnId>,
}

/// What is to become of a connection that was flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// It stays.
    Kept,
    /// It has nothing left to do, and has to be removed.
    Finished,
}

impl<S: Stream> Default for Links<S> {
    fn default() -> Self {
        Self {
            table: LinkTable::default(),
            pending: PendingLinks::default(),
            shared_buffers: SharedBuffers::default(),
            replayed_forms: ReplayedForms::default(),
            heavy: HeavyHolders::default(),
            counts: LinkCounts::default(),
            held_bytes: 0,
            backlog: VecDeque::new(),
            touched: Vec::new(),
            writable: VecDeque::new(),
            broadcasts: Broadcasts::default(),
            ended: Vec::new(),
        }
    }
}

impl<S: Stream> Links<S> {
    // ---- what the application wants done

    /// Lets a client in: the 101, or the head of a stream of events, is on its way.
    pub(super) fn accept(&mut self, accept: &Accept, context: &mut TurnContext) {
        let Some(link) = self.table.get_mut(accept.id) else {
            return;
        };
        link.peer = accept.peer;
        let connection = &mut link.connection;
        let is_pinged = match &accept.opening {
            Opening::WebSocket {
                upgrade,
                framing,
                keepalive,
            } => {
                connection.accept(upgrade, *framing, *keepalive, context);
                *keepalive == Keepalive::Pings
            }
            Opening::EventStream { head, event_ids } => {
                connection.stream_events(head, *event_ids, context);
                false
            }
        };
        if !is_pinged {
            link.transport.keep_alive();
        }
        if accept.admission == Admitted::Client {
            link.standing = Standing::Client;
            self.pending.remove(accept.id);
        }
        self.read_on(accept.id);
    }

    /// Answers a plain HTTP request.
    pub(super) fn respond(
        &mut self,
        id: ConnId,
        respond: impl FnOnce(&mut Link<S>, &mut TurnContext),
        context: &mut TurnContext,
    ) {
        let Some(link) = self.table.get_mut(id) else {
            return;
        };
        respond(link, context);
        if link.connection.is_keeping_alive() {
            self.pending.update(id, Activity::Resting);
        }
        self.read_on(id);
        self.touch(id);
    }

    /// What came behind a request that has been answered can be taken now.
    fn read_on(&mut self, id: ConnId) {
        if let Some(link) = self.table.get_mut(id)
            && link.reading == Reading::Awaiting
        {
            link.reading = Reading::Waiting;
            self.put_on_backlog(id.slot as usize);
        }
    }

    /// Queues a frame for one connection; `None` if it is not there.
    pub(super) fn send(
        &mut self,
        to: ConnId,
        (frames, frame): (&Rc<SharedBytes>, Range<usize>),
        context: &mut TurnContext,
    ) -> Receipt {
        self.catch_up(to.slot as usize, context);
        let Some(link) = self.table.get_mut(to) else {
            debug!("message to #{}, which is gone", to.slot);
            return Receipt::default();
        };
        let bytes = frames.get(frame.clone()).unwrap_or_default();
        let outgoing = if frame.len() < SHARED_BYTES {
            Outgoing::Copied(bytes)
        } else {
            Outgoing::Shared(frames, frame)
        };
        let mut sent = link.connection.send_deflated(&outgoing, context);
        if let Err(SendError::EventWanted) = sent {
            let event = make_event(bytes, &mut self.shared_buffers, context);
            sent = link.connection.send_event(&event, bytes, context);
        }
        let receipt = self.note_sent(to, sent, context);
        context.traffic.sent.add_copies(bytes, receipt.queued);
        self.counts.add_delivery(DeliveredTo::One, receipt);
        receipt
    }

    /// Sees to a connection for which a frame was to be queued.
    pub(super) fn note_sent(
        &mut self,
        to: ConnId,
        sent: Result<(), SendError>,
        context: &mut TurnContext,
    ) -> Receipt {
        match sent {
            Ok(()) => {
                self.touch(to);
                Receipt {
                    queued: 1,
                    ..Receipt::default()
                }
            }
            Err(SendError::NotOpen | SendError::EventWanted) => {
                debug!("message to #{}, which is closing", to.slot);
                Receipt::default()
            }
            Err(SendError::QueueFull) => {
                self.cut_slow_reader(to, context);
                Receipt {
                    full: 1,
                    ..Receipt::default()
                }
            }
        }
    }

    /// Closes a connection whose queue has reached `maxQueue`.
    fn cut_slow_reader(&mut self, id: ConnId, context: &mut TurnContext) {
        let address = self.table.get_mut(id).map(|link| link.peer.name());
        warn!(
            "#{} closed: more than maxQueue waits to be sent to it ({})",
            id.slot,
            address.unwrap_or_default()
        );
        let reason = (SLOW_READER, SLOW_READER);
        self.close_now(id, CloseCode::POLICY_VIOLATION, reason, context);
    }

    /// Begins the close handshake, behind all that was sent before. The end of a client counts under
    /// `name`.
    pub(super) fn close(
        &mut self,
        id: ConnId,
        code: CloseCode,
        reason: (&str, &str),
        context: &mut TurnContext,
    ) {
        self.catch_up(id.slot as usize, context);
        self.close_now(id, code, reason, context);
    }

    /// The same, behind all that is queued: of what is under way it gets nothing more.
    fn close_now(
        &mut self,
        id: ConnId,
        code: CloseCode,
        (reason, name): (&str, &str),
        context: &mut TurnContext,
    ) {
        let Some(link) = self.table.get_mut(id) else {
            return;
        };
        if link.connection.is_open() {
            link.connection.close(code, reason, context);
            self.count_end(id, code.as_u16(), name);
        }
        self.ended.push(id);
        self.touch(id);
    }

    /// Ends a connection at once.
    pub(super) fn abort(&mut self, slot: usize) {
        if let Some(link) = self.table.slot_mut(slot) {
            link.connection.abort();
            let id = link.id;
            self.ended.push(id);
            self.touch(id);
        }
    }

    /// Counts the end of a client, once: the first cause is the one.
    pub(super) fn count_end(&mut self, id: ConnId, code: u16, reason: &str) {
        if let Some(link) = self.table.get_mut(id)
            && link.standing == Standing::Client
        {
            link.standing = Standing::Gone;
            self.counts.add_closing(code, reason);
        }
    }

    // ---- lists

    pub(super) fn put_on_backlog(&mut self, slot: usize) {
        let Some(link) = self.table.slot_mut(slot) else {
            return;
        };
        match link.reading {
            Reading::Waiting => {
                link.reading = Reading::Backlog;
                self.backlog.push_back(link.id);
            }
            // It stands there.
            Reading::PutOff => link.reading = Reading::Backlog,
            Reading::Backlog | Reading::Paused | Reading::Awaiting => {}
        }
    }

    /// Has a connection read behind all short work: what the kernel has told of is long.
    pub(super) fn put_off_read(&mut self, slot: usize) {
        if let Some(link) = self.table.slot_mut(slot)
            && link.reading == Reading::Waiting
        {
            link.reading = Reading::PutOff;
            self.backlog.push_back(link.id);
        }
    }

    /// Has a connection flushed behind all short work; whether it can wait.
    pub(super) fn put_off_flush(&mut self, slot: usize) -> bool {
        let Some(link) = self.table.slot_mut(slot) else {
            return true;
        };
        let is_blocked = link.writing == Writing::Blocked;
        if is_blocked && link.flushing == Flushing::Done {
            link.flushing = Flushing::PutOff;
            self.writable.push_back(link.id);
        }
        is_blocked
    }

    /// Whether there are connections whose flush was put off, and how many are to be read.
    pub(super) fn long_work(&self) -> (bool, usize) {
        (!self.writable.is_empty(), self.backlog.len())
    }

    /// The next connection whose flush was put off, unless it has been flushed meanwhile.
    pub(super) fn next_put_off(&mut self) -> Option<ConnId> {
        let id = self.writable.pop_front()?;
        let link = self.table.get_mut(id)?;
        let is_put_off = link.flushing == Flushing::PutOff;
        is_put_off.then(|| link.flushing = Flushing::Done)?;
        Some(id)
    }

    /// Notes that a connection is to be flushed at the end of the turn.
    pub(super) fn touch(&mut self, id: ConnId) {
        if let Some(link) = self.table.get_mut(id)
            && link.flushing != Flushing::Now
        {
            link.flushing = Flushing::Now;
            self.touched.push(id);
        }
    }

    /// Whether some connections are to be read or flushed without anything new having come.
    pub(super) fn has_work(&self) -> bool {
        !self.backlog.is_empty() || !self.writable.is_empty() || self.broadcasts.has_work()
    }

    /// The next connection that is to be flushed in this turn.
    pub(super) fn next_to_flush(&mut self) -> Option<ConnId> {
        while let Some(id) = self.touched.pop() {
            if let Some(link) = self.table.get_mut(id)
                && link.flushing == Flushing::Now
            {
                link.flushing = Flushing::Done;
                return Some(id);
            }
        }
        None
    }

    /// The turn is over.
    pub(super) fn end_turn(&mut self) {
        self.table.release();
    }

    // ---- flush

    /// Writes what may leave now, up to about `most` bytes, asks for WRITABLE only if some of it has
    /// to wait, and says whether the connection has anything left to do.
    pub(super) fn flush<Y: System<Stream = S>>(
        &mut self,
        (slot, most): (usize, usize),
        system: &mut Y,
        context: &mut TurnContext,
        timers: &mut Timers,
    ) -> Flushed {
        let Some(link) = self.table.slot_mut(slot) else {
            return Flushed::Kept;
        };
        let written = match write(link, most, system, context) {
            Ok(written) => written,
            Err(error) => {
                debug!("#{slot}: {}", plain(&error));
                stop_writing(link);
                self.put_on_backlog(slot);
                Progress::All
            }
        };
        let is_blocked = written == Progress::Blocked;
        let Some(link) = self.table.slot_mut(slot) else {
            return Flushed::Kept;
        };
        if link.connection.is_finished() && (link.connection.is_aborted() || !is_blocked) {
            return Flushed::Finished;
        }
        if is_blocked != (link.writing == Writing::Blocked) && !rewatch(link, is_blocked, system) {
            link.connection.abort();
            return Flushed::Finished;
        }
        // Not before what the socket had not taken has left, encrypted bytes included.
        if !is_blocked && link.connection.is_drained() && link.writing == Writing::Ready {
            link.writing = Writing::ShutDown;
            link.transport.shutdown_write();
        }
        if written == Progress::Share && link.flushing == Flushing::Done {
            link.flushing = Flushing::PutOff;
            self.writable.push_back(link.id);
        }
        if is_blocked {
            link.connection.shrink_output(&mut context.pool);
        } else if link.reading == Reading::Paused && !link.connection.is_congested(&context.limits)
        {
            link.reading = Reading::Backlog;
            self.backlog.push_back(link.id);
        }
        self.count_memory(slot);
        self.rearm(slot, context, timers);
        Flushed::Kept
    }

    /// Takes a connection out whose application has been told of its end.
    pub(super) fn remove(&mut self, slot: usize, timers: &mut Timers) -> Option<ConnId> {
        let id = self.table.slot_mut(slot)?.id;
        self.count_end(id, ABNORMAL_CLOSURE, LOST);
        let mut link = self.take_out(slot, timers)?;
        link.transport.say_goodbye();
        Some(link.id)
    }

    /// Takes a connection out of all lists.
    pub(super) fn take_out(&mut self, slot: usize, timers: &mut Timers) -> Option<Link<S>> {
        let link = self.table.remove(slot)?;
        timers.forget_link(slot);
        self.held_bytes -= link.held_bytes;
        self.heavy.remove(slot);
        self.pending.remove(link.id);
        self.broadcasts.forget(slot);
        Some(link)
    }

    // ---- memory

    /// Weighs a connection anew.
    pub(super) fn count_memory(&mut self, slot: usize) {
        let Some(link) = self.table.slot_mut(slot) else {
            return;
        };
        let held = link.weigh();
        self.held_bytes = self.held_bytes - link.held_bytes + held;
        link.held_bytes = held;
        let (address, pinned) = (link.peer.ip, link.weigh_with_shared());
        self.heavy.set(slot, address, HeldBy::Link, pinned);
    }

    /// Bytes of memory held for all connections here.
    pub(super) fn total_bytes(&self) -> usize {
        let shared_bytes = self.shared_buffers.held_bytes() + self.replayed_forms.held_bytes();
        self.held_bytes + shared_bytes + self.broadcasts.held_bytes()
    }

    /// Takes back what nobody sends from any more.
    pub(super) fn reclaim_shared(&mut self, context: &mut TurnContext) {
        self.replayed_forms.reclaim();
        self.shared_buffers.reclaim(&mut context.pool);
    }

    // ---- deadlines

    /// Sees to it that a timer wakes this connection no later than it needs.
    pub(super) fn rearm(&mut self, slot: usize, context: &TurnContext, timers: &mut Timers) {
        let Some(link) = self.table.slot_mut(slot) else {
            return;
        };
        // What the socket does not take waits for WRITABLE, not for its time.
        if let Some(next) = link.connection.next_write()
            && link.writing == Writing::Ready
        {
            timers.set(Timer::Write(slot), next);
        }
        // A timer that fires too early is set again then; that is cheaper than moving it each time.
        if let Some(next) = link.connection.next_deadline(&context.limits)
            && link.armed.is_none_or(|armed| next < armed)
        {
            link.armed = Some(next);
            timers.set(Timer::Link(slot), next);
        }
    }
}

/// Frames from this size on are shared with the receiver instead of copied, in bytes.
const SHARED_BYTES: usize = 16 << 10;
