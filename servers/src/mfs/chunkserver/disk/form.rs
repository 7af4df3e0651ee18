//! The form of a chunk in a file: a header, the CRCs of its blocks, and the blocks.

use protocol::mfs::{BLOCK_SIZE, CHUNK_BLOCKS, ChunkId};

/// Where the CRCs begin in the file, in bytes.
pub(crate) const TABLE_START: u64 = 4096;
/// The size of all CRCs, in bytes.
pub(crate) const TABLE_SIZE: usize = 4 * CHUNK_BLOCKS;
/// Where the blocks begin in the file, in bytes.
pub(crate) const DATA_START: u64 = TABLE_START + TABLE_SIZE as u64;
/// Where the version is in the header, in bytes.
pub(crate) const VERSION_START: u64 = 16;
/// The size of what the header has before its zeros, in bytes.
pub(crate) const HEADER_SIZE: usize = 20;
/// The CRC-32 of a block of zeros, which a block has that was never written.
pub(crate) const EMPTY_CRC: u32 = 0xD797_8EEB;
/// How a file ends that is not complete.
pub(crate) const PARTIAL: &str = ".tmp";

/// The CRCs of all blocks of a chunk.
pub(crate) type Table = [u32; CHUNK_BLOCKS];

/// Returns the name of the file of a chunk.
pub(crate) fn name(chunk: ChunkId, version: u32) -> String {
    format!("chunk_{chunk}_{version:08X}.mfs")
}

/// Returns the chunk and the version that the name of a file says.
pub(crate) fn parse_name(name: &str) -> Option<(ChunkId, u32)> {
    let (chunk, version) = name.strip_prefix("chunk_")?.strip_suffix(".mfs")?.split_once('_')?;
    let is_exact = chunk.len() == 16 && version.len() == 8;
    let is_upper = |text: &str| text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'A'..=b'F'));
    if !is_exact || !is_upper(chunk) || !is_upper(version) {
        return None;
    }
    let chunk = u64::from_str_radix(chunk, 16).ok()?;
    Some((ChunkId(chunk), u32::from_str_radix(version, 16).ok()?))
}

/// Returns the header of a file, without the zeros that follow.
pub(crate) fn header(chunk: ChunkId, version: u32) -> [u8; HEADER_SIZE] {
    let mut header = [0; HEADER_SIZE];
    header[..8].copy_from_slice(b"MFSC 1.0");
    header[8..16].copy_from_slice(&chunk.0.to_be_bytes());
    header[16..].copy_from_slice(&version.to_be_bytes());
    header
}

/// Returns how many blocks a file of this size has. `None` if no chunk has this size.
pub(crate) fn blocks_of(size: u64) -> Option<u16> {
    let data = size.checked_sub(DATA_START)?;
    let is_whole = data.is_multiple_of(BLOCK_SIZE as u64);
    let blocks = u16::try_from(data / BLOCK_SIZE as u64).ok()?;
    (is_whole && usize::from(blocks) <= CHUNK_BLOCKS).then_some(blocks)
}

/// Returns where a block begins in the file, in bytes.
pub(crate) fn start_of(block: usize) -> u64 {
    DATA_START + (block * BLOCK_SIZE) as u64
}

/// Returns CRCs as the file has them.
pub(crate) fn to_bytes(crcs: &[u32]) -> Vec<u8> {
    crcs.iter().flat_map(|crc| crc.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_real_programs() {
        let name = name(ChunkId(0xba), 0x1f);
        assert_eq!(name, "chunk_00000000000000BA_0000001F.mfs");
        assert_eq!(parse_name(&name), Some((ChunkId(0xba), 0x1f)));
        for other in [
            "chunk_00000000000000ba_0000001F.mfs",
            "chunk_00000000000000BA_0000001F.tmp",
            "chunk_000000000000000BA_000001F.mfs",
            "chunk_+0000000000000BA_0000001F.mfs",
            "chunk_00000000000000BA.mfs",
            "",
        ] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }

    #[test]
    fn only_whole_blocks_make_a_chunk() {
        assert_eq!(blocks_of(8192), Some(0));
        assert_eq!(blocks_of(8192 + 3 * 65_536), Some(3));
        assert_eq!(blocks_of(8192 + 1024 * 65_536), Some(1024));
        for size in [0, 8191, 8193, 8192 + 65_535, 8192 + 1025 * 65_536, u64::MAX] {
            assert_eq!(blocks_of(size), None, "{size}");
        }
    }
}
