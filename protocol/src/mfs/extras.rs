//! Messages of clients to the master about attributes that few files have, and what both tell each other
//! without being asked.

use super::error::Fault;
use super::field::{Pass, Record};
use super::message::Message;
use super::values::{ChunkId, Credentials, List, Name, Rest, Text};
use super::{Kind, Request};

/// Asks for an extended attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetXattr<'a> {
    /// The file.
    pub inode: u32,
    /// The name of the attribute. An empty one asks for all names.
    pub name: Name<'a>,
    /// 0 the value, 1 only its length.
    pub mode: u8,
    /// 1 if the client has the file open.
    pub is_open: u8,
    /// Who asks.
    pub credentials: Credentials<'a>,
}

impl<'a> Record<'a> for GetXattr<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("name", &mut self.name)?;
        pass.field("mode", &mut self.mode)?;
        pass.field("is_open", &mut self.is_open)?;
        pass.field("credentials", &mut self.credentials)
    }
}

impl<'a> Message<'a> for GetXattr<'a> {
    const KIND: Kind = Kind::GETXATTR;
}

impl Request for GetXattr<'_> {
    type Answer<'b> = GetXattrAnswer<'b>;
}

/// An extended attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetXattrAnswer<'a> {
    /// The length of the value, in bytes.
    pub length: u32,
    /// The value, if it was asked for.
    pub value: Rest<'a>,
}

impl<'a> Record<'a> for GetXattrAnswer<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("length", &mut self.length)?;
        pass.field("value", &mut self.value)
    }
}

impl<'a> Message<'a> for GetXattrAnswer<'a> {
    const KIND: Kind = Kind::GETXATTR_ANSWER;
}

/// Changes an extended attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetXattr<'a> {
    /// The file.
    pub inode: u32,
    /// The name of the attribute.
    pub name: Name<'a>,
    /// The value.
    pub value: Text<'a>,
    /// 0 create or replace, 1 create, 2 replace, 3 remove.
    pub mode: u8,
    /// 1 if the client has the file open.
    pub is_open: u8,
    /// Who asks.
    pub credentials: Credentials<'a>,
}

impl<'a> Record<'a> for SetXattr<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("name", &mut self.name)?;
        pass.field("value", &mut self.value)?;
        pass.field("mode", &mut self.mode)?;
        pass.field("is_open", &mut self.is_open)?;
        pass.field("credentials", &mut self.credentials)
    }
}

impl<'a> Message<'a> for SetXattr<'a> {
    const KIND: Kind = Kind::SETXATTR;
}

impl Request for SetXattr<'_> {
    type Answer<'b> = SetXattrAnswer;
}

/// The answer is a status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetXattrAnswer;

impl<'a> Record<'a> for SetXattrAnswer {
    fn fields(&mut self, _: &mut impl Pass<'a>) -> Result<(), Fault> {
        Ok(())
    }
}

impl<'a> Message<'a> for SetXattrAnswer {
    const KIND: Kind = Kind::SETXATTR_ANSWER;
}

/// Asks for an access control list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetAcl {
    /// The file.
    pub inode: u32,
    /// Which one.
    pub acl_type: u8,
}

impl<'a> Record<'a> for GetAcl {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("acl_type", &mut self.acl_type)
    }
}

impl<'a> Message<'a> for GetAcl {
    const KIND: Kind = Kind::GETACL;
}

impl Request for GetAcl {
    type Answer<'b> = GetAclAnswer<'b>;
}

/// An access control list. Our programs have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetAclAnswer<'a> {
    /// The list.
    pub acl: Rest<'a>,
}

impl<'a> Record<'a> for GetAclAnswer<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("acl", &mut self.acl)
    }
}

impl<'a> Message<'a> for GetAclAnswer<'a> {
    const KIND: Kind = Kind::GETACL_ANSWER;
}

/// The files that a client has open. It has no number and no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SustainedInodes<'a> {
    /// The files.
    pub inodes: List<'a, u32>,
}

impl<'a> Record<'a> for SustainedInodes<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inodes", &mut self.inodes)
    }
}

impl<'a> Message<'a> for SustainedInodes<'a> {
    const KIND: Kind = Kind::SUSTAINED_INODES;
}

/// When a client has last used files. It has no number and no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessTimes<'a> {
    /// The files.
    pub times: List<'a, AccessTime>,
}

impl<'a> Record<'a> for AccessTimes<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("times", &mut self.times)
    }
}

impl<'a> Message<'a> for AccessTimes<'a> {
    const KIND: Kind = Kind::ACCESS_TIMES;
}

/// When a client has last used a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessTime {
    /// The file.
    pub inode: u32,
    /// The last access, in seconds since 1970.
    pub atime: u32,
    /// The last change, in seconds since 1970.
    pub mtime: u32,
}

impl<'a> Record<'a> for AccessTime {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("atime", &mut self.atime)?;
        pass.field("mtime", &mut self.mtime)
    }
}

/// Tells clients that another one has changed a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkHasChanged {
    /// The file.
    pub inode: u32,
    /// The number of the chunk in the file.
    pub index: u32,
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
    /// The length of the file in bytes.
    pub length: u64,
    /// 1 if the file ends with this chunk.
    pub truncates: u8,
}

impl<'a> Record<'a> for ChunkHasChanged {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("index", &mut self.index)?;
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)?;
        pass.field("length", &mut self.length)?;
        pass.field("truncates", &mut self.truncates)
    }
}

impl<'a> Message<'a> for ChunkHasChanged {
    const KIND: Kind = Kind::CHUNK_HAS_CHANGED;
}

/// Tells clients that another one has changed the length of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LengthHasChanged {
    /// The file.
    pub inode: u32,
    /// The length in bytes.
    pub length: u64,
}

impl<'a> Record<'a> for LengthHasChanged {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("length", &mut self.length)
    }
}

impl<'a> Message<'a> for LengthHasChanged {
    const KIND: Kind = Kind::LENGTH_HAS_CHANGED;
}

/// Asks for the time of the master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeSync;

impl<'a> Record<'a> for TimeSync {
    fn fields(&mut self, _: &mut impl Pass<'a>) -> Result<(), Fault> {
        Ok(())
    }
}

impl<'a> Message<'a> for TimeSync {
    const KIND: Kind = Kind::TIME_SYNC;
}

impl Request for TimeSync {
    type Answer<'b> = TimeSyncAnswer;
}

/// The time of the master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeSyncAnswer {
    /// Microseconds since 1970.
    pub time: u64,
}

impl<'a> Record<'a> for TimeSyncAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("time", &mut self.time)
    }
}

impl<'a> Message<'a> for TimeSyncAnswer {
    const KIND: Kind = Kind::TIME_SYNC_ANSWER;
}

/// Tells clients to forget where chunks are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InvalidateChunkCache;

impl<'a> Record<'a> for InvalidateChunkCache {
    fn fields(&mut self, _: &mut impl Pass<'a>) -> Result<(), Fault> {
        Ok(())
    }
}

impl<'a> Message<'a> for InvalidateChunkCache {
    const KIND: Kind = Kind::INVALIDATE_CHUNK_CACHE;
}
