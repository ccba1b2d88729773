//! A system without sockets for the real event loop: byte queues, readiness and a clock that tests
//! move by hand.
//!
//! Readiness is told as epoll tells it when edges trigger: a connection that becomes ready, or whose
//! interest changes while it is ready, is reported once, with everything that holds of it by then;
//! it is not reported again before something new happens. A loop that forgets to read on, or to ask
//! for WRITABLE, hangs here as it would there.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use websock::base::MonotonicTime;
use websock::net::system::{Interest, Readiness, Remote, Stream, System, Waker};
use websock::ops::signals::Signal;
use websock::protocol::php_session::{SessionFile, SessionOutcome};
use websock::upstream::{Address, CallId};

/// What the loop runs on. A clone is another handle of the same system.
#[derive(Clone)]
pub(crate) struct SimulatedSystem(Rc<Shared>);

struct Shared {
    now: Cell<MonotonicTime>,
    listeners: RefCell<Vec<Listener>>,
    /// What is told at the next wait, in order.
    ready: RefCell<VecDeque<Ready>>,
    /// Every wait that was asked for, and whether something was ready.
    waits: RefCell<Vec<Wait>>,
    /// How far a wait may move the clock.
    awake_at: Cell<MonotonicTime>,
    /// Sessions that the server wants to be read, and those that were.
    asked_sessions: RefCell<VecDeque<(CallId, SessionFile)>>,
    read_sessions: RefCell<VecDeque<(CallId, SessionOutcome)>>,
    /// Connections to other servers that were begun; `None`: there are no others.
    dialed: RefCell<Option<VecDeque<FarEnd>>>,
    random_state: Cell<u64>,
    /// How far each write moves the clock.
    write_cost: Cell<Duration>,
    /// Most of what is ready that a wait tells of.
    most_ready: Cell<usize>,
}

#[derive(Default)]
struct Listener {
    is_open: bool,
    backlog: VecDeque<(SimulatedStream, Remote)>,
    /// Errors that accepting brings first, by their numbers.
    failures: VecDeque<i32>,
}

enum Ready {
    Listener(usize),
    Link(Rc<Socket>),
    Signal(Signal),
    Woken,
}

/// A wait that the loop has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) timeout: Option<Duration>,
    pub(crate) was_ready: bool,
}

/// Both directions of one connection.
struct Socket {
    system: Rc<Shared>,
    state: RefCell<SocketState>,
}

#[derive(Default)]
struct SocketState {
    /// From the far end to the server.
    up: Pipe,
    /// From the server to the far end.
    down: Pipe,
    watched: Option<(usize, Interest)>,
    /// The server has begun it, as a client.
    is_dialed: bool,
    /// It stands in the list of what is ready.
    is_queued: bool,
    /// The server has got less into `down` than it wanted.
    has_no_space: bool,
    reset: Reset,
    /// The server has let go of it, and whether it had left something unread.
    closed: Option<Unread>,
    is_kept_alive: bool,
    /// Length of each write of the server.
    writes: Vec<(usize, MonotonicTime)>,
}

/// What is left in a socket that is closed: with it, the kernel resets the connection and drops what
/// it has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    Nothing,
    Something,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reset {
    #[default]
    None,
    /// The server has not been told.
    Untold,
    Told,
}

/// Bytes in one direction.
#[derive(Default)]
struct Pipe {
    bytes: Vec<u8>,
    taken: usize,
    capacity: usize,
    is_ended: bool,
}

impl Pipe {
    fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    fn free(&self) -> usize {
        self.capacity.saturating_sub(self.len())
    }

    /// Takes in as much as there is room for; how many bytes.
    fn push(&mut self, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.free());
        self.bytes.extend_from_slice(&bytes[..len]);
        len
    }

    fn pull(&mut self, most: usize) -> Vec<u8> {
        let start = self.taken;
        self.taken += most.min(self.len());
        let pulled = self.bytes[start..self.taken].to_vec();
        if self.taken * 2 >= self.bytes.len() {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        pulled
    }

    fn clear(&mut self) {
        (self.bytes, self.taken) = (Vec::new(), 0);
    }
}

// ---- the loop's side

impl SimulatedSystem {
    pub(crate) fn new(listener_count: usize) -> Self {
        let open = |_| Listener {
            is_open: true,
            ..Listener::default()
        };
        Self(Rc::new(Shared {
            now: Cell::new(MonotonicTime::START),
            listeners: RefCell::new((0..listener_count).map(open).collect()),
            ready: RefCell::default(),
            waits: RefCell::default(),
            awake_at: Cell::new(MonotonicTime::START),
            asked_sessions: RefCell::default(),
            read_sessions: RefCell::default(),
            dialed: RefCell::default(),
            random_state: Cell::default(),
            write_cost: Cell::default(),
            most_ready: Cell::new(usize::MAX),
        }))
    }
}

impl System for SimulatedSystem {
    type Stream = SimulatedStream;

    fn now(&self) -> MonotonicTime {
        self.0.now.get()
    }

    /// Moves the clock as far as it was asked to wait, if nothing is ready, and no further than
    /// whoever drives the loop allows.
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Readiness>) -> io::Result<()> {
        assert!(ready.is_empty(), "something of the last turn is left over");
        let mut told = std::mem::take(&mut *self.0.ready.borrow_mut());
        let rest = told.split_off(told.len().min(self.0.most_ready.get()));
        self.0.ready.replace(rest);
        for event in told {
            match event {
                Ready::Listener(index) => ready.push(Readiness::Listener(index)),
                Ready::Signal(signal) => ready.push(Readiness::Signal(signal)),
                Ready::Woken => ready.push(Readiness::Woken),
                Ready::Link(socket) => ready.extend(socket.report()),
            }
        }
        let was_ready = !ready.is_empty();
        if !was_ready {
            let end = self.0.awake_at.get().max(self.time());
            let due = timeout.map_or(end, |timeout| self.time() + timeout);
            self.0.now.set(due.min(end));
        }
        self.0.waits.borrow_mut().push(Wait { timeout, was_ready });
        Ok(())
    }

    fn accept(&mut self, listener: usize) -> io::Result<(SimulatedStream, Remote)> {
        let mut listeners = self.0.listeners.borrow_mut();
        let listener = &mut listeners[listener];
        if let Some(number) = listener.failures.pop_front() {
            if number == ECONNABORTED {
                listener.backlog.pop_front();
            }
            return Err(io::Error::from_raw_os_error(number));
        }
        let next = listener.backlog.pop_front();
        next.ok_or_else(|| ErrorKind::WouldBlock.into())
    }

    fn watch(&mut self, stream: &mut SimulatedStream, slot: usize) -> io::Result<()> {
        stream.0.state.borrow_mut().watched = Some((slot, Interest::Read));
        Socket::wake_if_ready(&stream.0);
        Ok(())
    }

    fn rewatch(
        &mut self,
        stream: &mut SimulatedStream,
        slot: usize,
        interest: Interest,
    ) -> io::Result<()> {
        let before = stream
            .0
            .state
            .borrow_mut()
            .watched
            .replace((slot, interest));
        assert!(before.is_some_and(|(known, _)| known == slot));
        Socket::wake_if_ready(&stream.0);
        Ok(())
    }

    fn connect(&mut self, _: &Address, key: usize) -> io::Result<SimulatedStream> {
        let mut dialed = self.0.dialed.borrow_mut();
        let Some(dialed) = &mut *dialed else {
            return Err(ErrorKind::ConnectionRefused.into());
        };
        let socket = Socket::new(&self.0, UP_BYTES);
        {
            let mut state = socket.state.borrow_mut();
            state.watched = Some((key, Interest::ReadAndWrite));
            state.is_dialed = true;
        }
        socket.wake();
        dialed.push_back(FarEnd(Rc::clone(&socket)));
        Ok(SimulatedStream(socket))
    }

    /// SplitMix64, the same in each run.
    fn random(&mut self) -> u64 {
        let state = self
            .0
            .random_state
            .get()
            .wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.0.random_state.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn waker(&self) -> Waker {
        Arc::new(|| {})
    }

    fn read_session(&mut self, call: CallId, file: SessionFile) {
        self.0.asked_sessions.borrow_mut().push_back((call, file));
    }

    fn next_session(&mut self) -> Option<(CallId, SessionOutcome)> {
        self.0.read_sessions.borrow_mut().pop_front()
    }

    fn stop_listening(&mut self) {
        for listener in &mut *self.0.listeners.borrow_mut() {
            listener.is_open = false;
            listener.backlog.clear();
        }
    }
}

impl Socket {
    /// `capacity`: most bytes that are on their way to the far end.
    fn new(system: &Rc<Shared>, capacity: usize) -> Rc<Self> {
        let pipe = |capacity| Pipe {
            capacity,
            ..Pipe::default()
        };
        let state = SocketState {
            up: pipe(UP_BYTES),
            down: pipe(capacity),
            ..SocketState::default()
        };
        Rc::new(Self {
            system: Rc::clone(system),
            state: RefCell::new(state),
        })
    }

    /// What holds now of what it is watched for, if anything does.
    fn report(&self) -> Option<Readiness> {
        let mut state = self.state.borrow_mut();
        state.is_queued = false;
        let (slot, is_writable) = (state.watched?.0, state.is_writable());
        let is_ended = state.up.is_ended || state.reset != Reset::None;
        let is_readable = is_ended || state.up.len() > 0;
        if state.is_dialed {
            return (is_readable || is_writable).then_some(Readiness::Upstream(slot));
        }
        (is_readable || is_writable).then_some(Readiness::Link {
            slot,
            is_writable,
            is_readable,
            is_ended,
        })
    }

    /// Something has happened: it is to be reported, if it is watched for.
    fn wake(self: &Rc<Self>) {
        let mut state = self.state.borrow_mut();
        if state.watched.is_some() && !std::mem::replace(&mut state.is_queued, true) {
            let event = Ready::Link(Rc::clone(self));
            self.system.ready.borrow_mut().push_back(event);
        }
    }

    fn wake_if_ready(self: &Rc<Self>) {
        let state = self.state.borrow();
        let is_ended = state.up.is_ended || state.reset != Reset::None;
        let is_ready = is_ended || state.up.len() > 0 || state.is_writable();
        drop(state);
        if is_ready {
            self.wake();
        }
    }
}

impl SocketState {
    /// As the kernel has it, a third must be free.
    fn is_writable(&self) -> bool {
        let is_asked = matches!(self.watched, Some((_, Interest::ReadAndWrite)));
        is_asked && (self.down.free() * 3 >= self.down.capacity || self.reset != Reset::None)
    }
}

/// The server's end of a connection.
pub(crate) struct SimulatedStream(Rc<Socket>);

impl Stream for SimulatedStream {
    fn local_ip(&self) -> Option<IpAddr> {
        Some(LOCAL_IP)
    }

    fn shutdown_write(&self) {
        self.0.state.borrow_mut().down.is_ended = true;
    }

    fn is_connected(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn keep_alive(&self) {
        self.0.state.borrow_mut().is_kept_alive = true;
    }
}

impl Read for SimulatedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.state.borrow_mut();
        let bytes = state.up.pull(buffer.len());
        buffer[..bytes.len()].copy_from_slice(&bytes);
        match (bytes.len(), state.reset) {
            (0, Reset::Untold) => {
                state.reset = Reset::Told;
                Err(ErrorKind::ConnectionReset.into())
            }
            (0, Reset::None) if !state.up.is_ended => Err(ErrorKind::WouldBlock.into()),
            (len, _) => Ok(len),
        }
    }
}

impl Write for SimulatedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let now = self.0.system.now.get();
        self.0.system.now.set(now + self.0.system.write_cost.get());
        let mut state = self.0.state.borrow_mut();
        match state.reset {
            Reset::None => {}
            Reset::Untold => {
                state.reset = Reset::Told;
                return Err(ErrorKind::ConnectionReset.into());
            }
            Reset::Told => return Err(ErrorKind::BrokenPipe.into()),
        }
        assert!(!state.down.is_ended, "it was shut down");
        let waiting: usize = pieces.iter().map(|piece| piece.len()).sum();
        let len: usize = pieces.iter().map(|piece| state.down.push(piece)).sum();
        state.has_no_space |= len < waiting;
        if len == 0 && waiting > 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        state.writes.push((len, now));
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SimulatedStream {
    fn drop(&mut self) {
        let mut state = self.0.state.borrow_mut();
        state.watched = None;
        state.down.is_ended = true;
        state.closed = Some(match state.up.len() {
            0 => Unread::Nothing,
            _ => Unread::Something,
        });
    }
}

// ---- the tests' side

impl SimulatedSystem {
    pub(crate) fn time(&self) -> MonotonicTime {
        self.0.now.get()
    }

    /// Lets time pass with each write of the server.
    pub(crate) fn let_writes_take(&self, cost: Duration) {
        self.0.write_cost.set(cost);
    }

    /// Lets each wait tell of so many, as a real one does; the others wait for the next one.
    pub(crate) fn let_waits_tell(&self, most: usize) {
        self.0.most_ready.set(most);
    }

    /// Lets waits move the clock until then.
    pub(crate) fn let_sleep_until(&self, end: MonotonicTime) {
        self.0.awake_at.set(end);
    }

    /// Whether a wait would end at once.
    pub(crate) fn is_ready(&self) -> bool {
        let is_ready = |event: &Ready| match event {
            Ready::Listener(_) | Ready::Signal(_) | Ready::Woken => true,
            Ready::Link(socket) => {
                let state = socket.state.borrow();
                state.watched.is_some()
            }
        };
        self.0.ready.borrow().iter().any(is_ready)
    }

    /// The waits since the last call.
    pub(crate) fn take_waits(&self) -> Vec<Wait> {
        self.0.waits.take()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let event = Ready::Signal(signal);
        self.0.ready.borrow_mut().push_back(event);
    }

    /// The next session that the server wants to be read, and has not been told of.
    pub(crate) fn asked_session(&self) -> Option<(CallId, SessionFile)> {
        self.0.asked_sessions.borrow_mut().pop_front()
    }

    /// Tells the server what became of a session, as the helper threads do.
    pub(crate) fn answer_session(&self, call: CallId, outcome: SessionOutcome) {
        self.0.read_sessions.borrow_mut().push_back((call, outcome));
        self.0.ready.borrow_mut().push_back(Ready::Woken);
    }

    /// There are other servers from now on, or none is reached any more.
    pub(crate) fn let_dial(&self, is_let: bool) {
        let mut dialed = self.0.dialed.borrow_mut();
        *dialed = is_let.then(|| dialed.take().unwrap_or_default());
    }

    /// The far end of the next connection that the server has begun.
    pub(crate) fn dialed(&self) -> Option<FarEnd> {
        self.0.dialed.borrow_mut().as_mut()?.pop_front()
    }

    /// Moves the clock while the server stands still.
    pub(crate) fn jump_to(&self, now: MonotonicTime) {
        self.0.now.set(now.max(self.time()));
    }

    /// Has the next accepts at a listener fail, each with one of these errors.
    pub(crate) fn fail_accepts(&self, listener: usize, numbers: &[i32]) {
        let mut listeners = self.0.listeners.borrow_mut();
        listeners[listener].failures.extend(numbers);
    }

    /// A connection that waits to be accepted. `capacity`: most bytes that are on their way to the
    /// far end.
    pub(crate) fn connect(&self, listener: usize, ip: IpAddr, capacity: usize) -> FarEnd {
        let socket = Socket::new(&self.0, capacity);
        let far_end = FarEnd(Rc::clone(&socket));
        let mut listeners = self.0.listeners.borrow_mut();
        if !listeners[listener].is_open {
            drop(SimulatedStream(socket));
            return far_end;
        }
        let remote = Remote::Tcp((ip, 40_000).into());
        let stream = SimulatedStream(socket);
        listeners[listener].backlog.push_back((stream, remote));
        // An edge: it is told once, however many come before the next wait.
        let mut ready = self.0.ready.borrow_mut();
        let is_told = |event: &Ready| matches!(event, Ready::Listener(at) if *at == listener);
        if !ready.iter().any(is_told) {
            ready.push_back(Ready::Listener(listener));
        }
        far_end
    }
}

/// The far end of a connection.
pub(crate) struct FarEnd(Rc<Socket>);

impl FarEnd {
    /// Bytes that are on their way to the server, or lie there unread.
    pub(crate) fn unread_len(&self) -> usize {
        self.0.state.borrow().up.len()
    }

    /// Sends as much as goes; how many bytes.
    pub(crate) fn offer(&self, bytes: &[u8]) -> usize {
        let mut state = self.0.state.borrow_mut();
        if state.closed.is_some() || state.up.is_ended || state.reset != Reset::None {
            return 0;
        }
        let len = state.up.push(bytes);
        drop(state);
        if len > 0 {
            self.0.wake();
        }
        len
    }

    /// Sends, as one segment.
    #[track_caller]
    pub(crate) fn send(&self, bytes: &[u8]) {
        assert_eq!(self.offer(bytes), bytes.len(), "it does not take all that");
    }

    /// Takes what has come, at most so many bytes.
    pub(crate) fn take(&self, most: usize) -> Vec<u8> {
        let mut state = self.0.state.borrow_mut();
        let bytes = state.down.pull(most);
        let has_room = state.down.free() * 3 >= state.down.capacity;
        let frees = !bytes.is_empty() && state.has_no_space && has_room;
        state.has_no_space &= !frees;
        drop(state);
        if frees {
            self.0.wake();
        }
        bytes
    }

    /// Bytes that have come and were not taken.
    pub(crate) fn waiting_len(&self) -> usize {
        self.0.state.borrow().down.len()
    }

    /// Nothing more will be sent.
    pub(crate) fn end(&self) {
        let was_ended = std::mem::replace(&mut self.0.state.borrow_mut().up.is_ended, true);
        if !was_ended {
            self.0.wake();
        }
    }

    /// The connection breaks.
    pub(crate) fn reset(&self) {
        let mut state = self.0.state.borrow_mut();
        if state.reset == Reset::None {
            state.reset = Reset::Untold;
            state.down.clear();
            drop(state);
            self.0.wake();
        }
    }

    /// The server has said that nothing will follow what has come.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.state.borrow().down.is_ended
    }

    /// The server has let go of it.
    pub(crate) fn closed(&self) -> Option<Unread> {
        self.0.state.borrow().closed
    }

    pub(crate) fn is_kept_alive(&self) -> bool {
        self.0.state.borrow().is_kept_alive
    }

    /// Length and time of each write since the last call.
    pub(crate) fn take_writes(&self) -> Vec<(usize, MonotonicTime)> {
        std::mem::take(&mut self.0.state.borrow_mut().writes)
    }
}

/// Where the server believes to be.
pub(crate) const LOCAL_IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));

/// Most bytes that are on their way to the server.
const UP_BYTES: usize = 1 << 20;

pub(crate) const EPERM: i32 = 1;
pub(crate) const ENOMEM: i32 = 12;
pub(crate) const ENFILE: i32 = 23;
pub(crate) const EMFILE: i32 = 24;
pub(crate) const ECONNABORTED: i32 = 103;
pub(crate) const ENOBUFS: i32 = 105;
