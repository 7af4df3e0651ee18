//! A chunk that is being written.

use std::collections::VecDeque;
use std::time::Instant;

use protocol::mfs::{BLOCK_SIZE, CHUNK_BLOCKS, CHUNK_SIZE, ChunkId, WriteChunkEnd};

use super::chain::{Block, Chain};
use super::master::Ticket;

/// How far the writing of a chunk is.
#[derive(Debug)]
pub(super) enum State {
    /// The master is to be asked.
    Wanted,
    Asked(Ticket),
    /// The master is asked at this time.
    Later(Instant),
    Open(Box<Chain>),
    /// The chunk is being unlocked.
    Ending(Ticket),
    /// It is unlocked. A stream may have more for it.
    Ended,
}

/// A chunk that is being written.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) index: u64,
    pub(super) state: State,
    /// A chain was given up, so the next one continues it.
    pub(super) is_interrupted: bool,
    /// The chunk that the master has locked for this client.
    pub(super) locked: Option<ChunkId>,
    /// The blocks that another chain has not acknowledged.
    pub(super) again: VecDeque<Block>,
    /// How many bytes were taken from the source.
    pub(super) taken: u32,
    /// Nothing more comes from the source.
    pub(super) is_full: bool,
    /// How often it has failed without progress, and when there was progress.
    pub(super) attempts: u32,
    pub(super) moved: Instant,
}

impl Writing {
    pub(super) fn new(index: u64) -> Self {
        Self {
            index,
            state: State::Wanted,
            is_interrupted: false,
            locked: None,
            again: VecDeque::new(),
            taken: 0,
            is_full: false,
            attempts: 0,
            moved: Instant::now(),
        }
    }

    /// Returns where the next block of the source is in the file.
    pub(super) fn offset(&self) -> u64 {
        self.index * CHUNK_SIZE + u64::from(self.taken)
    }

    /// Takes a block of the source.
    pub(super) fn take(&mut self, bytes: Vec<u8>) {
        let number = (self.taken as usize / BLOCK_SIZE) as u16;
        self.taken += bytes.len() as u32;
        self.is_full = bytes.len() < BLOCK_SIZE || usize::from(number) + 1 == CHUNK_BLOCKS;
        self.again.push_back(Block::new(number, bytes));
    }
}

/// Returns the request that unlocks a chunk, and makes the file as long as `length` if it is shorter.
pub(super) fn end(inode: u32, index: u64, chunk: ChunkId, length: u64) -> WriteChunkEnd {
    WriteChunkEnd { chunk, inode, index: index as u32, length, flags: 0 }
}
