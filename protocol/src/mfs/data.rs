//! Messages of the data port of a chunkserver: to clients, to other chunkservers and to tools.

use super::Kind;
use super::error::Fault;
use super::field::{Pass, Record};
use super::message::{Answer, Message};
use super::numbers::{Counters, ReadForm};
use super::payload::Data;
use super::status::Status;
use super::values::{ChunkId, Crc, Endpoint, List, Name};

/// Asks for a part of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Whether the chunkserver may send signs of life while it looks for the data.
    pub form: ReadForm,
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
    /// Where the part begins, in bytes.
    pub offset: u32,
    /// How long it is, in bytes.
    pub size: u32,
}

impl<'a> Record<'a> for Read {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("form", &mut self.form)?;
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)?;
        pass.field("offset", &mut self.offset)?;
        pass.field("size", &mut self.size)
    }
}

impl<'a> Message<'a> for Read {
    const KIND: Kind = Kind::READ;
}

/// The end of what was asked for, or why it ends early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadStatus {
    /// The chunk.
    pub chunk: ChunkId,
    /// Whether all of it was sent.
    pub status: Status,
}

impl<'a> Record<'a> for ReadStatus {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("status", &mut self.status)
    }
}

impl<'a> Message<'a> for ReadStatus {
    const KIND: Kind = Kind::READ_STATUS;
}

/// Data of one block, in the order of the chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadData<'a> {
    /// The chunk.
    pub chunk: ChunkId,
    /// The number of the block.
    pub block: u16,
    /// Where the data begin in the block, in bytes.
    pub offset: u16,
    /// The data with their CRC.
    pub data: Data<'a>,
}

impl<'a> Record<'a> for ReadData<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("block", &mut self.block)?;
        pass.field("offset", &mut self.offset)?;
        pass.field("data", &mut self.data)
    }
}

impl<'a> Message<'a> for ReadData<'a> {
    const KIND: Kind = Kind::READ_DATA;
}

/// Begins to write to a chunk, through a chain of chunkservers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Write<'a> {
    /// 1.
    pub form: u8,
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
    /// The chunkservers after the receiver, in their order.
    pub chain: List<'a, Endpoint>,
}

impl<'a> Record<'a> for Write<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("form", &mut self.form)?;
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)?;
        pass.field("chain", &mut self.chain)
    }
}

impl<'a> Message<'a> for Write<'a> {
    const KIND: Kind = Kind::WRITE;
}

/// All chunkservers of the chain have done a write, or one of them has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteStatus {
    /// The chunk.
    pub chunk: ChunkId,
    /// The number of the write. 0 is the beginning.
    pub write: u32,
    /// Whether it was done.
    pub status: Status,
}

impl<'a> Record<'a> for WriteStatus {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("write", &mut self.write)?;
        pass.field("status", &mut self.status)
    }
}

impl<'a> Message<'a> for WriteStatus {
    const KIND: Kind = Kind::WRITE_STATUS;
}

/// Data for one block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteData<'a> {
    /// The chunk.
    pub chunk: ChunkId,
    /// The number of the write, from 1 on.
    pub write: u32,
    /// The number of the block.
    pub block: u16,
    /// Where the data begin in the block, in bytes.
    pub offset: u16,
    /// The data with their CRC.
    pub data: Data<'a>,
}

impl<'a> Record<'a> for WriteData<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("write", &mut self.write)?;
        pass.field("block", &mut self.block)?;
        pass.field("offset", &mut self.offset)?;
        pass.field("data", &mut self.data)
    }
}

impl<'a> Message<'a> for WriteData<'a> {
    const KIND: Kind = Kind::WRITE_DATA;
}

/// Ends writing. It has no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteFinish {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
}

impl<'a> Record<'a> for WriteFinish {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)
    }
}

impl<'a> Message<'a> for WriteFinish {
    const KIND: Kind = Kind::WRITE_FINISH;
}

/// Asks how many blocks a chunk has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetChunkBlocks {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
}

impl<'a> Record<'a> for GetChunkBlocks {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)
    }
}

impl<'a> Message<'a> for GetChunkBlocks {
    const KIND: Kind = Kind::GET_CHUNK_BLOCKS;
}

/// How many blocks a chunk has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkBlocks {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
    /// The number of blocks.
    pub blocks: u16,
    /// Whether the chunk is there.
    pub status: Status,
}

impl<'a> Record<'a> for ChunkBlocks {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)?;
        pass.field("blocks", &mut self.blocks)?;
        pass.field("status", &mut self.status)
    }
}

impl<'a> Message<'a> for ChunkBlocks {
    const KIND: Kind = Kind::CHUNK_BLOCKS;
}

/// Asks for the checksum of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetChunkChecksum {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
}

impl<'a> Record<'a> for GetChunkChecksum {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)
    }
}

impl<'a> Message<'a> for GetChunkChecksum {
    const KIND: Kind = Kind::GET_CHUNK_CHECKSUM;
}

/// The checksum of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkChecksum {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
    /// The checksum, or why there is none.
    pub checksum: Answer<Crc>,
}

impl<'a> Record<'a> for ChunkChecksum {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)?;
        pass.field("checksum", &mut self.checksum)
    }
}

impl<'a> Message<'a> for ChunkChecksum {
    const KIND: Kind = Kind::CHUNK_CHECKSUM;
}

/// Asks for the CRCs of all blocks of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetChunkChecksums {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
}

impl<'a> Record<'a> for GetChunkChecksums {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)
    }
}

impl<'a> Message<'a> for GetChunkChecksums {
    const KIND: Kind = Kind::GET_CHUNK_CHECKSUMS;
}

/// The CRCs of all blocks of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkChecksums<'a> {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
    /// 1024 CRCs, or why there are none.
    pub checksums: Answer<List<'a, Crc>>,
}

impl<'a> Record<'a> for ChunkChecksums<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)?;
        pass.field("checksums", &mut self.checksums)
    }
}

impl<'a> Message<'a> for ChunkChecksums<'a> {
    const KIND: Kind = Kind::CHUNK_CHECKSUMS;
}

/// Asks for the disks of a chunkserver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListDisks;

impl<'a> Record<'a> for ListDisks {
    fn fields(&mut self, _: &mut impl Pass<'a>) -> Result<(), Fault> {
        Ok(())
    }
}

impl<'a> Message<'a> for ListDisks {
    const KIND: Kind = Kind::LIST_DISKS;
}

/// The disks of a chunkserver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disks<'a> {
    /// One entry for each disk.
    pub disks: List<'a, Disk<'a>>,
}

impl<'a> Record<'a> for Disks<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("disks", &mut self.disks)
    }
}

impl<'a> Message<'a> for Disks<'a> {
    const KIND: Kind = Kind::DISKS;
}

/// A disk of a chunkserver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk<'a> {
    /// The size of the entry after this field, in bytes: 226, and the length of the path.
    pub size: u16,
    /// The folder.
    pub path: Name<'a>,
    /// What is being done with the disk. 0 is nothing special.
    pub flags: u8,
    /// The chunk of the last error, or 0.
    pub error_chunk: ChunkId,
    /// The time of the last error, in seconds since 1970, or 0.
    pub error_time: u32,
    /// What is used, in bytes.
    pub used: u64,
    /// What there is, in bytes.
    pub total: u64,
    /// The number of chunks.
    pub chunks: u32,
    /// Three times the counters of operations: of the last minute, hour and day.
    pub counters: Counters,
}

impl<'a> Record<'a> for Disk<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("size", &mut self.size)?;
        pass.field("path", &mut self.path)?;
        pass.field("flags", &mut self.flags)?;
        pass.field("error_chunk", &mut self.error_chunk)?;
        pass.field("error_time", &mut self.error_time)?;
        pass.field("used", &mut self.used)?;
        pass.field("total", &mut self.total)?;
        pass.field("chunks", &mut self.chunks)?;
        pass.field("counters", &mut self.counters)
    }
}
