//! What tells whether a name leads to the same file as before, and whether that has changed.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::change::FileKind;
use super::limits::Links;

const NANOSECONDS: i64 = 1_000_000_000;

/// What is known of the file that a name leads to (`stat(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) kind: FileKind,
    device: u64,
    /// Zero if the file was gone before it could be looked at.
    inode: u64,
    size: u64,
    /// In nanoseconds since 1970.
    modified: i64,
    changed: i64,
}

/// How a mark differs from an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// In nothing.
    None,
    /// The same file has other metadata.
    Attributes,
    /// The same file has another content.
    Content,
    /// It is another file.
    Identity,
}

impl Mark {
    /// Returns the mark of what a path leads to.
    pub(super) fn read(path: &Path, links: Links) -> io::Result<Self> {
        if links == Links::Followed
            && let Ok(metadata) = fs::metadata(path)
        {
            return Ok(Self::of(&metadata));
        }
        // A link that leads nowhere is a name too.
        fs::symlink_metadata(path).map(|metadata| Self::of(&metadata))
    }

    pub(super) fn of(metadata: &Metadata) -> Self {
        let time = |seconds: i64, nanoseconds| {
            seconds.saturating_mul(NANOSECONDS).saturating_add(nanoseconds)
        };
        Self {
            kind: FileKind::of(metadata),
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: time(metadata.mtime(), metadata.mtime_nsec()),
            changed: time(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Returns the mark of a file that was gone before it could be looked at.
    pub(super) const fn unseen(kind: FileKind) -> Self {
        Self { kind, device: 0, inode: 0, size: 0, modified: 0, changed: 0 }
    }

    pub(super) const fn is_unseen(&self) -> bool {
        self.inode == 0
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind == FileKind::Directory
    }

    /// Returns whether both are of the same file.
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode, self.kind) == (other.device, other.inode, other.kind)
    }

    /// Returns whether both are on the same file system.
    pub(super) const fn is_on_device_of(&self, other: &Self) -> bool {
        self.device == other.device
    }

    /// Returns how this mark differs from an earlier one. Directories differ in their identity alone:
    /// their size and times change with the names in them.
    pub(super) fn difference(&self, earlier: &Self) -> Difference {
        if !self.is_same_file(earlier) {
            Difference::Identity
        } else if self.is_directory() || self == earlier {
            Difference::None
        } else if (self.size, self.modified) != (earlier.size, earlier.modified) {
            Difference::Content
        } else {
            Difference::Attributes
        }
    }
}
