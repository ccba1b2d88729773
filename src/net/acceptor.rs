//! New connections: taken a share at a time, refused when there is no room, and tried again when the
//! system has run out of something.

use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use log::{debug, warn};

use super::endpoint::ListenerOptions;
use super::spare_descriptor::SpareDescriptor;
use super::system::{Remote, System};
use super::timers::{Timer, Timers};
use crate::api::figures::Reason;
use crate::base::{LogLimiter, MonotonicTime, Tally, plain};
use crate::protocol::error::Rejection;
use crate::protocol::http::BodyPart;

/// The listeners, and whether connections wait at them.
pub(super) struct Acceptor {
    listeners: Vec<ListenerOptions>,
    state: Accepting,
    spare: SpareDescriptor,
    /// Connections refused for want of room.
    refusals: LogLimiter,
    counts: Tally<Reason>,
    /// What the system has run out of.
    failures: LogLimiter,
}

/// Whether connections wait to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    /// The kernel will tell.
    Waiting,
    /// There are more than a turn's share.
    Backlog,
    /// The system has run out of something; a timer says when to try again.
    BackedOff,
}

/// What an attempt to accept has brought.
pub(super) enum Accepted<S> {
    /// A connection.
    Connection(S, Remote, ListenerOptions),
    /// A connection that was gone before it was taken; the next one may be fine.
    Gone,
    /// Nobody, or nobody now.
    Nobody,
}

/// Why a newcomer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// `maxPending` connections have not become clients.
    Pending,
    /// `memoryLimit` is nearly reached.
    Memory,
}

impl Acceptor {
    pub(super) fn new(listeners: Vec<ListenerOptions>) -> Self {
        Self {
            listeners,
            state: Accepting::Waiting,
            spare: SpareDescriptor::open(),
            refusals: LogLimiter::default(),
            counts: Tally::of(LIMITS.map(|limit| Reason::new(STATUS, limit))),
            failures: LogLimiter::default(),
        }
    }

    /// The next connection at one listener.
    pub(super) fn accept<Y: System>(
        &mut self,
        index: usize,
        system: &mut Y,
        now: MonotonicTime,
        timers: &mut Timers,
    ) -> Accepted<Y::Stream> {
        let Some(options) = self.listeners.get(index).copied() else {
            return Accepted::Nobody;
        };
        match system.accept(index) {
            Ok((stream, remote)) => Accepted::Connection(stream, remote, options),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => Accepted::Nobody,
                ErrorKind::ConnectionAborted | ErrorKind::Interrupted => Accepted::Gone,
                _ => {
                    self.back_off(index, &error, system, now, timers);
                    Accepted::Nobody
                }
            },
        }
    }

    /// More connections wait than a turn's share.
    pub(super) fn put_off(&mut self) {
        if self.state != Accepting::BackedOff {
            self.state = Accepting::Backlog;
        }
    }

    /// Connections that were refused for want of room.
    pub(super) fn refusal_counts(&self) -> &Tally<Reason> {
        &self.counts
    }

    /// Whether more wait than a turn's share.
    pub(super) fn has_backlog(&self) -> bool {
        self.state == Accepting::Backlog
    }

    /// The listeners that are to be looked at again, as the backlog or the timer has it.
    pub(super) fn begin_again(&mut self) -> std::ops::Range<usize> {
        self.state = Accepting::Waiting;
        0..self.listeners.len()
    }

    /// Nobody is accepted any more.
    pub(super) fn stop(&mut self) {
        self.listeners.clear();
        self.state = Accepting::Waiting;
    }

    /// The system cannot take anybody now: refuses some of those who wait if descriptors are what
    /// is missing, and tries again a little later. Trying at once would keep the loop busy with it.
    fn back_off<Y: System>(
        &mut self,
        index: usize,
        error: &io::Error,
        system: &mut Y,
        now: MonotonicTime,
        timers: &mut Timers,
    ) {
        // Linux reports the lack of descriptors even when nobody waits.
        let lacks_descriptors = is_out_of_descriptors(error);
        if let Some(count) = self.failures.count(now) {
            let advice = if lacks_descriptors {
                "raise the open-file limit (LimitNOFILE, ulimit -n)"
            } else {
                "the system refuses connections; look for limits of memory, sockets or a firewall"
            };
            let error = plain(error);
            warn!("cannot accept: {error} ({count} times); {advice}");
        }
        self.state = Accepting::BackedOff;
        timers.set(Timer::Accept, now + ACCEPT_PAUSE);
        if lacks_descriptors {
            self.refuse_waiting(index, system);
        }
    }

    fn refuse_waiting<Y: System>(&mut self, index: usize, system: &mut Y) {
        for _ in 0..ACCEPTS_PER_TURN {
            let mut is_empty = false;
            self.spare.lend(|| match system.accept(index) {
                Ok((stream, _)) => refuse(stream),
                Err(_) => is_empty = true,
            });
            if is_empty {
                return;
            }
            Reason::count(&mut self.counts, STATUS, NO_DESCRIPTORS);
        }
    }

    /// Refuses a newcomer, and says so: one line for a flood of them.
    pub(super) fn refuse(
        &mut self,
        stream: impl Write,
        remote: Remote,
        reason: NoRoom,
        now: MonotonicTime,
    ) {
        let limit = match reason {
            NoRoom::Pending => MAX_PENDING,
            NoRoom::Memory => MEMORY_LIMIT,
        };
        Reason::count(&mut self.counts, STATUS, limit);
        debug!("{remote} refused: {limit}");
        if let Some(count) = self.refusals.count(now) {
            warn!("{limit}: {count} connections refused, the last from {remote}");
        }
        refuse(stream);
    }
}

/// Refuses a connection for which there is no room: 503, as far as the socket takes it at once.
fn refuse(mut stream: impl Write) {
    let mut response = Vec::new();
    Rejection::Overloaded.write_response(BodyPart::Sent, &mut response);
    if let Err(error) = stream.write(&response) {
        debug!("refusal not sent: {}", plain(&error));
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    // EMFILE and ENFILE have no ErrorKind of their own.
    matches!(error.raw_os_error(), Some(24 | 23))
}

const STATUS: u16 = 503;
const MAX_PENDING: &str = "maxPending reached";
const MEMORY_LIMIT: &str = "memoryLimit reached";
const NO_DESCRIPTORS: &str = "no descriptors left";
const LIMITS: [&str; 3] = [MAX_PENDING, MEMORY_LIMIT, NO_DESCRIPTORS];

/// Most connections that one listener accepts in one turn: taking one costs some microseconds, and
/// those who are connected already must be heard in between.
pub(super) const ACCEPTS_PER_TURN: usize = 256;

/// How long accepting rests when the system has run out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
