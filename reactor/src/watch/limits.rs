//! The options of a watch of directories.

use std::time::Duration;

/// How much of a directory is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The names in it.
    Entries,
    /// Everything below it. A directory that appears is watched first and read then, so nothing in it
    /// is missed.
    Tree,
}

/// What a symbolic link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// A name of its own, which is not followed.
    Kept,
    /// The directory that it leads to. A directory to which several names lead is watched by one of
    /// them.
    Followed,
}

/// When changes are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Each event, as soon as the loop has read it. The first half of a move waits for the second.
    Each,
    /// What differs in the end, once it has been quiet. A file that was replaced by another, as editors
    /// do, is [`Modified`](super::What::Modified); one that was created and removed again is not
    /// reported. A directory is reported before what is in it.
    Settled {
        /// How long nothing must have happened.
        quiet: Duration,
        /// How long after the first event a report is made at the latest.
        delay_max: Duration,
    },
}

impl Delivery {
    /// A tenth of a second of quiet, and a report after a second at the latest: long enough for the
    /// steps of an editor that saves a file.
    pub const SETTLED: Self =
        Self::Settled { quiet: Duration::from_millis(100), delay_max: Duration::from_secs(1) };
}

/// How directories are watched, and the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeOptions {
    /// How much of each directory is watched.
    pub depth: Depth,
    /// Whether symbolic links are followed.
    pub links: Links,
    /// When changes are reported.
    pub delivery: Delivery,
    /// Whether the names that exist at the start are reported as created. An application that keeps a
    /// list of all names needs no scan of its own then.
    pub existing: bool,
    /// Whether files that are opened and read are reported. Each scan of a directory is such an event
    /// itself. They are never reported with [`Delivery::Settled`].
    pub reads: bool,
    /// How long the first half of a move waits for the second. The kernel writes both at once; only
    /// what is moved out of the watched directories has no second half. Events behind it wait.
    pub pairing: Duration,
    /// The most directories that are watched. Each takes about 1 KB of kernel memory. The kernel has a
    /// limit for each user besides (`fs.inotify.max_user_watches`).
    pub watches_max: usize,
    /// The most names that are known. Each takes about 150 bytes, and twice that with
    /// [`Delivery::Settled`].
    pub entries_max: usize,
    /// The most events that wait to be reported, and the most changes of a report. With more, the
    /// report is made early.
    pub changes_max: usize,
}

impl TreeOptions {
    /// The tree, without following links, each event at once, with room for 100,000 directories and a
    /// million names.
    pub const DEFAULT: Self = Self {
        depth: Depth::Tree,
        links: Links::Kept,
        delivery: Delivery::Each,
        existing: false,
        reads: false,
        pairing: Duration::from_millis(100),
        watches_max: 100_000,
        entries_max: 1_000_000,
        changes_max: 10_000,
    };
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}
