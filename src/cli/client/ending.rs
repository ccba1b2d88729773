//! How a command ends.

use std::fmt;
use std::io;

use crate::base::plain;
use crate::client::Error;

/// How a command has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Done,
    /// A message was left out or reached nobody, which has been told on standard error.
    Incomplete,
}

/// Why a command cannot go on.
#[derive(Debug)]
pub enum Failure {
    /// The server, or the way to it.
    Client(Error),
    /// Standard input cannot be read.
    Input(io::Error),
    /// Standard output takes nothing more.
    Output(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => write!(f, "{error}"),
            Self::Input(error) => write!(f, "standard input: {}", plain(error)),
            Self::Output(error) => write!(f, "standard output: {}", plain(error)),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}
