//! What one inode is.

use std::collections::BTreeMap;

use protocol::mfs::{Attributes, CHUNK_SIZE, ChunkId, Credentials, FileType, Status};

/// What an inode costs in memory besides its content, in bytes: its places in two tables.
pub(super) const NODE_WEIGHT: u64 = 240;
/// What a name in a directory costs besides its bytes.
pub(super) const ENTRY_WEIGHT: u64 = 64;
/// What a chunk costs: its places in the file and in the table of chunks.
pub(super) const CHUNK_WEIGHT: u64 = 120;
/// What an extended attribute costs besides its bytes.
pub(super) const XATTR_WEIGHT: u64 = 64;
/// What an open file costs: its places in two sets.
pub(super) const OPEN_WEIGHT: u64 = 48;

/// The flag of attributes: there are no extended attributes.
const NO_XATTRS: u8 = 8;
/// The flag of attributes that the real master gives directories besides.
const DIRECTORY: u8 = 4;

/// Access to a file: bits of `access(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mask(pub(crate) u8);

impl Mask {
    pub(crate) const EXECUTE: Self = Self(1);
    pub(crate) const WRITE: Self = Self(2);
    pub(crate) const READ: Self = Self(4);
    /// What changing the names of a directory takes.
    pub(crate) const CHANGE_NAMES: Self = Self(3);
}

/// The bits of the permissions that clear when the owner or the group changes.
pub(super) const SET_IDS: u16 = 0o6000;
pub(super) const SET_GID: u16 = 0o2000;
pub(super) const STICKY: u16 = 0o1000;

/// A directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) parent: u32,
    pub(super) entries: BTreeMap<Box<[u8]>, u32>,
    /// How many bytes all names have.
    pub(super) names_size: usize,
}

/// What an inode contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The chunks by their index. What is missing is a hole.
    File(BTreeMap<u32, ChunkId>),
    Directory(Directory),
    Symlink(Box<[u8]>),
    /// A device, a FIFO or a socket.
    Other,
}

/// An inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Without the flags, which [`shown`](Self::shown) adds.
    pub(super) attributes: Attributes,
    pub(super) content: Content,
    pub(super) xattrs: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

impl Node {
    pub(super) fn file_type(&self) -> FileType {
        self.attributes.mode.file_type
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.content, Content::Directory(_))
    }

    pub(super) fn directory(&self) -> Result<&Directory, Status> {
        match &self.content {
            Content::Directory(directory) => Ok(directory),
            _ => Err(Status::ENOTDIR),
        }
    }

    pub(super) fn directory_mut(&mut self) -> Option<&mut Directory> {
        match &mut self.content {
            Content::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// Returns the chunks of a file.
    pub(super) fn chunks(&self) -> Result<&BTreeMap<u32, ChunkId>, Status> {
        match &self.content {
            Content::File(chunks) => Ok(chunks),
            _ => Err(Status::EPERM),
        }
    }

    /// Returns the attributes as clients get them.
    pub(super) fn shown(&self) -> Attributes {
        let xattrs = if self.xattrs.is_empty() { NO_XATTRS } else { 0 };
        let directory = if self.is_directory() { DIRECTORY } else { 0 };
        Attributes { flags: xattrs | directory, ..self.attributes }
    }

    /// Returns whether a user has the access of all bits of a mask. The superuser has any.
    pub(super) fn permits(&self, who: &Credentials<'_>, mask: Mask) -> bool {
        let permissions = self.attributes.mode.permissions;
        let bits = if who.uid == 0 {
            7
        } else if who.uid == self.attributes.uid {
            permissions >> 6
        } else if is_in_group(who, self.attributes.gid) {
            permissions >> 3
        } else {
            permissions
        };
        !(bits as u8) & mask.0 & 7 == 0
    }

    /// Checks an access.
    pub(super) fn check(&self, who: &Credentials<'_>, mask: Mask) -> Result<(), Status> {
        if self.permits(who, mask) { Ok(()) } else { Err(Status::EACCES) }
    }

    /// Returns whether a user owns the file, or is the superuser.
    pub(super) fn is_owned_by(&self, who: &Credentials<'_>) -> bool {
        who.uid == 0 || who.uid == self.attributes.uid
    }

    /// Returns what the node costs in memory without its chunks and names, which come and go.
    pub(super) fn weight(&self) -> u64 {
        match &self.content {
            Content::Symlink(path) => NODE_WEIGHT + path.len() as u64,
            _ => NODE_WEIGHT,
        }
    }
}

/// Returns whether one of a user's groups is this one.
pub(super) fn is_in_group(who: &Credentials<'_>, gid: u32) -> bool {
    who.groups().any(|group| group == gid)
}

/// Returns what a name in a directory costs.
pub(super) fn entry_weight(name: &[u8]) -> u64 {
    ENTRY_WEIGHT + name.len() as u64
}

/// Returns what an extended attribute costs.
pub(super) fn xattr_weight(name: &[u8], value: &[u8]) -> u64 {
    XATTR_WEIGHT + (name.len() + value.len()) as u64
}

/// Returns how many chunks a file of a length has, holes included.
pub(super) fn chunk_count(length: u64) -> u64 {
    length.div_ceil(CHUNK_SIZE)
}
