//! The pool of blocks that the kernel receives into, and chooses from when there is data.

use std::io;
use std::sync::atomic::Ordering;

use super::abi::{Provided, ProvidedRing};
use super::mapping::Mapping;
use super::ring::Ring;
use crate::source::handler::explained;

/// The size of a block in bytes: that of the buffer which connections read into, so that the two can be
/// exchanged.
pub(crate) const BLOCK_SIZE: usize = 64 * 1024;
/// How many blocks are added together.
const GROWTH: usize = 32;
/// How many there are from the start: more than a wait reports, so that no receive ends for want of one.
/// Small messages touch a page of each.
const BLOCKS_MIN: usize = 128;
/// What blocks have beyond their size, unused. Without it, they would all begin in the same sets of the
/// caches of a processor.
const APART: usize = 1088;
/// How many there are at most: 64 MiB.
const BLOCKS_MAX: usize = 1024;
/// The group that all blocks belong to.
pub(super) const GROUP: u16 = 0;

/// Blocks with fewer bytes are copied.
const EXCHANGED_MIN: u32 = 8 * 1024;

/// The size of a page. Where pages are larger, no memory is given back.
const PAGE: usize = 4096;

/// Where the tail of the ring is.
const TAIL: usize = std::mem::offset_of!(Provided, reserved);

/// The end of a list of blocks.
const NONE: u16 = u16::MAX;

/// What was received and not read yet, in blocks of the pool. A connection has such a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocks {
    first: u16,
    last: u16,
    /// How many bytes of the first block were read.
    offset: u32,
    /// How many bytes are left to read.
    pub(crate) length: u32,
}

impl Blocks {
    pub(crate) const NOTHING: Self = Self { first: NONE, last: NONE, offset: 0, length: 0 };
}

/// A block, and its place in a list.
#[derive(Debug)]
struct Block {
    storage: Vec<u8>,
    next: u16,
    /// How many bytes were received into it.
    filled: u32,
}

/// The blocks, and the ring in which the kernel finds those that are free.
#[derive(Debug)]
pub(super) struct Pool {
    ring: Mapping,
    blocks: Vec<Block>,
    tail: u16,
    /// Blocks were added since memory was given back.
    has_grown: bool,
    /// How many blocks have something that was received.
    used: usize,
}

impl Pool {
    pub(super) fn new(ring: &Ring) -> io::Result<Self> {
        let provided = Mapping::new(BLOCKS_MAX * size_of::<Provided>())
            .map_err(|error| explained("mmap of io_uring", error))?;
        let mut pool =
            Self { ring: provided, blocks: Vec::new(), tail: 0, has_grown: false, used: 0 };
        let registration = ProvidedRing {
            address: pool.ring.address(),
            entries: BLOCKS_MAX as u32,
            group: GROUP,
            ..ProvidedRing::default()
        };
        ring.register_provided(&registration)
            .map_err(|error| explained("io_uring_register of buffers", error))?;
        pool.add(BLOCKS_MIN);
        Ok(pool)
    }

    fn add(&mut self, count: usize) {
        for _ in 0..count {
            let block = self.blocks.len() as u16;
            let mut storage = vec![0; BLOCK_SIZE + APART];
            storage.truncate(BLOCK_SIZE);
            self.blocks.push(Block { storage, next: NONE, filled: 0 });
            self.provide(block);
        }
    }

    /// Makes room for `wanted` blocks, if there may be more, and returns whether one is free.
    pub(super) fn make_room(&mut self, wanted: usize) -> bool {
        let free = self.blocks.len() - self.used;
        let missing = wanted.saturating_sub(free).next_multiple_of(GROWTH);
        let count = missing.min(BLOCKS_MAX - self.blocks.len());
        if count > 0 {
            self.add(count);
            self.has_grown = true;
        }
        self.used < self.blocks.len()
    }

    /// Gives the memory of blocks that a crowd needed back to the system, while none is in use.
    pub(super) fn trim(&mut self) {
        if self.used > 0 || !self.has_grown {
            return;
        }
        self.has_grown = false;
        for block in &mut self.blocks[BLOCKS_MIN..] {
            forget_content(&mut block.storage);
        }
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Gives a block to the kernel.
    #[inline]
    fn provide(&mut self, block: u16) {
        let address = self.blocks[usize::from(block)].storage.as_mut_ptr() as u64;
        let at = usize::from(self.tail) % BLOCKS_MAX * size_of::<Provided>();
        // The tail is where the first place has its last field, so that is not written.
        self.ring.write(at, address as u32);
        self.ring.write(at + 4, (address >> 32) as u32);
        self.ring.write(at + 8, BLOCK_SIZE as u32);
        self.ring.shared_short(at + 12).store(block, Ordering::Relaxed);
        self.tail = self.tail.wrapping_add(1);
        self.ring.shared_short(TAIL).store(self.tail, Ordering::Release);
    }

    /// Appends a block to what a connection has received.
    #[inline]
    pub(super) fn append(&mut self, received: &mut Blocks, block: u16, length: usize) {
        self.used += 1;
        let place = &mut self.blocks[usize::from(block)];
        (place.next, place.filled) = (NONE, length as u32);
        if received.length == 0 {
            *received = Blocks { first: block, last: block, offset: 0, length: 0 };
        } else {
            self.blocks[usize::from(received.last)].next = block;
            received.last = block;
        }
        received.length += length as u32;
    }

    /// Gives a block back that nothing was received into.
    pub(super) fn refuse(&mut self, block: u16) {
        self.provide(block);
    }

    /// Frees the first block, which was read.
    #[inline]
    fn free_first(&mut self, received: &mut Blocks) {
        let block = received.first;
        (received.first, received.offset) = (self.blocks[usize::from(block)].next, 0);
        self.provide(block);
        self.used -= 1;
    }

    /// Moves what was received into `buffer`, or as much as there is room for. Blocks that were read
    /// are free again.
    #[inline]
    pub(super) fn read(&mut self, received: &mut Blocks, buffer: &mut [u8]) -> usize {
        let mut copied = 0;
        while received.length > 0 && copied < buffer.len() {
            let block = &self.blocks[usize::from(received.first)];
            let left = &block.storage[received.offset as usize..block.filled as usize];
            let count = left.len().min(buffer.len() - copied);
            buffer[copied..copied + count].copy_from_slice(&left[..count]);
            copied += count;
            received.length -= count as u32;
            received.offset += count as u32;
            if received.offset == block.filled {
                self.free_first(received);
            }
        }
        copied
    }

    /// Returns whether the first block has so much that exchanging it costs less than copying it.
    #[inline]
    pub(super) fn is_exchanged(&self, received: &Blocks) -> bool {
        received.length >= EXCHANGED_MIN
            && received.offset == 0
            && self.blocks[usize::from(received.first)].filled >= EXCHANGED_MIN
    }

    /// Exchanges the first block for `storage`. Returns how many bytes it has.
    pub(super) fn exchange(&mut self, received: &mut Blocks, storage: &mut Vec<u8>) -> usize {
        assert!(storage.len() == BLOCK_SIZE && self.is_exchanged(received), "it is not asked for");
        let block = &mut self.blocks[usize::from(received.first)];
        let count = block.filled;
        std::mem::swap(&mut block.storage, storage);
        received.length -= count;
        self.free_first(received);
        count as usize
    }

    /// Appends a copy of what was received to `bytes`.
    pub(super) fn copy(&self, mut received: Blocks, bytes: &mut Vec<u8>) {
        while received.length > 0 {
            let block = &self.blocks[usize::from(received.first)];
            let left = &block.storage[received.offset as usize..block.filled as usize];
            bytes.extend_from_slice(left);
            received.length -= left.len() as u32;
            (received.first, received.offset) = (block.next, 0);
        }
    }

    /// Frees the blocks of a connection that has ended.
    pub(super) fn discard(&mut self, received: &mut Blocks) {
        while received.length > 0 {
            let filled = self.blocks[usize::from(received.first)].filled;
            received.length -= filled - received.offset;
            self.free_first(received);
        }
    }
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
