//! At which step a connection fails, for `--check --dial`.

use super::error::Error;
use crate::protocol::error::Rejection;

impl Error {
    /// The step, and what else an operator can look at.
    pub fn diagnosis(&self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Address(_) => ("address", None),
            Self::Resolve(..) => ("DNS", None),
            Self::Connect(..) => ("TCP", None),
            Self::Tls(_) => ("TLS", None),
            Self::Status(_, text) if is_stripped(text) => ("upgrade", Some(STRIPPED)),
            Self::Status(..) | Self::NoPush(..) | Self::NoHttp(_) => ("HTTP", None),
            Self::Handshake(_) => ("upgrade", None),
            Self::Timeout("ready") => ("ready", Some(BUFFERED)),
            Self::Timeout(_) => ("HTTP", None),
            Self::NoDialogue | Self::Refused(_) | Self::Closed { .. } | Self::Violation(_) => {
                ("ready", None)
            }
            Self::Silent(_) | Self::Ended | Self::Lost(_) => ("connection", None),
        }
    }
}

/// Whether our own server has got the request, but not as one for an upgrade.
fn is_stripped(text: &str) -> bool {
    let traces = [
        Rejection::Upgrade,
        Rejection::Connection,
        Rejection::HttpVersion,
    ];
    traces.iter().any(|trace| text.contains(trace.reason()))
}

const STRIPPED: &str =
    "the proxy does not pass the upgrade on; 'websock --print-proxy' prints the lines for it";
const BUFFERED: &str = "the proxy may be buffering; 'websock --print-proxy' switches it off";
