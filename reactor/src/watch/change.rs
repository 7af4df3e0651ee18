//! What a watch reports.

use std::fs::Metadata;
use std::io;
use std::path::PathBuf;

use crate::Reason;

/// What a name in a directory leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A socket, a FIFO, or a device.
    Other,
}

impl FileKind {
    pub(super) fn of(metadata: &Metadata) -> Self {
        match metadata.file_type() {
            kind if kind.is_dir() => Self::Directory,
            kind if kind.is_file() => Self::File,
            kind if kind.is_symlink() => Self::Link,
            _ => Self::Other,
        }
    }
}

/// A change of a name.
///
/// An application that applies the changes in their order to a set of names has the names that exist.
/// It has to know two things. What [`Moved`](What::Moved) and [`Removed`](What::Removed) say about a
/// directory holds for everything in it. And a name that is created, or that something is moved to, may
/// exist already: it is replaced.
///
/// Two names that have changed places (`RENAME_EXCHANGE`, `rename(2)`) are two changes: the first is moved
/// to the second, which it replaces, and what was there is moved in to the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The name: the path that was given, and what is below it.
    pub path: PathBuf,
    /// What it leads to, or has led to.
    pub kind: FileKind,
    /// What has happened.
    pub what: What,
}

/// What has happened to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It was created, or was found in a directory that is new.
    Created,
    /// It was moved here from a place that is not watched.
    MovedIn,
    /// It was moved here from another name that is watched.
    Moved {
        /// The name before.
        from: PathBuf,
    },
    /// It was moved to a place that is not watched.
    MovedOut,
    /// It was removed.
    Removed,
    /// The content has changed, or the name leads to another file.
    Modified,
    /// A program that could write to it has closed it.
    Written,
    /// Its metadata have changed, such as its permissions.
    Attributes,
    /// It was opened. This is reported only if it is asked for
    /// ([`TreeOptions::reads`](super::TreeOptions::reads)), and so are the next two.
    Opened,
    /// It was read.
    Read,
    /// A program that could only read it has closed it.
    Closed,
}

/// What a watch of directories tells.
#[derive(Debug)]
pub enum Notice {
    /// Everything is watched. No change after this is missed.
    Ready {
        /// How many directories are watched.
        watches: usize,
        /// How many names are known in them.
        entries: usize,
    },
    /// What has changed: at least one change, in the order in which they have to be applied.
    Changes(Vec<Change>),
    /// The kernel has lost events, since its queue was full (`fs.inotify.max_queued_events`). The
    /// directories are read again, and what differs is reported as changes, so the state is right
    /// afterwards. What happened in between is not known.
    Overrun,
    /// A directory cannot be watched or read, such as for lack of permission. What is in it is not
    /// reported, until its attributes change and it can be.
    Skipped {
        /// The directory.
        path: PathBuf,
        /// The error of the kernel.
        error: io::Error,
    },
    /// The watch has ended, and nothing follows. [`Reason::Finished`]: nothing is left that could be
    /// watched.
    Ended(Reason),
}
