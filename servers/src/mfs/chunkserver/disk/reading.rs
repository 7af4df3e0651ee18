//! Reading from a chunk: packets with their CRCs. All of it blocks.

use std::sync::Arc;

use protocol::mfs::{BLOCK_SIZE, Kind, Status, crc32};

use super::chunk::{Chunk, Done, Open, Trouble};
use super::form;

/// The size of a packet before its data: type, length, chunk, block, offset, size and CRC.
const HEAD: usize = 8 + 8 + 2 + 2 + 4 + 4;
/// The size of the packet of a whole block.
const WHOLE: usize = HEAD + BLOCK_SIZE;

/// A part of a chunk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) offset: usize,
    pub(crate) size: usize,
}

impl Part {
    /// Takes its beginning, which ends with its so-manieth block at most.
    pub(crate) fn take(&mut self, blocks: usize) -> Self {
        let end = (self.offset / BLOCK_SIZE + blocks) * BLOCK_SIZE;
        let taken = Self { offset: self.offset, size: self.size.min(end - self.offset) };
        self.offset += taken.size;
        self.size -= taken.size;
        taken
    }
}

/// Packets that can be used again, if nothing else refers to them.
pub(crate) type Spare = Vec<Arc<[u8]>>;

/// What was read.
pub(crate) struct Readout {
    /// The packets, in order: one for each block.
    pub(crate) packets: Vec<Arc<[u8]>>,
    /// Packets that were not needed.
    pub(crate) spare: Spare,
    /// Why not all of it could be read.
    pub(crate) end: Done<()>,
}

impl Chunk {
    /// Reads a part as packets.
    pub(crate) fn read(&self, version: u32, mut part: Part, mut spare: Spare) -> Readout {
        let mut packets = Vec::new();
        let read = self.reading(version, |open| {
            while part.size > 0 {
                let piece = part.take(1);
                let room = if piece.size == BLOCK_SIZE { spare.pop() } else { None };
                packets.push(packet(self, open, piece, room)?);
            }
            Ok(())
        });
        Readout { packets, spare, end: read.and_then(|end| end) }
    }
}

/// Returns the packet of a piece of a block.
fn packet(chunk: &Chunk, open: &Open, piece: Part, room: Option<Arc<[u8]>>) -> Done<Arc<[u8]>> {
    let (block, offset) = (piece.offset / BLOCK_SIZE, piece.offset % BLOCK_SIZE);
    let usable = room.filter(|it| it.len() == WHOLE && Arc::strong_count(it) == 1);
    let mut packet = usable.unwrap_or_else(|| std::iter::repeat_n(0, HEAD + piece.size).collect());
    let Some(bytes) = Arc::get_mut(&mut packet) else {
        return Err(Trouble::Refused(Status::OUTOFMEMORY));
    };
    let (head, data) = bytes.split_at_mut(HEAD);
    let is_whole = data.len() == BLOCK_SIZE;
    let crc = match open.has(block) {
        true if is_whole => {
            open.read_block(block, data)?;
            open.crcs[block]
        }
        true => {
            let mut whole = vec![0; BLOCK_SIZE];
            open.read_block(block, &mut whole)?;
            data.copy_from_slice(&whole[offset..offset + data.len()]);
            crc32(data)
        }
        false => {
            data.fill(0);
            if is_whole { form::EMPTY_CRC } else { crc32(data) }
        }
    };
    let fields: [&[u8]; 7] = [
        &Kind::READ_DATA.0.to_be_bytes(),
        &((HEAD - 8 + piece.size) as u32).to_be_bytes(),
        &chunk.id.0.to_be_bytes(),
        &(block as u16).to_be_bytes(),
        &(offset as u16).to_be_bytes(),
        &(piece.size as u32).to_be_bytes(),
        &crc.to_be_bytes(),
    ];
    let mut rest = head;
    for field in fields {
        let (place, after) = rest.split_at_mut(field.len());
        place.copy_from_slice(field);
        rest = after;
    }
    Ok(packet)
}
