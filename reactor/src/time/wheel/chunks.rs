//! The chunks of buckets, and the free ones.

use super::entry::Entry;

/// Marks the absence of a chunk.
pub(super) const NIL: u32 = u32::MAX;
/// The references of a chunk. With its header, a chunk is two cache lines. The header costs half a
/// byte for each timer, and a bucket of one timer is not large.
pub(super) const CHUNK_LEN: usize = 15;
/// A reference to a timer, from the time at which it was put into a bucket. It is stale once the
/// entry of the timer has another `place`.
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

/// A part of a bucket.
#[derive(Clone, Copy)]
pub(super) struct Chunk {
    pub(super) next: u32,
    pub(super) len: u32,
    pub(super) references: [Reference; CHUNK_LEN],
}

/// The bytes of a timer in full chunks.
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

/// A chain of chunks.
#[derive(Clone, Copy)]
pub(super) struct Chain {
    pub(super) head: u32,
    pub(super) tail: u32,
}

impl Chain {
    pub(super) const EMPTY: Self = Self { head: NIL, tail: NIL };

    /// Puts a chain of chunks at the front.
    #[inline]
    pub(super) fn put(&mut self, head: u32, tail: u32, chunks: &mut [Chunk]) {
        chunks[tail as usize].next = self.head;
        if self.head == NIL {
            self.tail = tail;
        }
        self.head = head;
    }

    /// Removes the first chunk.
    pub(super) fn take(&mut self, chunks: &[Chunk]) -> Option<u32> {
        let first = self.head;
        self.head = chunks.get(first as usize)?.next;
        Some(first)
    }

    /// Appends another chain, which is empty after that.
    pub(super) fn append(&mut self, other: &mut Self, chunks: &mut [Chunk]) {
        let Self { head, tail } = std::mem::replace(other, Self::EMPTY);
        if head != NIL {
            self.put(head, tail, chunks);
        }
    }
}

/// The free chunks while the table is being truncated. Those below the limit are used before the
/// others.
pub(super) struct Free {
    /// The length to truncate to; `NIL` when there is none.
    pub(super) limit: u32,
    /// Chunks that have not been sorted yet.
    pub(super) unsorted: Chain,
    /// Chunks that are not below the limit.
    pub(super) high: Chain,
    /// The number of free chunks below the limit. It is valid only while there is a limit.
    pub(super) low: usize,
}

impl Free {
    pub(super) const fn new() -> Self {
        Self { limit: NIL, unsorted: Chain::EMPTY, high: Chain::EMPTY, low: 0 }
    }
}
