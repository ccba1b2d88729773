//! [`Entry`]: what somebody comes in by.

use std::rc::Rc;
use std::time::Duration;

use super::fingerprint::Fingerprint;
use super::verdict::Standing;
use super::visitor::{Question, Source};
use crate::base::MonotonicTime;
use crate::registry::{Identity, SessionDigest};

/// What is known of somebody who comes in, to be handed to [`SignIn::enter`](super::SignIn::enter).
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) standing: Standing,
    pub(super) basis: Basis,
}

/// What somebody comes in by.
#[derive(Clone, Debug)]
pub(super) enum Basis {
    /// By nothing: anonymous.
    Nothing,
    /// A token, which ends then.
    Token(MonotonicTime),
    /// An answer, or a ticket, which is as good for a while.
    Answer(Rc<Answer>),
}

/// A yes, and what it was said about.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) print: Fingerprint,
    pub(super) question: Rc<Question>,
    pub(super) source: Source,
    /// When it was given, since 1970: no ticket outlives it by more than its lifetime.
    pub(super) answered: Duration,
    /// When the source wants to be asked again.
    pub(super) expires: Option<MonotonicTime>,
    /// When PHP may collect the session as garbage, at the earliest; `None`: it is not known.
    pub(super) session_ends: Option<MonotonicTime>,
}

impl Entry {
    pub(crate) fn anonymous() -> Self {
        Self {
            standing: Standing::Anonymous,
            basis: Basis::Nothing,
        }
    }

    /// As the registry keeps it.
    pub(crate) fn identity(&self) -> Identity {
        let user = match &self.standing {
            Standing::SignedIn(user) => user.clone(),
            Standing::Anonymous => None,
        };
        let session = match &self.basis {
            Basis::Answer(answer) => answer.question.session.as_ref(),
            Basis::Nothing | Basis::Token(_) => None,
        };
        let session = session.filter(|_| self.standing != Standing::Anonymous);
        Identity {
            user,
            session: session.map(|id| SessionDigest::of(id.as_str())),
        }
    }
}
