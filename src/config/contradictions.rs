//! What no key can see alone: values that do not go together, and those that are of no use.

use super::config::Config;
use super::listen::Listen;
use super::report::Problem;
use super::value::short_size;
use crate::app::trusted_proxies::TrustedProxies;
use crate::net::{ListenAddress, ProxyProtocol, Security};

impl Config {
    pub(super) fn has_tls(&self) -> bool {
        self.listeners()
            .any(|listen| listen.endpoint.options.security == Security::Tls)
    }

    /// What no key can see alone. The value named is the one that is easier to change.
    pub(super) fn contradictions(&self) -> Vec<Problem> {
        let mut problems = self.memory_contradictions();
        if self.server.limits.max_web_message_bytes > self.server.limits.max_message_bytes {
            let most =
                short_size(u64::try_from(self.server.limits.max_message_bytes).unwrap_or(u64::MAX));
            let reason = format!("at most {most}, as maxMessageSize has it, is wanted");
            problems.push(self.problem("maxWebMessage", reason));
        }
        if self.has_tls() && self.cert_files.is_empty() {
            let is_tls = |l: &Listen| l.endpoint.options.security == Security::Tls;
            let reason = match self.listen.iter().any(is_tls) {
                true => "a PEM file is wanted, as adress has wss",
                false => "a PEM file is wanted, as status has https",
            };
            problems.push(self.problem("certFile", reason));
        }
        let is_proxied =
            |listen: &Listen| listen.endpoint.options.proxy_protocol == ProxyProtocol::ProxyHeader;
        if self.listen.iter().any(is_proxied)
            && self.server.admission.trusted_proxies == TrustedProxies::default()
        {
            let reason = "the proxy's address is wanted, as adress has proxy";
            problems.push(self.problem("trustedProxies", reason));
        }
        let is_taken = |status: &&Listen| {
            let address = &status.endpoint.address;
            let is_any = matches!(address, ListenAddress::Tcp { port: 0, .. });
            let mut listen = self.listen.iter();
            !is_any && listen.any(|listen| listen.endpoint.address == *address)
        };
        if let Some(twice) = self.status.iter().find(is_taken) {
            let reason = format!("{twice} is in adress as well; an address of its own is wanted");
            problems.push(self.problem("status", reason));
        }
        if !self.key_files.is_empty() && self.key_files.len() != self.cert_files.len() {
            let reason = "as many files as certFile has are wanted, or none";
            problems.push(self.problem("pkFile", reason));
        }
        problems.extend(self.sign_in_contradictions());
        problems
    }

    fn memory_contradictions(&self) -> Vec<Problem> {
        let needed = [
            ("maxMessageSize", self.server.limits.max_message_bytes),
            ("maxQueue", self.server.limits.max_queue_bytes),
        ];
        needed
            .into_iter()
            .filter(|(_, bytes)| self.server.memory_limit_bytes < *bytes)
            .map(|(key, bytes)| {
                let least = short_size(u64::try_from(bytes).unwrap_or(u64::MAX));
                self.problem(
                    "memoryLimit",
                    format!("at least {least}, as {key} has it, is wanted"),
                )
            })
            .collect()
    }

    pub(super) fn oddities(&self) -> Vec<String> {
        let tls_files = [("certFile", &self.cert_files), ("pkFile", &self.key_files)];
        tls_files
            .into_iter()
            .filter(|(_, files)| !self.has_tls() && !files.is_empty())
            .map(|(key, _)| {
                self.problem(key, "not used, as no address has TLS")
                    .to_string()
            })
            .chain(self.sign_in_oddities())
            .chain(self.backplane_oddities())
            .chain(self.replay_oddity())
            .collect()
    }

    /// A page that only listens is heard when it answers a ping, and its loss may be seen as late as
    /// `pingInterval` and `pongTimeout` after that: then what was kept for it should still be there.
    fn replay_oddity(&self) -> Option<String> {
        let limits = &self.server.limits;
        let time = self.server.replay.time;
        let silence = limits.ping_interval + limits.pong_timeout;
        let is_off = time.is_zero() || limits.ping_interval.is_zero();
        (!is_off && time <= silence).then(|| {
            let reason = format!(
                "pages that only listen may not be able to come back; longer than pingInterval and \
                 pongTimeout together ({silence:?}) is wanted"
            );
            self.problem("replayTime", reason).to_string()
        })
    }
}
