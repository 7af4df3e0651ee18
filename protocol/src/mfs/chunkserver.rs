//! Messages between the master and its chunkservers.

use super::Kind;
use super::error::Fault;
use super::field::{Pass, Record};
use super::message::Message;
use super::values::{ChunkId, List};

/// A chunk that a chunkserver has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkVersion {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
}

impl<'a> Record<'a> for ChunkVersion {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)
    }
}

/// The space of a chunkserver, told whenever it has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// What is used, in bytes.
    pub used: u64,
    /// What there is, in bytes. Nothing can be created while it is 0.
    pub total: u64,
    /// The number of chunks.
    pub chunks: u32,
    /// The same of the disks that are to be emptied: what is used, in bytes.
    pub leaving_used: u64,
    /// What they have, in bytes.
    pub leaving_total: u64,
    /// The number of their chunks.
    pub leaving_chunks: u32,
}

impl<'a> Record<'a> for Space {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("used", &mut self.used)?;
        pass.field("total", &mut self.total)?;
        pass.field("chunks", &mut self.chunks)?;
        pass.field("leaving_used", &mut self.leaving_used)?;
        pass.field("leaving_total", &mut self.leaving_total)?;
        pass.field("leaving_chunks", &mut self.leaving_chunks)
    }
}

impl<'a> Message<'a> for Space {
    const KIND: Kind = Kind::SPACE;
}

/// Copies of chunks that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkDamaged<'a> {
    /// The chunks.
    pub chunks: List<'a, ChunkId>,
}

impl<'a> Record<'a> for ChunkDamaged<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunks", &mut self.chunks)
    }
}

impl<'a> Message<'a> for ChunkDamaged<'a> {
    const KIND: Kind = Kind::CHUNK_DAMAGED;
}

/// How much a chunkserver has to do, told every five seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CurrentLoad {
    /// The number of jobs.
    pub load: u32,
    /// 1 normal, 2 overloaded, 3 moving chunks between its disks.
    pub state: u8,
}

impl<'a> Record<'a> for CurrentLoad {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("load", &mut self.load)?;
        pass.field("state", &mut self.state)
    }
}

impl<'a> Message<'a> for CurrentLoad {
    const KIND: Kind = Kind::CURRENT_LOAD;
}

/// Chunks that a chunkserver no longer has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkLost<'a> {
    /// The chunks.
    pub chunks: List<'a, ChunkId>,
}

impl<'a> Record<'a> for ChunkLost<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunks", &mut self.chunks)
    }
}

impl<'a> Message<'a> for ChunkLost<'a> {
    const KIND: Kind = Kind::CHUNK_LOST;
}

/// A disk of a chunkserver had an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorOccurred;

impl<'a> Record<'a> for ErrorOccurred {
    fn fields(&mut self, _: &mut impl Pass<'a>) -> Result<(), Fault> {
        Ok(())
    }
}

impl<'a> Message<'a> for ErrorOccurred {
    const KIND: Kind = Kind::ERROR_OCCURRED;
}

/// Chunks that a chunkserver has found after it has registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkNew<'a> {
    /// The chunks.
    pub chunks: List<'a, ChunkVersion>,
}

impl<'a> Record<'a> for ChunkNew<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunks", &mut self.chunks)
    }
}

impl<'a> Message<'a> for ChunkNew<'a> {
    const KIND: Kind = Kind::CHUNK_NEW;
}

/// The labels of a chunkserver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// A bit for each: the lowest is A.
    pub mask: u32,
}

impl<'a> Record<'a> for Labels {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("mask", &mut self.mask)
    }
}

impl<'a> Message<'a> for Labels {
    const KIND: Kind = Kind::LABELS;
}
