//! Signals and counters as events of the loop.
