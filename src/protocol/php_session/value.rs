//! [`Value`]: what stands in a session, and whether PHP takes it for true.

use std::fmt;

/// A value. Of arrays and objects only that they are there.
///
/// Its `Debug` form names the kind only: it may be somebody's password.
#[derive(Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// null
    Null,
    /// A bool.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A string, in any bytes.
    String(&'a [u8]),
    /// An array.
    Array {
        /// Number of its elements.
        len: usize,
    },
    /// An object or a case of an enum.
    Object,
}

impl Value<'_> {
    /// Whether `if ($value)` goes on in PHP.
    pub fn is_true(self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => value,
            Self::Integer(value) => value != 0,
            // Not a number is not 0.
            Self::Float(value) => value != 0.0,
            Self::String(value) => !matches!(value, b"" | b"0"),
            Self::Array { len } => len > 0,
            Self::Object => true,
        }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Integer(_) => "integer",
            Self::Float(_) => "float",
            Self::String(_) => "string",
            Self::Array { .. } => "array",
            Self::Object => "object",
        })
    }
}
