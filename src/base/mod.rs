//! What every layer may use: containers and time. Knows nothing of the network or of the server.

pub mod slot_map;
pub mod time;

pub use self::slot_map::{CHUNK_SLOTS, SlotMap};
pub use self::time::MonotonicTime;
