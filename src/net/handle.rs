//! [`ServerHandle`]: what other threads of the program may ask of a running server.

use std::collections::HashMap;
use std::fmt;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};

use super::system::Waker;
use crate::api::PushError;
use crate::app::Ticket;

/// Pushes packets and stops the server, from any thread.
///
/// Clones ask the same server. A callback of a [`Resource`](crate::Resource) runs on the server's
/// own thread and must not wait for it: there is [`Handle`](crate::Handle) for that.
#[derive(Clone)]
pub struct ServerHandle {
    requests: SyncSender<Request>,
    waker: Waker,
}

/// Why a handle could not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandleError {
    /// The server has stopped.
    Stopped,
    /// So many requests wait that the server takes no more for now.
    Busy,
    /// The packet goes to nobody.
    Push(PushError),
}

impl ServerHandle {
    /// Pushes a packet as `POST /push` does, waits until it stands in its receivers' queues, and
    /// says how many there are.
    ///
    /// # Errors
    /// [`HandleError::Push`] if it is no packet for push or nobody has its uuid or ident;
    /// `Stopped`; `Busy`.
    pub fn push(&self, packet: impl Into<String>) -> Result<usize, HandleError> {
        let (answer, answers) = mpsc::sync_channel(1);
        self.ask(Request::Push {
            packet: packet.into(),
            answer,
        })?;
        let pushed = answers.recv().map_err(|_| HandleError::Stopped)?;
        pushed.map_err(HandleError::Push)
    }

    /// Stops the server as SIGTERM does; [`Server::run`](super::Server::run) returns when everybody
    /// has been told.
    ///
    /// # Errors
    /// `Stopped`; `Busy`.
    pub fn stop(&self) -> Result<(), HandleError> {
        self.ask(Request::Stop)
    }

    fn ask(&self, request: Request) -> Result<(), HandleError> {
        self.requests
            .try_send(request)
            .map_err(|error| match error {
                TrySendError::Full(_) => HandleError::Busy,
                TrySendError::Disconnected(_) => HandleError::Stopped,
            })?;
        (self.waker)();
        Ok(())
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerHandle")
    }
}

impl fmt::Display for HandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the server has stopped"),
            Self::Busy => f.write_str("too many requests wait for the server: try again"),
            Self::Push(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for HandleError {}

/// What another thread asks for.
pub(super) enum Request {
    /// Push a packet.
    Push {
        packet: String,
        answer: SyncSender<Result<usize, PushError>>,
    },
    /// Stop.
    Stop,
}

/// The loop's end: what other threads have asked, and who of them waits.
pub(super) struct HandleRequests {
    sender: SyncSender<Request>,
    receiver: Receiver<Request>,
    asked_count: u64,
    waiting: HashMap<Ticket, SyncSender<Result<usize, PushError>>>,
}

impl Default for HandleRequests {
    fn default() -> Self {
        let (sender, receiver) = mpsc::sync_channel(MAX_REQUESTS);
        Self {
            sender,
            receiver,
            asked_count: 0,
            waiting: HashMap::new(),
        }
    }
}

impl HandleRequests {
    /// A handle that asks here.
    pub(super) fn handle(&self, waker: Waker) -> ServerHandle {
        ServerHandle {
            requests: self.sender.clone(),
            waker,
        }
    }

    /// The next request, if there is one.
    pub(super) fn next(&mut self) -> Option<Request> {
        self.receiver.try_recv().ok()
    }

    /// Notes that somebody waits for an answer.
    pub(super) fn wait_for(&mut self, answer: SyncSender<Result<usize, PushError>>) -> Ticket {
        self.asked_count += 1;
        let ticket = Ticket(self.asked_count);
        self.waiting.insert(ticket, answer);
        ticket
    }

    /// Answers; whoever has given up waiting does not hear it.
    pub(super) fn answer(&mut self, ticket: Ticket, outcome: Result<usize, PushError>) {
        if let Some(answer) = self.waiting.remove(&ticket) {
            let _ = answer.try_send(outcome);
        }
    }
}

/// Most requests that wait: each of them is taken in the next turn.
const MAX_REQUESTS: usize = 1024;
