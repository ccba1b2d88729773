//! The successor: asks the running server for its sockets, then for its connections, and serves once
//! it has them all. Its loop does not run yet, so it may wait.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::{info, warn};

use super::control_channel::{ControlChannel, ControlListener};
use super::control_message::{FORMATS, ListenerState, Message, Purpose};
use super::event_loop::EventLoop;
use super::mio_system::MioSystem;
use super::socket::Socket;
use crate::base::plain;
use crate::ops::inherited::{FileOwner, Inherited};

/// How a running server is taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeoverSettings {
    /// The file of the socket where successors ask (`takeoverSocket`); `None`: there are none.
    pub socket: Option<PathBuf>,
    /// Longest time that connections have to become quiescent, before those that are not stay
    /// behind (`takeoverTime`).
    pub patience: Duration,
}

impl Default for TakeoverSettings {
    fn default() -> Self {
        Self {
            socket: None,
            patience: Duration::from_secs(5),
        }
    }
}

/// Why the running server cannot be taken over; it goes on. One sentence for whoever wanted it.
#[derive(Debug)]
pub struct TakeoverError(String);

impl fmt::Display for TakeoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TakeoverError {}

/// The running server, which has been asked.
#[derive(Debug)]
pub struct Predecessor {
    channel: ControlChannel,
    pid: u32,
    version: String,
    patience: Duration,
    sockets: Inherited,
}

impl Predecessor {
    /// Asks the server whose control socket this is; it goes on meanwhile.
    ///
    /// # Errors
    /// Nobody is there, it is of another user, or it does not want to.
    pub fn ask(path: &Path) -> Result<Self, TakeoverError> {
        let channel = ControlChannel::connect(path).map_err(|error| unreachable(path, &error))?;
        let asked = || {
            channel.set_patience(PATIENCE)?;
            let hello = Message::Hello {
                formats: FORMATS,
                version: env!("CARGO_PKG_VERSION").to_owned(),
            };
            channel.send(&hello.to_bytes(), &[])?;
            receive(&channel)
        };
        let (message, descriptors) = asked().map_err(|error| broken_off(&error))?;
        match message {
            Message::Offer {
                format,
                version,
                pid,
                patience,
                listeners,
            } if FORMATS.contains(&format) && listeners.len() == descriptors.len() => Ok(Self {
                sockets: inherit(listeners, descriptors).map_err(|error| broken_off(&error))?,
                channel,
                pid,
                version,
                patience,
            }),
            Message::Refused { reason } => Err(refused(&reason)),
            _ => Err(refused("what it says is not understood")),
        }
    }

    /// Its listening sockets, once.
    pub fn take_sockets(&mut self) -> Inherited {
        std::mem::take(&mut self.sockets)
    }

    /// Takes all connections into the loop; how many there are.
    pub(super) fn take_connections(
        &self,
        event_loop: &mut EventLoop<MioSystem>,
    ) -> Result<u64, TakeoverError> {
        let taken = self.receive_connections(event_loop);
        taken.map_err(|error| self.give_up(&error))
    }

    fn receive_connections(&self, event_loop: &mut EventLoop<MioSystem>) -> io::Result<u64> {
        self.channel.set_patience(self.patience + BEGIN_PATIENCE)?;
        self.channel.send(&Message::Begin.to_bytes(), &[])?;
        let (mut taken_count, mut state) = (0, Vec::new());
        loop {
            let received = receive(&self.channel)?;
            event_loop.refresh_time();
            match received {
                (Message::Links(records), sockets) if records.len() == sockets.len() => {
                    for (record, socket) in records.iter().zip(sockets) {
                        let socket = Socket::from_descriptor(socket)?;
                        event_loop.take_over_link(socket, record)?;
                        taken_count += 1;
                    }
                }
                (Message::State(piece), _) if taken_count == 0 => state.extend(piece),
                (Message::End { count }, _) if count == taken_count => {
                    event_loop.take_over_state(&state)?;
                    return Ok(count);
                }
                (Message::Refused { reason }, _) => return Err(io::Error::other(reason)),
                (_, _) => return Err(io::Error::other("what it says is not understood")),
            }
        }
    }

    /// Says that all is ready here. Returns once everything belongs to this process.
    pub(super) fn confirm(&self, count: u64) -> Result<(), TakeoverError> {
        let confirmed = || {
            self.channel.set_patience(PATIENCE)?;
            let confirm = Message::Confirm { count };
            self.channel.send(&confirm.to_bytes(), &[])?;
            match receive(&self.channel)? {
                (Message::Commit, _) => Ok(()),
                (Message::Refused { reason }, _) => Err(io::Error::other(reason)),
                (_, _) => Err(io::Error::other("what it says is not understood")),
            }
        };
        confirmed().map_err(|error| self.give_up(&error))?;
        let (pid, version) = (self.pid, &self.version);
        info!("{count} connections taken over from process {pid}, websock {version}");
        Ok(())
    }

    /// Tells the running server that nothing comes of it.
    pub(super) fn give_up(&self, error: &io::Error) -> TakeoverError {
        let reason = plain(error);
        let message = Message::Refused {
            reason: reason.clone(),
        };
        // It finds out in any case.
        drop(self.channel.send(&message.to_bytes(), &[]));
        refused(&reason)
    }
}

/// Opens the control socket, or takes the one that was handed over. A server that cannot be taken
/// over serves all the same.
pub(super) fn control_listener(
    settings: &TakeoverSettings,
    inherited: Option<OwnedFd>,
) -> (Option<ControlListener>, Option<ControlListener>) {
    let inherited = inherited.and_then(|socket| match ControlListener::from_descriptor(socket) {
        Ok(listener) => Some(listener),
        Err(error) => {
            warn!("the control socket is not taken over: {}", plain(&error));
            None
        }
    });
    let Some(path) = &settings.socket else {
        return (None, inherited);
    };
    if inherited
        .as_ref()
        .is_some_and(|listener| listener.path() == path)
    {
        return (inherited, None);
    }
    match ControlListener::open(path) {
        Ok(listener) => (Some(listener), inherited),
        Err(error) => {
            let (path, error) = (path.display(), plain(&error));
            warn!("takeoverSocket={path}: {error}; this server cannot be taken over");
            (None, inherited)
        }
    }
}

/// The next message, whatever signal comes meanwhile.
fn receive(channel: &ControlChannel) -> io::Result<(Message, Vec<OwnedFd>)> {
    loop {
        match channel.receive() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(io::Error::new(ErrorKind::TimedOut, "it does not answer"));
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(io::Error::new(error.kind(), "it has hung up"));
            }
            received => return received,
        }
    }
}

fn inherit(listeners: Vec<ListenerState>, sockets: Vec<OwnedFd>) -> io::Result<Inherited> {
    let mut inherited = Inherited::default();
    for (state, socket) in listeners.into_iter().zip(sockets) {
        let owner = match state.owns_file {
            true => FileOwner::Server,
            false => FileOwner::Other,
        };
        match state.purpose {
            Purpose::Tcp => inherited.succeed_tcp(socket.into()),
            Purpose::Unix => inherited.succeed_unix(UnixListener::from(socket), owner),
            Purpose::Control => inherited.succeed_control(socket),
        }
    }
    Ok(inherited)
}

fn unreachable(path: &Path, error: &io::Error) -> TakeoverError {
    let (path, text) = (path.display(), plain(error));
    TakeoverError(match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => format!(
            "nobody is there to be taken over at {path} ({text}): start without --takeover, or see \
             whether takeoverSocket is that of the running server"
        ),
        ErrorKind::PermissionDenied => format!(
            "the server at {path} cannot be taken over ({text}): do it as the user that it runs as"
        ),
        _ => format!("the server at {path} cannot be asked: {text}"),
    })
}

fn broken_off(error: &io::Error) -> TakeoverError {
    refused(&plain(error))
}

fn refused(reason: &str) -> TakeoverError {
    TakeoverError(format!(
        "the running server is not taken over, and goes on: {reason}"
    ))
}

/// How long it may take to begin, beyond the time that it has said: it rests after one that failed.
const BEGIN_PATIENCE: Duration = Duration::from_secs(30);

/// How long the running server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
