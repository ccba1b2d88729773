//! Why a call, a connection or a look-up has come to nothing.

use std::fmt;

use crate::protocol::redis::{DecodeError, ErrorKind};

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// No whole answer has come in time.
    Timeout,
    /// The host's name has no address, or could not be looked up.
    Unresolved,
    /// Nobody accepts connections there.
    Refused,
    /// The host cannot be reached, or does not answer.
    Unreachable,
    /// TLS could not be agreed on, or the certificate is not trusted.
    TlsFailed,
    /// The connection ended before the answer was whole.
    Closed,
    /// What came is no answer to this request.
    Malformed,
    /// The answer is longer than allowed.
    TooLarge,
    /// Too many calls wait already.
    QueueFull,
    /// This server ends.
    ShuttingDown,
    /// The other server, a Redis, does not let us in, or not now.
    Rejected(ErrorKind),
    /// The call is in another protocol than its target speaks.
    WrongProtocol,
}

/// Why a connection has not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The other end has refused it; a Unix socket that does not exist, too.
    Refused,
    /// Any other error of the system: no route, no permission, no descriptor left.
    Unreachable,
    /// TLS could not be agreed on, or the certificate is not trusted.
    TlsFailed,
}

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolveError {
    /// It is not known, or the system could not find out.
    NotFound,
    /// Too many names are being looked up already, or no thread could be started.
    Busy,
}

impl From<ConnectError> for CallError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Refused => Self::Refused,
            ConnectError::Unreachable => Self::Unreachable,
            ConnectError::TlsFailed => Self::TlsFailed,
        }
    }
}

impl From<ResolveError> for CallError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::NotFound | ResolveError::Busy => Self::Unresolved,
        }
    }
}

impl From<DecodeError> for CallError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Malformed => Self::Malformed,
            DecodeError::TooLarge => Self::TooLarge,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rejected(kind) => return kind.fmt(f),
            Self::Timeout => "no answer in time: see whether the other server is overloaded",
            Self::Unresolved => "the host's name has no address: check the name and the resolver",
            Self::Refused => "the connection was refused: see whether the other server runs",
            Self::Unreachable => "the host cannot be reached: check its address and the network",
            Self::TlsFailed => "TLS failed: check the other server's certificate and its name",
            Self::Closed => "the connection ended before the answer was whole: see its log",
            Self::Malformed => {
                "the answer is not in the protocol that was asked in: check what listens there"
            }
            Self::TooLarge => "the answer is too long: check what the URL serves",
            Self::QueueFull => "too many calls wait already: see whether the other server is slow",
            Self::ShuttingDown => "this server ends: ask again later",
            Self::WrongProtocol => "the call is in another protocol: ask in that of the target",
        })
    }
}

impl std::error::Error for CallError {}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        CallError::from(*self).fmt(f)
    }
}

impl std::error::Error for ConnectError {}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "the host's name has no address: check the name and the resolver",
            Self::Busy => "too many names are being looked up: try again later",
        })
    }
}

impl std::error::Error for ResolveError {}
