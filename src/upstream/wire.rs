//! [`Wire`]: what an established connection carries, in the protocol of its target.
//!
//! The trunk knows when to connect, which call is next, and what becomes of calls whose connection
//! is lost. A wire knows what its bytes mean. Neither protocol knows of the other.

use super::call::{CallId, Request};
use super::error::CallError;
use super::queue::Waiting;
use super::settings::Settings;
use super::wire_context::{Fate, History, Service, Unanswered, WireContext};
use super::{http, redis};
use crate::base::time::MonotonicTime;

/// An established connection.
#[derive(Debug)]
pub(super) enum Wire {
    Http(http::Wire),
    Redis(Box<redis::Wire>),
    Subscriber(Box<redis::Subscriber>),
}

/// Which calls a connection can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Room {
    /// One that has not been sent before: the connection has been quiet until now, may be dead, and
    /// is closed at that time.
    Kept { until: MonotonicTime },
    /// So many, whatever they are.
    Shared(usize),
}

impl Wire {
    /// Which calls it can take; `None`: none.
    pub(super) fn room(&self, settings: &Settings) -> Option<Room> {
        match self {
            Self::Http(wire) => wire.kept_until().map(|until| Room::Kept { until }),
            Self::Redis(wire) => Some(wire.room(settings))
                .filter(|room| *room > 0)
                .map(Room::Shared),
            Self::Subscriber(_) => None,
        }
    }

    /// Takes a call, for which there has to be room.
    pub(super) fn start(&mut self, waiting: Waiting, history: History) {
        match (self, &waiting.call.request) {
            (Self::Http(wire), Request::Http(request)) => {
                let method = request.method();
                wire.start(waiting.call, method, history);
            }
            (Self::Redis(wire), Request::Redis(request)) => {
                let request = request.clone();
                wire.start(waiting, &request);
            }
            (Self::Http(_), Request::Redis(_))
            | (Self::Redis(_), Request::Http(_))
            | (Self::Subscriber(_), _) => {
                debug_assert!(false, "calls are checked before they are queued");
            }
        }
    }

    /// Nobody waits for the answer to this call any more; `None`: it is not here.
    pub(super) fn cancel(&mut self, id: CallId, context: &WireContext<'_>) -> Option<Fate> {
        match self {
            Self::Http(wire) => wire.cancel(id, context),
            Self::Redis(wire) => wire.cancel(id, context),
            Self::Subscriber(_) => None,
        }
    }

    /// Bytes have come; there is at least one.
    pub(super) fn receive(&mut self, input: &[u8], context: &mut WireContext<'_>) -> Fate {
        match self {
            Self::Http(wire) => wire.receive(input, context),
            Self::Redis(wire) => wire.receive(input, context),
            Self::Subscriber(wire) => wire.receive(input, context),
        }
    }

    /// The other end will send nothing more, and has said so.
    pub(super) fn handle_eof(&mut self, context: &mut WireContext<'_>) -> Fate {
        match self {
            Self::Http(wire) => wire.handle_eof(context),
            Self::Redis(wire) => wire.handle_end(),
            Self::Subscriber(_) => Fate::Lost(CallError::Closed),
        }
    }

    /// The connection has ended by an error.
    pub(super) fn handle_lost(&self) -> Fate {
        match self {
            Self::Http(wire) => wire.handle_lost(),
            Self::Redis(wire) => wire.handle_end(),
            Self::Subscriber(_) => Fate::Lost(CallError::Closed),
        }
    }

    /// The [deadline](Self::deadline) has come.
    pub(super) fn handle_timeout(&mut self, context: &mut WireContext<'_>) -> Fate {
        match self {
            Self::Http(wire) => wire.handle_timeout(context),
            Self::Redis(wire) => wire.handle_timeout(context),
            Self::Subscriber(wire) => wire.handle_timeout(context),
        }
    }

    /// What is wanted has changed.
    pub(super) fn tell_changes(&mut self, context: &mut WireContext<'_>) -> Fate {
        match self {
            Self::Http(_) | Self::Redis(_) => Fate::Open,
            Self::Subscriber(wire) => wire.tell_changes(context),
        }
    }

    /// When something has to happen here.
    pub(super) fn deadline(&self, settings: &Settings) -> MonotonicTime {
        match self {
            Self::Http(wire) => wire.deadline(),
            Self::Redis(wire) => wire.deadline(settings),
            Self::Subscriber(wire) => wire.deadline(settings),
        }
    }

    /// Bytes that wait to leave.
    pub(super) fn output(&self) -> &[u8] {
        match self {
            Self::Http(wire) => wire.output(),
            Self::Redis(wire) => wire.output(),
            Self::Subscriber(wire) => wire.output(),
        }
    }

    /// So many of them have left.
    pub(super) fn consume_output(&mut self, byte_count: usize) {
        match self {
            Self::Http(wire) => wire.consume_output(byte_count),
            Self::Redis(wire) => wire.consume_output(byte_count),
            Self::Subscriber(wire) => wire.consume_output(byte_count),
        }
    }

    /// How well it has served, if its loss means that the target is in trouble. Connections that
    /// carry HTTP end all the time.
    pub(super) fn service(&self) -> Option<Service> {
        match self {
            Self::Http(_) => None,
            Self::Redis(wire) => Some(wire.service()),
            Self::Subscriber(wire) => Some(wire.service()),
        }
    }

    /// The calls whose callers still wait, in the order in which they were sent.
    pub(super) fn into_unanswered(self) -> Vec<Unanswered> {
        match self {
            Self::Http(wire) => wire.into_unanswered().into_iter().collect(),
            Self::Redis(wire) => wire.into_unanswered(),
            Self::Subscriber(_) => Vec::new(),
        }
    }
}
