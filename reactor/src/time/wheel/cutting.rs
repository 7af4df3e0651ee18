//! The table of chunks is cut off at a length: what lies behind it moves before it as the sweep goes
//! round, chunk by chunk, and each bucket keeps its order.

use super::buckets::Buckets;
use super::chunks::{CHUNK_LEN, Chunk, Free, NIL, Reference};
use super::{BUCKETS, LEVELS};

/// A table for few timers keeps one chunk a bucket, and some that are about to be swept.
const CHUNKS_KEPT: usize = LEVELS * BUCKETS + 64;

impl Buckets {
    /// Begins to make the table no longer than `timers` timers need.
    pub(super) fn begin_compaction(&mut self, timers: usize) {
        let needed = CHUNKS_KEPT + 3 * timers / CHUNK_LEN;
        self.free.limit = needed.min(self.chunks.len()) as u32;
        self.free.low = 0;
        self.free.unsorted.append(&mut self.vacant, &mut self.chunks);
    }

    /// Leaves the table as long as it is.
    pub(super) fn end_compaction(&mut self) {
        let Free { mut unsorted, mut high, .. } = std::mem::replace(&mut self.free, Free::new());
        self.vacant.append(&mut unsorted, &mut self.chunks);
        self.vacant.append(&mut high, &mut self.chunks);
    }

    /// Looks at up to so many free chunks, whether they are to be kept.
    pub(super) fn sort_free(&mut self, most: usize) {
        for _ in 0..most {
            let Some(index) = self.free.unsorted.take(&self.chunks) else { return };
            if index < self.free.limit {
                self.vacant.put(index, index, &mut self.chunks);
                self.free.low += 1;
            } else {
                self.free.high.put(index, index, &mut self.chunks);
            }
        }
    }

    /// A chunk where none is free, or none that is known to be kept.
    #[cold]
    pub(super) fn open_any(&mut self) -> u32 {
        let free = self.free.unsorted.take(&self.chunks);
        let Some(index) = free.or_else(|| self.free.high.take(&self.chunks)) else {
            self.chunks.push(Chunk::EMPTY);
            // Fewer than timers, of which there are fewer than 2^32.
            return self.chunks.len() as u32 - 1;
        };
        let chunk = &mut self.chunks[index as usize];
        (chunk.next, chunk.len) = (NIL, 0);
        index
    }

    /// Where a chunk of a bucket is from now on: before the limit, if there is room.
    #[inline]
    pub(super) fn lowered(&mut self, number: usize, before: u32, index: u32) -> u32 {
        if index < self.free.limit { index } else { self.lower(number, before, index) }
    }

    #[cold]
    fn lower(&mut self, number: usize, before: u32, index: u32) -> u32 {
        let Some(to) = self.vacant.take(&self.chunks) else { return index };
        self.free.low -= 1;
        self.chunks[to as usize] = self.chunks[index as usize];
        let bucket = &mut self.buckets[number];
        match before {
            NIL => bucket.head = to,
            before => self.chunks[before as usize].next = to,
        }
        if bucket.tail == index {
            bucket.tail = to;
        }
        self.free.high.put(index, index, &mut self.chunks);
        to
    }

    /// The chunk that is swept next, unless that is in another bucket.
    pub(super) fn ahead(&self) -> Option<u32> {
        let is_occupied = self.occupied[self.swept / BUCKETS] >> (self.swept % BUCKETS) & 1 == 1;
        let next = match self.swept_chunk {
            _ if !is_occupied => NIL,
            NIL => self.buckets[self.swept].head,
            before => self.chunks[before as usize].next,
        };
        (next != NIL).then_some(next)
    }

    /// A reference of a chunk.
    pub(super) fn reference(&self, chunk: u32, place: usize) -> Option<Reference> {
        self.chunks[chunk as usize].references().get(place).copied()
    }

    /// Puts another reference in the place of one.
    pub(super) fn replace(&mut self, chunk: u32, place: usize, reference: Reference) {
        self.chunks[chunk as usize].references[place] = reference;
    }

    /// Cuts the table off if all that lies behind the limit is free. Returns whether it was.
    pub(super) fn cut(&mut self) -> bool {
        let limit = self.free.limit as usize;
        let firsts: u32 = self.occupied.iter().map(|bits| bits.count_ones()).sum();
        let used = self.extra + firsts as usize;
        if self.free.unsorted.head != NIL || used + self.free.low != limit {
            return false;
        }
        self.chunks.truncate(limit);
        self.chunks.shrink_to_fit();
        self.free = Free::new();
        true
    }

    /// Gives all chunks back: no bucket holds timers.
    pub(super) fn clear(&mut self) {
        self.chunks = Vec::new();
        self.vacant = super::chunks::Chain::EMPTY;
        self.free = Free::new();
    }
}
