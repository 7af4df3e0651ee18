//! The directories that are watched.

use super::*;
use crate::watch::explain;

/// The events about the names in a directory, and about its own.
const NAMES: Bits = Bits(
    Bits::CREATE.0
        | Bits::DELETE.0
        | Bits::MOVED_FROM.0
        | Bits::MOVED_TO.0
        | Bits::DELETE_SELF.0
        | Bits::MOVE_SELF.0,
);

/// A directory that is watched.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) place: Place,
    /// `None` if the kernel has ended the watch.
    pub(super) watch: Option<i32>,
    pub(super) children: BTreeMap<OsString, Child>,
    /// The only names of interest, in a directory in which paths were given. `None`: all.
    pub(super) only: Option<BTreeSet<OsString>>,
    /// What the directory was when it was opened.
    mark: Mark,
}

/// Where a directory is.
#[derive(Debug)]
pub(super) enum Place {
    /// Its path was given, or a path in it. It is empty for a path of one part.
    Root(PathBuf),
    /// It is a name in another directory.
    In { folder: usize, name: OsString },
    /// It was moved away from this path.
    Left(PathBuf),
}

/// What has come of watching a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// It is watched.
    New,
    /// It was watched at another place, from where it was moved. That was reported.
    Moved,
    /// It is not watched: it is no directory, is watched already, or cannot be watched.
    Not,
}

impl Folder {
    pub(super) fn admits(&self, name: &OsStr) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(name))
    }

    /// Returns whether directories in it are watched.
    fn is_entered(&self, options: &TreeOptions) -> bool {
        self.only.is_some() || options.depth == Depth::Tree
    }
}

/// Returns the directories in which `paths` are, each with the names of interest, or with `None` if it
/// was given itself and has no name (`.`, `/`). A path in another one is left out.
pub(super) fn anchors(
    paths: &[PathBuf],
    options: TreeOptions,
) -> io::Result<Vec<(PathBuf, Option<BTreeSet<OsString>>)>> {
    let mut real = Vec::new();
    for path in paths {
        let found = path.canonicalize().map_err(|error| {
            io::Error::new(error.kind(), format!("cannot watch {}: {error}", path.display()))
        })?;
        real.push(found);
    }
    let mut anchors: BTreeMap<PathBuf, Option<BTreeSet<OsString>>> = BTreeMap::new();
    for (at, path) in paths.iter().enumerate() {
        let is_within = |(other, root): (usize, &PathBuf)| match real[at].strip_prefix(root) {
            Ok(rest) if rest.as_os_str().is_empty() => other < at,
            Ok(rest) => {
                let is_name = rest.components().count() == 1 && !real[at].is_dir();
                options.depth == Depth::Tree || is_name
            }
            Err(_) => false,
        };
        if real.iter().enumerate().any(is_within) {
            continue;
        }
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) if !path.as_os_str().as_bytes().ends_with(b"/.") => {
                let names = anchors.entry(parent.to_owned()).or_insert(Some(BTreeSet::new()));
                names.get_or_insert_default().insert(name.to_owned());
            }
            _ => drop(anchors.insert(path.clone(), None)),
        }
    }
    Ok(anchors.into_iter().collect())
}

impl Tree {
    /// The events that are asked for.
    fn mask(&self) -> Bits {
        let mut mask = NAMES | Bits::MODIFY | Bits::ATTRIB | Bits::CLOSE_WRITE;
        if self.options.reads {
            mask |= Bits::OPEN | Bits::ACCESS | Bits::CLOSE_NOWRITE;
        }
        mask | Bits::ONLY_DIRECTORY | Bits::EXCLUDE_UNLINKED
    }

    /// Watches a directory in which paths were given.
    pub(super) fn open_root(
        &mut self,
        path: PathBuf,
        only: Option<BTreeSet<OsString>>,
    ) -> io::Result<()> {
        let real = existing(&path);
        let mark = Mark::read(real, Links::Followed)?;
        let names = only.iter().flatten().map(|name| path.join(name));
        let mask = match only.is_some() && names.into_iter().all(|name| name.is_dir()) {
            // What else happens to the other names is of no interest. Another watch of it stays as it is.
            true => NAMES | Bits::ATTRIB | Bits::ONLY_DIRECTORY | Bits::ADD,
            false => self.mask(),
        };
        let watch = self
            .add_watch(real, mask)
            .map_err(|error| explain(real, self.by_watch.len(), error))?;
        let place = Place::Root(path);
        let folder = Folder { place, watch: Some(watch), children: BTreeMap::new(), only, mark };
        let id = self.folders.insert(folder);
        self.by_watch.entry(watch).or_default().push(id);
        self.roots.insert(id);
        self.scans.push_back(Scan { folder: id, is_deep: true });
        Ok(())
    }

    /// Watches a directory that has a name, if it is one and is to be watched.
    pub(super) fn open_child(&mut self, id: usize, name: &OsStr, mark: Mark) -> io::Result<Opened> {
        let folder = &self.folders[id];
        let is_watched = folder.children.get(name).is_some_and(|child| child.folder.is_some());
        if !mark.is_directory() || is_watched || !folder.is_entered(&self.options) {
            return Ok(Opened::Not);
        }
        if self.departure(id).is_some() {
            // It is read when it is known where it is.
            self.unread.insert(id);
            return Ok(Opened::Not);
        }
        let path = self.path_in(id, name);
        let watch = self.watch_directory(&path, folder.only.is_some())?;
        if !self.is_in_place(id) {
            // The path leads to something else, or to nothing.
            self.unread.insert(id);
            watch.into_iter().for_each(|watch| self.drop_watch(watch));
            return Ok(Opened::Not);
        }
        let Some(watch) = watch else { return Ok(Opened::Not) };
        let others = self.by_watch.get(&watch).into_iter().flatten();
        let known = others.copied().find(|other| self.folders[*other].only.is_none());
        if let Some(other) = known {
            return self.open_known(other, id, name, mark);
        }
        let place = Place::In { folder: id, name: name.to_owned() };
        let children = BTreeMap::new();
        let folder = Folder { place, watch: Some(watch), children, only: None, mark };
        let opened = self.folders.insert(folder);
        self.by_watch.entry(watch).or_default().push(opened);
        if let Some(child) = self.folders[id].children.get_mut(name) {
            child.folder = Some(opened);
        }
        self.scans.push_back(Scan { folder: opened, is_deep: false });
        Ok(Opened::New)
    }

    /// Decides what it means that a directory is watched already.
    fn open_known(
        &mut self,
        other: usize,
        id: usize,
        name: &OsStr,
        mark: Mark,
    ) -> io::Result<Opened> {
        let has_left = matches!(self.folders[other].place, Place::Left(_));
        if !has_left && self.is_at_its_name(other) {
            // Several names lead to it.
            return Ok(Opened::Not);
        }
        if !has_left && let Some(number) = self.departure(other) {
            // It was in a directory that was moved away, and is in it no more.
            self.give_up(number);
            return self.open_child(id, name, mark);
        }
        self.relocate(other, id, name);
        Ok(Opened::Moved)
    }

    /// Watches the directory that a path names. Returns `None` if there is none now, or it cannot be
    /// watched, which is reported.
    fn watch_directory(&mut self, path: &Path, is_given: bool) -> io::Result<Option<i32>> {
        let mut mask = self.mask();
        // The path that was given may be a link itself.
        if self.options.links == Links::Kept && !is_given {
            mask |= Bits::DONT_FOLLOW;
        }
        match self.add_watch(path, mask) {
            Ok(watch) => Ok(Some(watch)),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
                _ if error.raw_os_error() == Some(libc::ELOOP) => Ok(None),
                io::ErrorKind::PermissionDenied => {
                    self.steps.push_back(Step::Skipped(path.to_owned(), error));
                    Ok(None)
                }
                _ => Err(explain(path, self.by_watch.len(), error)),
            },
        }
    }

    /// Watches the same directory again, if the kernel has ended its watch.
    pub(super) fn watch_again(&mut self, id: usize) -> io::Result<Opened> {
        let path = self.path_of(id);
        let is_given = matches!(self.folders[id].place, Place::Root(_));
        let Some(watch) = self.watch_directory(existing(&path), is_given)? else {
            return Ok(Opened::Not);
        };
        match Mark::read(existing(&path), Links::Followed) {
            Ok(mark) if is_given => self.folders[id].mark = mark,
            Ok(mark) if mark.is_same_file(&self.folders[id].mark) => {}
            // An event tells what has become of it.
            _ => {
                self.unread.insert(id);
                self.drop_watch(watch);
                return Ok(Opened::Not);
            }
        }
        if self.folders[id].watch != Some(watch) {
            self.end_watch(id);
            self.folders[id].watch = Some(watch);
            self.by_watch.entry(watch).or_default().push(id);
        }
        Ok(Opened::New)
    }

    fn add_watch(&self, path: &Path, mask: Bits) -> io::Result<i32> {
        use std::os::fd::AsFd;
        let watch = sys::add_watch(self.fd.as_fd(), path, mask.0)?;
        let (watched, most) = (self.by_watch.len(), self.options.watches_max);
        // A directory that is watched already is no more than before.
        if watched >= most && !self.by_watch.contains_key(&watch) {
            self.drop_watch(watch);
            return Err(io::Error::other(format!(
                "cannot watch {}: {watched} directories are watched, of at most {most} \
                 (watches_max)",
                path.display()
            )));
        }
        Ok(watch)
    }

    /// Returns whether the path of a directory still names that directory.
    pub(super) fn is_in_place(&self, id: usize) -> bool {
        let path = self.path_of(id);
        let mark = Mark::read(existing(&path), Links::Followed);
        mark.is_ok_and(|mark| mark.is_same_file(&self.folders[id].mark))
    }

    /// Returns whether a directory is at its name, and not only behind a link that has the name now: so for
    /// each directory above it too.
    fn is_at_its_name(&self, id: usize) -> bool {
        let mut at = id;
        while let Place::In { folder, name } = &self.folders[at].place {
            let mark = Mark::read(&self.path_in(*folder, name), self.links_in(*folder));
            if !mark.is_ok_and(|mark| mark.is_same_file(&self.folders[at].mark)) {
                return false;
            }
            at = *folder;
        }
        self.is_in_place(at)
    }

    /// The kernel has ended a watch: the directory was removed, or its file system was unmounted.
    pub(super) fn unwatched(&mut self, watch: i32) -> io::Result<()> {
        for id in self.by_watch.remove(&watch).unwrap_or_default() {
            self.folders[id].watch = None;
            match self.folders[id].place {
                Place::Root(_) => self.check_root(id)?,
                // An event about its name follows if it is gone. Otherwise the scan watches it again.
                Place::In { .. } => self.scans.push_back(Scan { folder: id, is_deep: true }),
                Place::Left(_) => {}
            }
        }
        Ok(())
    }

    /// The file system of watched directories was unmounted. The kernel does not tell what is in its place
    /// now, so the directory in which it was mounted is read again.
    pub(super) fn unmounted(&mut self, watch: i32) {
        for id in self.by_watch.get(&watch).into_iter().flatten() {
            if let Place::In { folder, .. } = &self.folders[*id].place
                && !self.folders[*id].mark.is_on_device_of(&self.folders[*folder].mark)
            {
                self.scans.push_back(Scan { folder: *folder, is_deep: false });
            }
        }
    }

    /// Returns whether nothing is at the path of a directory in which paths were given, or no directory.
    pub(super) fn is_lost_root(&self, id: usize) -> bool {
        let is_root = matches!(self.folders[id].place, Place::Root(_));
        let mark = Mark::read(existing(&self.path_of(id)), Links::Followed);
        is_root && !mark.is_ok_and(|mark| mark.is_directory())
    }

    /// Looks whether a directory in which paths were given is still there. If it is not, nothing in it
    /// is; if another one is in its place, that is watched.
    pub(super) fn check_root(&mut self, id: usize) -> io::Result<()> {
        if !matches!(self.folders[id].place, Place::Root(_))
            || self.folders[id].watch.is_some() && self.is_in_place(id)
        {
            return Ok(());
        }
        let names: Vec<OsString> = self.folders[id].children.keys().cloned().collect();
        names.iter().for_each(|name| self.vanished(id, name, What::Removed));
        self.end_watch(id);
        let path = self.path_of(id);
        let is_directory =
            Mark::read(existing(&path), Links::Followed).is_ok_and(|it| it.is_directory());
        if is_directory {
            self.scans.push_back(Scan { folder: id, is_deep: true });
        } else {
            self.roots.remove(&id);
            self.forget(id);
        }
        Ok(())
    }

    /// Ends the watches of a name that was removed, and of everything below it.
    pub(super) fn close_child(&mut self, child: &Child) {
        let mut left: Vec<usize> = child.folder.into_iter().collect();
        while let Some(id) = left.pop() {
            self.end_watch(id);
            left.extend(self.folders[id].children.values().filter_map(|child| child.folder));
            self.forget(id);
        }
    }

    /// Removes a directory, whose watch has ended.
    fn forget(&mut self, id: usize) {
        self.entries -= self.folders.remove(id).children.len();
        // Scans check that their directory is known, and names that are missing that they do not exist.
        self.unread.remove(&id);
        self.listing.take_if(|listing| listing.folder == id);
    }

    fn end_watch(&mut self, id: usize) {
        let Some(watch) = self.folders[id].watch.take() else { return };
        let Some(all) = self.by_watch.get_mut(&watch) else { return };
        all.retain(|other| *other != id);
        if all.is_empty() {
            self.by_watch.remove(&watch);
            self.drop_watch(watch);
        }
    }

    /// Ends a watch that no directory has.
    fn drop_watch(&self, watch: i32) {
        use std::os::fd::AsFd;
        if !self.by_watch.contains_key(&watch) {
            // It fails if the kernel has ended the watch by itself.
            let _ = sys::remove_watch(self.fd.as_fd(), watch);
        }
    }
}

/// Returns the path by which the system finds a directory: that of this process if it is empty.
pub(super) fn existing(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}
