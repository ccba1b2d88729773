//! [`System`]: all that the loop needs of the operating system. Tests have one without sockets.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::control_message::{ListenerState, Message};
use crate::base::MonotonicTime;
use crate::ops::signals::Signal;
use crate::protocol::php_session::{SessionFile, SessionOutcome};
use crate::upstream::{Address, CallId};

/// Sockets, readiness and time.
pub trait System {
    /// A connected socket.
    type Stream: Stream;

    /// The time.
    fn now(&self) -> MonotonicTime;

    /// Waits until something is ready, or for `timeout` at most; `None`: for as long as it takes.
    /// What is ready is added to `ready`; nothing, if a signal handler has interrupted.
    ///
    /// # Errors
    /// Only if the system cannot wait, which no peer can bring about.
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Readiness>) -> io::Result<()>;

    /// Takes the next connection at a listener.
    ///
    /// # Errors
    /// `WouldBlock`: there is none.
    fn accept(&mut self, listener: usize) -> io::Result<(Self::Stream, Remote)>;

    /// Has the readiness of a new connection reported, under its slot.
    ///
    /// # Errors
    /// If the system has no room for it.
    fn watch(&mut self, stream: &mut Self::Stream, slot: usize) -> io::Result<()>;

    /// Changes what is reported of it.
    ///
    /// # Errors
    /// If the system has no room for it.
    fn rewatch(
        &mut self,
        stream: &mut Self::Stream,
        slot: usize,
        interest: Interest,
    ) -> io::Result<()>;

    /// Begins to connect to another server. [`Readiness::Upstream`] comes under `key` when the
    /// connection is established or cannot be, and from then on whenever there is something to read
    /// or it takes bytes again. Dropping the stream ends that.
    ///
    /// # Errors
    /// If it is clear at once that there will be no connection.
    fn connect(&mut self, address: &Address, key: usize) -> io::Result<Self::Stream>;

    /// A random number, which need not be hard to guess.
    fn random(&mut self) -> u64;

    /// What another thread calls to end a wait: [`Readiness::Woken`] follows.
    fn waker(&self) -> Waker;

    /// Begins to read the file of a PHP session, without waiting for it. Its outcome comes by
    /// [`next_session`](Self::next_session), exactly once, behind a [`Readiness::Woken`].
    fn read_session(&mut self, call: CallId, file: SessionFile);

    /// The next outcome of [`read_session`](Self::read_session); `None`: there is none now.
    fn next_session(&mut self) -> Option<(CallId, SessionOutcome)>;

    /// Closes all listeners.
    fn stop_listening(&mut self);

    /// Where successors ask; `None` on a system that has none.
    fn control(&mut self) -> Option<&mut dyn Control<Self::Stream>> {
        None
    }
}

/// The socket by which another process asks for everything that this one has (see `handing_over`),
/// and what has to be done to sockets then.
pub trait Control<S> {
    /// The next caller: its key, and its process.
    ///
    /// # Errors
    /// `WouldBlock`: there is none. `PermissionDenied`: there was one, of another user.
    fn accept(&mut self) -> io::Result<(usize, u32)>;

    /// The next message of a caller.
    ///
    /// # Errors
    /// `WouldBlock`: there is none. Else it has gone, or sends what is none.
    fn receive(&mut self, key: usize) -> io::Result<Message>;

    /// Sends a caller a message as a whole, with sockets.
    ///
    /// # Errors
    /// `WouldBlock`: not yet. Else it has gone.
    fn send(&mut self, key: usize, message: &Message, streams: &[&S]) -> io::Result<()>;

    /// Sends a caller a message that names all listeners, with their sockets.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn offer(
        &mut self,
        key: usize,
        message: &dyn Fn(Vec<ListenerState>) -> Message,
    ) -> io::Result<()>;

    /// Forgets a caller.
    fn hang_up(&mut self, key: usize);

    /// Ends what [`System::watch`] has begun: another process has the connection too, and would go
    /// on being reported here.
    fn unwatch(&mut self, stream: &mut S);

    /// Another process has all listeners: closes them here, and leaves their files alone.
    fn release_listeners(&mut self);
}

/// A connected socket that does not block.
pub trait Stream: Read + Write {
    /// The address of ours that the peer has reached; `None` on a Unix socket.
    fn local_ip(&self) -> Option<IpAddr>;

    /// Says that nothing more will be sent.
    fn shutdown_write(&self);

    /// Whether the connection is established; one that was accepted always is.
    ///
    /// # Errors
    /// Why it cannot be established.
    fn is_connected(&self) -> io::Result<bool>;

    /// Has the kernel find out within a minute that the peer's machine is gone.
    fn keep_alive(&self);
}

/// What is to be reported of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// That there is something to read.
    Read,
    /// The same, and that it takes bytes again.
    ReadAndWrite,
}

/// What has become ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Connections wait at this listener.
    Listener(usize),
    /// A connection.
    Link {
        /// Its slot.
        slot: usize,
        /// It takes bytes.
        is_writable: bool,
        /// There is something to read, or an end.
        is_readable: bool,
        /// Nothing will follow what there is to read.
        is_ended: bool,
    },
    /// A connection to another server, under the key that [`System::connect`] was given: it is
    /// established, or cannot be, or there is something to read, or it takes bytes again.
    Upstream(usize),
    /// Somebody calls at the control socket.
    ControlListener,
    /// A caller has sent something, has gone, or takes messages again.
    Caller(usize),
    /// The administrator asks for something.
    Signal(Signal),
    /// A helper thread has something to tell.
    Woken,
}

/// Ends a wait of the loop, from any thread.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// Whom a socket leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// This address.
    Tcp(SocketAddr),
    /// The peer of a Unix socket.
    Unix,
}

impl Remote {
    /// `None` on a Unix socket.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip().to_canonical()),
            Self::Unix => None,
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("a Unix socket"),
        }
    }
}
