//! The known state of the watched directories, and how events change it. No loop is in it, so tests
//! give it any events.
//!
//! Events may be older than what a scan has found, since a scan looks at the present. So an event that
//! tells what is known changes nothing, and an event about a name that is not known is ignored. When all
//! events up to the scan have been applied, the state is that of the scan.

mod folder;
mod moves;
mod scan;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use protocol::inotify::{Event, Mask as Bits};
use slab::Slab;

use super::change::{FileKind, What};
use super::limits::{Depth, Links, TreeOptions};
use super::mark::{Difference, Mark};
use super::open_instance;
use crate::sys;
use folder::{Folder, Opened, Place};
use moves::Moving;
use scan::{Listing, Scan};

/// Decides which names are watched.
pub(super) type Filter = Box<dyn Fn(&Path, FileKind) -> bool>;

/// A step from one state to the next.
#[derive(Debug)]
pub(super) enum Step {
    /// A name has changed.
    Changed(Changed),
    /// A name was moved away, and it is not known yet where to: the number of the move.
    Leaving(u64),
    /// Everything is watched.
    Ready,
    /// The kernel has lost events.
    Overrun,
    /// A directory cannot be watched or read.
    Skipped(PathBuf, io::Error),
}

/// A change of a name, with what was known before.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) path: PathBuf,
    pub(super) what: What,
    /// What the name has led to before.
    pub(super) before: Option<Mark>,
    /// What it leads to now.
    pub(super) now: Option<Mark>,
}

impl Changed {
    pub(super) fn kind(&self) -> FileKind {
        self.now.or(self.before).map_or(FileKind::File, |mark| mark.kind)
    }
}

/// A name in a directory.
#[derive(Debug)]
struct Child {
    mark: Mark,
    /// The directory that it leads to, if that is watched.
    folder: Option<usize>,
}

/// The known state.
pub(super) struct Tree {
    fd: OwnedFd,
    options: TreeOptions,
    filter: Option<Filter>,
    folders: Slab<Folder>,
    /// The directories of each watch: one, and another where the directory of a root lies in a
    /// watched directory.
    by_watch: HashMap<i32, Vec<usize>>,
    /// The directories that the paths were given in.
    roots: BTreeSet<usize>,
    entries: usize,
    moving: VecDeque<Moving>,
    moves: u64,
    scans: VecDeque<Scan>,
    listing: Option<Listing>,
    /// Names that a scan has not found. They may have been moved to where it comes later.
    missing: Vec<(usize, OsString)>,
    /// Directories that were not where they were expected: an event tells where they are.
    unread: BTreeSet<usize>,
    /// Whether events were applied since these were looked for.
    has_news: bool,
    /// Whether the first scan goes on.
    is_starting: bool,
    /// Whether a scan goes on because events were lost.
    is_recovering: bool,
    pub(super) steps: VecDeque<Step>,
}

impl Tree {
    /// Watches `paths`, which exist. Their content is read by [`scan`](Self::scan).
    pub(super) fn new(
        options: TreeOptions,
        paths: &[PathBuf],
        filter: Option<Filter>,
    ) -> io::Result<Self> {
        let mut tree = Self {
            fd: open_instance()?,
            options,
            filter,
            folders: Slab::new(),
            by_watch: HashMap::new(),
            roots: BTreeSet::new(),
            entries: 0,
            moving: VecDeque::new(),
            moves: 0,
            scans: VecDeque::new(),
            listing: None,
            missing: Vec::new(),
            unread: BTreeSet::new(),
            has_news: false,
            is_starting: true,
            is_recovering: false,
            steps: VecDeque::new(),
        };
        for (directory, only) in folder::anchors(paths, options)? {
            tree.open_root(directory, only)?;
        }
        Ok(tree)
    }

    /// Returns another descriptor of the same instance of inotify, for the loop.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }

    /// Begins anew with another instance of inotify: that of this process after a fork.
    pub(super) fn reopen(&mut self) -> io::Result<OwnedFd> {
        self.fd = open_instance()?;
        self.by_watch.clear();
        self.folders.iter_mut().for_each(|(_, folder)| folder.watch = None);
        self.rescan();
        self.duplicate()
    }

    /// Returns how many directories are watched.
    pub(super) fn watches(&self) -> usize {
        self.by_watch.len()
    }

    /// Returns how many names are known.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// Returns whether nothing is left that could be watched.
    pub(super) fn is_over(&self) -> bool {
        self.roots.is_empty()
    }

    /// Takes the next step that is decided.
    pub(super) fn next_step(&mut self) -> Option<Step> {
        match self.steps.front()? {
            Step::Leaving(_) => None,
            _ => self.steps.pop_front(),
        }
    }

    /// Applies an event.
    pub(super) fn apply(&mut self, event: &Event<'_>, now: Instant) -> io::Result<()> {
        self.has_news = true;
        if event.mask.contains(Bits::OVERFLOW) {
            self.steps.push_back(Step::Overrun);
            self.rescan();
            return Ok(());
        }
        if event.mask.contains(Bits::IGNORED) {
            return self.unwatched(event.watch);
        }
        if event.mask.contains(Bits::UNMOUNT) {
            self.unmounted(event.watch);
        }
        let mut at = 0;
        while let Some(&id) = self.by_watch.get(&event.watch).and_then(|all| all.get(at)) {
            at += 1;
            if event.name.is_empty() {
                if event.mask.intersects(Bits::MOVE_SELF | Bits::DELETE_SELF) {
                    self.check_root(id)?;
                }
            } else if let Some(number) = self.departure(id) {
                // Something happens in it before its second half comes, if it does. That is rare, and
                // would have to be told with a path that is not known yet.
                self.give_up(number);
            } else if self.folders[id].admits(OsStr::from_bytes(event.name)) {
                self.apply_in(id, event, now)?;
            }
            // If it is watched no longer, the next one has its place.
            let same = self.by_watch.get(&event.watch).and_then(|all| all.get(at.wrapping_sub(1)));
            if same != Some(&id) {
                at = at.saturating_sub(1);
            }
        }
        Ok(())
    }

    /// Applies an event about a name in a directory.
    fn apply_in(&mut self, id: usize, event: &Event<'_>, now: Instant) -> io::Result<()> {
        let name = OsStr::from_bytes(event.name);
        let kind = match event.mask.contains(Bits::DIRECTORY) {
            true => FileKind::Directory,
            false => FileKind::File,
        };
        let has = |bits| event.mask.intersects(bits);
        if has(Bits::CREATE) {
            self.appeared(id, name, kind, What::Created)
        } else if has(Bits::MOVED_TO) {
            self.arrived(id, name, kind, event.cookie)
        } else if has(Bits::MOVED_FROM) {
            self.left(id, name, event.cookie, now);
            Ok(())
        } else if has(Bits::DELETE) {
            self.vanished(id, name, What::Removed);
            Ok(())
        } else {
            let what = match () {
                () if has(Bits::MODIFY) => What::Modified,
                () if has(Bits::CLOSE_WRITE) => What::Written,
                () if has(Bits::ATTRIB) => What::Attributes,
                () if has(Bits::OPEN) => What::Opened,
                () if has(Bits::ACCESS) => What::Read,
                () if has(Bits::CLOSE_NOWRITE) => What::Closed,
                () => return Ok(()),
            };
            self.touched(id, name, what)
        }
    }

    /// A name has appeared in a directory.
    fn appeared(&mut self, id: usize, name: &OsStr, kind: FileKind, what: What) -> io::Result<()> {
        let path = self.path_in(id, name);
        let mark = self.look(id, name).unwrap_or(Mark::unseen(kind));
        if !self.wants(&path, mark.kind) {
            return Ok(());
        }
        let before = self.folders[id].children.get(name).map(|child| child.mark);
        if before.is_some_and(|before| mark.is_same_file(&before) && !mark.is_unseen()) {
            // A scan has found it. It is watched if that did not fail.
            return self.open_child(id, name, mark).map(drop);
        }
        self.put(id, name, mark)?;
        if self.open_child(id, name, mark)? != Opened::Moved {
            self.changed(path, what, before, Some(mark));
        }
        Ok(())
    }

    /// Something has happened to a file that has a name.
    fn touched(&mut self, id: usize, name: &OsStr, what: What) -> io::Result<()> {
        let path = self.path_in(id, name);
        let mark = self.look(id, name);
        let Some(child) = self.folders[id].children.get_mut(name) else {
            // It was removed, is not wanted, or is found by a scan.
            return Ok(());
        };
        let before = child.mark;
        match mark {
            Some(mark) if mark.difference(&before) != Difference::Identity => child.mark = mark,
            Some(mark) if before.is_unseen() => child.mark = mark,
            // The next scan sees what is in it now, which is no other change.
            None if !before.is_directory() => child.mark = Mark::unseen(before.kind),
            _ => {}
        }
        let (mark, may_be_readable) = (child.mark, what == What::Attributes);
        self.changed(path, what, Some(before), Some(mark));
        if may_be_readable {
            // A directory that could not be read may be readable now.
            self.open_child(id, name, mark)?;
        }
        Ok(())
    }

    /// A name is no longer in a directory.
    fn vanished(&mut self, id: usize, name: &OsStr, what: What) {
        if let Some(child) = self.take(id, name) {
            let path = self.path_in(id, name);
            self.close_child(&child);
            self.changed(path, what, Some(child.mark), None);
        }
    }

    /// Enters a name, or replaces what is known of it.
    fn put(&mut self, id: usize, name: &OsStr, mark: Mark) -> io::Result<()> {
        if let Some(before) = self.take(id, name) {
            self.close_child(&before);
        }
        if self.entries >= self.options.entries_max {
            let path = self.path_in(id, name);
            let most = self.options.entries_max;
            return Err(io::Error::other(format!(
                "{} is one name too many: a watch knows at most {most} (entries_max)",
                path.display()
            )));
        }
        self.entries += 1;
        self.folders[id].children.insert(name.to_owned(), Child { mark, folder: None });
        if let Some(listing) = &mut self.listing {
            listing.note(id, name);
        }
        Ok(())
    }

    /// Removes what is known of a name.
    fn take(&mut self, id: usize, name: &OsStr) -> Option<Child> {
        let child = self.folders[id].children.remove(name)?;
        self.entries -= 1;
        Some(child)
    }

    fn changed(&mut self, path: PathBuf, what: What, before: Option<Mark>, now: Option<Mark>) {
        self.steps.push_back(Step::Changed(Changed { path, what, before, now }));
    }

    /// Looks at a name in a directory. Returns `None` if it is gone, or the directory is no longer where it
    /// was: the event that tells it comes later, and then the directory is read.
    fn look(&mut self, id: usize, name: &OsStr) -> Option<Mark> {
        let mark = Mark::read(&self.path_in(id, name), self.links_in(id));
        if self.is_in_place(id) {
            return mark.ok();
        }
        self.unread.insert(id);
        None
    }

    /// Returns what a link in a directory is. A path that was given may be one.
    fn links_in(&self, id: usize) -> Links {
        if self.folders[id].only.is_some() { Links::Followed } else { self.options.links }
    }

    /// Returns whether a name is to be watched.
    fn wants(&self, path: &Path, kind: FileKind) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter(path, kind))
    }

    /// Returns all names that are known.
    pub(super) fn all_marks(&self) -> Vec<(PathBuf, Mark)> {
        self.marks_below(&self.roots.iter().copied().collect::<Vec<usize>>())
    }

    /// Returns the names that are known below a directory.
    pub(super) fn known_below(&self, path: &Path) -> Vec<(PathBuf, Mark)> {
        let found = self.roots.iter().filter_map(|root| self.find(*root, path));
        self.marks_below(&found.collect::<Vec<usize>>())
    }

    /// Returns what is known of a name.
    pub(super) fn mark_of(&self, path: &Path) -> Option<Mark> {
        let (directory, name) = (path.parent()?, path.file_name()?);
        let folders = self.roots.iter().filter_map(|root| self.find(*root, directory));
        let mut children = folders.filter_map(|id| self.folders[id].children.get(name));
        children.next().map(|child| child.mark)
    }

    /// Returns what is known below directories. Each comes before what is in it.
    fn marks_below(&self, folders: &[usize]) -> Vec<(PathBuf, Mark)> {
        let (mut names, mut left) = (Vec::new(), folders.to_vec());
        while let Some(id) = left.pop() {
            let path = self.path_of(id);
            for (name, child) in &self.folders[id].children {
                names.push((path.join(name), child.mark));
                left.extend(child.folder);
            }
        }
        names
    }

    /// Returns the directory with this path below a root.
    fn find(&self, root: usize, path: &Path) -> Option<usize> {
        let rest = path.strip_prefix(self.path_of(root)).ok()?;
        rest.components().try_fold(root, |id, part| {
            self.folders[id].children.get(part.as_os_str()).and_then(|child| child.folder)
        })
    }

    /// Returns the path of a directory: as it was given, and what is below that.
    fn path_of(&self, id: usize) -> PathBuf {
        let mut names = Vec::new();
        let mut at = id;
        loop {
            match &self.folders[at].place {
                Place::In { folder, name } => {
                    names.push(name);
                    at = *folder;
                }
                Place::Root(path) | Place::Left(path) => {
                    let mut path = path.clone();
                    path.extend(names.into_iter().rev());
                    return path;
                }
            }
        }
    }

    fn path_in(&self, id: usize, name: &OsStr) -> PathBuf {
        let mut path = self.path_of(id);
        path.push(name);
        path
    }
}
