//! Messages of clients to the master that change names, and list them. Each is sent in a
//! [`Numbered`](super::Numbered), and answered with a numbered [`Answer`](super::Answer).

use super::attributes::Attributes;
use super::error::Fault;
use super::field::{Pass, Record};
use super::message::Message;
use super::values::{Credentials, Name, Text};
use super::{Kind, Request};

/// Makes a symbolic link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Symlink<'a> {
    /// The directory.
    pub parent: u32,
    /// The name.
    pub name: Name<'a>,
    /// Where it points to, with a zero byte at its end.
    pub path: Text<'a>,
    /// Who asks.
    pub credentials: Credentials<'a>,
}

impl<'a> Record<'a> for Symlink<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("parent", &mut self.parent)?;
        pass.field("name", &mut self.name)?;
        pass.field("path", &mut self.path)?;
        pass.field("credentials", &mut self.credentials)
    }
}

impl<'a> Message<'a> for Symlink<'a> {
    const KIND: Kind = Kind::SYMLINK;
}

impl Request for Symlink<'_> {
    type Answer<'b> = SymlinkAnswer;
}

/// The new link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SymlinkAnswer {
    /// Its number.
    pub inode: u32,
    /// Its attributes.
    pub attributes: Attributes,
}

impl<'a> Record<'a> for SymlinkAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("attributes", &mut self.attributes)
    }
}

impl<'a> Message<'a> for SymlinkAnswer {
    const KIND: Kind = Kind::SYMLINK_ANSWER;
}

/// Makes a file of any type but a directory or a symbolic link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MakeNode<'a> {
    /// The directory.
    pub parent: u32,
    /// The name.
    pub name: Name<'a>,
    /// The number of the type.
    pub file_type: u8,
    /// The permissions.
    pub mode: u16,
    /// Those that are taken away.
    pub umask: u16,
    /// Who asks.
    pub credentials: Credentials<'a>,
    /// The number of a device.
    pub device: u32,
}

impl<'a> Record<'a> for MakeNode<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("parent", &mut self.parent)?;
        pass.field("name", &mut self.name)?;
        pass.field("file_type", &mut self.file_type)?;
        pass.field("mode", &mut self.mode)?;
        pass.field("umask", &mut self.umask)?;
        pass.field("credentials", &mut self.credentials)?;
        pass.field("device", &mut self.device)
    }
}

impl<'a> Message<'a> for MakeNode<'a> {
    const KIND: Kind = Kind::MKNOD;
}

impl Request for MakeNode<'_> {
    type Answer<'b> = MakeNodeAnswer;
}

/// The new file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MakeNodeAnswer {
    /// Its number.
    pub inode: u32,
    /// Its attributes.
    pub attributes: Attributes,
}

impl<'a> Record<'a> for MakeNodeAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("attributes", &mut self.attributes)
    }
}

impl<'a> Message<'a> for MakeNodeAnswer {
    const KIND: Kind = Kind::MKNOD_ANSWER;
}

/// Makes a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MakeDirectory<'a> {
    /// The directory that it is in.
    pub parent: u32,
    /// The name.
    pub name: Name<'a>,
    /// The permissions.
    pub mode: u16,
    /// Those that are taken away.
    pub umask: u16,
    /// Who asks.
    pub credentials: Credentials<'a>,
    /// 1 if set-group-ID is inherited.
    pub copies_sgid: u8,
}

impl<'a> Record<'a> for MakeDirectory<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("parent", &mut self.parent)?;
        pass.field("name", &mut self.name)?;
        pass.field("mode", &mut self.mode)?;
        pass.field("umask", &mut self.umask)?;
        pass.field("credentials", &mut self.credentials)?;
        pass.field("copies_sgid", &mut self.copies_sgid)
    }
}

impl<'a> Message<'a> for MakeDirectory<'a> {
    const KIND: Kind = Kind::MKDIR;
}

impl Request for MakeDirectory<'_> {
    type Answer<'b> = MakeDirectoryAnswer;
}

/// The new directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MakeDirectoryAnswer {
    /// Its number.
    pub inode: u32,
    /// Its attributes.
    pub attributes: Attributes,
}

impl<'a> Record<'a> for MakeDirectoryAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("attributes", &mut self.attributes)
    }
}

impl<'a> Message<'a> for MakeDirectoryAnswer {
    const KIND: Kind = Kind::MKDIR_ANSWER;
}

/// Removes a name of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unlink<'a> {
    /// The directory.
    pub parent: u32,
    /// The name.
    pub name: Name<'a>,
    /// Who asks.
    pub credentials: Credentials<'a>,
}

impl<'a> Record<'a> for Unlink<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("parent", &mut self.parent)?;
        pass.field("name", &mut self.name)?;
        pass.field("credentials", &mut self.credentials)
    }
}

impl<'a> Message<'a> for Unlink<'a> {
    const KIND: Kind = Kind::UNLINK;
}

impl Request for Unlink<'_> {
    type Answer<'b> = UnlinkAnswer;
}

/// What had the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnlinkAnswer {
    /// Its number.
    pub inode: u32,
}

impl<'a> Record<'a> for UnlinkAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)
    }
}

impl<'a> Message<'a> for UnlinkAnswer {
    const KIND: Kind = Kind::UNLINK_ANSWER;
}

/// Removes an empty directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveDirectory<'a> {
    /// The directory that it is in.
    pub parent: u32,
    /// The name.
    pub name: Name<'a>,
    /// Who asks.
    pub credentials: Credentials<'a>,
}

impl<'a> Record<'a> for RemoveDirectory<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("parent", &mut self.parent)?;
        pass.field("name", &mut self.name)?;
        pass.field("credentials", &mut self.credentials)
    }
}

impl<'a> Message<'a> for RemoveDirectory<'a> {
    const KIND: Kind = Kind::RMDIR;
}

impl Request for RemoveDirectory<'_> {
    type Answer<'b> = RemoveDirectoryAnswer;
}

/// What had the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveDirectoryAnswer {
    /// Its number.
    pub inode: u32,
}

impl<'a> Record<'a> for RemoveDirectoryAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)
    }
}

impl<'a> Message<'a> for RemoveDirectoryAnswer {
    const KIND: Kind = Kind::RMDIR_ANSWER;
}

/// Changes a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rename<'a> {
    /// The directory.
    pub parent: u32,
    /// The name.
    pub name: Name<'a>,
    /// The new directory.
    pub new_parent: u32,
    /// The new name.
    pub new_name: Name<'a>,
    /// Who asks.
    pub credentials: Credentials<'a>,
}

impl<'a> Record<'a> for Rename<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("parent", &mut self.parent)?;
        pass.field("name", &mut self.name)?;
        pass.field("new_parent", &mut self.new_parent)?;
        pass.field("new_name", &mut self.new_name)?;
        pass.field("credentials", &mut self.credentials)
    }
}

impl<'a> Message<'a> for Rename<'a> {
    const KIND: Kind = Kind::RENAME;
}

impl Request for Rename<'_> {
    type Answer<'b> = RenameAnswer;
}

/// What has the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenameAnswer {
    /// Its number.
    pub inode: u32,
    /// Its attributes.
    pub attributes: Attributes,
}

impl<'a> Record<'a> for RenameAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("attributes", &mut self.attributes)
    }
}

impl<'a> Message<'a> for RenameAnswer {
    const KIND: Kind = Kind::RENAME_ANSWER;
}

/// Gives a file another name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link<'a> {
    /// The file.
    pub inode: u32,
    /// The directory.
    pub new_parent: u32,
    /// The name.
    pub new_name: Name<'a>,
    /// Who asks.
    pub credentials: Credentials<'a>,
}

impl<'a> Record<'a> for Link<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("new_parent", &mut self.new_parent)?;
        pass.field("new_name", &mut self.new_name)?;
        pass.field("credentials", &mut self.credentials)
    }
}

impl<'a> Message<'a> for Link<'a> {
    const KIND: Kind = Kind::LINK;
}

impl Request for Link<'_> {
    type Answer<'b> = LinkAnswer;
}

/// The file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkAnswer {
    /// Its number.
    pub inode: u32,
    /// Its attributes.
    pub attributes: Attributes,
}

impl<'a> Record<'a> for LinkAnswer {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)?;
        pass.field("attributes", &mut self.attributes)
    }
}

impl<'a> Message<'a> for LinkAnswer {
    const KIND: Kind = Kind::LINK_ANSWER;
}
