//! Messages of clients to the master about the names in a directory.

use super::attributes::{Attributes, FileType};
use super::error::Fault;
use super::field::{Pass, Record};
use super::message::Message;
use super::values::{Credentials, Name, Rest};
use super::{Kind, Request};

/// Asks for the names in a directory. The real master does not page: what is asked for is 0xFFFFFFFF
/// entries from the edge 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadDirectory<'a> {
    /// The directory.
    pub inode: u32,
    /// Who asks.
    pub credentials: Credentials<'a>,
    /// 1 with attributes, 2 the client keeps the directory.
    pub flags: u8,
    /// How many names at most.
    pub entries_max: u32,
    /// Where to go on.
    pub edge: u64,
}

impl<'a> Record<'a> for ReadDirectory<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("credentials", &mut self.credentials)?;
        pass.field("flags", &mut self.flags)?;
        pass.field("entries_max", &mut self.entries_max)?;
        pass.field("edge", &mut self.edge)
    }
}

impl<'a> Message<'a> for ReadDirectory<'a> {
    const KIND: Kind = Kind::READDIR;
}

impl Request for ReadDirectory<'_> {
    type Answer<'b> = ReadDirectoryAnswer<'b>;
}

/// The names in a directory, `.` and `..` first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadDirectoryAnswer<'a> {
    /// The edge of the request.
    pub edge: u64,
    /// A [`List`](super::List) of [`Entry`] or [`AttributedEntry`], as the request says.
    pub entries: Rest<'a>,
}

impl<'a> Record<'a> for ReadDirectoryAnswer<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("edge", &mut self.edge)?;
        pass.field("entries", &mut self.entries)
    }
}

impl<'a> Message<'a> for ReadDirectoryAnswer<'a> {
    const KIND: Kind = Kind::READDIR_ANSWER;
}

/// A name in a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name.
    pub name: Name<'a>,
    /// What has the name.
    pub inode: u32,
    /// Its type.
    pub file_type: FileType,
}

impl<'a> Record<'a> for Entry<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("name", &mut self.name)?;
        pass.field("inode", &mut self.inode)?;
        pass.field("file_type", &mut self.file_type)
    }
}

/// A name in a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttributedEntry<'a> {
    /// The name.
    pub name: Name<'a>,
    /// What has the name.
    pub inode: u32,
    /// Its attributes.
    pub attributes: Attributes,
}

impl<'a> Record<'a> for AttributedEntry<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("name", &mut self.name)?;
        pass.field("inode", &mut self.inode)?;
        pass.field("attributes", &mut self.attributes)
    }
}
