//! The operating system by way of mio: epoll, sockets that do not block, signals by a pipe.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::Arc;
use std::time::Duration;

use log::error;
use mio::unix::SourceFd;
use mio::{Events, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::callers::ControlSockets;
use super::clock::Clock;
use super::listener::Listener;
use super::session_reader::SessionReader;
use super::socket::Socket;
use super::system::{Control, Interest, Readiness, Remote, System, Waker};
use crate::base::MonotonicTime;
use crate::ops::session_files;
use crate::ops::signals::Signals;
use crate::protocol::php_session::{SessionFile, SessionOutcome};
use crate::upstream::{Address, CallId};

/// The real system.
pub(super) struct MioSystem {
    pub(super) poll: Poll,
    events: Events,
    signals: Signals,
    pub(super) listeners: Vec<Listener>,
    pub(super) control: ControlSockets,
    clock: Clock,
    /// epoll waits in whole milliseconds; what is due sooner is waited for by this.
    fine_timer: TimerFd,
    waker: Arc<mio::Waker>,
    sessions: SessionReader,
    /// Its keys are random.
    random: RandomState,
    random_count: u64,
}

impl MioSystem {
    /// Has the listeners and the signals reported.
    ///
    /// # Errors
    /// A system without epoll, pipes, timers or signals.
    pub(super) fn new(listeners: Vec<Listener>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let signals = Signals::register(poll.registry(), SIGNAL_TOKEN)?;
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let fine_timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let descriptor = fine_timer.as_fd().as_raw_fd();
        let readable = mio::Interest::READABLE;
        poll.registry()
            .register(&mut SourceFd(&descriptor), TIMER_TOKEN, readable)?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKER_TOKEN)?);
        let wake = waker_of(Arc::clone(&waker));
        Ok(Self {
            poll,
            waker,
            sessions: SessionReader::new(wake, Box::new(session_files::read)),
            events: Events::with_capacity(EVENTS_PER_TURN),
            signals,
            listeners,
            control: ControlSockets::default(),
            clock: Clock::start(),
            fine_timer,
            random: RandomState::new(),
            random_count: 0,
        })
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// If the system has no room for it.
    pub(super) fn start_listening(&mut self) -> io::Result<()> {
        let registry = self.poll.registry();
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let token = Token(LISTENER_TOKENS + index);
            registry.register(listener.socket.source(), token, mio::Interest::READABLE)?;
        }
        Ok(())
    }

    pub(super) fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// How long epoll waits; a wait that ends within a few milliseconds is left to the fine timer.
    fn coarse_wait(&mut self, wait: Option<Duration>) -> Option<Duration> {
        let short = wait.filter(|wait| !wait.is_zero() && *wait < FINE_WAIT);
        let Some(short) = short else {
            return wait;
        };
        let expiration = Expiration::OneShot(TimeSpec::from_duration(short));
        match self.fine_timer.set(expiration, TimerSetTimeFlags::empty()) {
            Ok(()) => None,
            Err(_) => wait,
        }
    }
}

impl System for MioSystem {
    type Stream = Socket;

    fn now(&self) -> MonotonicTime {
        self.clock.now()
    }

    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Readiness>) -> io::Result<()> {
        let timeout = self.coarse_wait(timeout);
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        for event in &self.events {
            match event.token() {
                SIGNAL_TOKEN => ready.extend(self.signals.pending().map(Readiness::Signal)),
                WAKER_TOKEN => ready.push(Readiness::Woken),
                // Reading it clears it; what is due is looked at in any case.
                TIMER_TOKEN => drop(self.fine_timer.wait()),
                CONTROL_TOKEN => ready.push(Readiness::ControlListener),
                Token(token) if token >= CALLER_TOKENS => {
                    ready.push(Readiness::Caller(token - CALLER_TOKENS));
                }
                Token(token) if token >= UPSTREAM_TOKENS => {
                    ready.push(Readiness::Upstream(token - UPSTREAM_TOKENS));
                }
                Token(token) if token >= LISTENER_TOKENS => {
                    ready.push(Readiness::Listener(token - LISTENER_TOKENS));
                }
                Token(slot) => {
                    let is_ended = event.is_read_closed() || event.is_error();
                    ready.push(Readiness::Link {
                        slot,
                        is_writable: event.is_writable(),
                        is_readable: event.is_readable() || is_ended,
                        is_ended,
                    });
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self, listener: usize) -> io::Result<(Socket, Remote)> {
        match self.listeners.get(listener) {
            Some(listener) => listener.socket.accept(),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn watch(&mut self, stream: &mut Socket, slot: usize) -> io::Result<()> {
        self.poll
            .registry()
            .register(stream, Token(slot), mio::Interest::READABLE)
    }

    fn rewatch(&mut self, stream: &mut Socket, slot: usize, interest: Interest) -> io::Result<()> {
        let interest = match interest {
            Interest::Read => mio::Interest::READABLE,
            Interest::ReadAndWrite => mio::Interest::READABLE | mio::Interest::WRITABLE,
        };
        self.poll
            .registry()
            .reregister(stream, Token(slot), interest)
    }

    fn connect(&mut self, address: &Address, key: usize) -> io::Result<Socket> {
        let mut socket = Socket::connect(address)?;
        let interest = mio::Interest::READABLE | mio::Interest::WRITABLE;
        let token = Token(UPSTREAM_TOKENS + key);
        self.poll
            .registry()
            .register(&mut socket, token, interest)?;
        Ok(socket)
    }

    fn random(&mut self) -> u64 {
        self.random_count += 1;
        self.random.hash_one(self.random_count)
    }

    fn waker(&self) -> Waker {
        waker_of(Arc::clone(&self.waker))
    }

    fn read_session(&mut self, call: CallId, file: SessionFile) {
        self.sessions.read(call, file);
    }

    fn next_session(&mut self) -> Option<(CallId, SessionOutcome)> {
        self.sessions.next_outcome()
    }

    fn control(&mut self) -> Option<&mut dyn Control<Socket>> {
        Some(self)
    }

    fn stop_listening(&mut self) {
        for mut listener in self.listeners.drain(..) {
            if let Err(error) = self.poll.registry().deregister(listener.socket.source()) {
                error!("a listener was not deregistered: {error}");
            }
        }
    }
}

fn waker_of(waker: Arc<mio::Waker>) -> Waker {
    Arc::new(move || {
        if let Err(error) = waker.wake() {
            error!("the loop could not be woken: {error}");
        }
    })
}

/// Most of what is ready that a turn sees, as what it brings about leaves behind all of it. Each is a
/// few microseconds' work, the end of a connection up to forty; a wait more costs one.
const EVENTS_PER_TURN: usize = 64;

/// Waits shorter than this are measured finer than epoll does: a gap of 0.2 ms to a script would
/// become a whole millisecond (protocol.md 6.1).
const FINE_WAIT: Duration = Duration::from_millis(3);

const SIGNAL_TOKEN: Token = Token(usize::MAX);

const TIMER_TOKEN: Token = Token(usize::MAX - 1);

const WAKER_TOKEN: Token = Token(usize::MAX - 2);

/// Tokens of listeners; those of connections are their slots, which are 32 bits wide.
const LISTENER_TOKENS: usize = 1 << 40;

/// Tokens of connections to other servers, which are counted from here.
const UPSTREAM_TOKENS: usize = 1 << 48;

/// The control socket, where successors call.
pub(super) const CONTROL_TOKEN: Token = Token(usize::MAX - 3);

/// Tokens of those who have called, which are counted from here.
pub(super) const CALLER_TOKENS: usize = 1 << 56;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::php_session::{SessionFolder, SessionId, Unreadable};

    #[test]
    fn a_session_that_was_read_ends_the_wait() {
        let mut system = MioSystem::new(Vec::new()).unwrap();
        let folder = SessionFolder::parse("/nowhere/at/all").unwrap();
        let file = SessionFile {
            folder: Arc::new(folder),
            id: SessionId::parse(b"a").unwrap(),
            max_bytes: 1000,
        };
        for call in [CallId(7), CallId(8)] {
            system.read_session(call, file.clone());
            let mut ready = Vec::new();
            let outcome = loop {
                if let Some(outcome) = system.next_session() {
                    break outcome;
                }
                ready.clear();
                system
                    .wait(Some(Duration::from_secs(60)), &mut ready)
                    .unwrap();
                assert_eq!(ready, [Readiness::Woken]);
            };
            let reason = Unreadable::NoFolder;
            assert_eq!(outcome, (call, SessionOutcome::Unreadable(reason)));
            assert_eq!(system.next_session(), None);
        }
    }
}
