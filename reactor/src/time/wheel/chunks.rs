//! The pieces that buckets are made of, and those that are free.

use super::entry::Entry;

/// No chunk.
pub(super) const NIL: u32 = u32::MAX;
/// With its header, a chunk is two cache lines: the header costs half a byte a timer, and a bucket
/// of one timer not much.
pub(super) const CHUNK_LEN: usize = 15;
/// Names a timer as it stood when it was put into a bucket. It is out of date once `place` is not
/// what the timer's entry says any more.
#[derive(Clone, Copy, Default)]
pub(super) struct Reference {
    pub(super) index: u32,
    pub(super) place: u32,
}

impl Reference {
    pub(super) fn is_current(self, entries: &[Entry]) -> bool {
        entries[self.index as usize].place.0 == self.place
    }
}

/// A piece of a bucket.
#[derive(Clone, Copy)]
pub(super) struct Chunk {
    pub(super) next: u32,
    pub(super) len: u32,
    pub(super) references: [Reference; CHUNK_LEN],
}

/// What a timer takes in chunks that are full.
pub(super) const REFERENCE_SIZE_MAX: usize = size_of::<Chunk>().div_ceil(CHUNK_LEN);

impl Chunk {
    pub(super) const EMPTY: Self =
        Self { next: NIL, len: 0, references: [Reference { index: 0, place: 0 }; CHUNK_LEN] };

    pub(super) fn references(&self) -> &[Reference] {
        &self.references[..self.len as usize]
    }

    /// Adds a reference, unless the chunk is full.
    #[inline]
    pub(super) fn push(&mut self, reference: Reference) -> bool {
        let Some(place) = self.references.get_mut(self.len as usize) else { return false };
        *place = reference;
        self.len += 1;
        true
    }
}

/// Chunks that hang together.
#[derive(Clone, Copy)]
pub(super) struct Chain {
    pub(super) head: u32,
    pub(super) tail: u32,
}

impl Chain {
    pub(super) const EMPTY: Self = Self { head: NIL, tail: NIL };

    /// Puts chunks that hang together at the front.
    #[inline]
    pub(super) fn put(&mut self, head: u32, tail: u32, chunks: &mut [Chunk]) {
        chunks[tail as usize].next = self.head;
        if self.head == NIL {
            self.tail = tail;
        }
        self.head = head;
    }

    /// Takes the first chunk.
    pub(super) fn take(&mut self, chunks: &[Chunk]) -> Option<u32> {
        let first = self.head;
        self.head = chunks.get(first as usize)?.next;
        Some(first)
    }

    /// Adds another chain, which is empty then.
    pub(super) fn append(&mut self, other: &mut Self, chunks: &mut [Chunk]) {
        let Self { head, tail } = std::mem::replace(other, Self::EMPTY);
        if head != NIL {
            self.put(head, tail, chunks);
        }
    }
}

/// Free chunks while the table is about to be cut off at some length, and those below it are used
/// before the others.
pub(super) struct Free {
    /// The length; `NIL` when there is none.
    pub(super) limit: u32,
    /// Chunks of which it has not been looked yet whether they are below.
    pub(super) unsorted: Chain,
    /// Chunks that are not.
    pub(super) high: Chain,
    /// How many are below and free. It means something only while there is a limit.
    pub(super) low: usize,
}

impl Free {
    pub(super) const fn new() -> Self {
        Self { limit: NIL, unsorted: Chain::EMPTY, high: Chain::EMPTY, low: 0 }
    }
}
