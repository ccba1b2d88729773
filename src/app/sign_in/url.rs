//! Asking a URL who somebody is (protocol.md 8.4): the request, and what its answer means.

use std::time::Duration;

use serde_json::Value;

use super::verdict::{Grant, Standing, Verdict};
use super::visit::Visit;
use super::visitor::Header;
use crate::protocol::http::Request as Head;
use crate::registry::UserId;
use crate::upstream::http::{Request, RequestError, Response};
use crate::upstream::{CallError, Protocol};

/// Longest body of an answer (protocol.md 8.4).
pub(super) const MAX_BODY_BYTES: usize = 8 << 10;

/// A kept yes, and a kept no.
pub(super) const YES_KEPT: Duration = Duration::from_secs(30);
pub(super) const NO_KEPT: Duration = Duration::from_secs(2);

/// Headers of the visitor's request that every question passes on. `Cookie` is joined, and `Host`
/// is the page's.
const PASSED_ON: [&str; 3] = ["User-Agent", "Accept-Language", "Origin"];

/// What is passed on of a visitor's request, in the order in which it is sent.
pub(super) fn headers_of(visit: &Visit<'_>, named: &[String]) -> Vec<Header> {
    let head = visit.head;
    let mut headers: Vec<Header> = Vec::new();
    let mut add = |name: &str, value: &[u8]| headers.push((name.into(), value.into()));
    if let Some(host) = page_host(head) {
        add("Host", host.as_bytes());
    }
    add("Accept", b"application/json");
    let cookies: Vec<&[u8]> = head.header_values("Cookie").collect();
    if !cookies.is_empty() {
        add("Cookie", &cookies.join(&b"; "[..]));
    }
    for name in PASSED_ON
        .into_iter()
        .chain(named.iter().map(String::as_str))
    {
        if let Some(value) = head.header_values(name).last() {
            add(name, value);
        }
    }
    if let Some(ip) = visit.peer.ip {
        add("X-Forwarded-For", ip.to_string().as_bytes());
    }
    add("X-Forwarded-Proto", visit.scheme.as_bytes());
    add("X-Original-URI", original_uri(head).as_bytes());
    headers
}

/// The request for headers that [`headers_of`] has gathered.
pub(super) fn question(protocol: &Protocol, headers: &[Header]) -> Result<Request, RequestError> {
    Request::get(
        protocol,
        headers.iter().map(|(name, value)| (&**name, &**value)),
    )
}

/// The host of the page: what its origin names, if that is the host which the request names, too,
/// only perhaps by another port. Frameworks build their own URLs of it.
fn page_host<'a>(head: &Head<'a>) -> Option<&'a str> {
    let host = head.host().ok()?;
    let origin = head.header("Origin").and_then(|o| o.split_once("://"));
    let page = origin.and_then(|(_, host)| crate::protocol::host::Host::parse(host));
    match page.filter(|page| page.name().eq_ignore_ascii_case(host.name())) {
        Some(page) => Some(page.as_str()),
        None => Some(host.as_str()),
    }
}

fn original_uri(head: &Head<'_>) -> String {
    match head.query() {
        "" => head.path().to_owned(),
        query => format!("{}?{query}", head.path()),
    }
}

/// What an answer means. Whatever is not a clear yes or no is neither.
pub(super) fn judge(result: &Result<Response, CallError>) -> Verdict {
    let Ok(response) = result else {
        return Verdict::Unknown(None);
    };
    match response.status() {
        200 => judge_success(response),
        204 => Verdict::yes(Standing::Anonymous),
        401 | 403 => Verdict::No,
        _ => Verdict::Unknown(response.retry_after()),
    }
}

fn judge_success(response: &Response) -> Verdict {
    if let Some(user) = response.header("X-Websock-User") {
        let user = str::from_utf8(user).ok().and_then(UserId::new);
        return user.map_or(Verdict::Unknown(None), Verdict::user);
    }
    judge_body(response.body()).map_or(Verdict::Unknown(None), Verdict::Yes)
}

/// `{"user":"42","expire":3600,"rooms":["order-7"],"info":{…}}`; other keys are left alone. What
/// `rooms` names has to have its form, and is used once there are rooms.
fn judge_body(body: &[u8]) -> Option<Grant> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let user = match answer.get("user")? {
        Value::String(text) => UserId::new(text),
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            UserId::new(&number.to_string())
        }
        _ => None,
    }?;
    let is_list_of_names = |rooms: &Value| {
        let rooms = rooms.as_array();
        rooms.is_some_and(|rooms| rooms.iter().all(Value::is_string))
    };
    if !answer.get("rooms").is_none_or(is_list_of_names) {
        return None;
    }
    let expires_in = match answer.get("expire") {
        None | Some(Value::Null) => None,
        // One that is over when it is given says nothing.
        Some(seconds) => match seconds.as_f64()? {
            seconds if seconds > 0.0 => Duration::try_from_secs_f64(seconds).ok(),
            _ => return None,
        },
    };
    Some(Grant {
        standing: Standing::SignedIn(Some(user)),
        expires_in,
    })
}
