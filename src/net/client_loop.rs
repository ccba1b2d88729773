//! [`ClientLoop`]: the real loop with nothing but connections to other servers, for tests.

use std::io;
use std::time::Duration;

use super::event_loop::EventLoop;
use super::mio_system::MioSystem;
use super::proxy_headers::ProxyHeaders;
use super::server::ServerSettings;
use super::system::System;
use super::tls_roots::RootsSource;
use crate::app::{App, SubscriptionChange};
use crate::base::MonotonicTime;
use crate::upstream::redis::SubscriberEvent;
use crate::upstream::{Answer, Call, Settings, Target, Upstream, UpstreamId};

/// The real loop on the real system, without listeners, whose answers go to whoever drives it
/// instead of the application.
pub struct ClientLoop {
    event_loop: EventLoop<MioSystem>,
    turn_count: usize,
}

impl ClientLoop {
    /// No targets yet.
    ///
    /// # Errors
    /// A system without epoll, pipes, timers or signals.
    pub fn new() -> io::Result<Self> {
        let settings = ServerSettings::default();
        let system = MioSystem::new(Vec::new())?;
        let app = App::new(settings.app(), crate::ops::time_of_day);
        let proxies = ProxyHeaders::new(settings.admission.trusted_proxies.clone());
        let mut event_loop =
            EventLoop::new(system, Vec::new(), settings.event_loop(), app, proxies);
        event_loop.keeps_answers = true;
        Ok(Self {
            event_loop,
            turn_count: 0,
        })
    }

    /// Adds another server that can be asked.
    pub fn add_upstream(&mut self, target: Target, settings: Settings) -> UpstreamId {
        self.event_loop.add_upstream(target, settings)
    }

    /// Adds a Redis whose channels can be subscribed to, or anything that is trusted by other roots.
    pub fn add_upstream_with(&mut self, upstream: Upstream, roots: RootsSource) -> UpstreamId {
        self.event_loop.add_upstream_with(upstream, roots)
    }

    /// Subscribes, as the application does by a command.
    pub fn change_subscriptions(
        &mut self,
        upstream: UpstreamId,
        change: SubscriptionChange,
        channels: &[Vec<u8>],
    ) {
        let now = self.now();
        let EventLoop {
            upstreams, system, ..
        } = &mut self.event_loop;
        upstreams.change_subscriptions(upstream, change, channels, system, now);
    }

    /// The next thing that has happened at a subscriber.
    pub fn next_subscriber_event(&mut self) -> Option<(UpstreamId, SubscriberEvent)> {
        self.event_loop.upstreams.next_subscriber_event()
    }

    /// The time.
    pub fn now(&self) -> MonotonicTime {
        self.event_loop.system.now()
    }

    /// Asks, as the application does by a command.
    pub fn call(&mut self, upstream: UpstreamId, call: Call) {
        let now = self.now();
        let system = &mut self.event_loop.system;
        self.event_loop.upstreams.call(upstream, call, system, now);
    }

    /// One turn, which waits for as long as there is nothing to do.
    ///
    /// # Errors
    /// If the system cannot wait.
    pub fn turn(&mut self) -> io::Result<()> {
        self.turn_count += 1;
        self.event_loop.turn()
    }

    /// How long the next turn waits at most; `None`: until something happens.
    pub fn next_wait(&self) -> Option<Duration> {
        self.event_loop.next_wait()
    }

    /// Turns so far.
    pub fn turn_count(&self) -> usize {
        self.turn_count
    }

    /// The next answer.
    pub fn next_answer(&mut self) -> Option<(UpstreamId, Answer)> {
        self.event_loop.upstreams.next_answer()
    }

    /// One of the targets.
    pub fn upstream(&self, id: UpstreamId) -> Option<&Upstream> {
        self.event_loop.upstreams.get(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::http::Request;
    use crate::upstream::{CallError, CallId};

    /// A loop whose application has asked somebody who is not there.
    fn asked() -> (ClientLoop, UpstreamId) {
        let mut client = ClientLoop::new().unwrap();
        let target = Target::http("unix:/nonexistent/websock-test.sock").unwrap();
        let request = Request::get(target.protocol(), []).unwrap();
        let id = client.add_upstream(target, Settings::default());
        let call = Call {
            id: CallId(7),
            request: request.into(),
            deadline: client.now() + Duration::from_millis(1),
            max_body_bytes: 1,
        };
        client.event_loop.commands.call(id, call);
        client.event_loop.carry_out(None);
        (client, id)
    }

    #[test]
    fn a_command_is_a_call() {
        let (mut client, id) = asked();
        while client.next_wait().is_some() {
            client.turn().unwrap();
        }
        let result = Err(CallError::Refused);
        let call = CallId(7);
        assert_eq!(client.next_answer(), Some((id, Answer { call, result })));
        assert_eq!(client.next_answer(), None);
    }

    #[test]
    fn the_application_is_told_the_answer() {
        let (mut client, id) = asked();
        client.event_loop.keeps_answers = false;
        while client.next_wait().is_some() {
            client.turn().unwrap();
        }
        assert_eq!(client.upstream(id).unwrap().counts().failed, 1);
        assert_eq!(client.next_answer(), None, "it has been handed over");
    }
}
