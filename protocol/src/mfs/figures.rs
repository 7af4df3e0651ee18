//! Figures that `mfscli` asks the master for, on connections that are not registered. The messages have no
//! number.

use super::Kind;
use super::error::Fault;
use super::field::{Pass, Record};
use super::message::Message;
use super::values::{Ip, Rest, Version};

/// Asks for the state of the master. `mfscli` asks this first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetInfo;

impl<'a> Record<'a> for GetInfo {
    fn fields(&mut self, _: &mut impl Pass<'a>) -> Result<(), Fault> {
        Ok(())
    }
}

impl<'a> Message<'a> for GetInfo {
    const KIND: Kind = Kind::GET_INFO;
}

/// The state of the master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Its version.
    pub version: Version,
    /// Its memory in bytes.
    pub memory: u64,
    /// Its processor time in the kernel, in microseconds.
    pub system_time: u64,
    /// Its processor time outside of the kernel, in microseconds.
    pub user_time: u64,
    /// What all chunkservers have, in bytes.
    pub total: u64,
    /// What can be written, in bytes.
    pub available: u64,
    /// What is free, in bytes.
    pub free: u64,
    /// What the trash has, in bytes.
    pub trash: u64,
    /// How many files it has.
    pub trash_files: u32,
    /// What deleted files have that are open, in bytes.
    pub sustained: u64,
    /// How many there are.
    pub sustained_files: u32,
    /// The number of files, directories and others.
    pub objects: u32,
    /// The number of directories.
    pub directories: u32,
    /// The number of files.
    pub files: u32,
    /// The number of chunks.
    pub chunks: u32,
    /// The number of their copies.
    pub copies: u32,
    /// The number of copies on disks that are to be emptied.
    pub leaving_copies: u32,
    /// When the metadata were saved, in seconds since 1970.
    pub last_store: u32,
    /// How long that took, in milliseconds.
    pub store_time: u32,
    /// 0 if it succeeded.
    pub store_status: u8,
    /// 0xFFFFFFFF: there is no other master.
    pub alone: u32,
    /// The address of the leader, or 0.
    pub leader: Ip,
    /// Since when this is so, or 0.
    pub state_time: u32,
    /// The version of the metadata: the number of changes.
    pub metadata_version: u64,
    /// A checksum of the exports.
    pub exports_sum: u64,
    /// The time in microseconds since 1970.
    pub time: u64,
    /// The last change, or 0.
    pub last_change: u32,
}

impl<'a> Record<'a> for Info {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("version", &mut self.version)?;
        pass.field("memory", &mut self.memory)?;
        pass.field("system_time", &mut self.system_time)?;
        pass.field("user_time", &mut self.user_time)?;
        pass.field("total", &mut self.total)?;
        pass.field("available", &mut self.available)?;
        pass.field("free", &mut self.free)?;
        pass.field("trash", &mut self.trash)?;
        pass.field("trash_files", &mut self.trash_files)?;
        pass.field("sustained", &mut self.sustained)?;
        pass.field("sustained_files", &mut self.sustained_files)?;
        pass.field("objects", &mut self.objects)?;
        pass.field("directories", &mut self.directories)?;
        pass.field("files", &mut self.files)?;
        pass.field("chunks", &mut self.chunks)?;
        pass.field("copies", &mut self.copies)?;
        pass.field("leaving_copies", &mut self.leaving_copies)?;
        pass.field("last_store", &mut self.last_store)?;
        pass.field("store_time", &mut self.store_time)?;
        pass.field("store_status", &mut self.store_status)?;
        pass.field("alone", &mut self.alone)?;
        pass.field("leader", &mut self.leader)?;
        pass.field("state_time", &mut self.state_time)?;
        pass.field("metadata_version", &mut self.metadata_version)?;
        pass.field("exports_sum", &mut self.exports_sum)?;
        pass.field("time", &mut self.time)?;
        pass.field("last_change", &mut self.last_change)
    }
}

impl<'a> Message<'a> for Info {
    const KIND: Kind = Kind::INFO;
}

/// Asks for figures of the loop of the checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetCharts {
    /// 0.
    pub form: u8,
}

impl<'a> Record<'a> for GetCharts {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("form", &mut self.form)
    }
}

impl<'a> Message<'a> for GetCharts {
    const KIND: Kind = Kind::GET_CHARTS;
}

/// Figures of the loop of the checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charts<'a> {
    /// 44 bytes, and a text.
    pub figures: Rest<'a>,
}

impl<'a> Record<'a> for Charts<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("figures", &mut self.figures)
    }
}

impl<'a> Message<'a> for Charts<'a> {
    const KIND: Kind = Kind::CHARTS;
}

/// Asks for figures of the loop of the chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetChunkTests;

impl<'a> Record<'a> for GetChunkTests {
    fn fields(&mut self, _: &mut impl Pass<'a>) -> Result<(), Fault> {
        Ok(())
    }
}

impl<'a> Message<'a> for GetChunkTests {
    const KIND: Kind = Kind::GET_CHUNK_TESTS;
}

/// Figures of the loop of the chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkTests<'a> {
    /// 18 numbers of 32 bits.
    pub figures: Rest<'a>,
}

impl<'a> Record<'a> for ChunkTests<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("figures", &mut self.figures)
    }
}

impl<'a> Message<'a> for ChunkTests<'a> {
    const KIND: Kind = Kind::CHUNK_TESTS;
}

/// Asks how many chunks have how many copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetChunkMatrix;

impl<'a> Record<'a> for GetChunkMatrix {
    fn fields(&mut self, _: &mut impl Pass<'a>) -> Result<(), Fault> {
        Ok(())
    }
}

impl<'a> Message<'a> for GetChunkMatrix {
    const KIND: Kind = Kind::GET_CHUNK_MATRIX;
}

/// How many chunks have how many copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkMatrix<'a> {
    /// A byte of progress, and 2 times 11 times 11 numbers of 32 bits.
    pub figures: Rest<'a>,
}

impl<'a> Record<'a> for ChunkMatrix<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("figures", &mut self.figures)
    }
}

impl<'a> Message<'a> for ChunkMatrix<'a> {
    const KIND: Kind = Kind::CHUNK_MATRIX;
}
