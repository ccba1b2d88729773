//! What every layer may use: containers, time, random numbers. Knows nothing of the network or of the server.

pub mod escape;
pub mod freeing;
pub mod histogram;
pub mod log_limit;
pub mod log_target;
pub mod plain_error;
pub mod random;
pub mod record;
pub mod secret;
pub mod shared_bytes;
pub mod slot_map;
pub mod tally;
pub mod time;

pub use self::escape::{escape, excerpt};
pub use self::freeing::free;
pub use self::histogram::Histogram;
pub use self::log_limit::LogLimiter;
pub use self::plain_error::plain;
pub use self::record::{BadRecord, Record, RecordWriter};
pub use self::secret::{Secret, SecretDigest, half_sha256};
pub use self::shared_bytes::SharedBytes;
pub use self::slot_map::{CHUNK_SLOTS, SlotMap};
pub use self::tally::Tally;
pub use self::time::MonotonicTime;
