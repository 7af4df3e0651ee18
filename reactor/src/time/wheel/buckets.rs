//! The buckets of the wheel: references to timers, in the order of insertion.
//!
//! A linked list would touch three cache lines for each insertion and removal: those of the timer
//! and of both neighbours. Here a reference is appended to the end of a bucket, which many
//! insertions share. A timer that leaves its bucket leaves a stale reference. Stale references are
//! dropped when their bucket is reached or empty, or by a sweep. The sweep goes round, a few chunks
//! at a time, while there are more than twice as many chunks as all places would fill.

use super::chunks::{CHUNK_LEN, Chain, Chunk, Free, NIL, Reference};
use super::entry::Entry;
use super::{BUCKETS, LEVELS};
use crate::sys;

/// The number of chunks to sweep for each that is added to a bucket. With fewer than two, the sweep
/// would fall behind when half of the references are stale.
const SWEPT_AT_ONCE: usize = 4;
/// A sweep is worth it when there are this many chunks more than twice the number needed.
const EXTRA_KEPT: usize = 16;

/// A bucket. It is valid only while its bit is set.
#[derive(Clone, Copy)]
pub(super) struct Bucket {
    /// No timer of this bucket is due before. The timer that set it may have been moved or
    /// cancelled.
    soonest: u64,
    /// The number of its current references: never 0.
    live: u32,
    pub(super) head: u32,
    pub(super) tail: u32,
    /// The number of its chunks besides the first.
    extra: u32,
}

/// The result of a step of a sweep.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Swept {
    /// It has swept a chunk.
    Chunk,
    /// It has finished a bucket, and continues with a later one.
    Bucket,
    /// It has finished the last bucket, and continues with the first.
    Round,
}

pub(super) struct Buckets {
    /// All buckets, level after level, once there has been a timer.
    pub(super) buckets: Vec<Bucket>,
    /// The buckets that hold timers, one word for each level.
    pub(super) occupied: [u64; LEVELS],
    /// Which of these words are not zero.
    levels: u32,
    pub(super) chunks: Vec<Chunk>,
    /// The free chunks. While there is a limit, only those below it.
    pub(super) vacant: Chain,
    pub(super) free: Free,
    /// The number of chunks of the buckets besides their first.
    pub(super) extra: usize,
    /// The bucket that is being swept.
    pub(super) swept: usize,
    /// The last chunk of it that was swept.
    pub(super) swept_chunk: u32,
}

impl Buckets {
    /// Returns empty buckets, without heap memory.
    pub(super) const fn new() -> Self {
        Self {
            buckets: Vec::new(),
            occupied: [0; LEVELS],
            levels: 0,
            chunks: Vec::new(),
            vacant: Chain::EMPTY,
            free: Free::new(),
            extra: 0,
            swept: 0,
            swept_chunk: NIL,
        }
    }

    /// Allocates what the first timer needs.
    pub(super) fn prepare(&mut self) {
        let empty = Bucket { soonest: 0, live: 0, head: NIL, tail: NIL, extra: 0 };
        self.buckets.resize(LEVELS * BUCKETS, empty);
    }

    /// Puts a timer at the end of a bucket. Returns whether that added a chunk.
    #[inline]
    pub(super) fn push(&mut self, number: usize, deadline: u64, reference: Reference) -> bool {
        let bit = 1 << (number % BUCKETS);
        if self.occupied[number / BUCKETS] & bit == 0 {
            self.occupied[number / BUCKETS] |= bit;
            self.levels |= 1 << (number / BUCKETS);
            let chunk = self.open();
            self.buckets[number] =
                Bucket { soonest: deadline, live: 0, head: chunk, tail: chunk, extra: 0 };
        }
        let bucket = &mut self.buckets[number];
        bucket.soonest = bucket.soonest.min(deadline);
        bucket.live += 1;
        if self.chunks[bucket.tail as usize].push(reference) {
            return false;
        }
        self.lengthen(number, reference);
        true
    }

    /// Makes sure that a bucket is reached no later than a deadline within it.
    #[inline]
    pub(super) fn hasten(&mut self, number: usize, deadline: u64) {
        let soonest = &mut self.buckets[number].soonest;
        *soonest = deadline.min(*soonest);
    }

    /// Counts a timer that has left a bucket. Its reference is stale.
    #[inline]
    pub(super) fn leave(&mut self, number: usize) {
        let bucket = &mut self.buckets[number];
        bucket.live -= 1;
        if bucket.live == 0 {
            self.dissolve(number);
        }
    }

    /// Returns the first bucket that holds timers.
    #[inline]
    pub(super) fn first(&self) -> Option<usize> {
        // The lowest occupied level comes first: timers of higher levels differ from the tick of
        // the wheel in a higher digit.
        let level = self.levels.trailing_zeros() as usize;
        self.occupied.get(level).map(|bits| level * BUCKETS + bits.trailing_zeros() as usize)
    }

    /// Returns the earliest deadline of the first bucket that holds timers.
    #[inline]
    pub(super) fn soonest(&self) -> Option<u64> {
        self.first().map(|number| self.buckets[number].soonest)
    }

    /// Notes that buckets of a level were emptied.
    fn note_level(&mut self, level: usize) {
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
    }

    /// Empties the buckets in `mask` of a level, from first to last, and adds their chunks to a
    /// chain.
    pub(super) fn detach(&mut self, level: usize, mask: u64, chain: &mut Chain) {
        let mut reached = self.occupied[level] & mask;
        self.occupied[level] &= !mask;
        self.note_level(level);
        while reached != 0 {
            let number = level * BUCKETS + reached.trailing_zeros() as usize;
            reached &= reached - 1;
            let Bucket { head, tail, .. } = self.buckets[number];
            self.forget(number);
            match chain.tail {
                NIL => chain.head = head,
                last => self.chunks[last as usize].next = head,
            }
            chain.tail = tail;
        }
    }

    /// Takes the first chunk of a chain and frees it.
    pub(super) fn next(&mut self, chain: &mut Chain) -> Option<Chunk> {
        let chunk = *self.chunks.get(chain.head as usize)?;
        self.close(chain.head, chain.head);
        chain.head = chunk.next;
        Some(chunk)
    }

    /// Sweeps a few chunks if there are too many for the number of entries.
    pub(super) fn tidy(&mut self, entries: &[Entry]) {
        for _ in 0..SWEPT_AT_ONCE {
            if self.extra <= 2 * entries.len() / CHUNK_LEN + EXTRA_KEPT {
                return;
            }
            _ = self.sweep(entries);
        }
    }

    /// Drops every stale reference.
    pub(super) fn sweep_all(&mut self, entries: &[Entry]) {
        for number in 0..self.buckets.len() {
            (self.swept, self.swept_chunk) = (number, NIL);
            while self.sweep(entries) == Swept::Chunk {}
        }
    }

    /// Drops stale references from the next chunk, and moves the others forward to the chunk before
    /// it.
    pub(super) fn sweep(&mut self, entries: &[Entry]) -> Swept {
        let (number, before) = (self.swept, self.swept_chunk);
        let is_occupied = self.occupied[number / BUCKETS] >> (number % BUCKETS) & 1 == 1;
        let index = match before {
            _ if !is_occupied => NIL,
            NIL => self.buckets[number].head,
            _ => self.chunks[before as usize].next,
        };
        if index == NIL {
            let next = self.occupied_after(number);
            (self.swept, self.swept_chunk) = (next, NIL);
            return if next > number { Swept::Bucket } else { Swept::Round };
        }
        let chunk = self.chunks[index as usize];
        self.chunks[index as usize].len = 0;
        // Meanwhile, the timers of the chunk after it are prefetched.
        if let Some(next) = self.chunks.get(chunk.next as usize) {
            for it in next.references() {
                sys::prefetch(&entries[it.index as usize]);
            }
        }
        for reference in chunk.references().iter().filter(|it| it.is_current(entries)) {
            let moved = before != NIL && self.chunks[before as usize].push(*reference);
            if !moved {
                self.chunks[index as usize].push(*reference);
            }
        }
        if self.chunks[index as usize].len > 0 || before == NIL {
            self.swept_chunk = self.lowered(number, before, index);
        } else {
            self.cut_out(number, before, index);
        }
        Swept::Chunk
    }

    /// Removes a chunk from the middle or the end of a bucket.
    fn cut_out(&mut self, number: usize, before: u32, index: u32) {
        self.chunks[before as usize].next = self.chunks[index as usize].next;
        let bucket = &mut self.buckets[number];
        bucket.extra -= 1;
        if bucket.tail == index {
            bucket.tail = before;
        }
        self.extra -= 1;
        self.close(index, index);
    }

    /// Returns the next bucket that holds timers, starting again after the last.
    fn occupied_after(&self, number: usize) -> usize {
        let level = number / BUCKETS;
        let above = self.occupied[level] & (u64::MAX << (number % BUCKETS) << 1);
        if above != 0 {
            return level * BUCKETS + above.trailing_zeros() as usize;
        }
        let levels = (1..=LEVELS).map(|step| (level + step) % LEVELS);
        let found = levels.into_iter().find(|level| self.occupied[*level] != 0).unwrap_or(0);
        found * BUCKETS + self.occupied[found].trailing_zeros() as usize % BUCKETS
    }

    /// Adds a chunk to a bucket whose last chunk is full.
    #[cold]
    fn lengthen(&mut self, number: usize, reference: Reference) {
        let index = self.open();
        self.chunks[index as usize].push(reference);
        let bucket = &mut self.buckets[number];
        self.chunks[bucket.tail as usize].next = index;
        bucket.tail = index;
        bucket.extra += 1;
        self.extra += 1;
    }

    /// Empties a bucket whose references are all stale.
    #[inline(never)]
    fn dissolve(&mut self, number: usize) {
        self.occupied[number / BUCKETS] &= !(1 << (number % BUCKETS));
        self.note_level(number / BUCKETS);
        let Bucket { head, tail, .. } = self.buckets[number];
        self.forget(number);
        self.close(head, tail);
    }

    /// Detaches the chunks of a bucket.
    fn forget(&mut self, number: usize) {
        self.extra -= self.buckets[number].extra as usize;
        if self.swept == number {
            self.swept_chunk = NIL;
        }
    }

    /// Returns an empty chunk.
    #[inline]
    fn open(&mut self) -> u32 {
        let index = self.vacant.head;
        if let Some(chunk) = self.chunks.get_mut(index as usize) {
            self.vacant.head = chunk.next;
            self.free.low = self.free.low.wrapping_sub(1);
            (chunk.next, chunk.len) = (NIL, 0);
            // The next one is prefetched by the time this one is full.
            if let Some(next) = self.chunks.get(self.vacant.head as usize) {
                sys::prefetch(next);
            }
            return index;
        }
        self.open_any()
    }

    /// Frees a chain of chunks.
    fn close(&mut self, head: u32, tail: u32) {
        let list = if self.free.limit == NIL { &mut self.vacant } else { &mut self.free.unsorted };
        list.put(head, tail, &mut self.chunks);
    }

    /// Returns how many chunks and buckets have heap memory.
    #[cfg(test)]
    pub(super) fn heap(&self) -> usize {
        self.chunks.capacity() + self.buckets.capacity()
    }

    /// Returns the largest number of chunks so far.
    #[cfg(test)]
    pub(super) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Returns how many references there are, including stale ones.
    #[cfg(test)]
    pub(super) fn references(&self) -> usize {
        let mut count = 0;
        for number in 0..self.buckets.len() {
            if self.occupied[number / BUCKETS] >> (number % BUCKETS) & 1 == 1 {
                let mut index = self.buckets[number].head;
                while let Some(chunk) = self.chunks.get(index as usize) {
                    count += chunk.references().len();
                    index = chunk.next;
                }
            }
        }
        count
    }

    /// Checks all chunks against the counters.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let (mut extra, mut is_swept_known) = (0, self.swept_chunk == NIL);
        for number in 0..self.buckets.len() {
            if self.occupied[number / BUCKETS] >> (number % BUCKETS) & 1 == 0 {
                continue;
            }
            let bucket = self.buckets[number];
            let (mut index, mut count) = (bucket.head, 0);
            loop {
                count += 1;
                is_swept_known |= self.swept == number && self.swept_chunk == index;
                if index == bucket.tail {
                    break;
                }
                index = self.chunks[index as usize].next;
            }
            assert_eq!(self.chunks[bucket.tail as usize].next, NIL);
            assert!(bucket.live > 0 && count == bucket.extra + 1);
            extra += bucket.extra as usize;
        }
        for (level, bits) in self.occupied.iter().enumerate() {
            assert_eq!(self.levels >> level & 1 == 1, *bits != 0, "level {level}");
        }
        assert_eq!(self.extra, extra);
        assert!(is_swept_known, "the sweep goes on in a chunk that is elsewhere by now");
    }
}
