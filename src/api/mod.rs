//! Plain HTTP requests on the same port: push, the demo page, the client script, and how the server
//! does.
//!
//! Owns which path means what, which methods and types it takes, and the bytes of the responses
//! (RFC 9110, RFC 9112). Sees no socket and has no way of its own to the clients: packets go
//! to the application, which asks here what the answer is.

mod assets;
pub mod batch;
mod demo;
mod exposition;
pub mod figures;
mod jobs;
pub mod metrics;
pub mod nodes;
mod posted;
pub mod readiness;
mod replay;
mod response;
pub mod status;
pub mod users;

pub use self::assets::Asset;
pub use self::batch::{Batch, Form, Outcome, PushError, Reach, Wait};
pub use self::demo::Demo;
pub use self::exposition::{Metric, MetricKind};
pub use self::jobs::Jobs;
pub use self::posted::Posted;
pub use self::readiness::{DrainStatus, NotReady};
pub use self::response::{BodyPart, Response};

use crate::protocol::http::Request;
use crate::protocol::media_type::{Acceptance, MediaType, is_encoded};

/// What a request that asks for no WebSocket is for.
#[derive(Debug)]
pub enum Route {
    /// Its response is known.
    Answer(Response),
    /// Packets to push are in its body, in this form.
    Push(Form, Wait),
    /// How the server does, for whom this door is.
    Monitor(Door, MonitorPage),
    /// The status page closes the connection that is named in its body.
    Close,
    /// A browser asks whether a foreign page may push (CORS preflight).
    Preflight,
    /// Whether the user of this id has a tab (`/users/ID`).
    User(String),
    /// Which of the users in its body have a tab (`/users`).
    Users,
    /// A stream of events is asked for (`/sse`).
    EventStream,
    /// What a page says that reads such a stream is in its body (`/send`).
    Send,
    /// A browser asks whether a foreign page may do that, by this method (CORS preflight).
    PagePreflight(&'static str),
    /// Where a page stands that is made now (`/position`).
    Position,
    /// The demo page asks how push is reached from the server's own machine.
    PushAddress,
    /// The demo page wants a job to be run for the uuid in its body.
    Job,
    /// Nothing here: it is judged as an opening handshake.
    None,
}

/// Who may ask how the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Load balancers, too: it is no more than yes or no.
    Probe,
    /// Who may push.
    Status,
}

/// What is asked of how the server does.
#[derive(Debug)]
pub enum MonitorPage {
    /// Its response is known.
    Known(Response),
    /// Whether to send newcomers here (`/ready`).
    Ready(DrainStatus),
    /// `/metrics`
    Metrics,
    /// The data of the status page (`/status.json`).
    Status,
    /// Other servers (`/nodes`).
    Nodes,
}

/// Finds what `request` is for: path, then method, then type (RFC 9110 §15.5).
pub fn route(request: &Request<'_>, demo: Demo) -> Route {
    if request.has_token("Upgrade", "websocket") {
        return Route::None;
    }
    match request.path() {
        "/push" | "/users" | "/position" if is_preflight(request) => Route::Preflight,
        EVENTS if is_preflight(request) => Route::PagePreflight("GET"),
        "/send" if is_preflight(request) => Route::PagePreflight("POST"),
        "/push/" => Route::Answer(Response::error(
            404,
            "push is at /push, with nothing behind it",
        )),
        "/health" => Route::Monitor(Door::Probe, get(request, || MonitorPage::Known(health()))),
        "/ready" => {
            let drain = DrainStatus::of(request.query());
            Route::Monitor(Door::Probe, get(request, || MonitorPage::Ready(drain)))
        }
        "/metrics" => Route::Monitor(Door::Status, get(request, || MonitorPage::Metrics)),
        "/status.json" => Route::Monitor(Door::Status, get(request, || MonitorPage::Status)),
        "/nodes" => Route::Monitor(Door::Status, get(request, || MonitorPage::Nodes)),
        "/status/close" => post(request, JSON_TYPE, |media_type| {
            (media_type == MediaType::Json).then_some(Route::Close)
        }),
        "/push" => post(request, PUSH_TYPES, |media_type| match media_type {
            MediaType::Json => Some(Route::Push(Form::Json, Wait::of(request.query()))),
            MediaType::JsonLines => Some(Route::Push(Form::Lines, Wait::of(request.query()))),
            MediaType::Other => None,
        }),
        "/demo/push-address" if demo == Demo::On && request.method() == "GET" => Route::PushAddress,
        "/demo/job" if demo == Demo::On => post(request, JSON_TYPE, |media_type| {
            (media_type == MediaType::Json).then_some(Route::Job)
        }),
        _ if is_handshake(request) => Route::None,
        EVENTS => events(request),
        "/send" => post(request, JSON_TYPE, |media_type| {
            (media_type == MediaType::Json).then_some(Route::Send)
        }),
        "/users" => post(request, JSON_TYPE, |media_type| {
            (media_type == MediaType::Json).then_some(Route::Users)
        }),
        "/position" => match request.method() {
            "GET" | "HEAD" => Route::Position,
            "OPTIONS" => Route::Answer(Response::allowing("GET, HEAD, OPTIONS")),
            _ => Route::Answer(Response::not_allowed("GET, HEAD, OPTIONS")),
        },
        path if path.starts_with(USER) => user(request),
        path => match (Asset::at(path, demo), Asset::of_status(path)) {
            (Some(asset), _) => Route::Answer(get(request, || asset.response())),
            (None, Some(asset)) => {
                let page = get(request, || MonitorPage::Known(asset.response()));
                Route::Monitor(Door::Status, page)
            }
            (None, None) => Route::None,
        },
    }
}

/// Whether a request is meant as an opening handshake, however wrong: then it is told what is wrong
/// with it (protocol.md 1.5).
fn is_handshake(request: &Request<'_>) -> bool {
    let names = ["Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version"];
    let mut values = names.iter().flat_map(|name| request.header_values(name));
    values.next().is_some()
}

/// Whether a browser asks before it lets a page of another origin send (Fetch Standard, CORS).
fn is_preflight(request: &Request<'_>) -> bool {
    let is_asked = |name| request.header(name).is_some_and(|value| !value.is_empty());
    request.method() == "OPTIONS" && is_asked("Origin") && is_asked("Access-Control-Request-Method")
}

/// The server is well as long as it answers at all.
fn health() -> Response {
    Response::with_body(200, "text/plain; charset=utf-8", b"ok\n"[..].into())
}

/// What is asked about one user.
fn user(request: &Request<'_>) -> Route {
    let path = request.path().strip_prefix(USER).unwrap_or_default();
    match request.method() {
        "GET" | "HEAD" => users::id_of(path).map_or_else(Route::Answer, Route::User),
        "OPTIONS" if is_preflight(request) => Route::Preflight,
        "OPTIONS" => Route::Answer(Response::allowing("GET, HEAD, OPTIONS")),
        _ => Route::Answer(Response::not_allowed("GET, HEAD, OPTIONS")),
    }
}

/// A stream of events, for those who take one. `HEAD` is judged as `GET` is.
fn events(request: &Request<'_>) -> Route {
    match request.method() {
        "GET" | "HEAD" if acceptance(request) == Acceptance::No => {
            Route::Answer(Response::failure(
                406,
                "this is a stream of events: send Accept: text/event-stream",
            ))
        }
        "GET" | "HEAD" => Route::EventStream,
        "OPTIONS" => Route::Answer(Response::allowing("GET, HEAD, OPTIONS")),
        _ => Route::Answer(Response::not_allowed("GET, HEAD, OPTIONS")),
    }
}

/// Whether a client takes a stream of events.
pub fn acceptance(request: &Request<'_>) -> Acceptance {
    Acceptance::of(request, "text", "event-stream")
}

/// Where a stream of events is (protocol.md 9.9).
pub const EVENTS: &str = "/sse";

/// In front of a user's id.
const USER: &str = "/users/";

/// A route that takes POST with a body of certain types, which `types` says in words.
fn post(
    request: &Request<'_>,
    types: &str,
    of_type: impl FnOnce(MediaType) -> Option<Route>,
) -> Route {
    match request.method() {
        "POST" => {}
        "OPTIONS" => return Route::Answer(Response::allowing("POST, OPTIONS")),
        _ => return Route::Answer(Response::not_allowed("POST, OPTIONS")),
    }
    match of_type(MediaType::of(request)).filter(|_| !is_encoded(request)) {
        Some(route) => route,
        None => Route::Answer(Response::error(
            415,
            &format!("send Content-Type: {types}; once, and the body not encoded"),
        )),
    }
}

const JSON_TYPE: &str = "application/json";
const PUSH_TYPES: &str = "application/json, or application/x-ndjson with one packet per line";

/// What answers GET and HEAD; other methods are told which there are.
fn get<T: From<Response>>(request: &Request<'_>, page: impl FnOnce() -> T) -> T {
    match request.method() {
        "GET" | "HEAD" => page(),
        "OPTIONS" => Response::allowing("GET, HEAD, OPTIONS").into(),
        _ => Response::not_allowed("GET, HEAD, OPTIONS").into(),
    }
}

impl From<Response> for MonitorPage {
    fn from(response: Response) -> Self {
        Self::Known(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(head: &str, demo: Demo) -> Result<u16, &'static str> {
        let head = format!("{head}\r\n\r\n");
        match route(&Request::parse(head.as_bytes()).unwrap(), demo) {
            Route::Answer(response) | Route::Monitor(_, MonitorPage::Known(response)) => {
                Ok(response.status())
            }
            Route::Monitor(Door::Probe, MonitorPage::Ready(_)) => Err("ready"),
            Route::Monitor(Door::Status, MonitorPage::Metrics) => Err("metrics"),
            Route::Monitor(Door::Status, MonitorPage::Status) => Err("status"),
            Route::Monitor(Door::Status, MonitorPage::Nodes) => Err("nodes"),
            Route::Monitor(..) => Err("the wrong door"),
            Route::Close => Err("close"),
            Route::Preflight => Err("preflight"),
            Route::PushAddress => Err("address"),
            Route::Push(Form::Json, _) => Err("json"),
            Route::Push(Form::Lines, _) => Err("lines"),
            Route::User(_) => Err("user"),
            Route::Users => Err("users"),
            Route::EventStream => Err("events"),
            Route::Send => Err("send"),
            Route::PagePreflight("GET") => Err("GET?"),
            Route::PagePreflight(_) => Err("POST?"),
            Route::Position => Err("position"),
            Route::Job => Err("job"),
            Route::None => Err("none"),
        }
    }

    #[test]
    fn paths_methods_and_types_find_their_way() {
        let upgrade = "GET /push HTTP/1.1\r\nUpgrade: websocket";
        for (head, expected) in [
            ("POST /push HTTP/1.1", Ok(415)),
            (
                "POST /push?a=b HTTP/1.0\r\nContent-Type: application/json",
                Err("json"),
            ),
            (
                "POST /push HTTP/1.1\r\nContent-Type: application/vnd.api+json",
                Err("json"),
            ),
            (
                "POST /push HTTP/1.1\r\nContent-Type: application/json\r\n\
                 Content-Type: application/json",
                Ok(415),
            ),
            (
                "POST /push HTTP/1.1\r\nContent-Type: Application/JSON; charset=utf-8",
                Err("json"),
            ),
            (
                "POST /push HTTP/1.1\r\nContent-Type: application/x-ndjson",
                Err("lines"),
            ),
            ("POST /push HTTP/1.1\r\nContent-Type: text/plain", Ok(415)),
            (
                "POST /push HTTP/1.1\r\nContent-Type: application/json\r\n\
                 Content-Encoding: gzip",
                Ok(415),
            ),
            ("GET /push HTTP/1.1", Ok(405)),
            ("HEAD /push HTTP/1.1", Ok(405)),
            ("OPTIONS /push HTTP/1.1", Ok(204)),
            ("POST /push/ HTTP/1.1", Ok(404)),
            ("GET /health HTTP/1.0", Ok(200)),
            ("HEAD /health HTTP/1.1", Ok(200)),
            ("POST /health HTTP/1.1", Ok(405)),
            ("HEAD /ready?drain=404 HTTP/1.0", Err("ready")),
            ("PUT /ready HTTP/1.1", Ok(405)),
            ("GET /metrics HTTP/1.1", Err("metrics")),
            ("OPTIONS /metrics HTTP/1.1", Ok(204)),
            ("GET /status HTTP/1.1", Ok(200)),
            ("GET /status.css HTTP/1.1", Ok(200)),
            ("GET /status.js HTTP/1.1", Ok(200)),
            ("GET /status.json?user=a HTTP/1.1", Err("status")),
            ("POST /status.json HTTP/1.1", Ok(405)),
            ("POST /status/close HTTP/1.1", Ok(415)),
            ("GET /status/close HTTP/1.1", Ok(405)),
            ("GET /status/ HTTP/1.1", Err("none")),
            (
                "POST /status/close HTTP/1.1\r\nContent-Type: application/json",
                Err("close"),
            ),
            (
                "OPTIONS /push HTTP/1.1\r\nOrigin: https://a\r\n\
                 Access-Control-Request-Method: POST",
                Err("preflight"),
            ),
            (upgrade, Err("none")),
            ("GET /websock.js HTTP/1.1", Ok(200)),
            ("HEAD /websock.js HTTP/1.1", Ok(200)),
            ("POST /websock.js HTTP/1.1", Ok(405)),
            ("GET /web HTTP/1.1", Err("none")),
            ("GET /users/42 HTTP/1.1", Err("user")),
            ("HEAD /users/a/b?c HTTP/1.1", Err("user")),
            ("GET /users/ HTTP/1.1", Ok(400)),
            ("GET /users/%ff HTTP/1.1", Ok(400)),
            ("POST /users/42 HTTP/1.1", Ok(405)),
            ("OPTIONS /users/42 HTTP/1.1", Ok(204)),
            ("GET /position HTTP/1.1", Err("position")),
            ("HEAD /position HTTP/1.1", Err("position")),
            ("POST /position HTTP/1.1", Ok(405)),
            ("OPTIONS /position HTTP/1.1", Ok(204)),
            ("GET /users HTTP/1.1", Ok(405)),
            ("POST /users HTTP/1.1", Ok(415)),
            (
                "POST /users HTTP/1.1\r\nContent-Type: application/json",
                Err("users"),
            ),
            (
                "POST /users HTTP/1.1\r\nContent-Type: application/x-ndjson",
                Ok(415),
            ),
            (
                "OPTIONS /users/42 HTTP/1.1\r\nOrigin: https://a\r\n\
                 Access-Control-Request-Method: GET",
                Err("preflight"),
            ),
            (
                "GET /users/42 HTTP/1.1\r\nSec-WebSocket-Version: 13",
                Err("none"),
            ),
            ("GET /sse?user=1 HTTP/1.1", Err("events")),
            ("HEAD /sse HTTP/1.0\r\nAccept: text/*", Err("events")),
            ("GET /sse HTTP/1.1\r\nAccept: text/html", Ok(406)),
            ("POST /sse HTTP/1.1", Ok(405)),
            ("OPTIONS /sse HTTP/1.1", Ok(204)),
            (
                "OPTIONS /sse HTTP/1.1\r\nOrigin: https://a\r\n\
                 Access-Control-Request-Method: GET",
                Err("GET?"),
            ),
            ("GET /sse HTTP/1.1\r\nUpgrade: websocket", Err("none")),
            ("GET /sse/ HTTP/1.1", Err("none")),
            ("GET /send HTTP/1.1", Ok(405)),
            ("POST /send HTTP/1.1", Ok(415)),
            (
                "POST /send HTTP/1.1\r\nContent-Type: application/json",
                Err("send"),
            ),
            (
                "OPTIONS /send HTTP/1.1\r\nOrigin: https://a\r\n\
                 Access-Control-Request-Method: POST",
                Err("POST?"),
            ),
        ] {
            for demo in [Demo::On, Demo::Off] {
                assert_eq!(status(head, demo), expected, "{head}");
            }
        }
        for (head, on) in [
            ("GET / HTTP/1.1", Ok(200)),
            ("GET /demo.css HTTP/1.1", Ok(200)),
            ("GET / HTTP/1.1\r\nUpgrade: h2c", Err("none")),
            ("GET / HTTP/1.1\r\nSec-WebSocket-Version: 13", Err("none")),
            ("POST /demo/job HTTP/1.1", Ok(415)),
            (
                "POST /demo/job HTTP/1.1\r\nContent-Type: application/json",
                Err("job"),
            ),
            ("GET /demo/job HTTP/1.1", Ok(405)),
        ] {
            assert_eq!(status(head, Demo::On), on, "{head}");
            assert_eq!(status(head, Demo::Off), Err("none"), "{head}");
        }
    }
}
