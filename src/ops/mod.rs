//! Signals as events of the loop.

pub mod signals;
