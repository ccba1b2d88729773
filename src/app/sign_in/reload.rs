//! Other settings for those who come, and for those who are here.

use super::recheck::random_part_of;
use super::settings::{SessionSettings, SignInSettings, UrlSettings};
use super::sign_in::SignIn;
use super::visitor::KeptAnswers;
use crate::base::MonotonicTime;

impl SignIn {
    /// Goes by these settings from now on. Whom it asks stays: other servers are added at the
    /// start. What was answered by the old settings is not kept; what is being asked ends by them.
    pub(crate) fn reload(&mut self, settings: SignInSettings, now: MonotonicTime) {
        let old = &self.settings;
        let sessions = SessionSettings {
            store: old.sessions.store.clone(),
            ..settings.sessions
        };
        let url = UrlSettings {
            target: old.url.target.clone(),
            concurrency: old.url.concurrency,
            ..settings.url
        };
        let has_other_interval = old.recheck_interval != settings.recheck_interval;
        self.settings = SignInSettings {
            sessions,
            url,
            ..settings
        };
        self.kept = KeptAnswers::default();
        if has_other_interval && !self.settings.recheck_interval.is_zero() {
            self.spread_checks(now);
        }
    }

    /// Has everybody asked about within `authRecheck`, spread over it, and no later than before.
    fn spread_checks(&mut self, now: MonotonicTime) {
        let interval = self.settings.recheck_interval;
        for print in self.visitors.prints() {
            let before = self.visitors.get(&print).and_then(|v| v.next_check);
            let at = before.into_iter().chain([now + random_part_of(interval)]);
            self.visitors.set_check(print, at.min());
        }
    }
}
