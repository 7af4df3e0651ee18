//! Truncates the table of chunks. Chunks behind the new end move before it as the sweep goes round,
//! one by one, and each bucket keeps its order.

use super::buckets::Buckets;
use super::chunks::{CHUNK_LEN, Chunk, Free, NIL, Reference};
use super::{BUCKETS, LEVELS};

/// A table for few timers keeps one chunk for each bucket, and some for the sweep.
const CHUNKS_KEPT: usize = LEVELS * BUCKETS + 64;

impl Buckets {
    /// Begins to truncate the table to what `timers` timers need.
    pub(super) fn begin_compaction(&mut self, timers: usize) {
        let needed = CHUNKS_KEPT + 3 * timers / CHUNK_LEN;
        self.free.limit = needed.min(self.chunks.len()) as u32;
        self.free.low = 0;
        self.free.unsorted.append(&mut self.vacant, &mut self.chunks);
    }

    /// Keeps the table as long as it is.
    pub(super) fn end_compaction(&mut self) {
        let Free { mut unsorted, mut high, .. } = std::mem::replace(&mut self.free, Free::new());
        self.vacant.append(&mut unsorted, &mut self.chunks);
        self.vacant.append(&mut high, &mut self.chunks);
    }

    /// Sorts up to `count` free chunks into those to keep and the others.
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

    /// Returns a chunk when none is free, or none is known to be below the limit.
    #[cold]
    pub(super) fn open_any(&mut self) -> u32 {
        let free = self.free.unsorted.take(&self.chunks);
        let Some(index) = free.or_else(|| self.free.high.take(&self.chunks)) else {
            self.chunks.push(Chunk::EMPTY);
            // There are fewer chunks than timers, and fewer than 2^32 timers.
            return self.chunks.len() as u32 - 1;
        };
        let chunk = &mut self.chunks[index as usize];
        (chunk.next, chunk.len) = (NIL, 0);
        index
    }

    /// Moves a chunk of a bucket before the limit, if there is room. Returns its place.
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

    /// Returns the next chunk to sweep, unless it is in another bucket.
    pub(super) fn ahead(&self) -> Option<u32> {
        let is_occupied = self.occupied[self.swept / BUCKETS] >> (self.swept % BUCKETS) & 1 == 1;
        let next = match self.swept_chunk {
            _ if !is_occupied => NIL,
            NIL => self.buckets[self.swept].head,
            before => self.chunks[before as usize].next,
        };
        (next != NIL).then_some(next)
    }

    /// Returns a reference of a chunk.
    pub(super) fn reference(&self, chunk: u32, place: usize) -> Option<Reference> {
        self.chunks[chunk as usize].references().get(place).copied()
    }

    /// Replaces a reference.
    pub(super) fn replace(&mut self, chunk: u32, place: usize, reference: Reference) {
        self.chunks[chunk as usize].references[place] = reference;
    }

    /// Truncates the table if all chunks behind the limit are free. Returns whether it did.
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

    /// Frees the memory of all chunks. No bucket may hold timers.
    pub(super) fn clear(&mut self) {
        self.chunks = Vec::new();
        self.vacant = super::chunks::Chain::EMPTY;
        self.free = Free::new();
    }
}
