//! What the master orders chunkservers to do with their chunks, and what becomes of it. An answer has the
//! type and the chunk of its order; answers come in any order.

use super::Kind;
use super::error::Fault;
use super::field::{Pass, Record};
use super::message::Message;
use super::status::Status;
use super::values::{ChunkId, Endpoint};

/// Orders a chunkserver to create a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Create {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
}

impl<'a> Record<'a> for Create {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)
    }
}

impl<'a> Message<'a> for Create {
    const KIND: Kind = Kind::CREATE;
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreateAnswer {
    /// The chunk.
    pub chunk: ChunkId,
    /// Whether it was created.
    pub status: Status,
}

impl<'a> Record<'a> for CreateAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("status", &mut self.status)
    }
}

impl<'a> Message<'a> for CreateAnswer {
    const KIND: Kind = Kind::CREATE_ANSWER;
}

/// Orders a chunkserver to delete a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delete {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
}

impl<'a> Record<'a> for Delete {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)
    }
}

impl<'a> Message<'a> for Delete {
    const KIND: Kind = Kind::DELETE;
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeleteAnswer {
    /// The chunk.
    pub chunk: ChunkId,
    /// Whether it was deleted.
    pub status: Status,
}

impl<'a> Record<'a> for DeleteAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("status", &mut self.status)
    }
}

impl<'a> Message<'a> for DeleteAnswer {
    const KIND: Kind = Kind::DELETE_ANSWER;
}

/// Orders a chunkserver to copy one of its chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duplicate {
    /// The new chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
    /// The chunk to copy.
    pub of: ChunkId,
    /// Its version.
    pub of_version: u32,
}

impl<'a> Record<'a> for Duplicate {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)?;
        pass.field("of", &mut self.of)?;
        pass.field("of_version", &mut self.of_version)
    }
}

impl<'a> Message<'a> for Duplicate {
    const KIND: Kind = Kind::DUPLICATE;
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DuplicateAnswer {
    /// The new chunk.
    pub chunk: ChunkId,
    /// Whether it was made.
    pub status: Status,
}

impl<'a> Record<'a> for DuplicateAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("status", &mut self.status)
    }
}

impl<'a> Message<'a> for DuplicateAnswer {
    const KIND: Kind = Kind::DUPLICATE_ANSWER;
}

/// Orders a chunkserver to change the version of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetVersion {
    /// The chunk.
    pub chunk: ChunkId,
    /// The new version.
    pub version: u32,
    /// The version that it must have.
    pub old_version: u32,
}

impl<'a> Record<'a> for SetVersion {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)?;
        pass.field("old_version", &mut self.old_version)
    }
}

impl<'a> Message<'a> for SetVersion {
    const KIND: Kind = Kind::SET_VERSION;
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetVersionAnswer {
    /// The chunk.
    pub chunk: ChunkId,
    /// Whether it was changed.
    pub status: Status,
}

impl<'a> Record<'a> for SetVersionAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("status", &mut self.status)
    }
}

impl<'a> Message<'a> for SetVersionAnswer {
    const KIND: Kind = Kind::SET_VERSION_ANSWER;
}

/// Orders a chunkserver to copy a chunk from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replicate {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
    /// The data port of the other.
    pub source: Endpoint,
}

impl<'a> Record<'a> for Replicate {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)?;
        pass.field("source", &mut self.source)
    }
}

impl<'a> Message<'a> for Replicate {
    const KIND: Kind = Kind::REPLICATE;
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicateAnswer {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
    /// Whether it was copied.
    pub status: Status,
}

impl<'a> Record<'a> for ReplicateAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)?;
        pass.field("status", &mut self.status)
    }
}

impl<'a> Message<'a> for ReplicateAnswer {
    const KIND: Kind = Kind::REPLICATE_ANSWER;
}

/// Orders one of several operations, which the numbers tell apart. Masters of version 3.0.117 do not
/// send it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkOperation {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
    /// The new version, or 0.
    pub new_version: u32,
    /// The new chunk of a copy.
    pub copy: ChunkId,
    /// Its version.
    pub copy_version: u32,
    /// The new length in bytes; without a new version, 0 deletes, 1 creates and 2 tests. 0xFFFFFFFF
    /// leaves it.
    pub length: u32,
}

impl<'a> Record<'a> for ChunkOperation {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)?;
        pass.field("new_version", &mut self.new_version)?;
        pass.field("copy", &mut self.copy)?;
        pass.field("copy_version", &mut self.copy_version)?;
        pass.field("length", &mut self.length)
    }
}

impl<'a> Message<'a> for ChunkOperation {
    const KIND: Kind = Kind::CHUNK_OPERATION;
}

/// What became of it. Real masters close a connection on which it comes unasked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkOperationAnswer {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
    /// As ordered.
    pub new_version: u32,
    /// As ordered.
    pub copy: ChunkId,
    /// As ordered.
    pub copy_version: u32,
    /// As ordered.
    pub length: u32,
    /// Whether it was done.
    pub status: Status,
}

impl<'a> Record<'a> for ChunkOperationAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)?;
        pass.field("new_version", &mut self.new_version)?;
        pass.field("copy", &mut self.copy)?;
        pass.field("copy_version", &mut self.copy_version)?;
        pass.field("length", &mut self.length)?;
        pass.field("status", &mut self.status)
    }
}

impl<'a> Message<'a> for ChunkOperationAnswer {
    const KIND: Kind = Kind::CHUNK_OPERATION_ANSWER;
}

/// Orders a chunkserver to change the length of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truncate {
    /// The chunk.
    pub chunk: ChunkId,
    /// The new length in bytes.
    pub length: u32,
    /// The new version.
    pub version: u32,
    /// The version that it must have.
    pub old_version: u32,
}

impl<'a> Record<'a> for Truncate {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("length", &mut self.length)?;
        pass.field("version", &mut self.version)?;
        pass.field("old_version", &mut self.old_version)
    }
}

impl<'a> Message<'a> for Truncate {
    const KIND: Kind = Kind::TRUNCATE;
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TruncateAnswer {
    /// The chunk.
    pub chunk: ChunkId,
    /// Whether it was changed.
    pub status: Status,
}

impl<'a> Record<'a> for TruncateAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("status", &mut self.status)
    }
}

impl<'a> Message<'a> for TruncateAnswer {
    const KIND: Kind = Kind::TRUNCATE_ANSWER;
}

/// Orders a chunkserver to copy one of its chunks, with another length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DuplicateTruncated {
    /// The new chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
    /// The chunk to copy.
    pub of: ChunkId,
    /// Its version.
    pub of_version: u32,
    /// The length of the new chunk in bytes.
    pub length: u32,
}

impl<'a> Record<'a> for DuplicateTruncated {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)?;
        pass.field("of", &mut self.of)?;
        pass.field("of_version", &mut self.of_version)?;
        pass.field("length", &mut self.length)
    }
}

impl<'a> Message<'a> for DuplicateTruncated {
    const KIND: Kind = Kind::DUPLICATE_TRUNCATED;
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DuplicateTruncatedAnswer {
    /// The new chunk.
    pub chunk: ChunkId,
    /// Whether it was made.
    pub status: Status,
}

impl<'a> Record<'a> for DuplicateTruncatedAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("status", &mut self.status)
    }
}

impl<'a> Message<'a> for DuplicateTruncatedAnswer {
    const KIND: Kind = Kind::DUPLICATE_TRUNCATED_ANSWER;
}
