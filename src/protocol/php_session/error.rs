//! Why a session's content cannot be read.

use std::fmt;

/// Why it is not known what a session holds. None of these says that something is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// It ends in the middle: it is just being written, or no serializer that is read has written it.
    CutOff,
    /// It is not what a serializer writes, from this byte on.
    Malformed {
        /// Bytes before it.
        at: usize,
    },
    /// Arrays and objects lie deeper in each other than PHP itself reads, or references lead from
    /// one to the next without end.
    TooDeep,
    /// igbinary has written it.
    Igbinary,
    /// What is wanted stands behind a reference, and that behind an object of a class that
    /// serializes itself (`C:`): how many values such an object holds is known to its class only.
    UnknownReference,
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutOff => f.write_str(
                "the session's data are cut off; set session.serialize_handler in php.ini to \
                 php, php_serialize or php_binary if this stays so",
            ),
            Self::Malformed { at } => write!(
                f,
                "the session's data are in no format that is read, from byte {at} on; set \
                 session.serialize_handler in php.ini to php, php_serialize or php_binary"
            ),
            Self::TooDeep => f.write_str(
                "the session's data are nested too deeply; keep what signs in near the top",
            ),
            Self::Igbinary => f.write_str(
                "the session is written by igbinary, which is not read; set \
                 session.serialize_handler in php.ini to php, php_serialize or php_binary",
            ),
            Self::UnknownReference => f.write_str(
                "the value is a reference behind an object that serializes itself, and cannot be \
                 followed; let the script store the value itself",
            ),
        }
    }
}

impl std::error::Error for SessionError {}
