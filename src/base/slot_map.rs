//! [`SlotMap`]: what is kept for each connection, found by its slot.

use std::ops::{Index, IndexMut};

/// Values by the slot of the connection they are for.
///
/// They lie in chunks of [`CHUNK_SLOTS`], so that growing moves none of them and leaves no holes
/// behind. A chunk is freed with its last value, but for a spare one: what a crowd has taken goes
/// with it, while those who come and go one by one allocate nothing.
#[derive(Debug)]
pub struct SlotMap<T> {
    chunks: Vec<Chunk<T>>,
    /// Of a chunk that has been emptied.
    spare: Vec<Option<T>>,
    len: usize,
}

/// Values of neighbouring slots, up to the highest that was ever taken.
#[derive(Debug)]
struct Chunk<T> {
    values: Vec<Option<T>>,
    len: usize,
}

/// Slots in one chunk.
pub const CHUNK_SLOTS: usize = 1024;

impl<T> SlotMap<T> {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One more than the highest slot that may hold a value.
    pub fn end(&self) -> usize {
        let last = self.chunks.last().map_or(0, |chunk| chunk.values.len());
        self.chunks.len().saturating_sub(1) * CHUNK_SLOTS + last
    }

    /// The value for a slot.
    #[inline]
    pub fn get(&self, slot: usize) -> Option<&T> {
        let chunk = self.chunks.get(slot / CHUNK_SLOTS)?;
        chunk.values.get(slot % CHUNK_SLOTS)?.as_ref()
    }

    /// The value for a slot, to be changed.
    #[inline]
    pub fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        let chunk = self.chunks.get_mut(slot / CHUNK_SLOTS)?;
        chunk.values.get_mut(slot % CHUNK_SLOTS)?.as_mut()
    }

    /// Puts a value in a slot; what was there before.
    pub fn insert(&mut self, slot: usize, value: T) -> Option<T> {
        let (index, place) = (slot / CHUNK_SLOTS, slot % CHUNK_SLOTS);
        if self.chunks.len() <= index {
            self.chunks.resize_with(index + 1, Chunk::default);
        }
        let chunk = &mut self.chunks[index];
        if chunk.values.capacity() == 0 {
            chunk.values = std::mem::take(&mut self.spare);
            // What is not reached is not resident: the system gives pages as they are touched.
            chunk.values.reserve_exact(CHUNK_SLOTS);
        }
        if chunk.values.len() <= place {
            chunk.values.resize_with(place + 1, || None);
        }
        let old = chunk.values[place].replace(value);
        chunk.len += usize::from(old.is_none());
        self.len += usize::from(old.is_none());
        old
    }

    /// Takes the value out of a slot.
    pub fn remove(&mut self, slot: usize) -> Option<T> {
        let index = slot / CHUNK_SLOTS;
        let chunk = self.chunks.get_mut(index)?;
        let value = chunk.values.get_mut(slot % CHUNK_SLOTS)?.take()?;
        chunk.len -= 1;
        self.len -= 1;
        if chunk.len == 0 {
            self.spare = std::mem::take(&mut chunk.values);
            self.spare.clear();
            while self.chunks.pop_if(|last| last.len == 0).is_some() {}
        }
        Some(value)
    }

    /// All values, by slot.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.end()).filter_map(|slot| self.get(slot))
    }

    /// All values, in the order of their slots.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks
            .iter_mut()
            .flat_map(|chunk| chunk.values.iter_mut().flatten())
    }
}

/// # Panics
///
/// If the slot holds no value.
impl<T> Index<usize> for SlotMap<T> {
    type Output = T;

    #[inline]
    fn index(&self, slot: usize) -> &T {
        self.get(slot).expect("a value for this slot")
    }
}

/// # Panics
///
/// If the slot holds no value.
impl<T> IndexMut<usize> for SlotMap<T> {
    #[inline]
    fn index_mut(&mut self, slot: usize) -> &mut T {
        self.get_mut(slot).expect("a value for this slot")
    }
}

impl<T> Default for SlotMap<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            spare: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Default for Chunk<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            len: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_a_map_that_ends_where_its_chunks_do(
            steps in proptest::collection::vec((0..5 * CHUNK_SLOTS, any::<bool>()), 0..200)
        ) {
            let (mut values, mut expected) = (SlotMap::default(), BTreeMap::new());
            for (number, (slot, is_there)) in steps.into_iter().enumerate() {
                if is_there {
                    prop_assert_eq!(values.insert(slot, number), expected.insert(slot, number));
                } else {
                    // Often one that is there.
                    let near = expected.range(slot..).next().map_or(slot, |(slot, _)| *slot);
                    prop_assert_eq!(values.remove(near), expected.remove(&near));
                }
                prop_assert_eq!(values.len(), expected.len());
                prop_assert_eq!(values.get(slot), expected.get(&slot));
                prop_assert_eq!(values.get_mut(slot), expected.get_mut(&slot));
                prop_assert!(values.iter_mut().eq(expected.values_mut()));
                let highest = expected.keys().next_back();
                prop_assert!(highest.is_none_or(|slot| *slot < values.end()));
                let is_freed = |chunk: &Chunk<_>| chunk.len > 0 || chunk.values.capacity() == 0;
                prop_assert!(values.chunks.iter().all(is_freed));
            }
            for slot in expected.into_keys() {
                values.remove(slot);
            }
            prop_assert!(values.is_empty() && values.chunks.is_empty());
        }
    }
}
