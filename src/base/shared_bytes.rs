//! [`SharedBytes`]: bytes that several connections send.

use std::cell::{Cell, OnceCell};
use std::ops::Deref;
use std::rc::Rc;

use super::freeing::free;

/// Bytes that are kept once, however many have them in their queues.
#[derive(Debug, Default)]
pub struct SharedBytes {
    bytes: Vec<u8>,
    /// The sum that they are a part of.
    sum: OnceCell<Rc<Cell<usize>>>,
}

impl SharedBytes {
    /// Takes the bytes out, for their memory to be used again.
    pub fn take(&mut self) -> Vec<u8> {
        self.leave_sum();
        std::mem::take(&mut self.bytes)
    }

    /// Adds the memory that they take to a sum, of which they are a part until nobody has them any
    /// more.
    pub fn count_in(&self, sum: &Rc<Cell<usize>>) {
        if self.sum.set(Rc::clone(sum)).is_ok() {
            sum.update(|sum| sum + self.held_bytes());
        }
    }

    /// Bytes of memory that they take.
    pub fn held_bytes(&self) -> usize {
        SHARING_BYTES + self.bytes.capacity()
    }

    fn leave_sum(&mut self) {
        if let Some(sum) = self.sum.take() {
            sum.update(|sum| sum - self.held_bytes());
        }
    }
}

impl From<Vec<u8>> for SharedBytes {
    fn from(bytes: Vec<u8>) -> Self {
        let sum = OnceCell::new();
        Self { bytes, sum }
    }
}

impl Deref for SharedBytes {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl Drop for SharedBytes {
    fn drop(&mut self) {
        free(self.take());
    }
}

/// What it costs to share: themselves, the counts, and the allocator's own.
const SHARING_BYTES: usize = size_of::<SharedBytes>() + 16 + 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_count_once_from_when_they_are_added_until_the_last_has_let_go() {
        let sum = Rc::new(Cell::new(0));
        let bytes = Rc::new(SharedBytes::from(Vec::with_capacity(1000)));
        let other = Rc::clone(&bytes);
        assert_eq!(sum.get(), 0);
        bytes.count_in(&sum);
        other.count_in(&sum);
        assert_eq!(sum.get(), 1000 + SHARING_BYTES);
        drop(bytes);
        assert_eq!(sum.get(), 1000 + SHARING_BYTES);
        drop(other);
        assert_eq!(sum.get(), 0);
        let mut bytes = SharedBytes::from(vec![1; 10]);
        bytes.count_in(&sum);
        assert_eq!((bytes.take(), sum.get()), (vec![1; 10], 0));
    }
}
