//! Who may push by HTTP, and what scripts prove themselves with.
//!
//! Three doors are shut here: a browser page of a foreign origin, which can send requests from the
//! user's own machine; a name of a foreign domain that was made to point here (DNS rebinding), by
//! which such a page would count as one of ours; and an address that scripts may not come from.

use std::net::IpAddr;

use subtle::ConstantTimeEq;

use super::admission::Admission;
use super::peer::{ListenerRole, Peer};
use crate::protocol::error::Rejection;
use crate::protocol::http::Request;

/// A request to push, and where it comes from and arrived.
#[derive(Debug)]
pub struct Pushing<'a> {
    /// The request.
    pub request: &'a Request<'a>,
    /// Whose it is.
    pub peer: Peer,
    /// The address of ours that it reached; `None` on a Unix socket.
    pub local_ip: Option<IpAddr>,
}

/// Why a push is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushRefusal {
    /// Scripts may not come from there.
    Source(Rejection),
    /// The page's origin is not in `allowedOrigins`.
    Origin,
    /// How the server does is no business of another origin's page, whatever it may push.
    ForeignPage,
    /// The Host is none of ours.
    Host,
    /// `pushToken` is set, and the request has none or another.
    Token,
}

impl PushRefusal {
    /// What is wrong and what would be right.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Source(Rejection::Address) => {
                "pushing is not allowed from this address: allowedIP must name it"
            }
            Self::Source(rejection) => rejection.reason(),
            Self::Origin => "pushing is not allowed from this origin: allowedOrigins must name it",
            Self::ForeignPage => "how the server does is told to no page of another origin",
            Self::Host => {
                "Host is none of this server's names: ownNames or adress must have it, or set pushToken"
            }
            Self::Token => "a token is needed: send Authorization: Bearer with what pushToken has",
        }
    }
}

impl Admission {
    /// Judges address, origin, host and token.
    pub fn check_push(&self, pushing: &Pushing<'_>) -> Result<(), PushRefusal> {
        let Pushing { request, peer, .. } = pushing;
        self.check_script(*peer, || pushing.local_ip)
            .map_err(PushRefusal::Source)?;
        self.check_page(request)?;
        match &self.policy.push_token {
            Some(token) if is_bearer(request, token) => Ok(()),
            Some(_) => Err(PushRefusal::Token),
            None if self.is_own_host(pushing) => Ok(()),
            None => Err(PushRefusal::Host),
        }
    }

    /// Judges who wants to see how the server does: as a push, but a token is not wanted where the
    /// Host is ours, and where a listener is for nothing else, the address does not matter. Of pages,
    /// only the server's own may.
    pub fn check_status(&self, pushing: &Pushing<'_>) -> Result<(), PushRefusal> {
        let Pushing { request, peer, .. } = pushing;
        self.check_viewer(*peer, || pushing.local_ip)
            .map_err(PushRefusal::Source)?;
        let mut origins = request.header_values("Origin");
        let is_own = |origin: &str| origin.is_empty() || is_same_site(origin, request);
        if !origins.all(|origin| str::from_utf8(origin).is_ok_and(is_own)) {
            return Err(PushRefusal::ForeignPage);
        }
        if self.has_token(request) || self.is_own_host(pushing) {
            return Ok(());
        }
        Err(PushRefusal::Host)
    }

    /// Whether a request has what `pushToken` has, as Authorization.
    pub(super) fn has_token(&self, request: &Request<'_>) -> bool {
        let token = self.policy.push_token.as_deref();
        token.is_some_and(|token| is_bearer(request, token))
    }

    /// Judges the page that a request comes from, if it comes from one.
    pub fn check_page(&self, request: &Request<'_>) -> Result<(), PushRefusal> {
        let mut origins = request.header_values("Origin");
        let is_fine = origins.all(|origin| {
            str::from_utf8(origin).is_ok_and(|o| o.is_empty() || self.is_own_page(o, request))
        });
        is_fine.then_some(()).ok_or(PushRefusal::Origin)
    }

    /// Judges a script that speaks WebSocket: `pushToken`, if it is set, comes as `?token=` or as
    /// Authorization.
    pub fn check_token(&self, request: &Request<'_>) -> Result<(), Rejection> {
        let Some(token) = &self.policy.push_token else {
            return Ok(());
        };
        let mut fields = request.query().split('&');
        let is_in_query = fields.any(|field| {
            field
                .strip_prefix("token=")
                .is_some_and(|t| is_equal(t, token))
        });
        if is_in_query || is_bearer(request, token) {
            Ok(())
        } else {
            Err(Rejection::Token)
        }
    }

    /// Whether `pushToken` is set.
    pub(super) fn needs_token(&self) -> bool {
        self.policy.push_token.is_some()
    }

    /// Whether pages of this origin may push and read the answers: `allowedOrigins` names it.
    pub(super) fn is_named_origin(&self, origin: &str) -> bool {
        let mut allowed = self.policy.allowed_origins.iter();
        allowed.any(|known| known.eq_ignore_ascii_case(origin))
    }

    /// Whether somebody may be told that the server is well: who may push by address, and trusted
    /// proxies in their own name, as load balancers ask. `direct`: the connection's peer; `peer`:
    /// where the request comes from.
    pub(super) fn allows_health(
        &self,
        direct: Peer,
        peer: Peer,
        local_ip: impl FnOnce() -> Option<IpAddr>,
    ) -> bool {
        let is_own_question = direct == peer;
        let asker = Peer {
            role: ListenerRole::All,
            ..peer
        };
        is_own_question && self.policy.trusted_proxies.contains(direct.ip)
            || self.check_script(asker, local_ip).is_ok()
    }

    /// Whether a page is one of `allowedOrigins`, or from this server itself.
    fn is_own_page(&self, origin: &str, request: &Request<'_>) -> bool {
        self.is_named_origin(origin) || is_same_site(origin, request)
    }

    /// Whether the request was meant for this server.
    pub(super) fn is_own_host(&self, pushing: &Pushing<'_>) -> bool {
        let Some(local_ip) = pushing.local_ip else {
            return true;
        };
        let Ok(host) = pushing.request.host() else {
            return false;
        };
        if let Some(ip) = host.ip()
            && (ip.is_loopback() || ip == local_ip)
        {
            return true;
        }
        let mut own = self.policy.own_hosts.iter();
        host.name().eq_ignore_ascii_case("localhost")
            || own.any(|known| known.eq_ignore_ascii_case(host.name()))
    }
}

/// Whether a page comes from where the request goes to.
fn is_same_site(origin: &str, request: &Request<'_>) -> bool {
    let host = origin.split_once("://").map(|(_, host)| host);
    host.is_some_and(|host| {
        let own = request.host();
        own.is_ok_and(|own| host.eq_ignore_ascii_case(own.as_str()))
    })
}

/// RFC 6750 §2.1; the scheme has no case (RFC 9110 §11.1).
fn is_bearer(request: &Request<'_>, token: &str) -> bool {
    let value = request.header("Authorization").unwrap_or_default();
    let (scheme, sent) = value.split_once(' ').unwrap_or_default();
    scheme.eq_ignore_ascii_case("Bearer") && is_equal(sent.trim_start(), token)
}

/// Takes the same time wherever the two differ.
fn is_equal(sent: &str, token: &str) -> bool {
    sent.as_bytes().ct_eq(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::admission::AdmissionSettings;
    use crate::app::peer::ListenerRole;

    const TOKEN: &str = "0123456789abcdef";

    struct Case<'a> {
        ip: &'a str,
        token: Option<&'a str>,
        headers: &'a str,
    }

    fn judge(case: &Case<'_>) -> Result<(), PushRefusal> {
        let admission = Admission::new(AdmissionSettings {
            allowed_ip: vec!["127.0.0.0/8".parse().unwrap()],
            allowed_origins: vec!["https://shop.example".to_owned()],
            own_hosts: vec!["push.example".to_owned()],
            push_token: case.token.map(str::to_owned),
            ..AdmissionSettings::default()
        });
        let head = format!("POST /push HTTP/1.1\r\n{}\r\n", case.headers);
        let ip = Some(case.ip.parse().unwrap());
        admission.check_push(&Pushing {
            request: &Request::parse(head.as_bytes()).unwrap(),
            peer: Peer::direct(ip, ListenerRole::All),
            local_ip: Some("192.0.2.1".parse().unwrap()),
        })
    }

    #[test]
    fn address_origin_host_and_token_are_judged() {
        let refused = Err;
        for (ip, token, headers, expected) in [
            ("127.0.0.1", None, "Host: localhost:8096\r\n", Ok(())),
            ("127.0.0.1", None, "Host: 127.9.9.9\r\n", Ok(())),
            ("127.0.0.1", None, "Host: [::1]:80\r\n", Ok(())),
            ("127.0.0.1", None, "Host: 192.0.2.1\r\n", Ok(())),
            ("127.0.0.1", None, "Host: Push.Example:8096\r\n", Ok(())),
            (
                "127.0.0.1",
                None,
                "Host: evil.example\r\n",
                refused(PushRefusal::Host),
            ),
            (
                "127.0.0.1",
                None,
                "Host: 192.0.2.2\r\n",
                refused(PushRefusal::Host),
            ),
            ("127.0.0.1", None, "", refused(PushRefusal::Host)),
            ("127.0.0.1", None, "Host: localhost.\r\n", Ok(())),
            ("127.0.0.1", None, "Host: [::ffff:127.0.0.1]\r\n", Ok(())),
            (
                "127.0.0.1",
                None,
                "Host: localhost:evil.com\r\n",
                refused(PushRefusal::Host),
            ),
            (
                "127.0.0.1",
                None,
                "Host: localhost:+80\r\n",
                refused(PushRefusal::Host),
            ),
            (
                "127.0.0.1",
                None,
                "Host: [::1]x\r\n",
                refused(PushRefusal::Host),
            ),
            (
                "127.0.0.1",
                None,
                "Host: push.example:80:80\r\n",
                refused(PushRefusal::Host),
            ),
            (
                "127.0.0.1",
                None,
                "Host: localhost\r\nHost: evil.example\r\n",
                refused(PushRefusal::Host),
            ),
            (
                "192.0.2.9",
                None,
                "Host: localhost\r\n",
                refused(PushRefusal::Source(Rejection::Address)),
            ),
            (
                "127.0.0.1",
                None,
                "Host: localhost\r\nOrigin: https://evil.example\r\n",
                refused(PushRefusal::Origin),
            ),
            (
                "127.0.0.1",
                None,
                "Host: localhost\r\nOrigin: null\r\n",
                refused(PushRefusal::Origin),
            ),
            (
                "127.0.0.1",
                None,
                "Host: localhost\r\nOrigin: https://shop.example\r\n",
                Ok(()),
            ),
            (
                "127.0.0.1",
                None,
                "Host: localhost:1\r\nOrigin: http://localhost:1\r\n",
                Ok(()),
            ),
            (
                "127.0.0.1",
                None,
                "Host: localhost:1\r\nOrigin: http://localhost:2\r\n",
                refused(PushRefusal::Origin),
            ),
            (
                "127.0.0.1",
                Some(TOKEN),
                "Host: localhost\r\n",
                refused(PushRefusal::Token),
            ),
            (
                "127.0.0.1",
                Some(TOKEN),
                "Host: any.example\r\nAuthorization: bearer 0123456789abcdef\r\n",
                Ok(()),
            ),
            (
                "127.0.0.1",
                Some(TOKEN),
                "Host: a\r\nAuthorization: Bearer 0123456789abcdeg\r\n",
                refused(PushRefusal::Token),
            ),
            (
                "127.0.0.1",
                Some(TOKEN),
                "Host: a\r\nAuthorization: Basic 0123456789abcdef\r\n",
                refused(PushRefusal::Token),
            ),
        ] {
            let case = Case { ip, token, headers };
            assert_eq!(judge(&case), expected, "{ip} {token:?} {headers:?}");
        }
    }

    #[test]
    fn scripts_that_speak_websocket_bring_the_token_in_the_query() {
        let admission = |token: Option<&str>| {
            Admission::new(AdmissionSettings {
                push_token: token.map(str::to_owned),
                ..AdmissionSettings::default()
            })
        };
        for (target, expected) in [
            ("/php?token=0123456789abcdef", Ok(())),
            ("/php?a=b&token=0123456789abcdef", Ok(())),
            ("/php?token=0123456789abcde", Err(Rejection::Token)),
            ("/php?token=", Err(Rejection::Token)),
            ("/php", Err(Rejection::Token)),
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let request = Request::parse(head.as_bytes()).unwrap();
            assert_eq!(
                admission(Some(TOKEN)).check_token(&request),
                expected,
                "{target}"
            );
            assert_eq!(admission(None).check_token(&request), Ok(()));
        }
    }
}
