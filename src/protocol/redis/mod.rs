//! RESP2, what Redis and Valkey speak: a command as bytes, a [`Value`] from bytes.
//!
//! Owns the syntax, its limits, and what the first word of an error means. Knows nothing of
//! connections, of time, or of which answer belongs to which command.
//!
//! ```text
//!   bytes ──► ValueScanner: where does the value end, is it within the limits? ──► Decoder ──► Value
//!             (nothing is allocated, no byte looked at twice)                     redis_protocol
//! ```
//!
//! RESP3 is not asked for (no `HELLO 3`), so its types are as malformed as any other byte.

mod command;
mod decoder;
mod error_kind;
mod scanner;
mod value;

pub use self::command::{command_len, encode_command};
pub use self::decoder::{Decoded, Decoder};
pub use self::error_kind::ErrorKind;
pub use self::scanner::{DecodeError, MAX_DEPTH, MAX_ELEMENTS, ValueScanner};
pub use self::value::Value;
