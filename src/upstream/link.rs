//! [`Link`]: one connection to a target, and what it carries.

use std::collections::VecDeque;

use super::call::Call;
use super::error::ConnectError;
use super::http::ResponseReader;
use super::target::Address;
use crate::base::time::MonotonicTime;

/// Names one connection of one [`Upstream`](super::Upstream), and no other one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub(super) u64);

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) state: LinkState,
}

#[derive(Debug)]
pub(super) enum LinkState {
    /// It is being established, TLS included.
    Connecting(Connecting),
    /// It carries nothing, and is closed at that time.
    Kept { until: MonotonicTime },
    /// It carries one exchange.
    Busy(Box<Exchange>),
}

/// An attempt to connect.
#[derive(Debug)]
pub(super) struct Connecting {
    pub(super) address: Address,
    /// When the next address is tried.
    pub(super) deadline: MonotonicTime,
    /// Addresses that have not been tried.
    pub(super) untried: VecDeque<Address>,
    /// When all of them have to be through.
    pub(super) last_deadline: MonotonicTime,
    /// Why the first address has failed: the later ones are often those that never work, as an
    /// IPv6 address where there is no IPv6.
    pub(super) first_error: Option<ConnectError>,
}

/// One request and its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) call: Call,
    /// Bytes of the request that have left.
    pub(super) sent: usize,
    pub(super) reader: ResponseReader,
    pub(super) history: History,
    pub(super) awaited_by: AwaitedBy,
    /// When the answer has to be whole.
    pub(super) deadline: MonotonicTime,
}

/// What a connection has carried before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum History {
    /// It has just been established.
    Fresh,
    /// It has been quiet for a while, and the other end may have closed it.
    Kept,
}

/// Whom an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AwaitedBy {
    /// The one who has called.
    Caller,
    /// Nobody any more; the connection can be used again behind it.
    Nobody,
}

impl Link {
    /// When something has to happen here.
    pub(super) fn deadline(&self) -> MonotonicTime {
        match &self.state {
            LinkState::Connecting(connecting) => connecting.deadline,
            LinkState::Kept { until } => *until,
            LinkState::Busy(exchange) => exchange.deadline,
        }
    }

    /// Bytes that wait to leave.
    pub(super) fn output(&self) -> &[u8] {
        match &self.state {
            LinkState::Busy(exchange) => exchange.unsent(),
            LinkState::Connecting(_) | LinkState::Kept { .. } => &[],
        }
    }

    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.state, LinkState::Connecting(_))
    }
}

impl Exchange {
    pub(super) fn new(call: Call, history: History) -> Self {
        Self {
            sent: 0,
            reader: ResponseReader::new(call.request.method(), call.max_body_bytes),
            history,
            awaited_by: AwaitedBy::Caller,
            deadline: call.deadline,
            call,
        }
    }

    /// Bytes of the request that have not left.
    pub(super) fn unsent(&self) -> &[u8] {
        self.call
            .request
            .as_bytes()
            .get(self.sent..)
            .unwrap_or_default()
    }

    /// Whether the request can be sent once more now that its connection is lost: the other end
    /// had probably closed that before it could know of the request, and asking twice does no harm
    /// (RFC 9110 §9.2.2, RFC 9112 §9.3.1).
    pub(super) fn can_be_repeated(&self) -> bool {
        self.awaited_by == AwaitedBy::Caller
            && self.history == History::Kept
            && !self.reader.has_begun()
            && (self.sent == 0 || self.call.request.method().is_idempotent())
    }
}
