//! What a connection has received and its session has not read.

use std::io;

use super::pool::{Counts, Fills, Pool, Portion};
use super::ring::Ring;
use crate::source::handler::explained;

/// Portions with fewer bytes are copied.
const EXCHANGED_MIN: u32 = 8 * 1024;

/// The memory that a receive uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// A part of a block that others share, or of one that is small.
    Shared,
    /// A block for itself, which a session can exchange.
    Block,
}

/// What was received and not read yet. Most of the time, it is a portion of a block or nothing, since
/// sessions read what is reported.
#[derive(Debug)]
pub(crate) struct Unread {
    /// What came before the portion. It is no longer in the pools.
    early: Vec<u8>,
    room: Room,
    portion: Portion,
}

impl Unread {
    pub(crate) const NOTHING: Self =
        Self { early: Vec::new(), room: Room::Shared, portion: Portion::NONE };

    /// Makes what another process has received before.
    pub(crate) fn before(early: Vec<u8>) -> Self {
        Self { early, ..Self::NOTHING }
    }

    /// Returns the number of bytes.
    #[inline]
    pub(crate) fn length(&self) -> usize {
        self.early.len() + self.portion.length as usize
    }
}

/// The pools that the kernel receives into.
pub(super) struct Pools {
    shared: Pool,
    blocks: Pool,
}

impl Pools {
    /// Makes pools that are filled as `fills` says, if the kernel can.
    pub(super) fn new(ring: &Ring, fills: Fills) -> io::Result<Self> {
        let [shared, blocks] = [0, 1];
        let whole = |group, counts| {
            Pool::new(ring, group, counts, Fills::Whole)
                .map_err(|error| explained("io_uring_register of buffers", error))
        };
        let shared = match fills {
            Fills::Pieces => Pool::new(ring, shared, Counts::SHARED, fills)
                .or_else(|_| whole(shared, Counts::SMALL))?,
            Fills::Whole => whole(shared, Counts::SMALL)?,
        };
        Ok(Self { shared, blocks: whole(blocks, Counts::LARGE)? })
    }

    #[inline]
    pub(super) fn pool(&mut self, room: Room) -> &mut Pool {
        match room {
            Room::Shared => &mut self.shared,
            Room::Block => &mut self.blocks,
        }
    }

    fn bytes(&self, unread: &Unread) -> &[u8] {
        match unread.room {
            Room::Shared => self.shared.bytes(unread.portion),
            Room::Block => self.blocks.bytes(unread.portion),
        }
    }

    /// Appends what a receive has put into a block.
    #[inline]
    pub(super) fn append(&mut self, unread: &mut Unread, room: Room, portion: Portion) {
        if unread.portion.length > 0 {
            if unread.room == room && self.pool(room).join(&mut unread.portion, portion) {
                return;
            }
            self.set_aside(unread);
        }
        (unread.room, unread.portion) = (room, portion);
    }

    /// Copies what is in a block, and frees it.
    #[cold]
    pub(super) fn set_aside(&mut self, unread: &mut Unread) {
        if unread.portion.length > 0 {
            unread.early.extend_from_slice(match unread.room {
                Room::Shared => self.shared.bytes(unread.portion),
                Room::Block => self.blocks.bytes(unread.portion),
            });
            self.free(unread);
        }
    }

    #[inline]
    fn free(&mut self, unread: &mut Unread) {
        let portion = std::mem::replace(&mut unread.portion, Portion::NONE);
        self.pool(unread.room).free(portion);
    }

    /// Moves what was received into `buffer`, or as much as there is room for.
    #[inline]
    pub(super) fn read(&mut self, unread: &mut Unread, buffer: &mut [u8]) -> usize {
        let early = if unread.early.is_empty() { 0 } else { unread.read_early(buffer) };
        let count = (unread.portion.length as usize).min(buffer.len() - early);
        if count > 0 {
            buffer[early..early + count].copy_from_slice(&self.bytes(unread)[..count]);
            unread.portion.skip(count as u32);
            if unread.portion.length == 0 {
                self.free(unread);
            }
        }
        early + count
    }

    /// Exchanges the block for `storage`. Returns how many bytes it has.
    pub(super) fn exchange(&mut self, unread: &mut Unread, storage: &mut Vec<u8>) -> usize {
        assert!(unread.is_exchanged(), "it is not asked for");
        let portion = std::mem::replace(&mut unread.portion, Portion::NONE);
        self.blocks.exchange(portion, storage);
        portion.length as usize
    }

    /// Returns a copy of what was received.
    pub(super) fn copy(&self, unread: &Unread) -> Vec<u8> {
        let mut bytes = unread.early.clone();
        if unread.portion.length > 0 {
            bytes.extend_from_slice(self.bytes(unread));
        }
        bytes
    }

    /// Frees what a connection that has ended has not read.
    pub(super) fn discard(&mut self, unread: &mut Unread) {
        unread.early = Vec::new();
        if unread.portion.length > 0 {
            self.free(unread);
        }
    }
}

impl Unread {
    /// Returns whether there is a block with so much that exchanging it costs less than copying it.
    #[inline]
    pub(crate) fn is_exchanged(&self) -> bool {
        self.portion.length >= EXCHANGED_MIN
            && self.room == Room::Block
            && self.portion.is_first()
            && self.early.is_empty()
    }

    #[cold]
    fn read_early(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.early.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.early[..count]);
        self.early.drain(..count);
        if self.early.is_empty() {
            self.early = Vec::new();
        }
        count
    }
}
