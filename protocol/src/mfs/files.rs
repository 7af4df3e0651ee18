//! Messages of clients to the master about names and attributes of files. Each is sent in a
//! [`Numbered`](super::Numbered), and answered with a numbered [`Answer`](super::Answer).

use super::attributes::Attributes;
use super::error::Fault;
use super::field::{Pass, Record};
use super::message::Message;
use super::values::{ChunkId, Credentials, Endpoint, List, Name, Text, Version};
use super::{Kind, Request};

/// Asks for the size of the file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatFs;

impl<'a> Record<'a> for StatFs {
    fn fields(&mut self, _: &mut impl Pass<'a>) -> Result<(), Fault> {
        Ok(())
    }
}

impl<'a> Message<'a> for StatFs {
    const KIND: Kind = Kind::STATFS;
}

impl Request for StatFs {
    type Answer<'b> = StatFsAnswer;
}

/// The size of the file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatFsAnswer {
    /// What there is, in bytes.
    pub total: u64,
    /// What can be written, in bytes.
    pub available: u64,
    /// What is free, in bytes.
    pub free: u64,
    /// What the trash has, in bytes.
    pub trash: u64,
    /// What deleted files have that are open, in bytes.
    pub sustained: u64,
    /// The number of files, directories and others.
    pub inodes: u32,
}

impl<'a> Record<'a> for StatFsAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("total", &mut self.total)?;
        pass.field("available", &mut self.available)?;
        pass.field("free", &mut self.free)?;
        pass.field("trash", &mut self.trash)?;
        pass.field("sustained", &mut self.sustained)?;
        pass.field("inodes", &mut self.inodes)
    }
}

impl<'a> Message<'a> for StatFsAnswer {
    const KIND: Kind = Kind::STATFS_ANSWER;
}

/// Asks whether a file may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access<'a> {
    /// The file.
    pub inode: u32,
    /// Who asks.
    pub credentials: Credentials<'a>,
    /// For what: 4 read, 2 write, 1 execute.
    pub mask: u16,
}

impl<'a> Record<'a> for Access<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("credentials", &mut self.credentials)?;
        pass.field("mask", &mut self.mask)
    }
}

impl<'a> Message<'a> for Access<'a> {
    const KIND: Kind = Kind::ACCESS;
}

impl Request for Access<'_> {
    type Answer<'b> = AccessAnswer;
}

/// The answer is a status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessAnswer;

impl<'a> Record<'a> for AccessAnswer {
    fn fields(&mut self, _: &mut impl Pass<'a>) -> Result<(), Fault> {
        Ok(())
    }
}

impl<'a> Message<'a> for AccessAnswer {
    const KIND: Kind = Kind::ACCESS_ANSWER;
}

/// Asks for a name in a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookup<'a> {
    /// The directory.
    pub parent: u32,
    /// The name.
    pub name: Name<'a>,
    /// Who asks.
    pub credentials: Credentials<'a>,
}

impl<'a> Record<'a> for Lookup<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("parent", &mut self.parent)?;
        pass.field("name", &mut self.name)?;
        pass.field("credentials", &mut self.credentials)
    }
}

impl<'a> Message<'a> for Lookup<'a> {
    const KIND: Kind = Kind::LOOKUP;
}

impl Request for Lookup<'_> {
    type Answer<'b> = LookupAnswer<'b>;
}

/// What has the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookupAnswer<'a> {
    /// Its number.
    pub inode: u32,
    /// Its attributes.
    pub attributes: Attributes,
    /// Bit i: access of the mode i is allowed. 0x100: the first chunk follows. 0x200 read-only file
    /// system, 0x400 what is cached stays valid, 0x800 immutable, 0x1000 nothing is to be cached,
    /// 0x2000 only appending.
    pub flags: u16,
    /// The first chunk of a file.
    pub place: Option<ChunkPlace<'a>>,
}

impl<'a> Record<'a> for LookupAnswer<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("attributes", &mut self.attributes)?;
        pass.field("flags", &mut self.flags)?;
        pass.field("place", &mut self.place)
    }
}

impl<'a> Message<'a> for LookupAnswer<'a> {
    const KIND: Kind = Kind::LOOKUP_ANSWER;
}

/// A chunk, and where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkPlace<'a> {
    /// 2.
    pub form: u8,
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
    /// The chunkservers that have it.
    pub servers: List<'a, Holder>,
}

impl<'a> Record<'a> for ChunkPlace<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("form", &mut self.form)?;
        pass.field("chunk", &mut self.chunk)?;
        pass.field("version", &mut self.version)?;
        pass.field("servers", &mut self.servers)
    }
}

/// A chunkserver that has a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Its data port.
    pub place: Endpoint,
    /// Its version.
    pub version: Version,
    /// Its labels: the lowest bit is A.
    pub labels: u32,
}

impl<'a> Record<'a> for Holder {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("place", &mut self.place)?;
        pass.field("version", &mut self.version)?;
        pass.field("labels", &mut self.labels)
    }
}

/// Asks for attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetAttributes {
    /// The file.
    pub inode: u32,
    /// 1 if the client has it open.
    pub is_open: u8,
    /// The user who asks.
    pub uid: u32,
    /// The group who asks.
    pub gid: u32,
}

impl<'a> Record<'a> for GetAttributes {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("is_open", &mut self.is_open)?;
        pass.field("uid", &mut self.uid)?;
        pass.field("gid", &mut self.gid)
    }
}

impl<'a> Message<'a> for GetAttributes {
    const KIND: Kind = Kind::GETATTR;
}

impl Request for GetAttributes {
    type Answer<'b> = GetAttributesAnswer;
}

/// Attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetAttributesAnswer {
    /// The attributes.
    pub attributes: Attributes,
}

impl<'a> Record<'a> for GetAttributesAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("attributes", &mut self.attributes)
    }
}

impl<'a> Message<'a> for GetAttributesAnswer {
    const KIND: Kind = Kind::GETATTR_ANSWER;
}

/// Changes attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttributes<'a> {
    /// The file.
    pub inode: u32,
    /// 1 if the client has it open.
    pub is_open: u8,
    /// Who asks.
    pub credentials: Credentials<'a>,
    /// What is changed: 1 attributes of Windows, 2 permissions, 4 owner, 8 group, 0x10 mtime to now,
    /// 0x20 mtime, 0x40 atime, 0x80 atime to now.
    pub mask: u8,
    /// The permissions.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The last access, in seconds since 1970.
    pub atime: u32,
    /// The last change, in seconds since 1970.
    pub mtime: u32,
    /// The attributes of Windows.
    pub windows: u8,
    /// How set-user-ID and set-group-ID are cleared when the owner changes.
    pub sugid_mode: u8,
}

impl<'a> Record<'a> for SetAttributes<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("is_open", &mut self.is_open)?;
        pass.field("credentials", &mut self.credentials)?;
        pass.field("mask", &mut self.mask)?;
        pass.field("mode", &mut self.mode)?;
        pass.field("uid", &mut self.uid)?;
        pass.field("gid", &mut self.gid)?;
        pass.field("atime", &mut self.atime)?;
        pass.field("mtime", &mut self.mtime)?;
        pass.field("windows", &mut self.windows)?;
        pass.field("sugid_mode", &mut self.sugid_mode)
    }
}

impl<'a> Message<'a> for SetAttributes<'a> {
    const KIND: Kind = Kind::SETATTR;
}

impl Request for SetAttributes<'_> {
    type Answer<'b> = SetAttributesAnswer;
}

/// The attributes after the change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttributesAnswer {
    /// The attributes.
    pub attributes: Attributes,
}

impl<'a> Record<'a> for SetAttributesAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("attributes", &mut self.attributes)
    }
}

impl<'a> Message<'a> for SetAttributesAnswer {
    const KIND: Kind = Kind::SETATTR_ANSWER;
}

/// Asks where a symbolic link points to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadLink {
    /// The link.
    pub inode: u32,
}

impl<'a> Record<'a> for ReadLink {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)
    }
}

impl<'a> Message<'a> for ReadLink {
    const KIND: Kind = Kind::READLINK;
}

impl Request for ReadLink {
    type Answer<'b> = ReadLinkAnswer<'b>;
}

/// Where it points to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadLinkAnswer<'a> {
    /// The path, with a zero byte at its end.
    pub path: Text<'a>,
}

impl<'a> Record<'a> for ReadLinkAnswer<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("path", &mut self.path)
    }
}

impl<'a> Message<'a> for ReadLinkAnswer<'a> {
    const KIND: Kind = Kind::READLINK_ANSWER;
}
