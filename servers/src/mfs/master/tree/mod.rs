//! The tree of files of the master: names, attributes, and which chunks a file consists of. It has no
//! sockets and no clock: each request is told the time.
//!
//! A request is checked first, and becomes a [`Change`]. [`Tree::apply`] alone alters the tree. It decides
//! nothing, so a tree on which the changes of a log are applied is the tree that the log was written for.

mod apply;
mod attributes;
mod change;
#[cfg(any(test, fuzzing))]
mod checks;
mod contents;
mod names;
mod node;
mod opened;
mod snapshot;
#[cfg(test)]
mod tests;
mod xattrs;

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use log::error;
use protocol::mfs::{Attributes, ChunkId, FileType, Mode, Status};

#[cfg(fuzzing)]
pub use checks::{check_mfs_log, check_mfs_tree};
use contents::ChunkUse;
pub(crate) use names::NewNode;
pub(crate) use node::Mask;
pub(crate) use snapshot::FORM;
#[cfg(test)]
use snapshot::SnapshotError;
pub(crate) use xattrs::SetMode;

use change::Change;
use node::{Content, Directory, NODE_WEIGHT, Node};

/// The inode of the root.
pub(crate) const ROOT: u32 = 1;
/// The longest name, in bytes.
pub(crate) const NAME_MAX: usize = 255;
/// The longest path of a symbolic link, in bytes: `PATH_MAX` of Linux.
pub(crate) const SYMLINK_MAX: usize = 4095;
/// The longest file, in bytes: as many chunks as the real master allows.
pub(crate) const LENGTH_MAX: u64 = 1 << 57;

/// The limits of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeLimits {
    /// How many inodes there may be. Default 10,000,000.
    pub(crate) inodes_max: u32,
    /// What all of it may take in memory, in bytes, counted generously. Default 4 GiB.
    pub(crate) memory_max: u64,
    /// How many bytes a list of a directory may have. Clients ask for all of it at once. Default
    /// 40,000,000: about a million names.
    pub(crate) listing_max: usize,
    /// How many extended attributes an inode may have. Default 1,000.
    pub(crate) xattrs_max: usize,
    /// How large the value of an extended attribute may be, in bytes. Default 65,536, as in Linux.
    pub(crate) xattr_size_max: usize,
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self {
            inodes_max: 10_000_000,
            memory_max: 4 << 30,
            listing_max: 40_000_000,
            xattrs_max: 1000,
            xattr_size_max: 65_536,
        }
    }
}

/// What is in the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Files, directories and others, those without a name included.
    pub(crate) inodes: u32,
    pub(crate) directories: u32,
    pub(crate) files: u32,
    /// Files without a name that are open, and their lengths in bytes, modulo 2^64: files have holes.
    pub(crate) sustained_files: u32,
    pub(crate) sustained_size: u64,
    /// What all of it takes in memory, in bytes.
    pub(crate) memory: u64,
}

/// The tree.
#[derive(Debug)]
pub(crate) struct Tree {
    limits: TreeLimits,
    nodes: HashMap<u32, Node>,
    chunks: HashMap<u64, ChunkUse>,
    /// Which session has which inode open, and the other way round.
    open_by_session: BTreeSet<(u32, u32)>,
    open_by_inode: BTreeSet<(u32, u32)>,
    sums: Sums,
    next_inode: u32,
    lines: Vec<String>,
    freed: Vec<ChunkId>,
}

impl Tree {
    /// Returns a tree that has only its root.
    pub(crate) fn new(limits: TreeLimits, time: u32) -> Self {
        let mut tree = Self::without_root(limits);
        let mode = Mode { file_type: FileType::Directory, permissions: 0o755 };
        let (atime, mtime, ctime) = (time, time, time);
        let attributes =
            Attributes { mode, atime, mtime, ctime, links: 2, ..Attributes::default() };
        tree.add(ROOT, Node { attributes, content: new_directory(ROOT), xattrs: [].into() });
        tree
    }

    fn without_root(limits: TreeLimits) -> Self {
        Self {
            limits,
            nodes: HashMap::new(),
            chunks: HashMap::new(),
            open_by_session: BTreeSet::new(),
            open_by_inode: BTreeSet::new(),
            sums: Sums::default(),
            next_inode: ROOT + 1,
            lines: Vec::new(),
            freed: Vec::new(),
        }
    }

    /// Returns what is in the tree.
    pub(crate) fn sums(&self) -> Sums {
        self.sums
    }

    /// Takes the changes since the last call, as the log has them.
    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    /// Takes the chunks that are no longer part of a file since the last call: their copies are to be
    /// deleted.
    pub(crate) fn take_freed(&mut self) -> Vec<ChunkId> {
        std::mem::take(&mut self.freed)
    }

    /// Makes the change of a line of a log.
    ///
    /// # Errors
    /// When it is no line, or does not fit this tree, which is unchanged then.
    pub(crate) fn replay(&mut self, line: &[u8]) -> Result<(), Mismatch> {
        let line = std::str::from_utf8(line).ok().and_then(Change::parse);
        let (time, change) = line.ok_or(Mismatch("a line that can be read"))?;
        self.apply(time, &change)
    }

    fn node(&self, inode: u32) -> Result<&Node, Status> {
        self.nodes.get(&inode).ok_or(Status::ENOENT)
    }

    /// Makes a change, which was checked, and logs it.
    fn change(&mut self, time: u32, change: &Change) -> Result<(), Status> {
        self.apply(time, change).map_err(|mismatch| {
            error!("{} was not done: {mismatch}", change.line(time));
            Status::IO
        })?;
        self.lines.push(change.line(time));
        Ok(())
    }

    /// Returns whether so many bytes more fit into the memory of the tree.
    fn check_memory(&self, more: u64) -> Result<(), Status> {
        if self.sums.memory.saturating_add(more) <= self.limits.memory_max {
            Ok(())
        } else {
            Err(Status::OUTOFMEMORY)
        }
    }

    /// Returns whether another inode with a name or a path of this size may be made.
    fn check_inodes(&self, size: usize) -> Result<(), Status> {
        if self.sums.inodes >= self.limits.inodes_max {
            return Err(Status::NOSPACE);
        }
        self.check_memory(NODE_WEIGHT + node::ENTRY_WEIGHT + size as u64)
    }
}

fn new_directory(parent: u32) -> Content {
    Content::Directory(Directory { parent, entries: [].into(), names_size: 0 })
}

/// A change does not fit the tree: what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch(pub(super) &'static str);

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it needs {}", self.0)
    }
}

impl std::error::Error for Mismatch {}
