//! Copies of what is sent at the next entry into the kernel.

use std::io::IoSlice;

/// How many bytes are sent at one entry. More cost another entry.
const SIZE: usize = 256 * 1024;

/// Where a copy is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    offset: u32,
    pub(crate) length: u32,
}

impl Piece {
    pub(crate) const NONE: Self = Self { offset: 0, length: 0 };
}

/// Two blocks of memory that take turns: one collects, and the other still has what the last entry has
/// sent, for what the kernel did not take.
#[derive(Debug, Default)]
pub(super) struct Arenas {
    collecting: Vec<u8>,
    submitted: Vec<u8>,
}

impl Arenas {
    /// Copies the bytes of `slices`. Returns where they are, and their address; `None` when there is too
    /// little room.
    #[inline]
    pub(super) fn copy(&mut self, slices: &[IoSlice<'_>]) -> Option<(Piece, u64)> {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        let arena = &mut self.collecting;
        if arena.capacity() == 0 {
            arena.reserve_exact(SIZE);
        }
        let offset = arena.len();
        // The kernel has the addresses of copies, so they may not move.
        if length > arena.capacity() - offset {
            return None;
        }
        for slice in slices {
            arena.extend_from_slice(slice);
        }
        let address = arena[offset..].as_ptr() as u64;
        Some((Piece { offset: offset as u32, length: length as u32 }, address))
    }

    /// Begins to collect for the next entry: the kernel has read all that was collected.
    #[inline]
    pub(super) fn turn_over(&mut self) {
        if !self.collecting.is_empty() {
            std::mem::swap(&mut self.collecting, &mut self.submitted);
            self.collecting.clear();
        }
    }

    /// Returns a piece of what the last entry has sent.
    pub(super) fn submitted(&self, piece: Piece) -> &[u8] {
        let start = piece.offset as usize;
        self.submitted.get(start..start + piece.length as usize).unwrap_or_default()
    }
}
