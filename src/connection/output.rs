//! Bytes waiting to leave, owned or shared, and the spare buffers they are written into, with the
//! spare (de)compressors.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;
use std::rc::Rc;

use super::spare_buffers::SpareBuffers;
use crate::base::{SharedBytes, free};
use crate::protocol::deflate::{Deflater, Inflater};
use crate::protocol::extension::Context;

/// Buffers that are lent to connections while something waits in them, so that an idle
/// connection owns none and a busy server allocates none. The same for inflaters and deflaters
/// that remember nothing from one message to the next.
#[derive(Debug, Default)]
pub struct BufferPool {
    spare: SpareBuffers,
    #[expect(
        clippy::vec_box,
        reason = "they go into messages boxed and come back so"
    )]
    inflaters: Vec<Box<Inflater>>,
    deflaters: Vec<Deflater>,
    #[expect(clippy::vec_box, reason = "connections hold them boxed")]
    queues: Vec<Box<Queue>>,
}

impl BufferPool {
    /// Keeps no more than a part of `memory_limit_bytes` in spare buffers.
    pub fn limit_spare_bytes(&mut self, memory_limit_bytes: usize) {
        self.spare.limit(memory_limit_bytes);
    }

    /// An empty buffer.
    pub fn take(&mut self) -> Vec<u8> {
        let mut buffer = self.take_as_left();
        buffer.clear();
        buffer
    }

    /// A buffer with whatever it was left with, for who writes over it.
    pub fn take_as_left(&mut self) -> Vec<u8> {
        self.spare.take()
    }

    /// The same for a message of which `len` bytes are announced.
    pub fn take_for(&mut self, len: u64) -> Vec<u8> {
        self.spare.take_for(len)
    }

    /// Takes a buffer back; what would hold too much memory is freed instead.
    pub fn give(&mut self, buffer: Vec<u8>) {
        self.spare.give(buffer);
    }

    /// The same bytes in a buffer that is not much larger than they are.
    pub fn fit(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if bytes.capacity() / 2 <= bytes.len() {
            return bytes;
        }
        let fitted = bytes.clone();
        self.give(bytes);
        fitted
    }

    /// Whether there are large buffers that [`trim_unused`](Self::trim_unused) may free.
    pub fn has_large(&self) -> bool {
        self.spare.has_large()
    }

    /// Frees large buffers that nobody has needed since the last call.
    pub fn trim_unused(&mut self) {
        self.spare.trim_unused();
    }

    fn take_queue(&mut self) -> Box<Queue> {
        self.queues.pop().unwrap_or_default()
    }

    fn give_queue(&mut self, queue: Box<Queue>) {
        debug_assert!(queue.first.is_none() && queue.rest.capacity() == 0);
        debug_assert_eq!(queue.owned_bytes, 0);
        if self.queues.len() < MAX_SPARE_QUEUES {
            self.queues.push(queue);
        }
    }

    /// An inflater for one message.
    pub fn take_inflater(&mut self) -> Box<Inflater> {
        self.inflaters
            .pop()
            .unwrap_or_else(|| Box::new(Inflater::new(Context::Dropped)))
    }

    /// Takes an inflater back whose message has ended; if there are enough, it is freed instead.
    pub fn give_inflater(&mut self, inflater: Box<Inflater>) {
        if self.inflaters.len() < MAX_SPARE_INFLATERS {
            self.inflaters.push(inflater);
        }
    }

    /// The deflater for these values, of which there is one for all connections.
    pub fn deflater(&mut self, window_bits: u8, level: u8) -> &mut Deflater {
        let known = self
            .deflaters
            .iter()
            .position(|deflater| deflater.is_for(window_bits, level));
        let index = known.unwrap_or_else(|| {
            self.deflaters.truncate(MAX_SPARE_DEFLATERS - 1);
            let deflater = Deflater::new(window_bits, level, Context::Dropped);
            self.deflaters.push(deflater);
            self.deflaters.len() - 1
        });
        &mut self.deflaters[index]
    }

    /// Frees everything spare.
    pub fn trim(&mut self) {
        self.spare.clear();
        *self = Self {
            spare: std::mem::take(&mut self.spare),
            ..Self::default()
        };
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        let deflaters = self.deflaters.iter().map(Deflater::held_bytes);
        let queues = self.queues.len() * size_of::<Queue>();
        let inflaters = self.inflaters.len() * Inflater::HELD_BYTES;
        self.spare.held_bytes() + inflaters + deflaters.sum::<usize>() + queues
    }
}

/// A queue of bytes in the order in which they leave.
///
/// One pointer while nothing waits, as is the case for most connections most of the time.
#[derive(Debug, Default)]
pub struct Output {
    queue: Option<Box<Queue>>,
}

/// What waits: at least one piece, unless it is spare.
#[derive(Debug, Default)]
struct Queue {
    first: Option<Segment>,
    rest: VecDeque<Segment>,
    byte_count: usize,
    /// Memory of the owned pieces' buffers, kept as a sum: queues are weighed at every write.
    owned_bytes: usize,
    /// Bytes that wait in buffers which others may hold too.
    shared_bytes: usize,
}

#[derive(Debug)]
enum Segment {
    Owned {
        bytes: Vec<u8>,
        sent: usize,
    },
    Shared {
        bytes: Rc<SharedBytes>,
        range: Range<usize>,
    },
}

impl Segment {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned { bytes, sent } => bytes.get(*sent..).unwrap_or_default(),
            Self::Shared { bytes, range } => bytes.get(range.clone()).unwrap_or_default(),
        }
    }

    /// Copies a small range out of a shared buffer much larger than it, so as not to keep that
    /// from being used again. How many bytes were copied, and the memory that they take then; `None`
    /// for what was not shared.
    fn own_if_small(&mut self) -> Option<(usize, usize)> {
        let Self::Shared { bytes, range } = self else {
            return None;
        };
        if range.len() <= SHRINK_BYTES && bytes.capacity() / 16 > range.len() {
            let bytes = bytes.get(range.clone()).unwrap_or_default().to_vec();
            let (copied, owned) = (bytes.len(), bytes.capacity());
            *self = Self::Owned { bytes, sent: 0 };
            return Some((copied, owned));
        }
        Some((0, 0))
    }

    /// Bytes of memory that nobody else holds.
    fn owned_bytes(&self) -> usize {
        match self {
            Self::Owned { bytes, .. } => bytes.capacity(),
            Self::Shared { .. } => 0,
        }
    }

    /// Bytes that wait in a buffer which others may hold too.
    fn shared_bytes(&self) -> usize {
        match self {
            Self::Owned { .. } => 0,
            Self::Shared { range, .. } => range.len(),
        }
    }

    fn recycle(self, pool: &mut BufferPool) {
        match self {
            Self::Owned { bytes, .. } => pool.give(bytes),
            Self::Shared { .. } => {}
        }
    }
}

impl Queue {
    fn pieces(&self) -> impl Iterator<Item = &Segment> {
        self.first.iter().chain(&self.rest)
    }

    fn last_mut(&mut self) -> Option<&mut Segment> {
        self.rest.back_mut().or(self.first.as_mut())
    }

    fn push(&mut self, segment: Segment) {
        self.byte_count += segment.as_slice().len();
        self.owned_bytes += segment.owned_bytes();
        self.shared_bytes += segment.shared_bytes();
        if self.first.is_none() {
            self.first = Some(segment);
        } else {
            self.rest.push_back(segment);
        }
    }
}

impl Drop for Queue {
    /// What is dropped with its connection may be long.
    fn drop(&mut self) {
        for piece in self.first.iter_mut().chain(&mut self.rest) {
            if let Segment::Owned { bytes, .. } = piece {
                free(std::mem::take(bytes));
            }
        }
    }
}

impl Output {
    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.byte_count)
    }

    /// Bytes waiting, and what the pieces cost that they wait in: thousands of tiny ones are more
    /// than their bytes.
    pub fn weight(&self) -> usize {
        let weight = |queue: &Queue| queue.byte_count + queue.rest.len() * size_of::<Segment>();
        self.queue.as_deref().map_or(0, weight)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that this queue alone holds; shared bytes are not among them.
    pub fn held_bytes(&self) -> usize {
        let Some(queue) = &self.queue else {
            return 0;
        };
        queue.owned_bytes + queue.rest.capacity() * size_of::<Segment>() + size_of::<Queue>()
    }

    /// Bytes of memory that would be free without this queue, at most: those of its own, and what
    /// waits in buffers that others hold too.
    pub fn pinned_bytes(&self) -> usize {
        let shared_bytes = self.queue.as_ref().map_or(0, |queue| queue.shared_bytes);
        self.held_bytes() + shared_bytes
    }

    /// Takes the buffer at the end of the queue out, for bytes to be appended to it, until
    /// [`put_tail`](Self::put_tail) gives it back. Nothing else may happen to the queue in between.
    pub fn take_tail(&mut self, pool: &mut BufferPool) -> Vec<u8> {
        let Some(queue) = &mut self.queue else {
            return pool.take();
        };
        match queue.last_mut() {
            Some(Segment::Owned { bytes, sent }) => {
                let (tail, sent) = (std::mem::take(bytes), *sent);
                queue.byte_count -= tail.len() - sent;
                queue.owned_bytes -= tail.capacity();
                tail
            }
            Some(Segment::Shared { .. }) | None => pool.take(),
        }
    }

    /// See [`take_tail`](Self::take_tail).
    pub fn put_tail(&mut self, tail: Vec<u8>, pool: &mut BufferPool) {
        let Some(queue) = &mut self.queue else {
            if tail.is_empty() {
                pool.give(tail);
            } else {
                self.push_segment(tail, pool);
            }
            return;
        };
        if let Some(Segment::Owned { bytes, sent }) = queue.last_mut() {
            let (added, held) = (tail.len() - *sent, tail.capacity());
            *bytes = tail;
            queue.byte_count += added;
            queue.owned_bytes += held;
        } else if tail.is_empty() {
            pool.give(tail);
        } else {
            // It has to wait its turn; `shrink` sees only the first piece.
            let tail = pool.fit(tail);
            self.push_segment(tail, pool);
        }
    }

    /// Appends what `write` writes.
    pub fn append(&mut self, pool: &mut BufferPool, write: impl FnOnce(&mut Vec<u8>)) {
        let mut tail = self.take_tail(pool);
        write(&mut tail);
        self.put_tail(tail, pool);
    }

    /// Appends bytes that will not be joined with those before them.
    pub fn push_segment(&mut self, bytes: Vec<u8>, pool: &mut BufferPool) {
        self.queue_mut(pool).push(Segment::Owned { bytes, sent: 0 });
    }

    /// The same with bytes in a buffer that may be larger than they are; small ones join those
    /// before them all the same.
    pub fn push_buffer(&mut self, bytes: Vec<u8>, pool: &mut BufferPool) {
        if bytes.len() > SHRINK_BYTES {
            let bytes = pool.fit(bytes);
            self.push_segment(bytes, pool);
        } else {
            self.append(pool, |out| out.extend_from_slice(&bytes));
            pool.give(bytes);
        }
    }

    /// Appends a range of bytes that several connections send; adjacent ranges become one.
    pub fn push_shared(
        &mut self,
        bytes: &Rc<SharedBytes>,
        range: Range<usize>,
        pool: &mut BufferPool,
    ) {
        let queue = self.queue_mut(pool);
        if let Some(Segment::Shared {
            bytes: last,
            range: known,
        }) = queue.last_mut()
            && known.end == range.start
            && Rc::ptr_eq(last, bytes)
        {
            known.end = range.end;
            queue.byte_count += range.len();
            queue.shared_bytes += range.len();
            return;
        }
        queue.push(Segment::Shared {
            bytes: Rc::clone(bytes),
            range,
        });
    }

    /// The bytes at the front that lie in one piece; empty if nothing waits.
    pub fn front(&self) -> &[u8] {
        let first = self.queue.as_ref().and_then(|queue| queue.first.as_ref());
        first.map(Segment::as_slice).unwrap_or_default()
    }

    /// Fills `slices` with the pieces at the front, in order; returns how many there are.
    pub fn fill_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = self.queue.iter().flat_map(|queue| queue.pieces());
        let mut count = 0;
        for (slot, piece) in slices.iter_mut().zip(pieces) {
            *slot = IoSlice::new(piece.as_slice());
            count += 1;
        }
        count
    }

    /// Whether all that waits lies in one piece.
    pub fn is_one_piece(&self) -> bool {
        self.queue
            .as_ref()
            .is_none_or(|queue| queue.rest.is_empty())
    }

    /// Removes bytes that have left, and returns the number of segments that were finished.
    pub fn consume(&mut self, mut byte_count: usize, pool: &mut BufferPool) -> usize {
        let mut finished = 0;
        let Some(queue) = &mut self.queue else {
            return finished;
        };
        queue.byte_count -= byte_count.min(queue.byte_count);
        while let Some(segment) = &mut queue.first {
            let waiting = segment.as_slice().len();
            if byte_count < waiting {
                let shared_before = segment.shared_bytes();
                skip(segment, byte_count);
                queue.shared_bytes -= shared_before - segment.shared_bytes();
                return finished;
            }
            byte_count -= waiting;
            finished += 1;
            if let Some(done) = std::mem::replace(&mut queue.first, queue.rest.pop_front()) {
                queue.owned_bytes -= done.owned_bytes();
                queue.shared_bytes -= done.shared_bytes();
                done.recycle(pool);
            }
        }
        queue.rest = VecDeque::new();
        if let Some(spare) = self.queue.take() {
            pool.give_queue(spare);
        }
        finished
    }

    /// Gives memory back that is much larger than what waits in it. For a queue that has to wait.
    pub fn shrink(&mut self, pool: &mut BufferPool) {
        let Some(queue) = &mut self.queue else {
            return;
        };
        let pieces = queue.first.iter_mut().chain(&mut queue.rest);
        // What waits behind one of its own has been seen to before.
        for (copied, owned) in pieces.rev().map_while(Segment::own_if_small) {
            queue.shared_bytes -= copied;
            queue.owned_bytes += owned;
        }
        let Some(Segment::Owned { bytes, sent }) = &mut queue.first else {
            return;
        };
        let waiting = bytes.len() - *sent;
        if is_roomy(bytes, waiting) {
            let kept = bytes.get(*sent..).unwrap_or_default().to_vec();
            *sent = 0;
            queue.owned_bytes = queue.owned_bytes + kept.capacity() - bytes.capacity();
            pool.give(std::mem::replace(bytes, kept));
        }
    }

    /// Drops everything that waits.
    pub fn clear(&mut self) {
        self.queue = None;
    }

    fn queue_mut(&mut self, pool: &mut BufferPool) -> &mut Queue {
        self.queue.get_or_insert_with(|| pool.take_queue())
    }
}

/// Most spare queues: as many as are flushed in one turn because of broadcasts.
const MAX_SPARE_QUEUES: usize = 1024;

/// Most spare inflaters. One serves all messages that arrive at once; more come from those that do
/// not.
const MAX_SPARE_INFLATERS: usize = 4;

/// Most deflaters: one for each window size that is agreed on, 9 to 12 bits.
const MAX_SPARE_DEFLATERS: usize = 4;

/// Buffers up to twice this size are left as they are when their queue has to wait.
const SHRINK_BYTES: usize = 2048;

/// Whether a buffer is much larger than the bytes that wait in it.
fn is_roomy(buffer: &Vec<u8>, waiting: usize) -> bool {
    buffer.capacity() / 2 > waiting.max(SHRINK_BYTES)
}

fn skip(segment: &mut Segment, byte_count: usize) {
    match segment {
        Segment::Owned { sent, .. } => *sent += byte_count,
        Segment::Shared { range, .. } => range.start += byte_count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lent(bytes: Vec<u8>) -> Rc<SharedBytes> {
        Rc::new(bytes.into())
    }

    /// Everything that waits, read in steps of `step` bytes.
    fn drain(output: &mut Output, pool: &mut BufferPool, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !output.is_empty() {
            let piece = &output.front()[..output.front().len().min(step)];
            let len = piece.len();
            assert_ne!(len, 0, "bytes wait but the front is empty");
            all.extend_from_slice(piece);
            output.consume(len, pool);
        }
        all
    }

    #[test]
    fn bytes_leave_in_order_whatever_they_came_in() {
        let shared = lent(b"0123456789".to_vec());
        for step in 1..40 {
            let mut pool = BufferPool::default();
            let mut output = Output::default();
            output.append(&mut pool, |out| out.extend_from_slice(b"ab"));
            output.append(&mut pool, |out| out.extend_from_slice(b"cd"));
            output.push_shared(&shared, 0..3, &mut pool);
            output.push_shared(&shared, 3..5, &mut pool);
            output.push_shared(&shared, 7..9, &mut pool);
            output.append(&mut pool, |_| {});
            output.append(&mut pool, |out| out.extend_from_slice(b"ef"));
            output.push_segment(b"gh".to_vec(), &mut pool);
            assert_eq!(output.len(), 15);
            assert_eq!(drain(&mut output, &mut pool, step), b"abcd0123478efgh");
            assert_eq!(output.held_bytes(), 0);
        }
    }

    #[test]
    fn adjacent_shared_ranges_become_one_piece() {
        let shared = lent(vec![7; 100]);
        let mut pool = BufferPool::default();
        let mut output = Output::default();
        for start in 0..10 {
            output.push_shared(&shared, start * 10..start * 10 + 10, &mut pool);
        }
        assert!(output.is_one_piece());
        assert_eq!(output.front().len(), 100);
        assert_eq!(Rc::strong_count(&shared), 2);
    }

    #[test]
    fn slices_cover_all_pieces_in_order() {
        let shared = lent(b"xyz".to_vec());
        let mut pool = BufferPool::default();
        let mut output = Output::default();
        output.append(&mut pool, |out| out.push(b'a'));
        output.push_shared(&shared, 0..3, &mut pool);
        output.append(&mut pool, |out| out.push(b'b'));
        let mut slices = [IoSlice::new(&[]); 8];
        let count = output.fill_slices(&mut slices);
        let joined: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
        assert_eq!((count, joined.as_slice()), (3, b"axyzb".as_slice()));
        assert_eq!(output.consume(2, &mut pool), 1);
        assert_eq!(output.consume(3, &mut pool), 2);
    }

    #[test]
    fn a_waiting_queue_gives_a_large_buffer_back() {
        let mut pool = BufferPool::default();
        let mut output = Output::default();
        output.append(&mut pool, |out| out.resize(100_000, 1));
        output.consume(99_990, &mut pool);
        output.shrink(&mut pool);
        assert_eq!(output.front(), [1; 10]);
        assert!(output.held_bytes() < 100, "{}", output.held_bytes());
        assert!(pool.held_bytes() >= 100_000);
    }

    #[test]
    fn a_waiting_queue_lets_go_of_large_buffers_for_small_ranges() {
        let (large, small) = (lent(vec![1; 100_000]), lent(vec![2; 100]));
        let mut pool = BufferPool::default();
        let mut output = Output::default();
        output.push_shared(&large, 0..10, &mut pool);
        output.push_shared(&small, 0..10, &mut pool);
        output.push_shared(&large, 50..60, &mut pool);
        output.shrink(&mut pool);
        assert_eq!(Rc::strong_count(&large), 1);
        assert_eq!(
            drain(&mut output, &mut pool, 7)[5..15],
            [[1; 5], [2; 5]].concat()
        );
    }

    #[test]
    fn sums_are_what_the_pieces_hold_whatever_happens_to_them() {
        let shared = lent(vec![1; 90_000]);
        let mut pool = BufferPool::default();
        let mut output = Output::default();
        output.push_shared(&shared, 0..50_000, &mut pool);
        assert_eq!(output.pinned_bytes() - output.held_bytes(), 50_000);
        output.push_shared(&shared, 50_000..50_100, &mut pool);
        output.append(&mut pool, |out| out.resize(3_000, 2));
        output.push_shared(&shared, 7..100, &mut pool);
        output.consume(20_000, &mut pool);
        for step in [1, 40_000, 80, 2_000, 10_000] {
            let queue = output.queue.as_ref().unwrap();
            let owned: usize = queue.pieces().map(Segment::owned_bytes).sum();
            let waiting: usize = queue.pieces().map(Segment::shared_bytes).sum();
            assert_eq!((queue.owned_bytes, queue.shared_bytes), (owned, waiting));
            output.consume(step.min(output.len() - 1), &mut pool);
            output.shrink(&mut pool);
        }
        output.consume(output.len(), &mut pool);
        assert_eq!(output.pinned_bytes(), 0);
    }

    #[test]
    fn a_piece_behind_others_does_not_keep_a_large_buffer() {
        let mut pool = BufferPool::default();
        pool.give(Vec::with_capacity(100_000));
        let mut output = Output::default();
        output.push_shared(&lent(vec![1; 10]), 0..10, &mut pool);
        output.append(&mut pool, |out| out.push(2));
        assert!(output.held_bytes() < 1000, "{}", output.held_bytes());
        assert_eq!(pool.held_bytes(), 100_000);
        assert_eq!(drain(&mut output, &mut pool, 100).len(), 11);
    }
}
