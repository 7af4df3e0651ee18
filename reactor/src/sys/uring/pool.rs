//! The memory that the kernel receives into: blocks, of which it chooses one when there is data.

use std::io;
use std::sync::atomic::Ordering;

use super::abi::{self, Provided, ProvidedRing};
use super::mapping::Mapping;
use super::ring::Ring;
use crate::source::handler::explained;

/// The size of a block in bytes: that of the buffer which connections read into, so that the two can be
/// exchanged.
pub(crate) const BLOCK_SIZE: usize = 68 * 1024;
/// What blocks have beyond their size, unused. Without it, they would all begin in the same sets of the
/// caches of a processor.
const APART: usize = 1088;
/// The size of a page. Where pages are larger, no memory is given back.
const PAGE: usize = 4096;
/// Where the tail of the ring is.
const TAIL: usize = std::mem::offset_of!(Provided, reserved);

/// How a pool fills its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fills {
    /// A receive has a block for itself.
    Whole,
    /// Receives share a block, one piece after the other (`IOU_PBUF_RING_INC`, Linux 6.12).
    Pieces,
}

/// How many blocks a pool has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    /// From the start. A pool that fits into a cache of the processor is faster than a larger one.
    start: usize,
    /// When receives find none, although sessions read what they receive.
    often: usize,
    /// When sessions do not read. A power of two.
    max: usize,
}

impl Counts {
    /// For receives that need a block each: 2 MiB to 68 MiB.
    pub(super) const LARGE: Self = Self { start: 32, often: 64, max: 1024 };
    /// For small receives, which share blocks: 512 KiB to 4 MiB.
    pub(super) const SHARED: Self = Self { start: 8, often: 32, max: 64 };
    /// For small receives, if the kernel cannot share blocks. Each touches a page of its block.
    pub(super) const SMALL: Self = Self { start: 128, often: 256, max: 1024 };
}

/// How many blocks are added together.
const GROWTH: usize = 8;

/// What one receive has put into a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portion {
    block: u16,
    offset: u32,
    pub(super) length: u32,
}

impl Portion {
    pub(super) const NONE: Self = Self { block: 0, offset: 0, length: 0 };

    /// Returns whether it has the beginning of its block.
    pub(super) fn is_first(&self) -> bool {
        self.offset == 0
    }

    /// Leaves the first `count` bytes away.
    pub(super) fn skip(&mut self, count: u32) {
        self.offset += count;
        self.length -= count;
    }
}

#[derive(Debug)]
struct Block {
    storage: Vec<u8>,
    /// How many bytes the kernel has put into it.
    filled: u32,
    /// How many portions of it were not read.
    portions: u32,
    /// The kernel may put more into it.
    is_open: bool,
}

/// Blocks, and the ring in which the kernel finds those that are open.
#[derive(Debug)]
pub(super) struct Pool {
    group: u16,
    counts: Counts,
    ring: Mapping,
    tail: u16,
    blocks: Vec<Block>,
    /// Blocks that are not needed now. They have no memory.
    spare: Vec<u16>,
    /// How many blocks are open.
    open: usize,
    /// How many blocks have something that was not read.
    used: usize,
    /// How many blocks are wanted, besides the spare ones.
    wanted: usize,
}

impl Pool {
    pub(super) fn new(ring: &Ring, group: u16, counts: Counts, fills: Fills) -> io::Result<Self> {
        let mut pool = Self {
            group,
            counts,
            ring: Mapping::new(counts.max * size_of::<Provided>())
                .map_err(|error| explained("mmap of io_uring", error))?,
            tail: 0,
            blocks: Vec::new(),
            spare: Vec::new(),
            open: 0,
            used: 0,
            wanted: counts.start,
        };
        let registration = ProvidedRing {
            address: pool.ring.address(),
            entries: counts.max as u32,
            group,
            flags: if fills == Fills::Pieces { abi::PROVIDED_IN_PIECES } else { 0 },
            ..ProvidedRing::default()
        };
        ring.register_provided(&registration)?;
        pool.fill_up();
        Ok(pool)
    }

    pub(super) fn group(&self) -> u16 {
        self.group
    }

    /// Opens blocks until there are as many as are wanted.
    fn fill_up(&mut self) {
        while self.blocks.len() - self.spare.len() < self.wanted {
            let block = self.spare.pop().unwrap_or_else(|| {
                let mut storage = vec![0; BLOCK_SIZE + APART];
                storage.truncate(BLOCK_SIZE);
                self.blocks.push(Block { storage, filled: 0, portions: 0, is_open: false });
                (self.blocks.len() - 1) as u16
            });
            self.open(block);
        }
    }

    /// Adds blocks if there may be more, after `starved` receives have found none, and returns whether
    /// one is open.
    pub(super) fn make_room(&mut self, starved: usize) -> bool {
        let limit = if self.open == 0 { self.counts.max } else { self.counts.often };
        let more = (self.wanted + starved.min(limit)).next_multiple_of(GROWTH);
        self.wanted = self.wanted.max(more.min(limit));
        self.fill_up();
        self.open > 0
    }

    /// Gives the memory of blocks that a crowd needed back to the system, now or when they are read.
    pub(super) fn trim(&mut self) {
        if self.wanted == self.counts.start {
            return;
        }
        self.wanted = self.counts.start;
        for block in self.blocks.iter_mut().filter(|block| block.is_open && block.filled == 0) {
            forget_content(&mut block.storage);
        }
    }

    /// Returns how many blocks have something that was not read.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Gives a block to the kernel.
    #[inline]
    fn open(&mut self, block: u16) {
        let place = &mut self.blocks[usize::from(block)];
        (place.filled, place.is_open) = (0, true);
        let address = place.storage.as_mut_ptr() as u64;
        let at = usize::from(self.tail) % self.counts.max * size_of::<Provided>();
        // The tail is where the first place has its last field, so that is not written.
        self.ring.write(at, address as u32);
        self.ring.write(at + 4, (address >> 32) as u32);
        self.ring.write(at + 8, BLOCK_SIZE as u32);
        self.ring.shared_short(at + 12).store(block, Ordering::Relaxed);
        self.tail = self.tail.wrapping_add(1);
        self.ring.shared_short(TAIL).store(self.tail, Ordering::Release);
        self.open += 1;
    }

    /// Takes note of what a receive has put into a block. The result may be empty.
    #[inline]
    pub(super) fn take(&mut self, block: u16, length: usize, stays: Stays) -> Portion {
        let place = &mut self.blocks[usize::from(block)];
        let portion = Portion { block, offset: place.filled, length: length as u32 };
        place.filled += portion.length;
        if stays == Stays::Closed {
            place.is_open = false;
            self.open -= 1;
        }
        self.used += usize::from(place.portions == 0);
        place.portions += 1;
        portion
    }

    /// Frees a portion. A block without one is open again.
    #[inline]
    pub(super) fn free(&mut self, portion: Portion) {
        let place = &mut self.blocks[usize::from(portion.block)];
        place.portions -= 1;
        if place.portions > 0 {
            return;
        }
        self.used -= 1;
        if place.is_open {
            return;
        }
        if self.blocks.len() - self.spare.len() > self.wanted {
            return self.retire(portion.block);
        }
        self.open(portion.block);
    }

    #[cold]
    fn retire(&mut self, block: u16) {
        forget_content(&mut self.blocks[usize::from(block)].storage);
        self.spare.push(block);
    }

    /// Appends a portion to another one, if they are one piece. Returns whether they are.
    pub(super) fn join(&mut self, first: &mut Portion, second: Portion) -> bool {
        let is_one = first.length > 0
            && first.block == second.block
            && first.offset + first.length == second.offset;
        if is_one {
            first.length += second.length;
            self.blocks[usize::from(first.block)].portions -= 1;
        }
        is_one
    }

    #[inline]
    pub(super) fn bytes(&self, portion: Portion) -> &[u8] {
        let start = portion.offset as usize;
        &self.blocks[usize::from(portion.block)].storage[start..start + portion.length as usize]
    }

    /// Exchanges the block of a portion that has its beginning for `storage`, and frees it.
    pub(super) fn exchange(&mut self, portion: Portion, storage: &mut Vec<u8>) {
        let block = &mut self.blocks[usize::from(portion.block)];
        assert!(
            storage.len() == BLOCK_SIZE && block.portions == 1 && !block.is_open,
            "it is not asked for"
        );
        std::mem::swap(&mut block.storage, storage);
        self.free(portion);
    }
}

/// What becomes of a block that a receive has put something into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stays {
    /// The kernel has finished it.
    Closed,
    /// The kernel puts more into it.
    Open,
}

/// Gives the pages of storage back to the system, which gives new ones, all zero, when they are written
/// (`madvise(2)`). The kernel writes into blocks only while this thread is in it.
fn forget_content(storage: &mut [u8]) {
    let start = storage.as_mut_ptr();
    let before = start.align_offset(PAGE);
    let length = storage.len().saturating_sub(before) / PAGE * PAGE;
    if let Some(pages) = storage.get_mut(before..before + length) {
        let (start, advice) = (pages.as_mut_ptr().cast(), libc::MADV_DONTNEED);
        // SAFETY: the pages are within the storage, which nothing else refers to; zeros are valid bytes.
        unsafe { libc::madvise(start, length, advice) };
    }
}
