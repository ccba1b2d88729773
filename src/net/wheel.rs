//! temp
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};
/// temp
pub struct Wheel { by: BTreeSet<(Instant, usize)>, of: HashMap<usize, Instant> }
impl Wheel {
    /// .
    pub fn new(_: Instant) -> Self { Self { by: BTreeSet::new(), of: HashMap::new() } }
    /// .
    pub fn set(&mut self, slot: usize, deadline: Instant) { self.cancel(slot); self.by.insert((deadline, slot)); self.of.insert(slot, deadline); }
    /// .
    pub fn cancel(&mut self, slot: usize) { if let Some(d) = self.of.remove(&slot) { self.by.remove(&(d, slot)); } }
    /// .
    pub fn expire(&mut self, now: Instant, expired: &mut Vec<usize>) { while let Some(&(d, s)) = self.by.first() { if d > now { break } self.by.pop_first(); self.of.remove(&s); expired.push(s); } }
    /// .
    pub fn next_wait(&self, now: Instant) -> Option<Duration> { self.by.first().map(|(d, _)| d.saturating_duration_since(now)) }
}
