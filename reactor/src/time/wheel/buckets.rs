//! The buckets of the wheel: references to timers, in the order in which they were put there.
//!
//! A linked list would be three cache lines for each timer that comes or goes: its own and those of
//! its neighbours. Here the end of a bucket, which is the same line for many, takes a reference,
//! and a timer that goes leaves its reference behind, out of date. What is out of date is dropped
//! when its bucket is reached or empty, or by a sweep that goes round, a few chunks at a time, while
//! there are more chunks than twice what all places would fill.

use super::chunks::{CHUNK_LEN, Chain, Chunk, Free, NIL, Reference};
use super::entry::Entry;
use super::{BUCKETS, LEVELS};
use crate::sys;

/// So many chunks are swept for each that is added to a bucket: fewer than two would fall behind
/// when half of what is there is out of date.
const SWEPT_AT_ONCE: usize = 4;
/// So many chunks more than twice what is needed are not worth a sweep.
const EXTRA_KEPT: usize = 16;

/// It means something only while its bit is set.
#[derive(Clone, Copy)]
pub(super) struct Bucket {
    /// No timer of this bucket is due before; one that was moved or cancelled may have set it.
    soonest: u64,
    /// How many of its references are up to date: never 0.
    live: u32,
    pub(super) head: u32,
    pub(super) tail: u32,
    /// How many chunks it has besides the first.
    extra: u32,
}

/// What a sweep has come to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Swept {
    /// It has swept one more chunk.
    Chunk,
    /// It has ended a bucket, and goes on with one that comes after it,
    Bucket,
    /// or with the first again.
    Round,
}

pub(super) struct Buckets {
    /// Level after level, once there has been a timer.
    pub(super) buckets: Vec<Bucket>,
    /// Which buckets hold timers, a word a level.
    pub(super) occupied: [u64; LEVELS],
    pub(super) chunks: Vec<Chunk>,
    /// Chunks that are not used; those below the limit alone, while there is one.
    pub(super) vacant: Chain,
    pub(super) free: Free,
    /// How many chunks the buckets have besides their first.
    pub(super) extra: usize,
    /// The bucket the sweep is in.
    pub(super) swept: usize,
    /// The chunk of it that was swept last.
    pub(super) swept_chunk: u32,
}

impl Buckets {
    /// Empty, without heap memory.
    pub(super) const fn new() -> Self {
        Self {
            buckets: Vec::new(),
            occupied: [0; LEVELS],
            chunks: Vec::new(),
            vacant: Chain::EMPTY,
            free: Free::new(),
            extra: 0,
            swept: 0,
            swept_chunk: NIL,
        }
    }

    /// Makes what has to be there before the first timer.
    pub(super) fn prepare(&mut self) {
        let empty = Bucket { soonest: 0, live: 0, head: NIL, tail: NIL, extra: 0 };
        self.buckets.resize(LEVELS * BUCKETS, empty);
    }

    /// Puts a timer at the end of a bucket. Returns whether that took one more chunk.
    #[inline]
    pub(super) fn push(&mut self, number: usize, deadline: u64, reference: Reference) -> bool {
        let bit = 1 << (number % BUCKETS);
        if self.occupied[number / BUCKETS] & bit == 0 {
            self.occupied[number / BUCKETS] |= bit;
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

    /// Makes a bucket that holds timers be reached no later than a deadline that lies within it.
    #[inline]
    pub(super) fn hasten(&mut self, number: usize, deadline: u64) {
        let soonest = &mut self.buckets[number].soonest;
        *soonest = deadline.min(*soonest);
    }

    /// A timer of a bucket has gone; its reference is out of date.
    #[inline]
    pub(super) fn leave(&mut self, number: usize) {
        let bucket = &mut self.buckets[number];
        bucket.live -= 1;
        if bucket.live == 0 {
            self.dissolve(number);
        }
    }

    /// The first bucket that holds timers.
    #[inline]
    pub(super) fn first(&self) -> Option<usize> {
        // The lowest level that is occupied comes first: whatever lies higher differs from the
        // wheel's tick in a higher digit.
        let level = self.occupied.iter().position(|bits| *bits != 0)?;
        Some(level * BUCKETS + self.occupied[level].trailing_zeros() as usize)
    }

    /// The soonest deadline of the first bucket that holds timers.
    #[inline]
    pub(super) fn soonest(&self) -> Option<u64> {
        self.first().map(|number| self.buckets[number].soonest)
    }

    /// Takes the buckets of a level that `mask` tells, first to last, and adds them to a chain.
    pub(super) fn detach(&mut self, level: usize, mask: u64, chain: &mut Chain) {
        let mut reached = self.occupied[level] & mask;
        self.occupied[level] &= !mask;
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

    /// Takes the first chunk of a chain; its memory is free from now on.
    pub(super) fn next(&mut self, chain: &mut Chain) -> Option<Chunk> {
        let chunk = *self.chunks.get(chain.head as usize)?;
        self.close(chain.head, chain.head);
        chain.head = chunk.next;
        Some(chunk)
    }

    /// Sweeps a few chunks if there are too many for so many entries.
    pub(super) fn tidy(&mut self, entries: &[Entry]) {
        for _ in 0..SWEPT_AT_ONCE {
            if self.extra <= 2 * entries.len() / CHUNK_LEN + EXTRA_KEPT {
                return;
            }
            _ = self.sweep(entries);
        }
    }

    /// Drops every reference that is out of date.
    pub(super) fn sweep_all(&mut self, entries: &[Entry]) {
        for number in 0..self.buckets.len() {
            (self.swept, self.swept_chunk) = (number, NIL);
            while self.sweep(entries) == Swept::Chunk {}
        }
    }

    /// Drops what is out of date from the chunk that comes next, and moves what is left up to the
    /// one before.
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
        // The timers of the chunk after it are fetched meanwhile.
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

    /// Takes a chunk out of the middle or from the end of a bucket.
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

    /// The next bucket that holds timers, going round.
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

    /// Adds a chunk to a bucket whose last is full.
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

    /// Empties a bucket all of whose references are out of date.
    #[inline(never)]
    fn dissolve(&mut self, number: usize) {
        self.occupied[number / BUCKETS] &= !(1 << (number % BUCKETS));
        let Bucket { head, tail, .. } = self.buckets[number];
        self.forget(number);
        self.close(head, tail);
    }

    /// The chunks of a bucket are its own no more.
    fn forget(&mut self, number: usize) {
        self.extra -= self.buckets[number].extra as usize;
        if self.swept == number {
            self.swept_chunk = NIL;
        }
    }

    /// An empty chunk.
    #[inline]
    fn open(&mut self) -> u32 {
        let index = self.vacant.head;
        if let Some(chunk) = self.chunks.get_mut(index as usize) {
            self.vacant.head = chunk.next;
            self.free.low = self.free.low.wrapping_sub(1);
            (chunk.next, chunk.len) = (NIL, 0);
            // The next to be opened is fetched by the time this one is full.
            if let Some(next) = self.chunks.get(self.vacant.head as usize) {
                sys::prefetch(next);
            }
            return index;
        }
        self.open_any()
    }

    /// Frees chunks that hang together.
    fn close(&mut self, head: u32, tail: u32) {
        let list = if self.free.limit == NIL { &mut self.vacant } else { &mut self.free.unsorted };
        list.put(head, tail, &mut self.chunks);
    }

    /// How many chunks and buckets there is heap memory for.
    #[cfg(test)]
    pub(super) fn heap(&self) -> usize {
        self.chunks.capacity() + self.buckets.capacity()
    }

    /// How many chunks there have been at once.
    #[cfg(test)]
    pub(super) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// How many references there are, those out of date included.
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

    /// Walks through all chunks and compares them with what is said of them.
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
        assert_eq!(self.extra, extra);
        assert!(is_swept_known, "the sweep goes on in a chunk that is elsewhere by now");
    }
}
