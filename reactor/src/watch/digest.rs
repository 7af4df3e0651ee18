//! What differs in the end, after any number of steps.
//!
//! Steps say where to look, and what is reported follows from two states: the names that the application
//! knows, and those that exist. Each change is applied to the first at once, so it is right whatever was
//! reported before it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::change::{Change, What};
use super::mark::{Difference, Mark};
use super::tree::{Changed, Tree};

/// What has happened to a name.
#[derive(Clone, Debug, Default)]
struct Touched {
    /// Whether it leads to another file than before, even if that has the same number.
    is_another: bool,
    is_modified: bool,
    has_attributes: bool,
    /// From where it was moved.
    from: Option<PathBuf>,
}

/// The names to which something has happened since the last report.
#[derive(Debug, Default)]
pub(super) struct Digest {
    touched: BTreeMap<PathBuf, Touched>,
    /// The names that the application knows.
    told: BTreeMap<PathBuf, Mark>,
}

impl Digest {
    /// Takes the names that exist at the start for known.
    pub(super) fn begin(&mut self, tree: &Tree) {
        self.touched.clear();
        self.told = tree.all_marks().into_iter().collect();
    }

    pub(super) fn len(&self) -> usize {
        self.touched.len()
    }

    /// Adds a step.
    pub(super) fn add(&mut self, changed: Changed) {
        let mut moved = Touched { is_another: true, ..Touched::default() };
        if let What::Moved { from } = &changed.what {
            let left = self.touched.entry(from.clone()).or_default();
            let before = std::mem::replace(left, moved.clone());
            // A name that was moved twice comes from where it was at first.
            let origin = before.from.clone().unwrap_or_else(|| from.clone());
            moved = Touched { is_another: true, from: Some(origin), ..before };
        }
        let touched = self.touched.entry(changed.path).or_default();
        match changed.what {
            What::Moved { .. } | What::Created | What::MovedIn | What::MovedOut | What::Removed => {
                *touched = moved;
            }
            What::Modified => touched.is_modified = true,
            What::Attributes => touched.has_attributes = true,
            What::Written | What::Opened | What::Read | What::Closed => {}
        }
    }

    /// Returns what differs, and begins anew. What is gone comes last; the rest is sorted by path, so a
    /// directory comes before what is in it.
    pub(super) fn take(&mut self, tree: &Tree) -> Vec<Change> {
        let touched = std::mem::take(&mut self.touched);
        let (told, compared, changes) = (&mut self.told, BTreeSet::new(), Vec::new());
        let mut report = Report { told, touched: &touched, tree, compared, changes };
        for path in touched.keys() {
            if let Some(now) = tree.mark_of(path) {
                report.compare(path, now);
            }
        }
        for path in touched.keys() {
            if let Some(before) = report.told.get(path).copied()
                && tree.mark_of(path).is_none()
            {
                report.remove(path, before);
            }
        }
        report.changes
    }
}

/// A report that is being made.
struct Report<'a> {
    told: &'a mut BTreeMap<PathBuf, Mark>,
    touched: &'a BTreeMap<PathBuf, Touched>,
    tree: &'a Tree,
    /// The names that were compared. A directory that is new or was moved is told with what is in it, and
    /// steps may name that too.
    compared: BTreeSet<PathBuf>,
    changes: Vec<Change>,
}

impl Report<'_> {
    /// Reports what has happened to a name that exists, once.
    fn compare(&mut self, path: &Path, now: Mark) {
        if !self.compared.insert(path.to_owned()) {
            return;
        }
        let Some(before) = self.told.get(path).copied() else {
            return self.appeared(path, now);
        };
        let it = self.touched.get(path).cloned().unwrap_or_default();
        let is_another = it.is_another || !now.is_same_file(&before);
        if is_another && (now.is_directory() || before.is_directory()) {
            self.remove(path, before);
            self.create(path, now);
            return;
        }
        let what = match now.difference(&before) {
            Difference::Identity | Difference::Content => What::Modified,
            _ if it.is_modified || is_another => What::Modified,
            Difference::Attributes => What::Attributes,
            Difference::None if it.has_attributes => What::Attributes,
            Difference::None => return,
        };
        self.tell(path, now, what);
    }

    /// Reports a name that the application does not know.
    fn appeared(&mut self, path: &Path, now: Mark) {
        let touched = self.touched;
        match touched.get(path).and_then(|it| it.from.as_deref()) {
            Some(from) if self.is_moved(from, &now) => self.rename(path, from, now),
            _ => self.create(path, now),
        }
    }

    /// Returns whether a name that the application knows is gone, and led to this file.
    fn is_moved(&self, from: &Path, now: &Mark) -> bool {
        let known = self.told.get(from);
        known.is_some_and(|mark| mark.is_same_file(now)) && self.tree.mark_of(from).is_none()
    }

    fn rename(&mut self, path: &Path, from: &Path, now: Mark) {
        let before = self.told.get(from).copied().unwrap_or(now);
        for name in self.names_of(from) {
            if let (Some(mark), Ok(rest)) = (self.told.remove(&name), name.strip_prefix(from)) {
                // Joining nothing would append a slash.
                let to =
                    if rest.as_os_str().is_empty() { path.to_owned() } else { path.join(rest) };
                self.told.insert(to, mark);
            }
        }
        self.tell(path, now, What::Moved { from: from.to_owned() });
        let is_modified = self.touched.get(path).is_some_and(|it| it.is_modified);
        if is_modified || now.difference(&before) == Difference::Content {
            self.tell(path, now, What::Modified);
        }
        // What has happened in it under its names before.
        let known: BTreeMap<PathBuf, Mark> = self.tree.known_below(path).into_iter().collect();
        for (name, mark) in &known {
            self.compare(name, *mark);
        }
        for name in self.names_of(path).into_iter().filter(|name| name != path) {
            if let Some(before) = self.told.get(&name).copied()
                && !known.contains_key(&name)
            {
                self.remove(&name, before);
            }
        }
    }

    /// Reports a name that is new, and what is below it.
    fn create(&mut self, path: &Path, now: Mark) {
        self.tell(path, now, What::Created);
        if !now.is_directory() {
            return;
        }
        let below: BTreeMap<PathBuf, Mark> = self.tree.known_below(path).into_iter().collect();
        for (name, mark) in below {
            let is_from = self.touched.get(&name).is_some_and(|it| it.from.is_some());
            if is_from {
                self.compare(&name, mark);
            } else if self.compared.insert(name.clone()) {
                // Not `create`, which would walk what is below it again.
                self.tell(&name, mark, What::Created);
            }
        }
    }

    /// Reports a name that is gone, with what is below it.
    fn remove(&mut self, path: &Path, before: Mark) {
        for name in self.names_of(path) {
            self.told.remove(&name);
        }
        self.changes.push(Change { path: path.to_owned(), kind: before.kind, what: What::Removed });
    }

    fn tell(&mut self, path: &Path, now: Mark, what: What) {
        self.told.insert(path.to_owned(), now);
        self.changes.push(Change { path: path.to_owned(), kind: now.kind, what });
    }

    /// Returns a name that the application knows, and those below it: they follow it, since paths are
    /// sorted part by part.
    fn names_of(&self, path: &Path) -> Vec<PathBuf> {
        let all = self.told.range(path.to_owned()..).take_while(|(it, _)| it.starts_with(path));
        all.map(|(path, _)| path.clone()).collect()
    }
}
