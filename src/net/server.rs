//! [`Server`]: bind, add resources, run.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use log::{info, warn};

use super::control_channel::ControlListener;
use super::drain::DrainSettings;
use super::endpoint::Endpoint;
use super::event_loop::EventLoop;
use super::handle::ServerHandle;
use super::listener::{self, BindError, Listener};
use super::loop_settings::LoopSettings;
use super::mio_system::MioSystem;
use super::proxy_headers::ProxyHeaders;
use super::reload_watch::NewSettings;
use super::socket_file::Cleanup;
use super::system::System as _;
use super::taking_over::{Predecessor, TakeoverError, TakeoverSettings, control_listener};
use super::tls_roots::RootsSource;
use crate::api::Demo;
use crate::app::admission::AdmissionSettings;
use crate::app::backplane::BackplaneSettings;
use crate::app::peer::ListenerRole;
use crate::app::sign_in::{SignInSettings, TicketKey};
use crate::app::{
    App, AppSettings, ChunkLimits, DialogueSettings, Resource, UpgradeSettings, WebSends,
};
use crate::base::plain;
use crate::connection::Limits;
use crate::ops::certificates::Certificates;
use crate::ops::inherited::Inherited;
use crate::ops::notify::Notifier;
use crate::ops::state_dir::StateDir;
use crate::ops::time_of_day;
use crate::protocol::extension::CompressionSettings;
use crate::registry::ReplaySettings;
use crate::upstream::{Settings, Target, Upstream, UpstreamId};

/// What a server needs to know. The default is that of the shipped websock.ini.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Limits of each connection.
    pub limits: Limits,
    /// Who may come in. An empty `allowed_ip` means loopback and the addresses listened on.
    pub admission: AdmissionSettings,
    /// One more chunk than these is kept between `bufferON` and `bufferOFF` (`maxChunks`).
    pub max_chunks: usize,
    /// What pages may send (`webSends`).
    pub web_sends: WebSends,
    /// How it is found out who clients are.
    pub sign_in: SignInSettings,
    /// How several servers are one (`backplane` and its like).
    pub backplane: BackplaneSettings,
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
    /// Subprotocols that a client may choose, in the order of preference (`subprotocols`).
    pub subprotocols: Vec<String>,
    /// Longest header `Ident`, in bytes (`maxIdent`).
    pub max_ident_bytes: usize,
    /// Length of the kernel's queue of connections to accept (`backlog`).
    pub backlog: u32,
    /// Longest time for goodbyes, once everybody has been told to go (`shutdownTimeout`).
    pub shutdown_timeout: Duration,
    /// Time between two lines of totals in the log (`logSummary`); zero: there are none.
    pub summary_interval: Duration,
    /// What is kept for those who come back (`replaySize`, `replayTime`, `replayMemory`).
    pub replay: ReplaySettings,
    /// How clients are told to go (`drainDelay`, `drainSpread`).
    pub drain: DrainSettings,
    /// How it is taken over by a successor.
    pub takeover: TakeoverSettings,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            admission: AdmissionSettings::default(),
            max_chunks: 100,
            web_sends: WebSends::default(),
            sign_in: SignInSettings::default(),
            backplane: BackplaneSettings::default(),
            max_pending: 10_000,
            memory_limit_bytes: 128 << 20,
            compression: CompressionSettings::default(),
            demo: Demo::Off,
            php_padding: true,
            subprotocols: Vec::new(),
            max_ident_bytes: 128,
            backlog: 1024,
            shutdown_timeout: Duration::from_secs(5),
            summary_interval: Duration::from_secs(3600),
            replay: ReplaySettings::default(),
            drain: DrainSettings::default(),
            takeover: TakeoverSettings::default(),
        }
    }
}

impl ServerSettings {
    /// The part that the application goes by.
    pub fn app(&self) -> AppSettings {
        AppSettings {
            admission: self.admission.clone(),
            dialogue: DialogueSettings {
                chunks: ChunkLimits {
                    max_chunks: self.max_chunks,
                    stall_timeout: self.limits.stall_timeout,
                    min_progress_bytes: self.limits.min_progress_bytes,
                },
                max_message_bytes: self.limits.max_message_bytes,
                max_web_message_bytes: self
                    .limits
                    .max_web_message_bytes
                    .min(self.limits.max_message_bytes),
                web_sends: self.web_sends,
            },
            upgrade: UpgradeSettings {
                compression: self.compression,
                php_padding: self.php_padding,
                subprotocols: self.subprotocols.clone(),
                max_ident_bytes: self.max_ident_bytes,
                handshake_timeout: self.limits.handshake_timeout,
            },
            sign_in: self.sign_in.clone(),
            backplane: self.backplane.clone(),
            replay: ReplaySettings {
                // Those who are here come first.
                max_bytes: self.replay.max_bytes.min(self.memory_limit_bytes / 4),
                ..self.replay
            },
            demo: self.demo,
        }
    }

    /// The part that the loop goes by.
    pub fn event_loop(&self) -> LoopSettings {
        LoopSettings {
            limits: self.limits,
            max_pending: self.max_pending,
            memory_limit_bytes: self.memory_limit_bytes,
            shutdown_timeout: self.shutdown_timeout,
            summary_interval: self.summary_interval,
            drain: self.drain,
            compression: self.compression,
        }
    }
}

/// A WebSocket server: bind, add resources, run.
pub struct Server {
    event_loop: EventLoop<MioSystem>,
    demo: Demo,
    is_listening: bool,
    /// Sockets of the server that is taken over for which there is no use here.
    leftovers: (Inherited, Option<ControlListener>),
    own: OwnAddresses,
    /// Where what is kept outlives the server.
    state_dir: Option<StateDir>,
}

/// Settings that were read again and checked.
#[derive(Debug)]
pub struct ReadSettings {
    /// What the server is to go by. Where it listens does not change, nor does `backlog`.
    pub server: ServerSettings,
    /// Those of other files than before; `None`: the files are the same.
    pub certificates: Option<Certificates>,
    /// How many keys have changed, for the log.
    pub change_count: usize,
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
        mut settings: ServerSettings,
        endpoints: &[Endpoint],
        mut inherited: Inherited,
    ) -> Result<Self, StartError> {
        let (control, control_leftover) =
            control_listener(&settings.takeover, inherited.take_control());
        let bound = listener::bind(endpoints, inherited, settings.backlog);
        let (listeners, leftovers) = bound.map_err(StartError::Bind)?;
        let own = OwnAddresses::of(endpoints, &listeners);
        own.complete(&mut settings.admission);
        let options = listeners.iter().map(|listener| listener.options).collect();
        let proxies = ProxyHeaders::new(settings.admission.trusted_proxies.clone());
        let mut system = MioSystem::new(listeners).map_err(StartError::System)?;
        if let Some(control) = control {
            system.watch_control(control).map_err(StartError::System)?;
        }
        let app = App::new(settings.app(), time_of_day);
        let settings_of_loop = settings.event_loop();
        let mut event_loop = EventLoop::new(system, options, settings_of_loop, app, proxies);
        event_loop.handover.patience = settings.takeover.patience;
        event_loop.add_app_upstreams();
        Ok(Self {
            event_loop,
            demo: settings.demo,
            is_listening: false,
            leftovers: (leftovers, control_leftover),
            own,
            state_dir: None,
        })
    }

    /// Takes all connections over from the running server, whose sockets this one was bound with
    /// ([`Predecessor::take_sockets`]): to be called when the resources have been added and nothing
    /// is left to be done but [`run`](Self::run).
    ///
    /// # Errors
    /// Something went wrong, and the running server goes on. This one must not be run.
    pub fn take_over(&mut self, predecessor: &Predecessor) -> Result<(), TakeoverError> {
        let count = predecessor.take_connections(&mut self.event_loop)?;
        let listening = self.start_listening();
        listening.map_err(|error| predecessor.give_up(&error))?;
        predecessor.confirm(count)?;
        self.claim_files();
        Ok(())
    }

    /// Files of sockets are this process's from now on; those that nobody uses go.
    fn claim_files(&mut self) {
        if let Err(error) = self.event_loop.system_mut().claim_files() {
            warn!("control socket: {}", plain(&error));
        }
        let (sockets, control) = std::mem::take(&mut self.leftovers);
        for path in sockets.leftover_files() {
            info!("No longer listening on unix:{}", path.display());
            drop(Cleanup::of(&path));
        }
        if let Some(mut control) = control {
            control.cleanup.arm();
        }
    }

    /// Adds a resource on a path, compared exactly; `None`: on every path that no other has.
    pub fn add_resource(&mut self, path: Option<&str>, resource: Box<dyn Resource>) {
        self.event_loop.app_mut().add_resource(path, resource);
    }

    /// Adds another server that the application can ask: see
    /// [`EventLoop::add_upstream`].
    #[doc(hidden)]
    pub fn add_upstream(&mut self, target: Target, settings: Settings) -> UpstreamId {
        self.event_loop.add_upstream(target, settings)
    }

    /// As [`add_upstream`](Self::add_upstream), also for subscribers and for roots from a file: see
    /// [`EventLoop::add_upstream_with`].
    #[doc(hidden)]
    pub fn add_upstream_with(&mut self, upstream: Upstream, roots: RootsSource) -> UpstreamId {
        self.event_loop.add_upstream_with(upstream, roots)
    }

    /// The certificates for endpoints that speak TLS.
    pub fn set_certificates(&mut self, certificates: Certificates) {
        self.event_loop.watch_certificates(certificates);
    }

    /// Tickets are signed with this key: one that outlives the server lets those who were signed in
    /// come back without a question after a restart.
    pub fn set_ticket_key(&mut self, key: TicketKey) {
        self.event_loop.app_mut().set_ticket_key(key);
    }

    /// What is kept for those who come back is written there when the server ends (protocol.md 9.7).
    pub fn keep_state_in(&mut self, dir: StateDir) {
        self.state_dir = Some(dir);
    }

    /// Goes on with what the server before has written. Whatever is wrong with it is told in the log;
    /// then there is nothing.
    pub fn restore_state(&mut self) {
        let Some(dir) = &self.state_dir else {
            return;
        };
        let now = self.event_loop.system_mut().now();
        let app = self.event_loop.app_mut();
        let file = dir.path().join(STATE_FILE);
        match dir.take(STATE_FILE, app.max_kept_bytes()) {
            Ok(None) => {}
            Ok(Some(bytes)) => match app.restore(&bytes, now, time_of_day()) {
                Ok(count) => info!("{count} tabs may come back and miss nothing"),
                Err(reason) => warn!("{} is not used: {reason}", file.display()),
            },
            Err(error) => warn!("{} is not used: {}", file.display(), plain(&error)),
        }
    }

    /// Everybody has gone: what is kept for those who come back outlives the server.
    fn save_state(&mut self) {
        let Some(dir) = &self.state_dir else {
            return;
        };
        let now = self.event_loop.system_mut().now();
        let Some(bytes) = self.event_loop.app_mut().kept_state(now, time_of_day()) else {
            return;
        };
        match dir.put(STATE_FILE, &bytes) {
            Ok(()) => info!("{} bytes kept for those who come back", bytes.len()),
            Err(error) => {
                let file = dir.path().join(STATE_FILE);
                warn!("{} cannot be written: {}", file.display(), plain(&error));
            }
        }
    }

    /// By which other threads push and stop.
    pub fn handle(&self) -> ServerHandle {
        self.event_loop.handle()
    }

    /// What is done at SIGHUP, as opening the log anew.
    pub fn on_hangup(&mut self, action: impl FnMut() + 'static) {
        self.event_loop.on_hangup(Box::new(action));
    }

    /// How settings are read again at SIGHUP: on a thread of its own, so it may take its time.
    /// `read` tells in the log what has changed, or what is wrong; then it returns `None`, and
    /// nothing changes.
    pub fn on_reload(&mut self, read: impl Fn() -> Option<ReadSettings> + Send + Sync + 'static) {
        let own = self.own.clone();
        self.event_loop.on_reload(Arc::new(move || {
            let ReadSettings {
                mut server,
                certificates,
                change_count,
            } = read()?;
            own.complete(&mut server.admission);
            Some(NewSettings {
                app: server.app(),
                event_loop: server.event_loop(),
                takeover_patience: server.takeover.patience,
                certificates,
                change_count,
            })
        }));
    }

    /// The service manager that is told how the server is.
    pub fn set_notifier(&mut self, notifier: Option<Notifier>) {
        self.event_loop.set_notifier(notifier);
    }

    /// Where the last warnings and errors of the log are, for the status page; the oldest first.
    pub fn show_log(&mut self, tail: impl Fn() -> Vec<String> + 'static) {
        self.event_loop.show_log(Box::new(tail));
    }

    /// What is done at SIGUSR2: start a successor.
    pub fn on_upgrade(&mut self, action: impl FnMut() + 'static) {
        self.event_loop.handover.on_upgrade = Box::new(action);
    }

    /// The addresses listened on; files have none.
    pub fn addresses(&mut self) -> Vec<SocketAddr> {
        let listeners = self.event_loop.system_mut().listeners().iter();
        listeners.filter_map(|l| l.socket.address()).collect()
    }

    /// Serves until SIGTERM or SIGINT, then says goodbye to everybody (protocol.md 5.5).
    ///
    /// # Errors
    /// Only if waiting for events fails, which no peer can bring about.
    pub fn run(&mut self) -> io::Result<()> {
        self.start_listening()?;
        self.event_loop.tell_ready();
        self.event_loop.begin_summaries();
        while !self.event_loop.is_done() {
            self.event_loop.turn()?;
        }
        self.save_state();
        info!("Server stopped");
        Ok(())
    }

    fn start_listening(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.is_listening, true) {
            return Ok(());
        }
        let system = self.event_loop.system_mut();
        system.start_listening()?;
        for listener in system.listeners() {
            if listener.options.role == ListenerRole::Status {
                let address = listener.socket.address().map(|address| {
                    let scheme = listener.options.security.http_scheme();
                    format!("{scheme}://{address}/status")
                });
                let address = address.unwrap_or_else(|| listener.name.clone());
                info!("Status and metrics: {address}");
                continue;
            }
            info!("Listening on {}", listener.name);
            if self.demo == Demo::On
                && let Some(address) = listener.socket.address()
            {
                let scheme = listener.options.security.http_scheme();
                info!("Demo page: {scheme}://{address}/");
            }
        }
        Ok(())
    }
}

/// In `stateDir`.
const STATE_FILE: &str = "replay";

/// Where the server listens, and what follows from it.
#[derive(Clone, Debug)]
struct OwnAddresses {
    hosts: Vec<String>,
    ips: Vec<IpAddr>,
}

impl OwnAddresses {
    fn of(endpoints: &[Endpoint], listeners: &[Listener]) -> Self {
        let hosts = endpoints.iter().filter_map(Endpoint::host);
        // What listens for nobody but who wants to see how the server does, opens nothing for
        // scripts.
        let is_open = |listener: &&Listener| listener.options.role != ListenerRole::Status;
        let open = listeners.iter().filter(is_open);
        let addresses = open.filter_map(|listener| listener.socket.address());
        Self {
            hosts: hosts.map(str::to_owned).collect(),
            ips: addresses.map(|address| address.ip()).collect(),
        }
    }

    /// Fills in the server's own names, and the addresses of scripts where none are named.
    fn complete(&self, admission: &mut AdmissionSettings) {
        admission.own_hosts.extend_from_slice(&self.hosts);
        if !admission.allowed_ip.is_empty() {
            return;
        }
        let loopback = ["127.0.0.0/8", "::1/128"];
        let loopback = loopback.iter().filter_map(|network| network.parse().ok());
        let listened_networks = self.ips.iter().map(|ip| (*ip).into());
        admission.allowed_ip = loopback.chain(listened_networks).collect();
        admission.allows_own_ip = self.ips.iter().any(IpAddr::is_unspecified);
    }
}

/// Why a server cannot start. It reads the same by `{}` and by `{:?}`, which is how `main` prints the
/// error that it returns.
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

impl std::fmt::Debug for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for StartError {}
