//! Bytes that several connections send: kept once, counted once, their memory used again.

use std::rc::Rc;

use crate::base::SharedBytes;
use crate::connection::output::BufferPool;

/// Knows all shared buffers.
#[derive(Debug, Default)]
pub(super) struct SharedBuffers {
    /// Those from which somebody still sends.
    lent: Vec<Rc<SharedBytes>>,
    lent_bytes: usize,
    /// Handles without bytes, so that no message costs an allocation of its own.
    spare: Vec<Rc<SharedBytes>>,
}

impl SharedBuffers {
    /// Makes `bytes` shareable. [`reclaim_handle`](Self::reclaim_handle) has to follow.
    pub(super) fn wrap(&mut self, bytes: Vec<u8>) -> Rc<SharedBytes> {
        let mut handle = self.spare.pop().unwrap_or_default();
        match Rc::get_mut(&mut handle) {
            Some(place) => {
                *place = bytes.into();
                handle
            }
            None => Rc::new(bytes.into()),
        }
    }

    /// Takes back what [`wrap`](Self::wrap) has given: the bytes if nobody has kept a reference;
    /// else they count as memory until nobody has.
    pub(super) fn reclaim_handle(&mut self, mut handle: Rc<SharedBytes>) -> Option<Vec<u8>> {
        let Some(place) = Rc::get_mut(&mut handle) else {
            self.lent_bytes += handle.capacity();
            self.lent.push(handle);
            return None;
        };
        let bytes = place.take();
        if self.spare.len() < MAX_SPARE {
            self.spare.push(handle);
        }
        Some(bytes)
    }

    /// Takes back what nobody sends from any more.
    pub(super) fn reclaim(&mut self, pool: &mut BufferPool) {
        let mut index = 0;
        while let Some(handle) = self.lent.get(index) {
            if Rc::strong_count(handle) > 1 {
                index += 1;
                continue;
            }
            let handle = self.lent.swap_remove(index);
            self.lent_bytes -= handle.capacity();
            pool.give(self.reclaim_handle(handle).unwrap_or_default());
        }
    }

    /// Bytes of memory that are lent.
    pub(super) fn held_bytes(&self) -> usize {
        self.lent_bytes
    }
}

/// Most spare handles: as many broadcasts are under way in a busy turn.
const MAX_SPARE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_keeps_comes_back_at_once_and_the_rest_when_it_is_let_go() {
        let (mut shared_buffers, mut pool) = (SharedBuffers::default(), BufferPool::default());
        let handle = shared_buffers.wrap(vec![1; 100]);
        assert_eq!(shared_buffers.reclaim_handle(handle), Some(vec![1; 100]));

        let handle = shared_buffers.wrap(vec![2; 100]);
        let kept = Rc::clone(&handle);
        assert_eq!(shared_buffers.reclaim_handle(handle), None);
        shared_buffers.reclaim(&mut pool);
        assert_eq!((shared_buffers.held_bytes(), pool.held_bytes()), (100, 0));
        assert_eq!(**kept, [2; 100]);
        drop(kept);
        shared_buffers.reclaim(&mut pool);
        assert_eq!((shared_buffers.held_bytes(), pool.held_bytes()), (0, 100));
    }
}
