//! [`EventLoop`]: one turn after the other, and the order in it.
//!
//! ```text
//! wait → now → timers expire → what is ready: accept, read, hand to the application, carry out
//!      → long work → what is due → flush everybody → a slice of broadcasts → slots of the removed
//! ```
//!
//! Connections and application never see each other: an event of the one goes in at the other's
//! door, and the commands that come out are carried out here.

use std::sync::Arc;
use std::time::Duration;

use log::info;

use super::acceptor::Acceptor;
use super::certificate_watch::CertificateWatch;
use super::counts::LoopCounts;
use super::endpoint::ListenerOptions;
use super::handle::{HandleRequests, ServerHandle};
use super::handover::Handover;
use super::links::{Flushed, Links};
use super::loop_settings::LoopSettings;
use super::loop_state::LoopState;
use super::ping_log::PingLog;
use super::proxy_headers::ProxyHeaders;
use super::read_buffer::ReadBuffer;
use super::reload_watch::{ReadAgain, ReloadWatch};
use super::service_manager::ServiceManager;
use super::slice::Share;
use super::system::{Readiness, System};
use super::timers::{Timer, Timers};
use super::tls_roots::RootsSource;
use super::totals::Summary;
use super::upstreams::Upstreams;
use super::writing::{BYTES_PER_FLUSH, BYTES_PER_TURN};
use crate::app::{App, Commands, CurrentMessage, Event, NOBODY};
use crate::base::log_target::CONNECTIONS;
use crate::base::{LogLimiter, MonotonicTime};
use crate::connection::{ConnId, TurnContext};
use crate::ops::certificates::Certificates;
use crate::upstream::{Settings, Target, Upstream, UpstreamId};

/// The loop, over whatever system it runs on.
pub struct EventLoop<Y: System> {
    pub(super) system: Y,
    pub(super) settings: LoopSettings,
    pub(super) context: TurnContext,
    pub(super) links: Links<Y::Stream>,
    pub(super) upstreams: Upstreams<Y::Stream>,
    /// Answers of other servers are left for whoever drives the loop: in tests.
    pub(super) keeps_answers: bool,
    pub(super) acceptor: Acceptor,
    pub(super) proxy_headers: ProxyHeaders,
    pub(super) certificates: CertificateWatch,
    pub(super) pings: PingLog,
    pub(super) manager: ServiceManager,
    pub(super) counts: LoopCounts,
    pub(super) reload: ReloadWatch,
    /// Connections cut for want of memory.
    pub(super) relief_log: LogLimiter,
    pub(super) handle_requests: HandleRequests,
    pub(super) timers: Timers,
    pub(super) app: App,
    pub(super) commands: Commands,
    /// The loop's single receive buffer.
    pub(super) buffer: ReadBuffer,
    /// Where what is encrypted is read into, to be decrypted into the former.
    pub(super) cipher_buffer: ReadBuffer,
    /// TLS handshakes that may still be worked on in this turn.
    pub(super) handshake_budget: usize,
    /// Bytes of messages that may still be handled from the backlog in this turn; the rest of it
    /// waits for the next one.
    pub(super) work_budget_bytes: usize,
    /// Spare buffers are looked at after a while.
    trims_buffers: bool,
    /// Bytes that the application held at the last look.
    pub(super) app_bytes: usize,
    /// Sessions may have been read that the application has not been told of.
    pub(super) has_sessions: bool,
    /// Somebody was refused for want of memory.
    pub(super) wants_memory: WantsMemory,
    /// Who takes over from this process.
    pub(super) handover: Handover,
    pub(super) summary: Summary,
    ready: Vec<Readiness>,
    /// What became ready while the loop stood still.
    pub(super) missed: Vec<Readiness>,
    due: Vec<Timer>,
    pub(super) on_hangup: Box<dyn FnMut()>,
    pub(super) log_tail: Box<dyn Fn() -> Vec<String>>,
    pub(super) state: LoopState,
    /// There was a turn: it is measured when the next one begins, by the time that is taken anyway.
    has_turned: bool,
}

/// How low the memory that is held has to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WantsMemory {
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
        context.pool.limit_spare_bytes(settings.memory_limit_bytes);
        Self {
            context,
            links: Links::default(),
            upstreams: Upstreams::new(system.waker()),
            keeps_answers: false,
            acceptor: Acceptor::new(listeners),
            proxy_headers,
            certificates: CertificateWatch::default(),
            pings: PingLog::default(),
            manager: ServiceManager::default(),
            counts: LoopCounts::default(),
            reload: ReloadWatch::default(),
            relief_log: LogLimiter::default(),
            handle_requests: HandleRequests::default(),
            timers: Timers::new(now),
            app,
            commands: Commands::default(),
            buffer: ReadBuffer::new(READ_BUFFER_BYTES),
            cipher_buffer: ReadBuffer::new(READ_BUFFER_BYTES),
            handshake_budget: 0,
            work_budget_bytes: 0,
            trims_buffers: false,
            app_bytes: 0,
            has_sessions: false,
            wants_memory: WantsMemory::No,
            handover: Handover::default(),
            summary: Summary::default(),
            ready: Vec::new(),
            missed: Vec::new(),
            due: Vec::new(),
            on_hangup: Box::new(|| {}),
            log_tail: Box::new(Vec::new),
            state: LoopState::Running,
            has_turned: false,
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

    /// By which other threads ask something of the server.
    pub fn handle(&self) -> ServerHandle {
        self.handle_requests.handle(self.system.waker())
    }

    /// Adds another server that can be asked, over HTTP or, with
    /// [`Settings::redis`], a Redis. The application asks by
    /// [`Commands::call`] and is answered by [`Event::Answered`], exactly once.
    pub fn add_upstream(&mut self, target: Target, settings: Settings) -> UpstreamId {
        let upstream = Upstream::new(target, settings);
        self.add_upstream_with(upstream, RootsSource::System)
    }

    /// As [`add_upstream`](Self::add_upstream), also for an [`Upstream::subscriber`]; under TLS it
    /// has to be trusted by `roots`. What comes to a subscriber is told by
    /// [`Event::Subscriber`](crate::app::Event::Subscriber).
    pub fn add_upstream_with(&mut self, upstream: Upstream, roots: RootsSource) -> UpstreamId {
        self.upstreams.add(upstream, roots)
    }

    /// Adds the other servers that the application asks.
    pub fn add_app_upstreams(&mut self) {
        let Self { app, upstreams, .. } = self;
        app.add_upstreams(|target, settings| {
            upstreams.add(Upstream::new(target, settings), RootsSource::System)
        });
        app.add_backplane(|upstream, roots| {
            let roots = roots.map_or(RootsSource::System, |file| RootsSource::File(file.into()));
            upstreams.add(upstream, roots)
        });
    }

    /// What is done at SIGHUP, as opening the log anew.
    pub fn on_hangup(&mut self, action: Box<dyn FnMut()>) {
        self.on_hangup = action;
    }

    /// Where the last warnings and errors of the log are, for the status page.
    pub fn show_log(&mut self, tail: Box<dyn Fn() -> Vec<String>>) {
        self.log_tail = tail;
    }

    /// How settings are read again at SIGHUP, on a thread of its own.
    pub fn on_reload(&mut self, read: Arc<ReadAgain>) {
        self.reload.read_by(read);
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

    /// One turn.
    ///
    /// # Errors
    /// Only if the system cannot wait for events, which no peer can bring about.
    pub fn turn(&mut self) -> std::io::Result<()> {
        let now = self.system.now();
        if self.has_turned {
            self.counts
                .add_turn(now - self.context.now, self.links.backlog.len());
        }
        self.has_turned = true;
        let wait = self.next_wait_at(now);
        let mut ready = std::mem::take(&mut self.ready);
        self.system.wait(wait, &mut ready)?;
        self.begin_turn();
        if !self.handover.is_still() {
            self.drain_subscribers(&ready);
        }
        for readiness in ready.drain(..) {
            match self.handover.is_still() {
                true => self.handle_while_still(readiness),
                false => self.handle_readiness(readiness),
            }
        }
        self.ready = ready;
        if self.handover.is_still() {
            self.go_on_handing_over();
        }
        if !self.handover.is_still() {
            self.finish_turn();
        }
        Ok(())
    }

    /// Reads subscribers before all others: Redis closes one that does not read fast enough.
    fn drain_subscribers(&mut self, ready: &[Readiness]) {
        for readiness in ready {
            if let Readiness::Upstream(key) = readiness {
                self.upstreams.handle_ready(*key);
            }
        }
        if self.upstreams.has_ready_subscriber() {
            self.run_upstreams();
        }
    }

    /// How long the loop may sleep; `None`: until something happens.
    pub fn next_wait(&self) -> Option<Duration> {
        self.next_wait_at(self.system.now())
    }

    fn next_wait_at(&self, now: MonotonicTime) -> Option<Duration> {
        if self.handover.is_still() {
            return self.timers.next_wait(now);
        }
        let app_is_due = self.app.next_deadline().is_some_and(|due| due <= now);
        let has_work = self.links.has_work() || self.upstreams.has_work() || self.has_sessions;
        let is_due = app_is_due || self.has_goodbyes();
        if has_work || self.acceptor.has_backlog() || is_due {
            return Some(Duration::ZERO);
        }
        self.timers.next_wait(now)
    }

    /// The time is taken once. The timers are told first, for their ticks are fine only near the
    /// time that they know.
    fn begin_turn(&mut self) {
        self.context.now = self.system.now();
        self.handshake_budget = HANDSHAKES_PER_TURN;
        let max_queue_bytes = self.context.limits.max_queue_bytes;
        let memory_limit_bytes = self.settings.memory_limit_bytes;
        self.links
            .broadcasts
            .begin_turn(max_queue_bytes, memory_limit_bytes);
        self.links.reclaim_shared(&mut self.context);
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
                if is_writable && !self.links.put_off_flush(slot) {
                    self.flush(slot);
                }
                if is_readable {
                    self.read(slot, is_ended);
                }
            }
            Readiness::Upstream(key) => self.upstreams.handle_ready(key),
            Readiness::ControlListener => self.accept_callers(),
            Readiness::Caller(key) => self.handle_caller(key),
            Readiness::Signal(signal) => self.handle_signal(signal),
            Readiness::Woken => {
                self.certificates.take_up();
                self.take_up_settings();
                self.serve_handles();
                self.has_sessions = true;
            }
        }
    }

    /// What every turn ends with, in this order: newcomers and reads that had to wait, what is due,
    /// those who have gone, everybody's output, and the slots of those removed.
    fn finish_turn(&mut self) {
        for readiness in std::mem::take(&mut self.missed) {
            self.handle_readiness(readiness);
        }
        if self.acceptor.has_backlog() {
            self.accept_again();
        }
        self.go_on_with_long_work();
        self.handle_timers();
        self.run_upstreams();
        self.take_up_sessions();
        self.go_on_stopping();
        self.flush_all(Share::Slice);
        self.stop_without_clients();
        self.go_on_handing_over();
        self.links.end_turn();
        if self.context.pool.has_large() && !self.trims_buffers {
            self.trims_buffers = true;
            let at = self.context.now + TRIM_INTERVAL;
            self.timers.set(Timer::SpareBuffers, at);
        }
        match self.app.next_deadline() {
            Some(at) if at > self.context.now => self.timers.set(Timer::App, at),
            Some(_) => {}
            None => self.timers.cancel(Timer::App),
        }
    }

    fn handle_timers(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        for timer in due.drain(..) {
            match timer {
                Timer::Link(slot) => self.handle_link_timeout(slot),
                Timer::Write(slot) => self.flush(slot),
                Timer::Accept => self.accept_again(),
                Timer::Supervision => self.report_to_manager(),
                Timer::Summary => self.tell_summary(),
                Timer::SpareBuffers => {
                    self.trims_buffers = false;
                    self.context.pool.trim_unused();
                }
                Timer::Certificates => self.certificates.look(self.context.now, &mut self.timers),
                // The turn that it brings about is enough.
                Timer::Shutdown | Timer::App | Timer::Upstreams | Timer::Handover => {}
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

    // ---- letting go

    /// Writes a share of what may leave, and lets go of a connection that has nothing left to do.
    pub(super) fn flush(&mut self, slot: usize) {
        self.flush_up_to(BYTES_PER_FLUSH, slot);
    }

    /// The same for a connection for which others have queued something.
    pub(super) fn flush_touched(&mut self, id: ConnId) {
        self.flush_up_to(BYTES_PER_TURN, id.slot as usize);
    }

    fn flush_up_to(&mut self, most: usize, slot: usize) {
        let (system, context) = (&mut self.system, &mut self.context);
        let flushed = self
            .links
            .flush((slot, most), system, context, &mut self.timers);
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
        let heard = link.connection.last_heard(&self.context.limits);
        self.dispatch(id, Event::Closed { id, peer, heard });
    }

    fn remove(&mut self, slot: usize) {
        let Some(link) = self.links.table.slot_mut(slot) else {
            return;
        };
        let id = link.id;
        self.end(id);
        if self.links.remove(slot, &mut self.timers).is_some() {
            info!(target: CONNECTIONS, "Connection closed to socket #{slot}");
        }
        self.carry_out(None);
    }
}

/// Size of the receive buffer: what a busy connection may bring in one turn, and small enough to
/// stay in the second-level cache while its frames are unmasked and handled.
const READ_BUFFER_BYTES: usize = 128 << 10;

/// How long large buffers are kept without being needed, to twice that: while long messages come and
/// go each finds one, and soon after the last the memory is back.
const TRIM_INTERVAL: Duration = Duration::from_secs(5);

/// Most TLS handshakes that are worked on in one turn: what one brings takes a quarter of a
/// millisecond, and whoever is connected waits for no more than that.
const HANDSHAKES_PER_TURN: usize = 1;
