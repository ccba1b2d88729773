//! [`Value`]: what a server says.

use std::fmt;

use super::error_kind::ErrorKind;

/// One answer, or a part of one.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing: a key that does not exist, for instance.
    Nil,
    /// A number.
    Integer(i64),
    /// A simple string (`+OK`) or a bulk string: nobody who asks needs to tell them apart.
    Bytes(Vec<u8>),
    /// Several.
    Array(Vec<Self>),
    /// The command was refused. The text behind the kind is not kept: Redis repeats arguments
    /// there, passwords too.
    Error(ErrorKind),
}

impl Value {
    /// The bytes of a string; `None` if it is none.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Nil | Self::Integer(_) | Self::Array(_) | Self::Error(_) => None,
        }
    }

    /// The number; `None` if it is none.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Nil | Self::Bytes(_) | Self::Array(_) | Self::Error(_) => None,
        }
    }

    /// The elements of an array; `None` if it is none.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            Self::Nil | Self::Integer(_) | Self::Bytes(_) | Self::Error(_) => None,
        }
    }

    /// Why the command was refused; `None` if it was not.
    pub fn as_error(&self) -> Option<ErrorKind> {
        match self {
            Self::Error(kind) => Some(*kind),
            Self::Nil | Self::Integer(_) | Self::Bytes(_) | Self::Array(_) => None,
        }
    }
}

/// Of strings only the length: they may be sessions.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("Nil"),
            Self::Integer(number) => write!(f, "Integer({number})"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Array(elements) => f.debug_list().entries(elements).finish(),
            Self::Error(kind) => write!(f, "Error({kind:?})"),
        }
    }
}
