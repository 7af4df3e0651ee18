//! Messages of clients to the master about what files contain. Most are sent in a
//! [`Numbered`](super::Numbered), and answered with a numbered [`Answer`](super::Answer).

use super::attributes::Attributes;
use super::error::Fault;
use super::field::{Pass, Record};
use super::files::Holder;
use super::message::Message;
use super::values::{ChunkId, Credentials, List, Name};
use super::{Kind, Request};

/// Opens a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open<'a> {
    /// The file.
    pub inode: u32,
    /// Who asks.
    pub credentials: Credentials<'a>,
    /// 1 read, 2 write, 4 after it was created, 8 truncate, 0x10 the cache was cleared.
    pub flags: u8,
}

impl<'a> Record<'a> for Open<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("credentials", &mut self.credentials)?;
        pass.field("flags", &mut self.flags)
    }
}

impl<'a> Message<'a> for Open<'a> {
    const KIND: Kind = Kind::OPEN;
}

impl Request for Open<'_> {
    type Answer<'b> = OpenAnswer;
}

/// The file is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenAnswer {
    /// 1 what is cached stays valid, 2 nothing is to be cached, 4 only appending.
    pub flags: u8,
    /// Its attributes.
    pub attributes: Attributes,
}

impl<'a> Record<'a> for OpenAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("flags", &mut self.flags)?;
        pass.field("attributes", &mut self.attributes)
    }
}

impl<'a> Message<'a> for OpenAnswer {
    const KIND: Kind = Kind::OPEN_ANSWER;
}

/// Creates a file and opens it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreateFile<'a> {
    /// The directory.
    pub parent: u32,
    /// The name.
    pub name: Name<'a>,
    /// The permissions.
    pub mode: u16,
    /// Those that are taken away.
    pub umask: u16,
    /// Who asks.
    pub credentials: Credentials<'a>,
}

impl<'a> Record<'a> for CreateFile<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("parent", &mut self.parent)?;
        pass.field("name", &mut self.name)?;
        pass.field("mode", &mut self.mode)?;
        pass.field("umask", &mut self.umask)?;
        pass.field("credentials", &mut self.credentials)
    }
}

impl<'a> Message<'a> for CreateFile<'a> {
    const KIND: Kind = Kind::CREATE_FILE;
}

impl Request for CreateFile<'_> {
    type Answer<'b> = CreateFileAnswer;
}

/// The new file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreateFileAnswer {
    /// As those of [`OpenAnswer`].
    pub flags: u8,
    /// Its number.
    pub inode: u32,
    /// Its attributes.
    pub attributes: Attributes,
}

impl<'a> Record<'a> for CreateFileAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("flags", &mut self.flags)?;
        pass.field("inode", &mut self.inode)?;
        pass.field("attributes", &mut self.attributes)
    }
}

impl<'a> Message<'a> for CreateFileAnswer {
    const KIND: Kind = Kind::CREATE_FILE_ANSWER;
}

/// Asks where a chunk is, to read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadChunk {
    /// The file.
    pub inode: u32,
    /// The number of the chunk in the file.
    pub index: u32,
    /// 0.
    pub flags: u8,
}

impl<'a> Record<'a> for ReadChunk {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("index", &mut self.index)?;
        pass.field("flags", &mut self.flags)
    }
}

impl<'a> Message<'a> for ReadChunk {
    const KIND: Kind = Kind::READ_CHUNK;
}

impl Request for ReadChunk {
    type Answer<'b> = ReadChunkAnswer<'b>;
}

/// Where a chunk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadChunkAnswer<'a> {
    /// 2.
    pub form: u8,
    /// The length of the file in bytes.
    pub length: u64,
    /// The chunk. 0 is a hole, which consists of zeros.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
    /// The chunkservers that have it.
    pub servers: List<'a, Holder>,
}

impl<'a> Record<'a> for ReadChunkAnswer<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("form", &mut self.form)?;
        pass.field("length", &mut self.length)?;
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)?;
        pass.field("servers", &mut self.servers)
    }
}

impl<'a> Message<'a> for ReadChunkAnswer<'a> {
    const KIND: Kind = Kind::READ_CHUNK_ANSWER;
}

/// Asks where a chunk is, to write to it. It is locked until [`WriteChunkEnd`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteChunk {
    /// The file.
    pub inode: u32,
    /// The number of the chunk in the file.
    pub index: u32,
    /// 2 go on with a write that was interrupted, 4 use the reserve.
    pub flags: u8,
}

impl<'a> Record<'a> for WriteChunk {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("index", &mut self.index)?;
        pass.field("flags", &mut self.flags)
    }
}

impl<'a> Message<'a> for WriteChunk {
    const KIND: Kind = Kind::WRITE_CHUNK;
}

impl Request for WriteChunk {
    type Answer<'b> = WriteChunkAnswer<'b>;
}

/// Where a chunk is. The first chunkserver is the head of the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteChunkAnswer<'a> {
    /// 2.
    pub form: u8,
    /// The length of the file in bytes.
    pub length: u64,
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
    /// The chunkservers of the chain.
    pub servers: List<'a, Holder>,
}

impl<'a> Record<'a> for WriteChunkAnswer<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("form", &mut self.form)?;
        pass.field("length", &mut self.length)?;
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)?;
        pass.field("servers", &mut self.servers)
    }
}

impl<'a> Message<'a> for WriteChunkAnswer<'a> {
    const KIND: Kind = Kind::WRITE_CHUNK_ANSWER;
}

/// Ends writing to a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteChunkEnd {
    /// The chunk.
    pub chunk: ChunkId,
    /// The file.
    pub inode: u32,
    /// The number of the chunk in the file.
    pub index: u32,
    /// The new length of the file in bytes, if it has grown.
    pub length: u64,
    /// 0.
    pub flags: u8,
}

impl<'a> Record<'a> for WriteChunkEnd {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunk", &mut self.chunk)?;
        pass.field("inode", &mut self.inode)?;
        pass.field("index", &mut self.index)?;
        pass.field("length", &mut self.length)?;
        pass.field("flags", &mut self.flags)
    }
}

impl<'a> Message<'a> for WriteChunkEnd {
    const KIND: Kind = Kind::WRITE_CHUNK_END;
}

impl Request for WriteChunkEnd {
    type Answer<'b> = WriteChunkEndAnswer;
}

/// The answer is a status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteChunkEndAnswer;

impl<'a> Record<'a> for WriteChunkEndAnswer {
    fn fields(&mut self, _: &mut impl Pass<'a>) -> Result<(), Fault> {
        Ok(())
    }
}

impl<'a> Message<'a> for WriteChunkEndAnswer {
    const KIND: Kind = Kind::WRITE_CHUNK_END_ANSWER;
}

/// Changes the length of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TruncateFile<'a> {
    /// The file.
    pub inode: u32,
    /// 1 it is open, 2 update, 4 fix the times, 8 use the reserve.
    pub flags: u8,
    /// Who asks.
    pub credentials: Credentials<'a>,
    /// The new length in bytes.
    pub length: u64,
}

impl<'a> Record<'a> for TruncateFile<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("flags", &mut self.flags)?;
        pass.field("credentials", &mut self.credentials)?;
        pass.field("length", &mut self.length)
    }
}

impl<'a> Message<'a> for TruncateFile<'a> {
    const KIND: Kind = Kind::TRUNCATE_FILE;
}

impl Request for TruncateFile<'_> {
    type Answer<'b> = TruncateFileAnswer;
}

/// The length was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TruncateFileAnswer {
    /// The length before, in bytes.
    pub old_length: u64,
    /// The attributes.
    pub attributes: Attributes,
}

impl<'a> Record<'a> for TruncateFileAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("old_length", &mut self.old_length)?;
        pass.field("attributes", &mut self.attributes)
    }
}

impl<'a> Message<'a> for TruncateFileAnswer {
    const KIND: Kind = Kind::TRUNCATE_FILE_ANSWER;
}
