//! [`EventLoop`]: one turn after the other, and the order in it.
//!
//! ```text
//! wait → now → timers expire → what is ready: accept, read, hand to the application, carry out
//!      → the backlog → what is due → flush everybody → slots of the removed
//! ```
//!
//! Connections and application never see each other: an event of the one goes in at the other's
//! door, and the commands that come out are carried out here.

use std::rc::Rc;
use std::time::Duration;

use log::{debug, info, warn};

use super::acceptor::{ACCEPTS_PER_TURN, Accepted, Acceptor, NoRoom};
use super::broadcast_forms::{BroadcastForms, compress_broadcasts};
use super::certificate_watch::CertificateWatch;
use super::endpoint::{ListenerOptions, ProxyProtocol, Security};
use super::link::Link;
use super::links::{Flushed, Links};
use super::memory::HeldBy;
use super::pending_links::Activity;
use super::ping_log::PingLog;
use super::proxy_headers::ProxyHeaders;
use super::proxy_protocol::HeaderReader;
use super::read_buffer::ReadBuffer;
use super::system::{Readiness, Remote, System};
use super::timers::{Timer, Timers};
use super::transport::Transport;
use super::upstreams::Upstreams;
use crate::app::peer::Peer;
use crate::app::{
    App, Command, Commands, CurrentMessage, Encryption, Event, IncomingRequest, NOBODY,
};
use crate::base::MonotonicTime;
use crate::connection::{ConnId, Connection, Limits, TurnContext};
use crate::ops::certificates::Certificates;
use crate::ops::signals::Signal;
use crate::protocol::close_code::CloseCode;
use crate::protocol::extension::CompressionSettings;
use crate::protocol::message::AssembledMessage;
use crate::upstream::{Settings, Target, UpstreamId};

/// What the loop itself is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopSettings {
    /// What each connection may use.
    pub limits: Limits,
    /// Most connections that have not become clients (`maxPending`).
    pub max_pending: usize,
    /// Most memory for queues, unfinished messages and chunks of all connections, in bytes
    /// (`memoryLimit`).
    pub memory_limit_bytes: usize,
    /// Longest time from SIGTERM to the end (`shutdownTimeout`).
    pub shutdown_timeout: Duration,
    /// How broadcasts are compressed.
    pub compression: CompressionSettings,
}

/// The loop, over whatever system it runs on.
pub struct EventLoop<Y: System> {
    pub(super) system: Y,
    settings: LoopSettings,
    pub(super) context: TurnContext,
    pub(super) links: Links<Y::Stream>,
    pub(super) upstreams: Upstreams<Y::Stream>,
    /// Answers of other servers are left for whoever drives the loop: in tests.
    pub(super) keeps_answers: bool,
    acceptor: Acceptor,
    pub(super) proxy_headers: ProxyHeaders,
    pub(super) certificates: CertificateWatch,
    pub(super) pings: PingLog,
    pub(super) timers: Timers,
    pub(super) app: App,
    pub(super) commands: Commands,
    /// The loop's single receive buffer.
    pub(super) buffer: ReadBuffer,
    /// Where what is encrypted is read into, to be decrypted into the former.
    pub(super) cipher_buffer: ReadBuffer,
    /// TLS handshakes that may still be worked on in this turn.
    pub(super) handshake_budget: usize,
    /// Bytes of messages that may still be handled in this turn before what waits in the backlog
    /// waits for the next one.
    pub(super) work_budget_bytes: usize,
    /// Bytes that the application held at the last look.
    app_bytes: usize,
    /// Somebody was refused for want of memory.
    wants_memory: WantsMemory,
    ready: Vec<Readiness>,
    due: Vec<Timer>,
    on_hangup: Box<dyn FnMut()>,
    state: LoopState,
}

/// Whether the server goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LoopState {
    Running,
    /// Everybody has been told; those who are still there at this time are cut.
    Stopping {
        deadline: MonotonicTime,
    },
}

/// How low the memory that is held has to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WantsMemory {
    /// To the limit.
    No,
    /// To where newcomers are let in: refusing them implies relief.
    Yes,
}

impl<Y: System> EventLoop<Y> {
    /// A loop in which nothing has happened yet.
    pub fn new(
        system: Y,
        listeners: Vec<ListenerOptions>,
        settings: LoopSettings,
        app: App,
        proxy_headers: ProxyHeaders,
    ) -> Self {
        let now = system.now();
        let mut context = TurnContext::new(now, settings.limits);
        context
            .pool
            .limit_spare_bytes(settings.memory_limit_bytes / 16);
        Self {
            context,
            links: Links::default(),
            upstreams: Upstreams::new(system.waker()),
            keeps_answers: false,
            acceptor: Acceptor::new(listeners),
            proxy_headers,
            certificates: CertificateWatch::default(),
            pings: PingLog::default(),
            timers: Timers::new(now),
            app,
            commands: Commands::default(),
            buffer: ReadBuffer::new(READ_BUFFER_BYTES),
            cipher_buffer: ReadBuffer::new(READ_BUFFER_BYTES),
            handshake_budget: 0,
            work_budget_bytes: 0,
            app_bytes: 0,
            wants_memory: WantsMemory::No,
            ready: Vec::new(),
            due: Vec::new(),
            on_hangup: Box::new(|| {}),
            state: LoopState::Running,
            settings,
            system,
        }
    }

    /// The application.
    pub fn app_mut(&mut self) -> &mut App {
        &mut self.app
    }

    /// The certificates for endpoints that speak TLS.
    pub fn watch_certificates(&mut self, certificates: Certificates) {
        let now = self.context.now;
        let waker = self.system.waker();
        self.certificates
            .watch(certificates, waker, now, &mut self.timers);
    }

    /// Adds another server that can be asked.
    pub fn add_upstream(&mut self, target: Target, settings: Settings) -> UpstreamId {
        self.upstreams.add(target, settings)
    }

    /// What is done at SIGHUP, as opening the log anew.
    pub fn on_hangup(&mut self, action: Box<dyn FnMut()>) {
        self.on_hangup = action;
    }

    /// The system that it runs on.
    pub fn system_mut(&mut self) -> &mut Y {
        &mut self.system
    }

    /// Number of connections.
    pub fn link_count(&self) -> usize {
        self.links.table.len()
    }

    /// Bytes of memory that are held for connections.
    pub fn held_bytes(&self) -> usize {
        self.links.total_bytes() + self.app.held_bytes()
    }

    /// Whether the server has stopped.
    pub fn is_done(&self) -> bool {
        match self.state {
            LoopState::Running => false,
            LoopState::Stopping { deadline } => {
                self.links.table.len() == 0 || deadline <= self.context.now
            }
        }
    }

    /// One turn.
    ///
    /// # Errors
    /// Only if the system cannot wait for events, which no peer can bring about.
    pub fn turn(&mut self) -> std::io::Result<()> {
        let wait = self.next_wait();
        let mut ready = std::mem::take(&mut self.ready);
        self.system.wait(wait, &mut ready)?;
        self.begin_turn();
        for readiness in ready.drain(..) {
            self.handle_readiness(readiness);
        }
        self.ready = ready;
        self.finish_turn();
        Ok(())
    }

    /// How long the loop may sleep; `None`: until something happens.
    pub fn next_wait(&self) -> Option<Duration> {
        let now = self.system.now();
        let app_is_due = self.app.next_deadline().is_some_and(|due| due <= now);
        let has_work = self.links.has_work() || self.upstreams.has_work();
        if has_work || self.acceptor.has_backlog() || app_is_due {
            return Some(Duration::ZERO);
        }
        self.timers.next_wait(now)
    }

    /// The time is taken once. The timers are told first, for their ticks are fine only near the
    /// time that they know.
    fn begin_turn(&mut self) {
        self.context.now = self.system.now();
        self.handshake_budget = HANDSHAKES_PER_TURN;
        self.work_budget_bytes = WORK_BYTES_PER_TURN;
        self.links.shared_buffers.reclaim(&mut self.context.pool);
        self.timers.expire(self.context.now, &mut self.due);
    }

    fn handle_readiness(&mut self, readiness: Readiness) {
        match readiness {
            Readiness::Listener(index) => self.accept(index),
            Readiness::Link {
                slot,
                is_writable,
                is_readable,
                is_ended,
            } => {
                if is_writable {
                    self.flush(slot);
                }
                if is_readable {
                    self.read(slot, is_ended);
                }
            }
            Readiness::Upstream(key) => self.upstreams.handle_ready(key),
            Readiness::Signal(signal) => self.handle_signal(signal),
            Readiness::Woken => self.certificates.take_up(),
        }
    }

    /// What every turn ends with, in this order: newcomers and reads that had to wait, what is due,
    /// those who have gone, everybody's output, and the slots of those removed.
    fn finish_turn(&mut self) {
        if self.acceptor.has_backlog() {
            self.accept_again();
        }
        self.read_backlog();
        self.handle_timers();
        self.run_upstreams();
        self.flush_all();
        self.links.end_turn();
        match self.app.next_deadline() {
            Some(at) if at > self.context.now => self.timers.set(Timer::App, at),
            Some(_) => {}
            None => self.timers.cancel(Timer::App),
        }
    }

    /// Goes on with those who had more to read than their share. When the turn's work is done the
    /// rest waits for the next one: what has come meanwhile is usually small, and goes first.
    fn read_backlog(&mut self) {
        for _ in 0..self.links.backlog.len() {
            if self.work_budget_bytes == 0 {
                return;
            }
            if let Some(id) = self.links.backlog.pop_front() {
                self.read_again(id);
            }
        }
    }

    fn handle_timers(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        for timer in due.drain(..) {
            match timer {
                Timer::Link(slot) => self.handle_link_timeout(slot),
                Timer::Write(slot) => self.flush(slot),
                Timer::Accept => self.accept_again(),
                Timer::Certificates => self.certificates.look(self.context.now, &mut self.timers),
                // The turn that it brings about is enough.
                Timer::Shutdown | Timer::App | Timer::Upstreams => {}
            }
        }
        self.due = due;
        let now = self.context.now;
        if self.app.next_deadline().is_some_and(|due| due <= now) {
            self.commands.begin(NOBODY, CurrentMessage::Lent);
            self.app.handle_timeout(now, &mut self.commands);
            self.carry_out(None);
        }
    }

    /// Tells the application who has gone and flushes everybody, until all lists stay empty; a long
    /// audience goes on in the next turn, so that others have their say before it is through.
    fn flush_all(&mut self) {
        let mut budget = self.links.audience_budget();
        loop {
            if let Some(id) = self.links.ended.pop() {
                self.end(id);
            } else if let Some(id) = self.links.next_to_flush(&mut budget) {
                self.flush(id.slot as usize);
            } else if self.relieve_memory() {
                // Want of memory leaves nobody for the next turn: what has left is not held.
                budget = usize::MAX;
            } else {
                break;
            }
        }
    }

    // ---- accept

    /// Accepts a turn's share of what waits at one listener.
    fn accept(&mut self, index: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let now = self.context.now;
            let accepted = self
                .acceptor
                .accept(index, &mut self.system, now, &mut self.timers);
            match accepted {
                Accepted::Connection(stream, remote, options) => self.add(stream, remote, options),
                Accepted::Gone => {}
                Accepted::Nobody => return,
            }
        }
        self.acceptor.put_off();
    }

    fn accept_again(&mut self) {
        self.acceptor
            .begin_again()
            .for_each(|index| self.accept(index));
    }

    fn add(&mut self, stream: Y::Stream, remote: Remote, options: ListenerOptions) {
        if let Some(no_room) = self.make_room(remote) {
            return self
                .acceptor
                .refuse(stream, remote, no_room, self.context.now);
        }
        let expects_header = options.proxy_protocol == ProxyProtocol::ProxyHeader;
        if expects_header && !self.proxy_headers.may_open(remote, self.context.now) {
            return;
        }
        let tls = match (options.security, self.certificates.config()) {
            (Security::Plain, _) => None,
            (Security::Tls, Some(config)) => Some(config),
            (Security::Tls, None) => return debug!("{remote} not taken: no certificate"),
        };
        let id = self.links.table.next_id();
        let slot = id.slot as usize;
        let transport = Transport::new(stream, tls).and_then(|mut transport| {
            self.system.watch(transport.below(), slot)?;
            Ok(transport)
        });
        let transport = match transport {
            Ok(transport) => transport,
            Err(error) => return debug!("{remote} not taken: {error}"),
        };
        info!("New client connecting from {remote} on socket #{slot}");
        let peer = Peer::direct(remote.ip(), options.role);
        let mut link = Link::new(id, Connection::new(&self.context), transport, peer);
        if expects_header {
            link.expect_proxy_header(HeaderReader::default());
        }
        self.links.table.insert(link);
        self.links.pending.set(id, peer.ip, Activity::Busy);
        self.links.rearm(slot, &self.context, &mut self.timers);
    }

    /// Sees to it that a newcomer can be taken; else why not.
    fn make_room(&mut self, remote: Remote) -> Option<NoRoom> {
        if self.is_memory_scarce() {
            self.wants_memory = WantsMemory::Yes;
            return Some(NoRoom::Memory);
        }
        if self.links.pending.len() < self.settings.max_pending {
            return None;
        }
        match self.links.pending.evict_for(remote.ip()) {
            Some(id) => {
                debug!("#{} has to go: maxPending reached", id.slot);
                self.links.abort(id.slot as usize);
                None
            }
            None => Some(NoRoom::Pending),
        }
    }

    // ---- from a connection to the application and back

    /// Hands an event to the application, and carries out what comes of it. `message`: the one that
    /// the event is about, if its buffer may go back.
    pub(super) fn dispatch(&mut self, id: ConnId, event: Event<'_>) {
        self.commands.begin(id, CurrentMessage::Lent);
        self.app.handle(event, self.context.now, &mut self.commands);
        self.after_event(id, None);
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
        let (frames, current) = self.commands.reply_mut();
        let returned = message.filter(|_| current == CurrentMessage::Returned);
        if frames.is_empty() && returned.is_none() {
            return;
        }
        let Some(link) = self.links.table.get_mut(id) else {
            return frames.clear();
        };
        let sent = match returned {
            Some(message) => link
                .connection
                .reply_message(frames, message, &mut self.context),
            None => link.connection.reply(frames, &mut self.context),
        };
        self.links.note_sent(id, sent, &mut self.context);
    }

    /// Carries out all commands, and tells the application what it wanted to know, until nothing is
    /// left to be done.
    pub(super) fn carry_out(&mut self, mut message: Option<AssembledMessage>) {
        loop {
            let (mut list, frames) = self.commands.take();
            // The 101 comes before what is replied.
            if let Some(Command::Accept(accept)) = list.first() {
                self.links.accept(accept, &mut self.context);
            }
            self.reply(message.take());
            if list.is_empty() {
                return self.commands.restore(list, frames);
            }
            let mut answers = Vec::new();
            let compressed = compress_broadcasts(
                &list,
                &frames,
                &self.settings.compression,
                &mut self.links,
                &mut self.context,
            );
            let frames = self.links.shared_buffers.wrap(frames);
            for command in list.drain(..) {
                answers.extend(self.carry_out_one(command, &frames, &compressed));
            }
            let frames = self.links.shared_buffers.reclaim_handle(frames);
            let frames = frames.unwrap_or_else(|| self.context.pool.take());
            self.commands.restore(list, frames);
            let compressed = compressed.frames;
            let compressed = compressed.and_then(|f| self.links.shared_buffers.reclaim_handle(f));
            self.context.pool.give(compressed.unwrap_or_default());
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
        frames: &Rc<Vec<u8>>,
        compressed: &BroadcastForms,
    ) -> Option<(ConnId, Event<'static>)> {
        let context = &mut self.context;
        match command {
            Command::Send { to, frame, call } => {
                let receipt = self.links.send(to, (frames, frame), context);
                call.map(|call| (NOBODY, Event::Delivered { call, receipt }))
            }
            Command::Broadcast {
                from,
                members,
                frame,
                call,
            } => {
                let receipt =
                    self.links
                        .broadcast(from, &members, (frames, frame), compressed, context);
                call.map(|call| (NOBODY, Event::Delivered { call, receipt }))
            }
            // It was carried out before the reply.
            Command::Accept(_) => None,
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
                None
            }
            Command::ReadBody {
                id,
                length,
                expectation,
            } => {
                let link = self.links.table.get_mut(id)?;
                let peer = link.peer;
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
            Command::Close { id, code, reason } => {
                self.links.close(id, code, &reason, context);
                None
            }
            Command::Call { upstream, call } => {
                let now = context.now;
                self.upstreams.call(upstream, call, &mut self.system, now);
                None
            }
        }
    }

    // ---- other servers

    /// Goes on with all calls to other servers, and tells the application what was answered. What
    /// it asks then is sent in the next turn.
    pub(super) fn run_upstreams(&mut self) {
        let now = self.context.now;
        self.upstreams.run(&mut self.system, now, &mut self.timers);
        if self.keeps_answers {
            return;
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

    // ---- letting go

    /// Writes what may leave, and lets go of a connection that has nothing left to do.
    pub(super) fn flush(&mut self, slot: usize) {
        let flushed = self
            .links
            .flush(slot, &mut self.system, &mut self.context, &mut self.timers);
        if flushed == Flushed::Finished {
            self.remove(slot);
        }
    }

    /// Tells the application that a connection is no longer open.
    pub(super) fn end(&mut self, id: ConnId) {
        let Some(link) = self.links.table.get_mut(id) else {
            return;
        };
        if link.connection.is_open() {
            return;
        }
        let peer = link.peer;
        self.dispatch(id, Event::Closed { id, peer });
    }

    fn remove(&mut self, slot: usize) {
        let Some(link) = self.links.table.slot_mut(slot) else {
            return;
        };
        let id = link.id;
        self.end(id);
        if self.links.remove(slot, &mut self.timers).is_some() {
            info!("Connection closed to socket #{slot}");
        }
        self.carry_out(None);
    }

    // ---- memory

    fn total_bytes(&self) -> usize {
        self.held_bytes() + self.context.pool.held_bytes()
    }

    /// From here on newcomers are refused.
    fn scarce_bytes(&self) -> usize {
        self.settings.memory_limit_bytes / 16 * 15
    }

    /// Whether there is no memory for newcomers; spare buffers are none that anybody needs.
    fn is_memory_scarce(&mut self) -> bool {
        if self.total_bytes() > self.scarce_bytes() {
            self.links.shared_buffers.reclaim(&mut self.context.pool);
            self.context.pool.trim();
        }
        self.total_bytes() > self.scarce_bytes()
    }

    /// Whether more is held than may be.
    pub(super) fn is_over_memory_limit(&self) -> bool {
        self.total_bytes() > self.settings.memory_limit_bytes
    }

    /// Ends the connection that pays first if more is held than may be, or than lets newcomers in
    /// where one was refused; whether it has.
    pub(super) fn relieve_memory(&mut self) -> bool {
        let most = match self.wants_memory {
            WantsMemory::No => self.settings.memory_limit_bytes,
            WantsMemory::Yes => self.scarce_bytes(),
        };
        if self.total_bytes() <= most {
            self.wants_memory = WantsMemory::No;
            return false;
        }
        self.links.shared_buffers.reclaim(&mut self.context.pool);
        self.context.pool.trim();
        if self.total_bytes() <= most {
            self.wants_memory = WantsMemory::No;
            return false;
        }
        let Some((slot, bytes)) = self.links.heavy.heaviest() else {
            return false;
        };
        let address = self.links.table.slot_mut(slot).map(|link| link.peer.name());
        let address = address.unwrap_or_default();
        warn!("memoryLimit reached: #{slot} cut, which held about {bytes} bytes ({address})");
        self.links.abort(slot);
        self.links.heavy.remove(slot);
        self.links.count_memory(slot);
        true
    }

    // ---- signals

    fn handle_signal(&mut self, signal: Signal) {
        match (signal, self.state) {
            (Signal::Hangup, _) => {
                (self.on_hangup)();
                info!("SIGHUP: log file and certificates are opened anew");
                self.certificates.reload();
            }
            (Signal::Stop, LoopState::Running) => self.begin_stop(),
            (Signal::Stop, LoopState::Stopping { .. }) => {
                let count = self.links.table.len();
                warn!("second signal: ending at once, {count} connections cut");
                let deadline = self.context.now;
                self.state = LoopState::Stopping { deadline };
            }
        }
    }

    /// protocol.md 5.5: 1001 to everybody.
    fn begin_stop(&mut self) {
        info!("Stopping: {} connections are told", self.links.table.len());
        let deadline = self.context.now + self.settings.shutdown_timeout;
        self.state = LoopState::Stopping { deadline };
        self.timers.set(Timer::Shutdown, deadline);
        self.acceptor.stop();
        self.system.stop_listening();
        for slot in 0..self.links.table.slot_count() {
            let Some(link) = self.links.table.slot_mut(slot) else {
                continue;
            };
            if link.connection.is_pending() {
                // Nothing more is heard; a response on its way still leaves.
                link.connection.handle_eof(&mut self.context);
            } else {
                let reason = "the server is stopping";
                link.connection
                    .close(CloseCode::GOING_AWAY, reason, &mut self.context);
            }
            let id = link.id;
            self.links.ended.push(id);
            self.links.touch(id);
        }
    }
}

/// Size of the receive buffer: what a busy connection may bring in one turn, and small enough to
/// stay in the second-level cache while its frames are unmasked and handled.
const READ_BUFFER_BYTES: usize = 128 << 10;

/// Most TLS handshakes that are worked on in one turn: each costs up to a millisecond, and those
/// who are connected must not wait for a storm of them.
const HANDSHAKES_PER_TURN: usize = 8;

/// Bytes of messages after which a turn goes no further in the backlog: inflating, checking and
/// parsing so many takes some milliseconds, which is what others may have to wait.
const WORK_BYTES_PER_TURN: usize = 4 << 20;
