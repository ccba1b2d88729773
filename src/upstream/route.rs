//! [`Route`]: the way to one target: its addresses, and the pauses after failures.
//!
//! ```text
//!   Idle ──► Resolving ──► Ready ──► BackingOff ──► Idle, or Ready if nothing has to be looked up
//!                 └────────────────────▲
//! ```

use std::time::Duration;

use super::error::CallError;
use super::settings::{Settings, UpstreamContext};
use super::target::Address;
use super::wire_context::Service;
use crate::base::time::MonotonicTime;

/// The way to one target.
#[derive(Debug)]
pub(super) struct Route {
    state: State,
    /// Those that need no look-up; empty if the name does.
    fixed: Vec<Address>,
    /// Failures in a row, connections and look-ups alike.
    failures: u32,
    last_failure: Option<CallError>,
    /// A look-up has been asked for and has not answered, even if it is not waited for any more.
    is_looking_up: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing is known, nothing is asked.
    Idle,
    /// The name is being looked up.
    Resolving { deadline: MonotonicTime },
    /// These are its addresses. Behind the time, they are looked up again.
    Ready {
        addresses: Vec<Address>,
        until: Option<MonotonicTime>,
    },
    /// Nothing is tried.
    BackingOff { until: MonotonicTime },
}

/// How to go on with a connection that is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Connect to the first of these, or to the next where that fails.
    Connect(Vec<Address>),
    /// The name has to be looked up.
    Resolve,
    /// Something else has to happen first.
    Wait,
}

impl Route {
    pub(super) fn new(fixed: Vec<Address>) -> Self {
        let mut route = Self {
            state: State::Idle,
            fixed,
            failures: 0,
            last_failure: None,
            is_looking_up: false,
        };
        route.state = route.beginning();
        route
    }

    /// A connection is wanted.
    pub(super) fn next_step(&mut self, settings: &Settings, now: MonotonicTime) -> Step {
        if let State::Ready { until, .. } = &self.state
            && until.is_some_and(|until| until <= now)
        {
            self.state = State::Idle;
        }
        match &self.state {
            State::Ready { addresses, .. } => Step::Connect(addresses.clone()),
            State::Resolving { .. } | State::BackingOff { .. } => Step::Wait,
            State::Idle => {
                let deadline = now + settings.connect_timeout;
                self.state = State::Resolving { deadline };
                // One that was given up may still answer: never two at a time.
                match std::mem::replace(&mut self.is_looking_up, true) {
                    true => Step::Wait,
                    false => Step::Resolve,
                }
            }
        }
    }

    /// The name has these addresses. None of them means that it has none.
    pub(super) fn handle_resolved(
        &mut self,
        result: Result<Vec<Address>, CallError>,
        settings: &Settings,
        context: &mut UpstreamContext<'_>,
    ) {
        self.is_looking_up = false;
        let State::Resolving { .. } = self.state else {
            return;
        };
        match result {
            Ok(addresses) if !addresses.is_empty() => {
                let until = Some(context.now + ADDRESSES_KEPT);
                self.state = State::Ready { addresses, until };
            }
            Ok(_) => self.handle_failure(CallError::Unresolved, settings, context),
            Err(error) => self.handle_failure(error, settings, context),
        }
    }

    /// A connection to this address stands: it is the first to be tried from now on.
    pub(super) fn handle_success(&mut self, address: &Address) {
        self.failures = 0;
        self.handle_established(address);
    }

    /// As [`handle_success`](Self::handle_success), but one failure more makes the pause longer
    /// all the same, until it is known whether the connection serves.
    pub(super) fn handle_established(&mut self, address: &Address) {
        self.last_failure = None;
        if let State::BackingOff { .. } = self.state {
            self.state = self.beginning();
        }
        if let State::Ready { addresses, .. } = &mut self.state
            && let Some(at) = addresses.iter().position(|known| known == address)
        {
            addresses.swap(0, at);
        }
    }

    /// The name was not found, or none of its addresses could be reached: nothing is tried for a
    /// random part of a time that doubles ("full jitter": servers that have failed together do not
    /// come back together). The name is looked up anew after it.
    pub(super) fn handle_failure(
        &mut self,
        error: CallError,
        settings: &Settings,
        context: &mut UpstreamContext<'_>,
    ) {
        self.last_failure = Some(error);
        // Several connections that fail together are one failure.
        if let State::BackingOff { .. } = self.state {
            return;
        }
        let longest = longest_pause(self.failures, settings);
        self.failures = self.failures.saturating_add(1);
        let until = context.now + part_of(longest, (context.random)()).max(SHORTEST_PAUSE);
        self.state = State::BackingOff { until };
    }

    /// A connection is lost. Pauses begin small again if it has served.
    pub(super) fn handle_loss(
        &mut self,
        service: Service,
        error: CallError,
        settings: &Settings,
        context: &mut UpstreamContext<'_>,
    ) {
        if service == Service::Some {
            self.failures = 0;
        }
        self.handle_failure(error, settings, context);
    }

    /// Goes on where the time has come.
    pub(super) fn handle_timeout(
        &mut self,
        settings: &Settings,
        context: &mut UpstreamContext<'_>,
    ) {
        match self.state {
            State::Resolving { deadline } if deadline <= context.now => {
                self.handle_failure(CallError::Unresolved, settings, context);
            }
            State::BackingOff { until } if until <= context.now => self.state = self.beginning(),
            _ => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn next_deadline(&self) -> Option<MonotonicTime> {
        match self.state {
            State::Resolving { deadline } => Some(deadline),
            State::BackingOff { until } => Some(until),
            State::Idle | State::Ready { .. } => None,
        }
    }

    /// Whether addresses are waited for.
    pub(super) fn is_resolving(&self) -> bool {
        matches!(self.state, State::Resolving { .. })
    }

    /// Whether a connection can be tried, or a name looked up.
    pub(super) fn is_free(&self) -> bool {
        match self.state {
            State::Idle | State::Ready { .. } => true,
            State::Resolving { .. } | State::BackingOff { .. } => false,
        }
    }

    /// Until when nothing is tried.
    pub(super) fn backoff_end(&self) -> Option<MonotonicTime> {
        match self.state {
            State::BackingOff { until } => Some(until),
            State::Idle | State::Resolving { .. } | State::Ready { .. } => None,
        }
    }

    /// Why the last attempt has failed; `None` if none has since one has succeeded.
    pub(super) fn last_failure(&self) -> Option<CallError> {
        self.last_failure
    }

    fn beginning(&self) -> State {
        match self.fixed.is_empty() {
            true => State::Idle,
            false => State::Ready {
                addresses: self.fixed.clone(),
                until: None,
            },
        }
    }
}

fn longest_pause(failures: u32, settings: &Settings) -> Duration {
    let factor = 1u32.checked_shl(failures).unwrap_or(u32::MAX);
    settings
        .min_backoff
        .saturating_mul(factor)
        .min(settings.max_backoff)
}

/// As much of `longest` as `random` is of all numbers.
fn part_of(longest: Duration, random: u64) -> Duration {
    let nanoseconds = longest.as_nanos().saturating_mul(u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

/// How long addresses are used without asking again: nobody hears of a DNS record's own time here.
const ADDRESSES_KEPT: Duration = Duration::from_secs(60);

/// No pause is shorter: a refusal that comes at once would be asked for again in the same turn.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene {
        route: Route,
        settings: Settings,
        now: MonotonicTime,
    }

    impl Scene {
        fn new(fixed: &[&str]) -> Self {
            Self {
                route: Route::new(addresses(fixed)),
                settings: Settings::default(),
                now: MonotonicTime::START,
            }
        }

        fn step(&mut self) -> Step {
            self.route.next_step(&self.settings, self.now)
        }

        fn resolve(&mut self, texts: &[&str]) {
            let mut random = || 0;
            let random = &mut random;
            let context = &mut UpstreamContext {
                now: self.now,
                random,
            };
            self.route
                .handle_resolved(Ok(addresses(texts)), &self.settings, context);
        }

        fn fail(&mut self, number: u64) {
            let mut random = || number;
            let random = &mut random;
            let context = &mut UpstreamContext {
                now: self.now,
                random,
            };
            self.route
                .handle_failure(CallError::Refused, &self.settings, context);
        }

        /// Goes to the next deadline; how long that took.
        fn wait(&mut self) -> Duration {
            let deadline = self.route.next_deadline().unwrap();
            let waited = deadline - self.now;
            self.now = deadline;
            let mut random = || 0;
            let random = &mut random;
            let context = &mut UpstreamContext {
                now: self.now,
                random,
            };
            self.route.handle_timeout(&self.settings, context);
            waited
        }
    }

    fn addresses(texts: &[&str]) -> Vec<Address> {
        let read = |text: &&str| Address::Tcp(text.parse().unwrap());
        texts.iter().map(read).collect()
    }

    #[test]
    fn a_name_is_looked_up_once_and_again_when_that_is_old() {
        let mut scene = Scene::new(&[]);
        assert_eq!(scene.step(), Step::Resolve);
        assert_eq!(scene.step(), Step::Wait);
        scene.resolve(&["1.1.1.1:80"]);
        assert_eq!(scene.step(), Step::Connect(addresses(&["1.1.1.1:80"])));
        assert_eq!(scene.route.next_deadline(), None);
        scene.now += ADDRESSES_KEPT;
        assert_eq!(scene.step(), Step::Resolve);
    }

    #[test]
    fn a_look_up_that_hangs_is_given_up_but_not_asked_twice() {
        let mut scene = Scene::new(&[]);
        assert_eq!(scene.step(), Step::Resolve);
        assert_eq!(scene.wait(), scene.settings.connect_timeout);
        assert_eq!(scene.route.last_failure(), Some(CallError::Unresolved));
        assert_eq!(scene.step(), Step::Wait);
        scene.wait();
        assert_eq!(scene.step(), Step::Wait, "the first one may still answer");
        scene.resolve(&["1.1.1.1:80"]);
        assert_eq!(scene.step(), Step::Connect(addresses(&["1.1.1.1:80"])));
    }

    #[test]
    fn a_name_without_addresses_is_a_failure() {
        let mut scene = Scene::new(&[]);
        scene.step();
        scene.resolve(&[]);
        assert_eq!(scene.route.last_failure(), Some(CallError::Unresolved));
        scene.wait();
        assert_eq!(scene.step(), Step::Resolve);
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_are_a_random_part() {
        let mut scene = Scene::new(&["1.1.1.1:80"]);
        for longest in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            scene.fail(u64::MAX);
            let waited = scene.wait() + Duration::from_nanos(1);
            assert_eq!(waited, Duration::from_millis(longest));
        }
        scene.fail(u64::MAX / 2);
        let waited = scene.wait() + Duration::from_nanos(1);
        assert_eq!(waited, Duration::from_millis(2500));
        scene.fail(0);
        assert_eq!(scene.wait(), SHORTEST_PAUSE);
        for _ in 0..100 {
            scene.fail(u64::MAX);
            assert!(scene.wait() <= scene.settings.max_backoff);
        }
    }

    #[test]
    fn failures_together_are_one_and_success_ends_the_row() {
        let mut scene = Scene::new(&["1.1.1.1:80", "2.2.2.2:80"]);
        for _ in 0..4 {
            scene.fail(u64::MAX);
        }
        assert!(scene.wait() <= Duration::from_millis(100));
        scene.fail(u64::MAX);
        scene.route.handle_success(&addresses(&["2.2.2.2:80"])[0]);
        assert_eq!(scene.route.last_failure(), None);
        assert!(matches!(scene.step(), Step::Connect(_)));
        scene.fail(u64::MAX);
        assert!(scene.wait() <= Duration::from_millis(100));
    }

    #[test]
    fn the_address_that_has_worked_comes_first() {
        let mut scene = Scene::new(&["1.1.1.1:80", "2.2.2.2:80"]);
        scene.route.handle_success(&addresses(&["2.2.2.2:80"])[0]);
        let expected = addresses(&["2.2.2.2:80", "1.1.1.1:80"]);
        assert_eq!(scene.step(), Step::Connect(expected));
    }
}
