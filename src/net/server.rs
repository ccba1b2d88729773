//! [`Server`]: the loop, and the only one to ask the clock.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use log::{error, info, warn};
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};

use super::clock::Clock;
use super::endpoint::Endpoint;
use super::listener::{self, BindError, Listener};
use super::read_buffer::ReadBuffer;
use super::requests::Receipt;
use super::shared_buffers::SharedBuffers;
use super::spare::SpareDescriptor;
use super::table::{Flushing, Table};
use super::wheel::Wheel;
use crate::api::{Demo, Jobs};
use crate::app::admission::{Admission, AdmissionSettings};
use crate::app::{App, AppSettings, Outbox, Resource};
use crate::base::LogLimiter;
use crate::connection::output::BufferPool;
use crate::connection::{ConnId, Limits, MonotonicTime, TurnContext};
use crate::ops::certificates::Certificates;
use crate::ops::inherited::Inherited;
use crate::ops::signals::{Signal, Signals};
use crate::protocol::close_code::CloseCode;
use crate::protocol::extension::CompressionSettings;

/// What a server needs to know. The default is that of the shipped websock.ini.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Limits of each connection.
    pub limits: Limits,
    /// Who may come in. An empty `allowed_ip` means loopback and the addresses listened on.
    pub policy: AdmissionSettings,
    /// `maxChunks`.
    pub max_chunks: usize,
    /// Most connections that have not been upgraded yet (`maxPending`).
    pub max_pending: usize,
    /// Most memory for queues, unfinished messages and chunks of all connections, in bytes
    /// (`memoryLimit`).
    pub memory_limit_bytes: usize,
    /// Whether and how messages are compressed (`compression` and its like).
    pub compression: CompressionSettings,
    /// Whether the demo page is served (`demo`).
    pub demo: Demo,
    /// Whether frames to deployed PHP clients are shaped for them (`phpPadding`).
    pub php_padding: bool,
    /// Length of the kernel's queue of connections to accept (`backlog`).
    pub backlog: u32,
    /// Longest time from SIGTERM to the end (`shutdownTimeout`).
    pub shutdown_timeout: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            policy: AdmissionSettings {
                max_clients: 100_000,
                ..AdmissionSettings::default()
            },
            max_chunks: 100,
            max_pending: 10_000,
            memory_limit_bytes: 128 << 20,
            compression: CompressionSettings::default(),
            demo: Demo::Off,
            php_padding: true,
            backlog: 1024,
            shutdown_timeout: Duration::from_secs(5),
        }
    }
}

/// A WebSocket server: bind, add resources, run.
pub struct Server {
    poll: Poll,
    events: Events,
    signals: Signals,
    on_hangup: Box<dyn FnMut()>,
    core: Core,
}

/// All that a turn works on.
pub(super) struct Core {
    pub(super) settings: ServerSettings,
    pub(super) registry: mio::Registry,
    pub(super) listeners: Vec<Listener>,
    pub(super) certificates: Option<Certificates>,
    /// When the certificates' files are looked at again.
    pub(super) certificate_check: Option<MonotonicTime>,
    /// When the days left were last told.
    pub(super) expiry_told: Option<MonotonicTime>,
    /// TLS handshakes that may still be worked on in this turn.
    pub(super) handshake_budget: usize,
    pub(super) spare: SpareDescriptor,
    pub(super) accepting: Accepting,
    /// The lack of descriptors has been logged and none has been had since.
    pub(super) is_short_of_descriptors: bool,
    /// Connections refused for want of room.
    pub(super) refusals: LogLimiter,
    /// Scripts' requests that a proxy has forwarded which is not trusted.
    pub(super) untrusted: LogLimiter,
    /// Connections that do not open as a trusted proxy's do.
    pub(super) without_proxy_header: LogLimiter,
    /// Jobs that the demo page has run.
    pub(super) jobs: Jobs,
    /// Whom the last packet has reached.
    pub(super) receipt: Receipt,
    pub(super) app: App,
    pub(super) outbox: Outbox,
    pub(super) table: Table,
    pub(super) wheel: Wheel,
    pub(super) pool: BufferPool,
    /// The loop's single receive buffer.
    pub(super) buffer: ReadBuffer,
    /// Where what is encrypted is read into, to be decrypted into the former.
    pub(super) cipher_buffer: ReadBuffer,
    /// Connections that have more to read than their share of a turn.
    pub(super) backlog: VecDeque<ConnId>,
    /// Connections that have something to send at the end of the turn.
    pub(super) touched: Vec<ConnId>,
    /// Who is to be flushed because of broadcasts alone, and may be put off to the next turn.
    pub(super) audience: VecDeque<ConnId>,
    /// Something was broadcast in this turn.
    pub(super) has_broadcast: bool,
    /// The turn before has left some of `audience`.
    has_put_off: bool,
    /// Connections that are no longer open and of which the application has not been told.
    pub(super) ended: Vec<ConnId>,
    /// Slots whose deadline has come.
    pub(super) expired: Vec<usize>,
    pub(super) shared_buffers: SharedBuffers,
    pub(super) held_bytes: usize,
    pub(super) pending_count: usize,
    pub(super) clock: Clock,
    pub(super) now: MonotonicTime,
    pub(super) stopping: Option<MonotonicTime>,
    pub(super) last_ping_line: Option<MonotonicTime>,
}

/// Whether connections wait to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepting {
    /// The kernel will tell.
    Waiting,
    /// There are more than a turn's share.
    Backlog,
    /// Descriptors have run out; tried again at this time.
    BackedOff(MonotonicTime),
}

impl Server {
    /// Opens the sockets. Nothing is accepted before [`run`](Self::run).
    ///
    /// # Errors
    /// An endpoint that cannot be listened on, or a system without epoll, pipes or signals.
    pub fn bind(settings: ServerSettings, endpoints: &[Endpoint]) -> Result<Self, StartError> {
        Self::bind_inheriting(settings, endpoints, Inherited::default())
    }

    /// As [`bind`](Self::bind), but takes those sockets that the service manager has opened.
    ///
    /// # Errors
    /// As `bind`; also a socket of `inherited` that no endpoint stands for.
    pub fn bind_inheriting(
        settings: ServerSettings,
        endpoints: &[Endpoint],
        inherited: Inherited,
    ) -> Result<Self, StartError> {
        let poll = Poll::new().map_err(StartError::System)?;
        let listeners = listener::bind(endpoints, inherited, settings.backlog);
        let listeners = listeners.map_err(StartError::Bind)?;
        let registry = poll.registry().try_clone().map_err(StartError::System)?;
        let signals = Signals::register(&registry, SIGNAL_TOKEN).map_err(StartError::System)?;
        let mut settings = settings;
        let hosts = endpoints
            .iter()
            .filter_map(Endpoint::host)
            .map(str::to_owned);
        settings.policy.own_hosts.extend(hosts);
        let core = Core::new(settings, registry, listeners).map_err(StartError::System)?;
        let events = Events::with_capacity(EVENTS_PER_TURN);
        Ok(Self {
            poll,
            events,
            signals,
            on_hangup: Box::new(|| {}),
            core,
        })
    }

    /// Adds a resource on a path, compared exactly; `None`: on every path that no other has.
    pub fn add_resource(&mut self, path: Option<&str>, resource: Box<dyn Resource>) {
        self.core.app.add_resource(path, resource);
    }

    /// The certificates for endpoints that speak TLS.
    pub fn set_certificates(&mut self, certificates: Certificates) {
        for warning in certificates.warnings() {
            warn!("{warning}");
        }
        self.core.certificates = Some(certificates);
        self.core.certificate_check = Some(self.core.now);
    }

    /// What is done at SIGHUP, as opening the log anew.
    pub fn on_hangup(&mut self, action: impl FnMut() + 'static) {
        self.on_hangup = Box::new(action);
    }

    /// The addresses listened on; files have none.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.core
            .listeners
            .iter()
            .filter_map(|l| l.socket.address())
            .collect()
    }

    /// Serves until SIGTERM or SIGINT, then says goodbye to everybody (protocol.md 5.5).
    ///
    /// # Errors
    /// Only if waiting for events fails, which no peer can bring about.
    pub fn run(&mut self) -> io::Result<()> {
        self.core.start_listening()?;
        while !self.core.is_done() {
            self.turn()?;
        }
        info!("Server stopped");
        Ok(())
    }

    /// One turn of the loop.
    fn turn(&mut self) -> io::Result<()> {
        let wait = self.core.next_wait();
        match self.poll.poll(&mut self.events, wait) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        self.core.begin_turn();
        for event in &self.events {
            if event.token() == SIGNAL_TOKEN {
                for signal in self.signals.pending() {
                    self.core.handle_signal(signal, &mut self.on_hangup);
                }
            } else {
                self.core.handle_event(event);
            }
        }
        self.core.finish_turn();
        Ok(())
    }
}

/// Why a server cannot start.
#[derive(Debug)]
pub enum StartError {
    /// An endpoint cannot be listened on.
    Bind(BindError),
    /// The system lacks something.
    System(io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::System(error) => write!(f, "the system refused to start the server: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl Core {
    fn new(
        mut settings: ServerSettings,
        registry: mio::Registry,
        listeners: Vec<Listener>,
    ) -> io::Result<Self> {
        let listened: Vec<IpAddr> = listeners
            .iter()
            .filter_map(|l| l.socket.address())
            .map(|address| address.ip())
            .collect();
        let policy = &mut settings.policy;
        let is_default = policy.allowed_ip.is_empty();
        if is_default {
            let loopback = ["127.0.0.0/8", "::1/128"]
                .iter()
                .filter_map(|net| net.parse().ok());
            policy.allowed_ip = loopback
                .chain(listened.iter().map(|ip| (*ip).into()))
                .collect();
        }
        policy.allows_own_ip = is_default && listened.iter().any(IpAddr::is_unspecified);
        let app_settings = AppSettings {
            max_chunks: settings.max_chunks,
            max_message_bytes: settings.limits.max_message_bytes,
            compression: settings.compression,
        };
        let now = MonotonicTime::START;
        Ok(Self {
            clock: Clock::start(),
            app: App::new(app_settings, Admission::new(settings.policy.clone())),
            settings,
            registry,
            listeners,
            certificates: None,
            certificate_check: None,
            expiry_told: None,
            handshake_budget: 0,
            spare: SpareDescriptor::open()?,
            accepting: Accepting::Waiting,
            is_short_of_descriptors: false,
            refusals: LogLimiter::default(),
            untrusted: LogLimiter::default(),
            without_proxy_header: LogLimiter::default(),
            jobs: Jobs::default(),
            receipt: Receipt::default(),
            outbox: Outbox::default(),
            table: Table::default(),
            wheel: Wheel::new(now),
            pool: BufferPool::default(),
            buffer: ReadBuffer::new(READ_BUFFER_BYTES),
            cipher_buffer: ReadBuffer::new(READ_BUFFER_BYTES),
            backlog: VecDeque::new(),
            touched: Vec::new(),
            audience: VecDeque::new(),
            has_broadcast: false,
            has_put_off: false,
            ended: Vec::new(),
            expired: Vec::new(),
            shared_buffers: SharedBuffers::default(),
            held_bytes: 0,
            pending_count: 0,
            now,
            stopping: None,
            last_ping_line: None,
        })
    }

    fn start_listening(&mut self) -> io::Result<()> {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let token = listener_token(index);
            self.registry
                .register(listener.socket.source(), token, Interest::READABLE)?;
            info!("Listening on {}", listener.name);
            if self.settings.demo == Demo::On
                && let Some(address) = listener.socket.address()
            {
                let scheme = listener.options.security.http_scheme();
                info!("Demo page: {scheme}://{address}/");
            }
        }
        Ok(())
    }

    /// How long the loop may sleep; `None`: until something happens.
    fn next_wait(&self) -> Option<Duration> {
        let has_more = !self.backlog.is_empty() || !self.audience.is_empty();
        if has_more || self.accepting == Accepting::Backlog {
            return Some(Duration::ZERO);
        }
        let retry = match self.accepting {
            Accepting::BackedOff(until) => Some(until),
            Accepting::Waiting | Accepting::Backlog => None,
        };
        let now = self.clock.now();
        let until = |at: MonotonicTime| at - now;
        let waits = [
            self.wheel.next_wait(now),
            retry.map(until),
            self.stopping.map(until),
            self.certificate_check.map(until),
            self.jobs
                .next_due()
                .map(|due| until(MonotonicTime::START + due)),
        ];
        waits.into_iter().flatten().min()
    }

    /// The time is taken once. The wheel is told first, for its ticks are fine only near the time
    /// that it knows.
    fn begin_turn(&mut self) {
        self.now = self.clock.now();
        self.handshake_budget = HANDSHAKES_PER_TURN;
        self.shared_buffers.reclaim(&mut self.pool);
        self.wheel.expire(self.now, &mut self.expired);
    }

    fn handle_event(&mut self, event: &Event) {
        match event.token() {
            Token(token) if token >= LISTENER_TOKENS => self.accept(token - LISTENER_TOKENS),
            Token(slot) => {
                if event.is_writable() {
                    self.flush(slot);
                }
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    self.read(slot, event.is_read_closed() || event.is_error());
                }
            }
        }
    }

    /// What every turn ends with, in this order: the backlog of reads that was there when it began,
    /// what is due, those who have gone, everybody's output, and the slots of those removed.
    fn finish_turn(&mut self) {
        self.accept_again();
        for _ in 0..self.backlog.len() {
            if let Some(id) = self.backlog.pop_front() {
                self.read_again(id);
            }
        }
        self.handle_timeouts();
        self.check_certificates();
        self.report_jobs();
        self.flush_all();
        self.table.release();
    }

    /// Tells the application who has gone and flushes everybody, until all lists stay empty; a long
    /// audience goes on in the next turn, so that others have their say before it is through.
    fn flush_all(&mut self) {
        // A storm of broadcasts must not queue faster than it leaves: what the last turn put off is
        // done before more is.
        let is_storm = self.has_broadcast && self.has_put_off;
        let mut budget = if is_storm {
            usize::MAX
        } else {
            AUDIENCE_PER_TURN
        };
        loop {
            if let Some(id) = self.ended.pop() {
                self.end(id);
                self.deliver();
            } else if let Some(id) = self.touched.pop() {
                self.flush_if_due(id);
            } else if let Some(id) = self.next_in_audience(&mut budget) {
                self.flush_if_due(id);
            } else if !self.relieve_memory() {
                break;
            }
        }
        self.has_put_off = !self.audience.is_empty();
        self.has_broadcast = false;
    }

    /// Want of memory leaves nobody for the next turn: what has left need not be held.
    fn next_in_audience(&mut self, budget: &mut usize) -> Option<ConnId> {
        match budget.checked_sub(1) {
            Some(left) => *budget = left,
            None if self.is_over_memory_limit() => {}
            None => return None,
        }
        self.audience.pop_front()
    }

    fn flush_if_due(&mut self, id: ConnId) {
        if let Some(link) = self.table.get_mut(id)
            && link.flushing != Flushing::Done
        {
            link.flushing = Flushing::Done;
            self.flush(id.slot as usize);
        }
    }

    fn handle_timeouts(&mut self) {
        let mut expired = std::mem::take(&mut self.expired);
        for slot in expired.drain(..) {
            self.handle_timeout(slot);
        }
        self.expired = expired;
    }

    fn handle_signal(&mut self, signal: Signal, on_hangup: &mut dyn FnMut()) {
        match signal {
            Signal::Hangup => {
                on_hangup();
                info!("SIGHUP: log file and certificates are opened anew");
                self.reload_certificates();
            }
            Signal::Stop if self.stopping.is_some() => {
                warn!(
                    "second signal: ending at once, {} connections cut",
                    self.table.len()
                );
                self.stopping = Some(self.now);
            }
            Signal::Stop => self.begin_stop(),
        }
    }

    /// protocol.md 5.5: 1001 to everybody.
    fn begin_stop(&mut self) {
        info!("Stopping: {} connections are told", self.table.len());
        self.stopping = Some(self.now + self.settings.shutdown_timeout);
        self.accepting = Accepting::Waiting;
        for mut listener in self.listeners.drain(..) {
            if let Err(error) = self.registry.deregister(listener.socket.source()) {
                error!("a listener was not deregistered: {error}");
            }
        }
        for slot in 0..self.table.slot_count() {
            let Some(link) = self.table.slot_mut(slot) else {
                continue;
            };
            let turn = &mut TurnContext {
                now: self.now,
                limits: &self.settings.limits,
                pool: &mut self.pool,
            };
            if link.connection.is_pending() {
                // Nothing more is heard; a response on its way still leaves.
                link.connection.handle_eof(turn);
            } else {
                let reason = "the server is stopping";
                link.connection.close(CloseCode::GOING_AWAY, reason, turn);
            }
            let id = link.id;
            self.ended.push(id);
            self.touch(id);
        }
    }

    /// Looks at the certificates' files if it is time to.
    fn check_certificates(&mut self) {
        if self.certificate_check.is_some_and(|due| due <= self.now) {
            self.certificate_check = Some(self.now + CERTIFICATE_CHECK);
            self.reload_certificates();
            self.warn_expiry();
        }
    }

    fn reload_certificates(&mut self) {
        let Some(certificates) = &mut self.certificates else {
            return;
        };
        match certificates.reload_if_changed() {
            Ok(false) => {}
            Ok(true) => {
                info!("New certificate in force for new connections");
                self.expiry_told = None;
            }
            Err(error) => error!("the old certificate stays in force: {error}"),
        }
    }

    fn warn_expiry(&mut self) {
        let Some(left) = self.certificates.as_ref().map(Certificates::time_left) else {
            return;
        };
        let day = Duration::from_secs(DAY_SECONDS);
        if left < EXPIRY_WARNING && self.expiry_told.is_none_or(|told| told + day <= self.now) {
            self.expiry_told = Some(self.now);
            warn!(
                "a certificate expires in {} days; renew it",
                left.as_secs() / DAY_SECONDS
            );
        }
    }

    fn is_done(&self) -> bool {
        self.stopping
            .is_some_and(|deadline| self.table.len() == 0 || deadline <= self.now)
    }
}

/// Size of the receive buffer: what a busy connection may bring in one turn, and small enough to
/// stay in the second-level cache while its frames are unmasked and handled.
const READ_BUFFER_BYTES: usize = 128 << 10;

const EVENTS_PER_TURN: usize = 1024;

/// Most connections that are flushed in one turn because of broadcasts alone: some milliseconds of
/// system calls, after which those are heard who have sent something meanwhile.
const AUDIENCE_PER_TURN: usize = 1024;

/// Most TLS handshakes that are worked on in one turn: each costs up to a millisecond, and those
/// who are connected must not wait for a storm of them.
const HANDSHAKES_PER_TURN: usize = 8;

/// How often the certificates' files are looked at.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(10);

/// From how long before the end on it is told every day that a certificate expires.
const EXPIRY_WARNING: Duration = Duration::from_secs(21 * DAY_SECONDS);

const DAY_SECONDS: u64 = 86_400;

const SIGNAL_TOKEN: Token = Token(usize::MAX);

/// Tokens of listeners; those of connections are their slots, which are 32 bits wide.
const LISTENER_TOKENS: usize = 1 << 40;

fn listener_token(index: usize) -> Token {
    Token(LISTENER_TOKENS + index)
}
