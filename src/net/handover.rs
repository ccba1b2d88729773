//! [`Handover`]: who asks to take over, and how far that has come.

use std::time::Duration;

use crate::base::{LogLimiter, MonotonicTime};
use crate::connection::ConnId;

/// What the running server knows of its successors.
pub(super) struct Handover {
    /// Longest time that connections have to become quiescent (`takeoverTime`).
    pub(super) patience: Duration,
    pub(super) callers: Vec<Caller>,
    pub(super) progress: Progress,
    /// The loop does not stand still again before this time, so that it does so for a fifth of the
    /// time at most, whoever asks.
    pub(super) not_before: MonotonicTime,
    pub(super) refusals: LogLimiter,
    /// Called when the administrator asks for a successor.
    pub(super) on_upgrade: Box<dyn FnMut()>,
}

/// A process at the other end of the control socket.
pub(super) struct Caller {
    pub(super) key: usize,
    pub(super) pid: u32,
    pub(super) stage: CallerStage,
    /// When its next message has to be there, unless the progress says so.
    pub(super) deadline: Option<MonotonicTime>,
}

/// What a caller has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallerStage {
    /// Nothing.
    Silent,
    /// `Hello`, and has its offer.
    Greeted,
    /// `Begin`.
    Begun,
}

/// How far the one has come who is being served.
pub(super) enum Progress {
    /// There is none.
    None,
    /// All goes on as before, until those who were not quiescent at the beginning have been so.
    Watching {
        key: usize,
        patience_ends: MonotonicTime,
        laggards: Vec<ConnId>,
        next_look: MonotonicTime,
    },
    /// Nobody is read but those who are not quiescent, and they up to the end of their message;
    /// nobody is accepted.
    Pausing {
        key: usize,
        patience_ends: MonotonicTime,
        until: MonotonicTime,
        next_look: MonotonicTime,
    },
    /// Nothing happens on any connection.
    Still(Transfer),
}

/// What is on its way to the successor.
pub(super) struct Transfer {
    pub(super) key: usize,
    pub(super) began: MonotonicTime,
    /// All that are to go, in their order of opening.
    pub(super) order: Vec<ConnId>,
    /// How many of them have been put into messages.
    pub(super) packed_count: usize,
    /// Those that have left.
    pub(super) sent: Vec<ConnId>,
    /// What the application knows besides clients, and how much of it has left.
    pub(super) state: Vec<u8>,
    pub(super) sent_state_bytes: usize,
    /// `End` has left.
    pub(super) is_complete: bool,
    /// When the successor has to have moved on.
    pub(super) deadline: MonotonicTime,
    /// When all has to be over.
    pub(super) last_deadline: MonotonicTime,
}

impl Default for Handover {
    fn default() -> Self {
        Self {
            patience: Duration::ZERO,
            callers: Vec::new(),
            progress: Progress::None,
            not_before: MonotonicTime::START,
            refusals: LogLimiter::default(),
            on_upgrade: Box::new(|| {}),
        }
    }
}

impl Handover {
    /// Who is being served.
    pub(super) fn active_key(&self) -> Option<usize> {
        match &self.progress {
            Progress::None => None,
            Progress::Watching { key, .. } | Progress::Pausing { key, .. } => Some(*key),
            Progress::Still(transfer) => Some(transfer.key),
        }
    }

    /// Whether nobody is read further than to the end of a message.
    pub(super) fn is_pausing(&self) -> bool {
        matches!(self.progress, Progress::Pausing { .. })
    }

    /// Whether nothing happens on any connection.
    pub(super) fn is_still(&self) -> bool {
        matches!(self.progress, Progress::Still(_))
    }

    pub(super) fn caller_mut(&mut self, key: usize) -> Option<&mut Caller> {
        self.callers.iter_mut().find(|caller| caller.key == key)
    }

    /// When something is to be looked at.
    pub(super) fn next_deadline(&self) -> Option<MonotonicTime> {
        let progress = match &self.progress {
            Progress::None => None,
            Progress::Watching { next_look, .. } | Progress::Pausing { next_look, .. } => {
                Some(*next_look)
            }
            Progress::Still(transfer) => Some(transfer.deadline),
        };
        let callers = self.callers.iter().filter_map(|caller| caller.deadline);
        callers.chain(progress).min()
    }
}
