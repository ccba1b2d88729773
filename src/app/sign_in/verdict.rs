//! What is answered to the question who somebody is.

use std::time::Duration;

use crate::registry::UserId;

/// Who somebody is, as far as a source has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody has said.
    Anonymous,
    /// Somebody who has signed in; `None`: without a name.
    SignedIn(Option<UserId>),
}

/// What a source has said. Three answers, and none of them ever stands for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// May come in.
    Yes(Grant),
    /// May not.
    No,
    /// Could not be found out. The other end has asked for this time of quiet, if it has.
    Unknown(Option<Duration>),
}

/// How somebody may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) standing: Standing,
    /// The answer holds so long, if the one who gave it has said.
    pub(super) expires_in: Option<Duration>,
}

impl Verdict {
    pub(super) fn user(user: UserId) -> Self {
        Self::yes(Standing::SignedIn(Some(user)))
    }

    pub(super) fn yes(standing: Standing) -> Self {
        Self::Yes(Grant {
            standing,
            expires_in: None,
        })
    }
}

impl Standing {
    /// Whether somebody who was `self` may go on as what is said now: nobody becomes somebody
    /// else, and nobody who has signed in becomes anonymous.
    pub(super) fn may_become(&self, now: &Self) -> bool {
        match (self, now) {
            (Self::Anonymous, _) | (Self::SignedIn(None), Self::SignedIn(_)) => true,
            (Self::SignedIn(_), Self::Anonymous) => false,
            (Self::SignedIn(before), Self::SignedIn(after)) => before == after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_becomes_somebody_else_or_anonymous() {
        let named = |name: &str| Standing::SignedIn(UserId::new(name));
        let table = [
            (Standing::Anonymous, named("42"), true),
            (named("42"), named("42"), true),
            (named("42"), named("43"), false),
            (named("42"), Standing::SignedIn(None), false),
            (named("42"), Standing::Anonymous, false),
            (Standing::SignedIn(None), Standing::SignedIn(None), true),
            (Standing::SignedIn(None), named("42"), true),
            (Standing::SignedIn(None), Standing::Anonymous, false),
        ];
        for (before, now, expected) in table {
            assert_eq!(before.may_become(&now), expected, "{before:?} {now:?}");
        }
    }
}
