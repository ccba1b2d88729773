//! Who may come in: origin and address, answered before the upgrade, and numbers, answered after it
//! (protocol.md 1.6 to 1.8, 1.11).

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use log::warn;

use super::event::{Encryption, IncomingRequest};
use super::peer::{AddressSource, ListenerRole, Peer};
use super::trusted_proxies::TrustedProxies;
use crate::api::figures::{AppFigures, KindCounts, Reason};
use crate::base::log_target::REFUSALS;
use crate::base::{LogLimiter, MonotonicTime, Tally};
use crate::connection::ConnId;
use crate::protocol::close_code::CloseCode;
use crate::protocol::error::Rejection;
use crate::protocol::host::Host;
use crate::protocol::http::Request;
use crate::registry::clients::ClientKind;
use crate::registry::mailbox::ReplayFigures;

/// What the administrator allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionSettings {
    /// Most connections that are open at a time (`maxClients`).
    pub max_clients: usize,
    /// Most web clients of one address (`maxPerIP`); 0: only `max_clients` bounds them.
    pub max_per_ip: usize,
    /// Addresses from which Client-Type php may connect (`allowedIP`).
    pub allowed_ip: Vec<IpNet>,
    /// They may also come from the address that they reach: all addresses of this machine are
    /// listened on, and `allowedIP` does not say otherwise.
    pub allows_own_ip: bool,
    /// Proxies that tell whom they forward (`trustedProxies`).
    pub trusted_proxies: TrustedProxies,
    /// What scripts have to prove themselves with (`pushToken`).
    pub push_token: Option<String>,
    /// Names and addresses under which this server is reached.
    pub own_hosts: Vec<String>,
    /// Origins from which web clients may come, scheme included (`allowedOrigins`); empty: any.
    pub allowed_origins: Vec<String>,
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self {
            max_clients: 100_000,
            max_per_ip: 0,
            allowed_ip: Vec::new(),
            allows_own_ip: false,
            trusted_proxies: TrustedProxies::default(),
            push_token: None,
            own_hosts: Vec::new(),
            allowed_origins: Vec::new(),
        }
    }
}

/// Why somebody is turned away after the upgrade, with a packet that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReached {
    /// `maxClients` are here.
    Everywhere,
    /// `maxPerIP` web clients of this address are here.
    From(IpAddr),
}

/// The policy and the numbers it is held against.
#[derive(Debug)]
pub struct Admission {
    pub(super) policy: AdmissionSettings,
    open: KindCounts,
    opened: KindCounts,
    refusals: Tally<Reason>,
    web_count_by_ip: HashMap<IpAddr, usize>,
    /// Scripts' requests that a proxy has forwarded which is not trusted.
    untrusted: LogLimiter,
}

impl Admission {
    /// Nobody is here yet.
    pub fn new(policy: AdmissionSettings) -> Self {
        Self {
            policy,
            open: KindCounts::default(),
            opened: KindCounts::default(),
            refusals: Tally::of(known_refusals()),
            web_count_by_ip: HashMap::new(),
            untrusted: LogLimiter::default(),
        }
    }

    /// Goes by another policy from now on. `clients` are those who are here.
    pub fn reload(
        &mut self,
        policy: AdmissionSettings,
        clients: impl Iterator<Item = (ClientKind, Peer)>,
    ) {
        self.policy = policy;
        // They are counted only while the limit is on.
        self.web_count_by_ip = HashMap::new();
        for (kind, peer) in clients {
            if let Some(ip) = self.counted_ip(kind, peer) {
                *self.web_count_by_ip.entry(ip).or_default() += 1;
            }
        }
    }

    /// Judges origin and address, before the upgrade. `local_ip`: the address of ours that was
    /// reached.
    pub fn check_source(
        &self,
        kind: ClientKind,
        origin: Option<&str>,
        peer: Peer,
        local_ip: impl FnOnce() -> Option<IpAddr>,
    ) -> Result<(), Rejection> {
        match kind {
            ClientKind::Web
                if matches!(peer.role, ListenerRole::Scripts | ListenerRole::Status) =>
            {
                Err(Rejection::Listener)
            }
            ClientKind::Web if self.allows_origin(origin) => Ok(()),
            ClientKind::Web => Err(Rejection::Origin),
            ClientKind::Php => self.check_script(peer, local_ip),
        }
    }

    /// Judges numbers, after the upgrade.
    pub fn check_capacity(&self, kind: ClientKind, peer: Peer) -> Result<(), LimitReached> {
        if self.is_full() {
            return Err(LimitReached::Everywhere);
        }
        let Some(ip) = peer.ip.filter(|_| kind == ClientKind::Web) else {
            return Ok(());
        };
        let count = self.web_count_by_ip.get(&ip).copied().unwrap_or(0);
        if self.policy.max_per_ip > 0 && count >= self.policy.max_per_ip {
            return Err(LimitReached::From(ip));
        }
        Ok(())
    }

    /// Whether `maxClients` are here.
    pub fn is_full(&self) -> bool {
        self.open.web + self.open.php >= self.policy.max_clients as u64
    }

    /// What has been counted, for the figures. Pushes are counted elsewhere.
    pub(super) fn figures(&self, push_answers: &Tally<u16>, user_count: usize) -> AppFigures {
        AppFigures {
            open: self.open,
            max_clients: self.policy.max_clients,
            user_count,
            opened: self.opened,
            refusals: self.refusals.clone(),
            push_answers: push_answers.clone(),
            replay: ReplayFigures::default(),
            backplane: None,
        }
    }

    /// How many have come in since the start, and how many were refused.
    pub(super) fn opened_and_refused_counts(&self) -> (KindCounts, u64) {
        (self.opened, self.refusals.total())
    }

    /// Counts a request that was refused, or a client that was turned away, under the words that the
    /// log has for it.
    pub(super) fn count_refusal(&mut self, code: u16, reason: &str) {
        Reason::count(&mut self.refusals, code, reason);
    }

    /// Somebody has come in.
    pub fn enter(&mut self, kind: ClientKind, peer: Peer) {
        *of_kind(&mut self.open, kind) += 1;
        *of_kind(&mut self.opened, kind) += 1;
        if let Some(ip) = self.counted_ip(kind, peer) {
            *self.web_count_by_ip.entry(ip).or_default() += 1;
        }
    }

    /// How many are here: web clients, and scripts.
    pub fn counts(&self) -> (usize, usize) {
        (self.open.web as usize, self.open.php as usize)
    }

    /// Somebody who came in has left.
    pub fn leave(&mut self, kind: ClientKind, peer: Peer) {
        let open = of_kind(&mut self.open, kind);
        *open = open.saturating_sub(1);
        let Some(ip) = self.counted_ip(kind, peer) else {
            return;
        };
        if let Some(count) = self.web_count_by_ip.get_mut(&ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.web_count_by_ip.remove(&ip);
            }
        }
    }

    fn counted_ip(&self, kind: ClientKind, peer: Peer) -> Option<IpAddr> {
        peer.ip
            .filter(|_| kind == ClientKind::Web && self.policy.max_per_ip > 0)
    }

    pub(super) fn allows_origin(&self, origin: Option<&str>) -> bool {
        let allowed = &self.policy.allowed_origins;
        // Scheme and host have no case (RFC 6454 §4); the configured ones are lower case.
        let is_allowed = |origin: &str| allowed.iter().any(|a| a.eq_ignore_ascii_case(origin));
        allowed.is_empty() || origin.is_some_and(is_allowed)
    }

    /// Judges the page of a client that cookies sign in: without `allowedOrigins` it has to be on
    /// the host that the request names, on whatever port, since any page can have a browser send
    /// its user's cookies here (protocol.md 8.12). `direct` is the connection's peer.
    pub(super) fn check_same_host(
        &self,
        request: &Request<'_>,
        direct: Peer,
    ) -> Result<(), Rejection> {
        if !self.policy.allowed_origins.is_empty() {
            return Ok(());
        }
        let mut origins = request.header_values("Origin").filter(|o| !o.is_empty());
        let is_same = |origin: &[u8]| {
            let page = str::from_utf8(origin)
                .ok()
                .and_then(|o| o.split_once("://"));
            let page = page.and_then(|(_, host)| Host::parse(host));
            page.is_some_and(|page| self.names_host(request, direct, page.name()))
        };
        match origins.all(is_same) {
            true => Ok(()),
            false => Err(Rejection::ForeignPage),
        }
    }

    /// Whether a request was made to a host of this name: its own `Host` says so, or what a trusted
    /// proxy has made of that.
    fn names_host(&self, request: &Request<'_>, direct: Peer, name: &str) -> bool {
        let forwarded = request.only_header("X-Forwarded-Host");
        let forwarded = forwarded.filter(|_| self.policy.trusted_proxies.contains(direct.ip));
        let forwarded = forwarded.and_then(|host| Host::parse(str::from_utf8(host).ok()?));
        let mut hosts = request.host().ok().into_iter().chain(forwarded);
        hosts.any(|host| host.name().eq_ignore_ascii_case(name))
    }

    /// `https` or `http`: what a trusted proxy says, else what this server is spoken to in.
    pub(super) fn scheme_of(
        &self,
        incoming: &IncomingRequest<'_>,
        request: &Request<'_>,
    ) -> &'static str {
        let told = request.header("X-Forwarded-Proto");
        let told = told.filter(|_| self.policy.trusted_proxies.contains(incoming.peer.ip));
        match (told, incoming.encryption) {
            (Some(told), _) if told.eq_ignore_ascii_case("https") => "https",
            (Some(told), _) if told.eq_ignore_ascii_case("http") => "http",
            (_, Encryption::Tls) => "https",
            (_, Encryption::None) => "http",
        }
    }

    /// Judges where a script comes from.
    pub(super) fn check_script(
        &self,
        peer: Peer,
        local_ip: impl FnOnce() -> Option<IpAddr>,
    ) -> Result<(), Rejection> {
        match (peer.role, peer.source) {
            (ListenerRole::Web | ListenerRole::Status, _) => Err(Rejection::Listener),
            (_, AddressSource::Untrusted) => Err(Rejection::Proxy),
            (_, AddressSource::Unknown) => Err(Rejection::ProxyUnidentified),
            (_, AddressSource::Known) if self.allows_scripts_of(peer, local_ip) => Ok(()),
            (_, AddressSource::Known) => Err(Rejection::Address),
        }
    }

    /// Judges where somebody comes from who wants to see how the server does. Who reaches the listener
    /// of `status` may, but not by a proxy that does not tell whom it forwards.
    pub(super) fn check_viewer(
        &self,
        peer: Peer,
        local_ip: impl FnOnce() -> Option<IpAddr>,
    ) -> Result<(), Rejection> {
        match (peer.role, peer.source) {
            (ListenerRole::Status, AddressSource::Known) => Ok(()),
            (ListenerRole::Status, AddressSource::Untrusted) => Err(Rejection::Proxy),
            (ListenerRole::Status, AddressSource::Unknown) => Err(Rejection::ProxyUnidentified),
            (ListenerRole::All | ListenerRole::Web | ListenerRole::Scripts, _) => {
                self.check_script(peer, local_ip)
            }
        }
    }

    /// A Unix socket is as near as loopback, unless proxies connect to it.
    fn allows_scripts_of(&self, peer: Peer, local_ip: impl FnOnce() -> Option<IpAddr>) -> bool {
        let Some(ip) = peer.ip else {
            return peer.role == ListenerRole::Scripts || !self.policy.trusted_proxies.unix;
        };
        let AdmissionSettings {
            allowed_ip,
            allows_own_ip,
            ..
        } = &self.policy;
        allowed_ip.iter().any(|net| net.contains(&ip)) || (*allows_own_ip && local_ip() == Some(ip))
    }

    /// Logs that a request was refused. `detail` says more about what was sent, or is empty.
    pub(super) fn log_refusal(
        &mut self,
        id: ConnId,
        peer: Peer,
        rejection: Rejection,
        detail: &str,
        now: MonotonicTime,
    ) {
        let (slot, status, reason) = (id.slot, rejection.status(), rejection.reason());
        self.count_refusal(status, reason);
        let (reason, separator) = match detail {
            "" => (reason, ""),
            _ => (reason.trim_end_matches('.'), "; "),
        };
        let address = peer.name();
        warn!(target: REFUSALS, "#{slot} refused: {status} {reason}{separator}{detail} ({address})");
        if rejection == Rejection::Proxy {
            self.warn_untrusted(peer, now);
        }
    }

    /// A script's request was refused because somebody has forwarded it who is not trusted.
    pub(super) fn warn_untrusted(&mut self, peer: Peer, now: MonotonicTime) {
        if let Some(count) = self.untrusted.count(now) {
            let (proxy, value) = (peer.name(), trusted_proxies_value(peer.ip));
            warn!(
                "{count} requests of scripts refused that {proxy} has forwarded; if this is your \
                 proxy, set trustedProxies={value}"
            );
        }
    }

    /// Whose `request` is, which has come from `peer`.
    pub(super) fn locate(&self, request: &Request<'_>, peer: Peer) -> Peer {
        self.policy.trusted_proxies.locate(request, peer)
    }
}

fn of_kind(counts: &mut KindCounts, kind: ClientKind) -> &mut u64 {
    match kind {
        ClientKind::Web => &mut counts.web,
        ClientKind::Php => &mut counts.php,
    }
}

/// Why requests are refused: what is known before it has happened counts from zero.
fn known_refusals() -> impl Iterator<Item = Reason> {
    let rejections = Rejection::ALL.map(|r| Reason::new(r.status(), r.reason()));
    let turned_away = [
        (CloseCode::TRY_AGAIN_LATER, "Too many connections"),
        (CloseCode::POLICY_VIOLATION, "Too many connections from"),
        (CloseCode::POLICY_VIOLATION, "no resource"),
    ];
    let turned_away = turned_away.map(|(code, text)| Reason::new(code.as_u16(), text));
    rejections.into_iter().chain(turned_away)
}

/// An address as `trustedProxies` names it.
pub fn trusted_proxies_value(ip: Option<IpAddr>) -> String {
    ip.map_or_else(|| "unix".to_owned(), |ip| ip.to_string())
}
