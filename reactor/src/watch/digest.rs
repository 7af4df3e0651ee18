//! What differs in the end, after any number of steps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::change::{Change, FileKind, What};
use super::mark::{Difference, Mark};
use super::tree::Changed;

/// A name to which something has happened.
#[derive(Debug)]
struct Touched {
    /// What it has led to at first.
    before: Option<Mark>,
    /// What it leads to now.
    now: Option<Mark>,
    /// From where that was moved, of the names at first.
    from: Option<PathBuf>,
    /// Whether it was removed or moved away at some time, so that this is another one, even if the file
    /// system has used its number again.
    is_another: bool,
    /// Whether the content or the metadata have changed.
    is_modified: bool,
    has_attributes: bool,
}

/// The names to which something has happened since the last report.
#[derive(Debug, Default)]
pub(super) struct Digest {
    touched: BTreeMap<PathBuf, Touched>,
}

impl Digest {
    pub(super) fn len(&self) -> usize {
        self.touched.len()
    }

    /// Adds a step.
    pub(super) fn add(&mut self, changed: Changed) {
        let Changed { path, what, before, now } = changed;
        let mut origin = None;
        match &what {
            What::Moved { from } => {
                origin = self.leave(from, now);
                self.forget_below(&path);
                self.rename_below(from, &path);
            }
            // A name that appears replaces what was there.
            What::Removed | What::MovedOut | What::Created | What::MovedIn => {
                self.forget_below(&path);
            }
            _ => {}
        }
        let name = path.clone();
        let touched = self.touched.entry(path).or_insert(Touched {
            before,
            now,
            from: None,
            is_another: false,
            is_modified: false,
            has_attributes: false,
        });
        touched.now = now;
        match what {
            What::Modified => touched.is_modified = true,
            What::Attributes => touched.has_attributes = true,
            What::Moved { .. } => {
                let is_back = origin.as_ref().is_some_and(|origin| *origin == name);
                touched.is_another = !is_back;
                touched.from = origin.filter(|_| !is_back);
            }
            What::Created | What::MovedIn | What::MovedOut | What::Removed => {
                touched.from = None;
                touched.is_another = true;
            }
            What::Written | What::Opened | What::Read | What::Closed => {}
        }
    }

    /// Records that what a name leads to has left it. Returns the name that it had at first.
    fn leave(&mut self, from: &Path, mark: Option<Mark>) -> Option<PathBuf> {
        let touched = self.touched.entry(from.to_owned()).or_insert(Touched {
            before: mark,
            now: mark,
            from: Some(from.to_owned()),
            is_another: false,
            is_modified: false,
            has_attributes: false,
        });
        touched.now = None;
        let is_as_before = !touched.is_another && touched.before.is_some();
        touched.is_another = true;
        touched.from.take().or_else(|| is_as_before.then(|| from.to_owned()))
    }

    /// What was below a name is below another one now.
    fn rename_below(&mut self, from: &Path, to: &Path) {
        for path in self.below(from) {
            if let (Some(touched), Ok(rest)) = (self.touched.remove(&path), path.strip_prefix(from))
            {
                self.touched.insert(to.join(rest), touched);
            }
        }
    }

    /// A directory was removed with what is in it.
    fn forget_below(&mut self, path: &Path) {
        for path in self.below(path) {
            self.touched.remove(&path);
        }
    }

    /// Returns the names below a directory: they follow it, since paths are sorted part by part.
    fn below(&self, path: &Path) -> Vec<PathBuf> {
        let all = self.touched.range(path.to_owned()..).skip_while(|(it, _)| *it == path);
        let below = all.take_while(|(it, _)| it.starts_with(path));
        below.map(|(path, _)| path.clone()).collect()
    }

    /// Returns what differs, sorted by path, and begins anew. A directory comes before what is in it.
    /// `known_below` returns the names that are known below a directory.
    pub(super) fn take(
        &mut self,
        known_below: impl Fn(&Path) -> Vec<(PathBuf, FileKind)>,
    ) -> Vec<Change> {
        let touched = std::mem::take(&mut self.touched);
        let is_gone = |path: &PathBuf| touched.get(path).is_some_and(|it| it.now.is_none());
        // A name below one that is new itself has another path before that is told.
        let is_in_place = |path: &PathBuf| {
            let mut above = path.ancestors().skip(1).filter_map(|above| touched.get(above));
            above.all(|it| it.before.is_some() && !it.is_another)
        };
        let moves = touched.iter().filter_map(|(path, it)| match (it.before, it.now, &it.from) {
            (None, Some(_), Some(from)) if is_gone(from) && is_in_place(from) => Some((path, from)),
            _ => None,
        });
        let moved_to: BTreeMap<&PathBuf, &PathBuf> = moves.collect();
        let moved_from: BTreeSet<&PathBuf> = moved_to.values().copied().collect();
        let (mut changes, mut told, mut removed) = (Vec::new(), None, None);
        let mut untold = moved_from.clone();
        let is_below = |path: &PathBuf, directory: Option<&PathBuf>| {
            directory.is_some_and(|directory| path.starts_with(directory))
        };
        for (path, it) in &touched {
            if is_below(path, told) {
                continue;
            }
            // What was in a directory that was removed went with it.
            let before = it.before.filter(|_| !is_below(path, removed));
            let mut push = |what, mark: Mark| {
                changes.push(Change { path: path.clone(), kind: mark.kind, what });
            };
            let is_new = match (before, it.now) {
                (None, Some(now)) => match moved_to.get(path) {
                    Some(from) => {
                        untold.remove(from);
                        push(What::Moved { from: (*from).clone() }, now);
                        if it.is_modified {
                            push(What::Modified, now);
                        }
                        false
                    }
                    None => true,
                },
                (Some(before), Some(now))
                    if (it.is_another || !now.is_same_file(&before))
                        && (now.is_directory() || before.is_directory()) =>
                {
                    push(What::Removed, before);
                    removed = Some(path);
                    true
                }
                (Some(before), Some(now)) => {
                    if let Some(what) = it.difference(&before, &now) {
                        push(what, now);
                    }
                    false
                }
                (Some(before), None) => {
                    if !moved_from.contains(path) {
                        push(What::Removed, before);
                        removed = Some(path);
                    }
                    false
                }
                (None, None) => false,
            };
            if let Some(now) = it.now.filter(|_| is_new) {
                push(What::Created, now);
                if it.from.is_some() && now.is_directory() {
                    // It came with what is in it, which no step has told.
                    let created = |(path, kind)| Change { path, kind, what: What::Created };
                    changes.extend(known_below(path).into_iter().map(created));
                    told = Some(path);
                }
            }
        }
        // These are in a directory that was told with what is in it.
        for from in untold {
            if let Some(mark) = touched.get(from).and_then(|it| it.before) {
                changes.push(Change { path: from.clone(), kind: mark.kind, what: What::Removed });
            }
        }
        changes
    }
}

impl Touched {
    /// Returns what has happened to a name that leads to something before and after.
    fn difference(&self, before: &Mark, now: &Mark) -> Option<What> {
        match now.difference(before) {
            Difference::Identity | Difference::Content => Some(What::Modified),
            _ if self.is_modified || self.is_another => Some(What::Modified),
            Difference::Attributes => Some(What::Attributes),
            Difference::None => self.has_attributes.then_some(What::Attributes),
        }
    }
}
