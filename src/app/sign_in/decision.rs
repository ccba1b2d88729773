//! [`Decision`]: what comes of a question.

use std::time::Duration;

use super::entry::Entry;
use super::fingerprint::Fingerprint;
use crate::connection::ConnId;

/// Whether it is known who a newcomer is.
#[derive(Debug)]
pub(crate) enum Judged {
    /// It is.
    Now(Decision),
    /// It is asked; a [`Decision`] follows. [`SignIn::forget`](super::SignIn::forget) wants to know whose visit it was.
    Later(Fingerprint),
}

/// What comes of a question.
#[derive(Debug)]
pub(crate) enum Decision {
    /// This newcomer may come in.
    Enter(ConnId, Entry),
    /// This newcomer may not.
    SendAway(ConnId),
    /// It could not be found out who this newcomer is; best asked again after this time.
    TryAgain(ConnId, Duration),
    /// This open connection is to end.
    SignOut(ConnId),
    /// This open connection needs a new ticket.
    Renew(ConnId),
}

impl Decision {
    /// The newcomer whom it is about.
    pub(super) fn newcomer(&self) -> Option<ConnId> {
        match self {
            Self::Enter(id, _) | Self::SendAway(id) | Self::TryAgain(id, _) => Some(*id),
            Self::SignOut(_) | Self::Renew(_) => None,
        }
    }
}
