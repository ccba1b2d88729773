//! A question to a target, and its answer.

use super::error::CallError;
use super::target::Protocol;
use super::{http, redis};
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
    /// What is asked, in the protocol of the target.
    pub request: Request,
    /// When an answer has to be there, waiting for a connection included.
    pub deadline: MonotonicTime,
    /// Longest body of an answer; of Redis, all values together, their syntax included.
    pub max_body_bytes: usize,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// One request over HTTP.
    Http(http::Request),
    /// Commands to Redis or Valkey.
    Redis(redis::Request),
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// A response over HTTP, whatever its status.
    Http(http::Response),
    /// One value for each command, in their order; one that was refused has an
    /// [`Error`](redis::Value::Error).
    Redis(Vec<redis::Value>),
}

/// What has become of a call.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The call.
    pub call: CallId,
    /// The response, whatever it says, or why there is none.
    pub result: Result<Response, CallError>,
}

impl Request {
    /// The bytes that are sent.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Http(request) => request.as_bytes(),
            Self::Redis(request) => request.as_bytes(),
        }
    }

    /// Whether asking twice is as good as asking once.
    pub(super) fn is_repeatable(&self) -> bool {
        match self {
            Self::Http(request) => request.method().is_idempotent(),
            Self::Redis(request) => request.is_repeatable(),
        }
    }

    /// Whether that protocol is the one it is written in.
    pub(super) fn is_in(&self, protocol: &Protocol) -> bool {
        match (self, protocol) {
            (Self::Http(_), Protocol::Http { .. }) | (Self::Redis(_), Protocol::Redis(_)) => true,
            (Self::Http(_), Protocol::Redis(_)) | (Self::Redis(_), Protocol::Http { .. }) => false,
        }
    }
}

impl Answer {
    /// The response of a target that speaks HTTP.
    ///
    /// # Errors
    /// Why there is none; [`CallError::WrongProtocol`] if the target speaks Redis.
    pub fn into_http(self) -> Result<http::Response, CallError> {
        match self.result? {
            Response::Http(response) => Ok(response),
            Response::Redis(_) => Err(CallError::WrongProtocol),
        }
    }

    /// The values of a target that speaks Redis, one for each command of the call, in their order.
    ///
    /// # Errors
    /// Why there are none; [`CallError::WrongProtocol`] if the target speaks HTTP.
    pub fn into_redis(self) -> Result<Vec<redis::Value>, CallError> {
        match self.result? {
            Response::Redis(values) => Ok(values),
            Response::Http(_) => Err(CallError::WrongProtocol),
        }
    }
}

impl From<http::Request> for Request {
    fn from(request: http::Request) -> Self {
        Self::Http(request)
    }
}

impl From<redis::Request> for Request {
    fn from(request: redis::Request) -> Self {
        Self::Redis(request)
    }
}
