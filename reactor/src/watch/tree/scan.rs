//! Reading directories: at the start, those that appear, and all of them after an overrun.

use std::fs::ReadDir;

use super::*;

/// A directory that is to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan {
    pub(super) folder: usize,
    /// Whether the known directories in it are read too.
    pub(super) is_deep: bool,
}

/// A directory that is being read. Its names are read in portions, so events may come in between.
pub(super) struct Listing {
    pub(super) folder: usize,
    is_deep: bool,
    entries: Entries,
    /// The names that exist: those that were read, and those that events have added meanwhile.
    seen: BTreeSet<OsString>,
}

/// Where the names come from.
enum Entries {
    Read(ReadDir),
    /// The only names of interest.
    Named(std::collections::btree_set::IntoIter<OsString>),
}

impl Listing {
    /// An event has added a name.
    pub(super) fn note(&mut self, id: usize, name: &OsStr) {
        if self.folder == id {
            self.seen.insert(name.to_owned());
        }
    }
}

impl Tree {
    /// Returns whether directories are left to be read.
    pub(in crate::watch) fn is_scanning(&self) -> bool {
        let is_looking = self.has_news && !self.unread.is_empty();
        self.listing.is_some() || !self.scans.is_empty() || !self.missing.is_empty() || is_looking
    }

    /// Begins to read everything again: events were lost.
    pub(super) fn rescan(&mut self) {
        self.is_recovering = true;
        self.listing = None;
        self.missing.clear();
        self.unread.clear();
        let all = self.roots.iter().map(|id| Scan { folder: *id, is_deep: true });
        self.scans = all.collect();
    }

    /// Reads directories, at most `budget` names. Returns how many it has left.
    pub(in crate::watch) fn scan(&mut self, mut budget: usize) -> io::Result<usize> {
        while budget > 0 && self.is_scanning() {
            budget -= 1;
            let Some(mut listing) = self.listing.take() else {
                match self.scans.pop_front() {
                    Some(scan) => self.begin(scan)?,
                    None if self.missing.is_empty() => self.look_for_unread(),
                    None => self.settle_missing(&mut budget),
                }
                continue;
            };
            let (id, is_deep) = (listing.folder, listing.is_deep);
            if self.departure(id).is_some() {
                // It was moved away meanwhile.
                self.unread.insert(id);
                continue;
            }
            match self.next_entry(&mut listing) {
                Some((name, mark)) => {
                    listing.seen.insert(name.clone());
                    self.listing = Some(listing);
                    self.found(id, &name, mark, is_deep)?;
                }
                None => self.finish(listing),
            }
        }
        if !self.is_scanning() {
            self.is_recovering = false;
            if std::mem::take(&mut self.is_starting) {
                self.steps.push_back(Step::Ready);
            }
        }
        Ok(budget)
    }

    fn begin(&mut self, scan: Scan) -> io::Result<()> {
        let Scan { folder: id, is_deep } = scan;
        let Some(folder) = self.folders.get(id) else { return Ok(()) };
        if self.departure(id).is_some() {
            self.unread.insert(id);
            return Ok(());
        }
        // The event that the kernel has ended the watch may be lost, and another directory may have the
        // same number since.
        let is_doubtful = folder.watch.is_none() || is_deep && !self.is_starting;
        if is_doubtful && self.watch_again(id)? == Opened::Not {
            if self.is_lost_root(id) {
                // The event that tells it may be lost.
                return self.check_root(id);
            }
            // An event tells where it is, if it is not gone.
            self.unread.insert(id);
            return Ok(());
        }
        let entries = match &self.folders[id].only {
            Some(only) => Entries::Named(only.clone().into_iter()),
            None => {
                let path = self.path_of(id);
                match std::fs::read_dir(folder::existing(&path)) {
                    Ok(entries) => Entries::Read(entries),
                    // An event tells what has become of it.
                    Err(error) if is_gone(&error) => {
                        self.unread.insert(id);
                        return Ok(());
                    }
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        self.steps.push_back(Step::Skipped(path, error));
                        return Ok(());
                    }
                    Err(error) => {
                        let text = format!("cannot read {}: {error}", path.display());
                        return Err(io::Error::new(error.kind(), text));
                    }
                }
            }
        };
        if self.is_in_place(id) {
            self.listing = Some(Listing { folder: id, is_deep, entries, seen: BTreeSet::new() });
        } else {
            // These are the names in another directory.
            self.unread.insert(id);
        }
        Ok(())
    }

    /// Reads directories that have been elsewhere, now that events may have told where.
    fn look_for_unread(&mut self) {
        self.has_news = false;
        let unread = std::mem::take(&mut self.unread);
        self.scans.extend(unread.into_iter().map(|folder| Scan { folder, is_deep: true }));
    }

    /// Returns the next name that exists and is wanted.
    fn next_entry(&mut self, listing: &mut Listing) -> Option<(OsString, Mark)> {
        let (id, links) = (listing.folder, self.links_in(listing.folder));
        loop {
            let (name, mark) = match &mut listing.entries {
                Entries::Named(names) => {
                    let name = names.next()?;
                    let mark = self.look(id, &name);
                    (name, mark)
                }
                Entries::Read(entries) => {
                    let Ok(entry) = entries.next()? else { continue };
                    let name = entry.file_name();
                    let mark = match links {
                        Links::Kept => entry.metadata().ok().map(|metadata| Mark::of(&metadata)),
                        Links::Followed => self.look(id, &name),
                    };
                    (name, mark)
                }
            };
            if let Some(mark) = mark
                && self.wants(&self.path_in(id, &name), mark.kind)
            {
                return Some((name, mark));
            }
        }
    }

    /// Compares a name that exists with what is known of it.
    fn found(&mut self, id: usize, name: &OsStr, mark: Mark, is_deep: bool) -> io::Result<()> {
        let known = self.folders[id].children.get(name).map(|child| (child.mark, child.folder));
        let Some((before, folder)) = known else {
            self.put(id, name, mark)?;
            return self.report_new(id, name, None, mark);
        };
        match mark.difference(&before) {
            Difference::Identity if mark.is_directory() || before.is_directory() => {
                self.vanished(id, name, What::Removed);
                self.put(id, name, mark)?;
                return self.report_new(id, name, Some(before), mark);
            }
            // It was reported when it was created.
            Difference::Identity
                if before.is_unseen() && before.kind == mark.kind && !self.is_recovering =>
            {
                self.mark(id, name, mark);
            }
            Difference::Identity | Difference::Content => {
                self.mark(id, name, mark);
                let path = self.path_in(id, name);
                self.changed(path, What::Modified, Some(before), Some(mark));
            }
            Difference::Attributes => {
                self.mark(id, name, mark);
                let path = self.path_in(id, name);
                self.changed(path, What::Attributes, Some(before), Some(mark));
            }
            Difference::None => {}
        }
        match folder {
            Some(folder) if is_deep => self.scans.push_back(Scan { folder, is_deep }),
            Some(_) => {}
            None => drop(self.open_child(id, name, mark)?),
        }
        Ok(())
    }

    fn mark(&mut self, id: usize, name: &OsStr, mark: Mark) {
        if let Some(child) = self.folders[id].children.get_mut(name) {
            child.mark = mark;
        }
    }

    fn report_new(
        &mut self,
        id: usize,
        name: &OsStr,
        before: Option<Mark>,
        mark: Mark,
    ) -> io::Result<()> {
        let opened = self.open_child(id, name, mark)?;
        let is_reported = !self.is_starting || self.options.existing;
        if opened != Opened::Moved && is_reported {
            let path = self.path_in(id, name);
            self.changed(path, What::Created, before, Some(mark));
        }
        Ok(())
    }

    /// A directory was read. What is known in it and was not there is missing.
    fn finish(&mut self, listing: Listing) {
        let id = listing.folder;
        let known = self.folders[id].children.keys();
        let missing = known.filter(|name| !listing.seen.contains(*name));
        let missing: Vec<(usize, OsString)> = missing.map(|name| (id, name.clone())).collect();
        self.missing.extend(missing);
    }

    /// Removes names that are missing after everything was read: so a directory that was moved has been
    /// found at its new place by now.
    fn settle_missing(&mut self, budget: &mut usize) {
        while *budget > 0
            && let Some((id, name)) = self.missing.pop()
        {
            *budget -= 1;
            let is_known =
                self.folders.get(id).is_some_and(|folder| folder.children.contains_key(&name));
            if is_known && self.look(id, &name).is_none() && self.is_in_place(id) {
                self.vanished(id, &name, What::Removed);
            }
        }
    }
}

/// Returns whether there is no such directory now.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(libc::ELOOP)
}
