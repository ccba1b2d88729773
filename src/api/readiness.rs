//! [`NotReady`]: why a load balancer should send nobody here, and the answer to `/ready`.

use super::response::Response;

/// One cause; there may be several at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotReady {
    /// The server is about to stop.
    Draining,
    /// Newcomers are refused for want of memory.
    Memory,
    /// No more clients are let in.
    Clients,
    /// A certificate in force is out of its time.
    Certificate,
}

impl NotReady {
    /// In one word or two, for the status page and for `/ready`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Draining => "draining: the server is about to stop",
            Self::Memory => "memoryLimit is nearly reached: newcomers are refused",
            Self::Clients => "maxClients is reached: newcomers are turned away",
            Self::Certificate => "a certificate is out of its time: see the log",
        }
    }
}

/// The status of a server that is about to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainStatus {
    /// 503, as for every other cause.
    Unavailable,
    /// 404, which HAProxy's `http-check disable-on-404` takes for a request to send nobody new
    /// (`?drain=404`).
    NotFound,
}

impl DrainStatus {
    /// As the query of the request has it.
    pub fn of(query: &str) -> Self {
        match query.split('&').any(|field| field == "drain=404") {
            true => Self::NotFound,
            false => Self::Unavailable,
        }
    }
}

/// The answer to `/ready`. A server whose Redis is away serves its own as before, and pages have
/// nowhere better to go: it is ready, and says what is missing.
pub fn response(causes: &[NotReady], drain: DrainStatus, is_alone: bool) -> Response {
    let is_draining = causes.contains(&NotReady::Draining);
    let (status, text) = match (causes, drain) {
        ([], _) if is_alone => (200, ALONE.to_owned()),
        ([], _) => (200, "ready\n".to_owned()),
        (_, DrainStatus::NotFound) if is_draining => (404, reasons(causes)),
        (_, DrainStatus::NotFound | DrainStatus::Unavailable) => (503, reasons(causes)),
    };
    let body = text.into_bytes().into();
    let mut response = Response::with_body(status, "text/plain; charset=utf-8", body);
    response.add_header("Cache-Control", "no-store");
    response
}

const ALONE: &str =
    "ready, but the other servers are not reached: the Redis of backplane is away\n";

fn reasons(causes: &[NotReady]) -> String {
    let lines = causes.iter().map(|cause| format!("{}\n", cause.reason()));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_asks_for_it_gets_404_and_only_while_the_server_drains() {
        use DrainStatus::{NotFound, Unavailable};
        use NotReady::{Certificate, Draining, Memory};
        for (causes, query, expected) in [
            (&[][..], "", (Unavailable, 200)),
            (&[], "drain=404", (NotFound, 200)),
            (&[Draining], "", (Unavailable, 503)),
            (&[Draining], "a=b&drain=404", (NotFound, 404)),
            (&[Memory, Draining], "drain=404", (NotFound, 404)),
            (&[Memory], "drain=404", (NotFound, 503)),
            (&[Certificate], "drain=4040", (Unavailable, 503)),
        ] {
            let drain = DrainStatus::of(query);
            let status = response(causes, drain, false).status();
            assert_eq!((drain, status), expected, "{causes:?} {query}");
        }
    }
}
