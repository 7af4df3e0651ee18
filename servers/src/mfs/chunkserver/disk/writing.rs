//! Writing to a chunk. All of it blocks.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use protocol::mfs::{BLOCK_SIZE, CHUNK_BLOCKS, Message, Status, WriteData, crc32};

use super::chunk::{Chunk, Done, Open, Trouble};
use super::form;

/// The size of the type and the length of a packet, in bytes.
const HEADER: usize = 8;

/// What came of a write: its number, and whether it was done.
pub(crate) type Written = (u32, Done<()>);

impl Chunk {
    /// Writes what packets have, in their order, up to the first that cannot be written.
    pub(crate) fn write(&self, version: u32, packets: &[Arc<[u8]>]) -> Vec<Written> {
        let mut state = self.for_writing();
        let mut written = Vec::with_capacity(packets.len());
        let ready = self.check(&state, version);
        let open = match ready.and_then(|()| self.open(&mut state, true)) {
            Ok(open) => open,
            Err(trouble) => {
                written.push((number_of(packets), Err(trouble)));
                return written;
            }
        };
        let (mut from, mut to) = (CHUNK_BLOCKS, 0);
        for packet in packets {
            let Ok(data) = WriteData::parse(&packet[HEADER..]) else { break };
            let result = write(open, &data);
            let has_failed = result.is_err();
            written.push((data.write, result));
            if has_failed {
                break;
            }
            from = from.min(data.block.into());
            to = to.max(usize::from(data.block) + 1);
        }
        if from < to
            && let Err(error) = open.save_crcs(from, to)
        {
            let trouble = Trouble::io(&error);
            written.iter_mut().for_each(|(_, result)| *result = Err(trouble.clone()));
        }
        written
    }
}

/// Returns the number of the first write.
fn number_of(packets: &[Arc<[u8]>]) -> u32 {
    let first = packets.first().and_then(|it| WriteData::parse(&it[HEADER..]).ok());
    first.map_or(0, |it| it.write)
}

/// Writes data to a block, whose new CRC is not saved yet.
fn write(open: &mut Open, write: &WriteData<'_>) -> Done<()> {
    let (block, offset) = (usize::from(write.block), usize::from(write.offset));
    let (bytes, refused) = (write.data.bytes, |status| Err(Trouble::Refused(status)));
    if block >= CHUNK_BLOCKS {
        return refused(Status::BNUMTOOBIG);
    }
    if offset + bytes.len() > BLOCK_SIZE {
        return refused(Status::WRONGSIZE);
    }
    if !write.data.is_intact() {
        return refused(Status::CRC);
    }
    let start = form::start_of(block);
    let (crc, written) = if bytes.len() == BLOCK_SIZE {
        (write.data.crc.0, open.file.write_all_at(bytes, start))
    } else {
        let mut whole = vec![0; BLOCK_SIZE];
        if open.has(block) {
            open.read_block(block, &mut whole)?;
        }
        whole[offset..offset + bytes.len()].copy_from_slice(bytes);
        let crc = crc32(&whole);
        // A new block is written whole.
        let written = match open.has(block) {
            true => open.file.write_all_at(bytes, start + offset as u64),
            false => open.file.write_all_at(&whole, start),
        };
        (crc, written)
    };
    written.map_err(|error| Trouble::io(&error))?;
    open.crcs[block] = crc;
    open.blocks = open.blocks.max(write.block + 1);
    Ok(())
}
