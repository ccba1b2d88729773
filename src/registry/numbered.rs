//! [`Numbered`]: values under numbers of their own.

use std::num::NonZeroU32;

use crate::connection::SlotMap;

/// Values under numbers that are given out again.
#[derive(Debug)]
pub(in crate::registry) struct Numbered<T> {
    values: SlotMap<T>,
    free: Vec<NonZeroU32>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self {
            values: SlotMap::default(),
            free: Vec::new(),
        }
    }
}

impl<T> Numbered<T> {
    /// How many there are.
    pub(in crate::registry) fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there has never been one, or none since all memory was given back.
    #[cfg(test)]
    pub(in crate::registry) fn is_unallocated(&self) -> bool {
        self.values.end() == 0
    }

    /// All numbers.
    pub(in crate::registry) fn numbers(&self) -> impl Iterator<Item = NonZeroU32> {
        let numbers = (1..self.values.end()).filter(|&n| self.values.get(n).is_some());
        // Values have numbers of 32 bits.
        numbers.filter_map(|number| NonZeroU32::new(number as u32))
    }

    /// The value of a number.
    pub(in crate::registry) fn get(&self, number: NonZeroU32) -> Option<&T> {
        self.values.get(number.get() as usize)
    }

    /// The value of a number, to be changed.
    pub(in crate::registry) fn get_mut(&mut self, number: NonZeroU32) -> Option<&mut T> {
        self.values.get_mut(number.get() as usize)
    }

    /// Adds a value; its number.
    pub(in crate::registry) fn insert(&mut self, value: T) -> NonZeroU32 {
        let number = self.free.pop().unwrap_or_else(|| {
            // There are fewer than connections, whose slots have 32 bits.
            let next = u32::try_from(self.values.len() + 1).unwrap_or(u32::MAX);
            NonZeroU32::new(next).unwrap_or(NonZeroU32::MAX)
        });
        self.values.insert(number.get() as usize, value);
        number
    }

    /// Takes a value out.
    pub(in crate::registry) fn remove(&mut self, number: NonZeroU32) -> Option<T> {
        let value = self.values.remove(number.get() as usize)?;
        if self.values.is_empty() {
            self.free = Vec::new();
        } else {
            self.free.push(number);
        }
        Some(value)
    }
}
