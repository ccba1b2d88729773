//! A question to a target, and its answer.

use super::error::CallError;
use super::http::{Request, Response};
use crate::base::time::MonotonicTime;

/// Names one call for as long as the server runs. Whoever asks chooses it, and never twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// Names one [`Upstream`](super::Upstream) among those that a server asks: the order in which they
/// were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId(pub usize);

/// A question.
#[derive(Debug)]
pub struct Call {
    /// Its name, which the answer bears, too.
    pub id: CallId,
    /// What is asked.
    pub request: Request,
    /// When an answer has to be there, waiting for a connection included.
    pub deadline: MonotonicTime,
    /// Longest body of an answer.
    pub max_body_bytes: usize,
}

/// What has become of a call.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The call.
    pub call: CallId,
    /// The response, whatever its status, or why there is none.
    pub result: Result<Response, CallError>,
}
