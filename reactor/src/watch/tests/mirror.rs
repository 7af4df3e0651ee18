//! An application that knows the names from the changes alone.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use protocol::inotify::{Event, Events, Mask as Bits};

use crate::sys;
use crate::watch::change::{Change, FileKind, What};
use crate::watch::digest::Digest;
use crate::watch::limits::TreeOptions;
use crate::watch::tree::{Step, Tree};

/// What the kernel writes when it has lost events.
pub(super) const LOST: Event<'_> = Event { watch: -1, mask: Bits::OVERFLOW, cookie: 0, name: b"" };

/// The names that exist according to the changes.
#[derive(Debug, Default)]
pub(super) struct Mirror(pub(super) BTreeMap<PathBuf, FileKind>);

impl Mirror {
    pub(super) fn apply(&mut self, change: &Change) {
        let Change { path, kind, what } = change;
        match what {
            What::Created | What::MovedIn => {
                self.remove(path);
                self.0.insert(path.clone(), *kind);
            }
            What::Moved { from } => {
                let moved = self.remove(from);
                assert!(!moved.is_empty(), "{change:?} is not known");
                self.remove(path);
                for (name, kind) in moved {
                    let rest = name.strip_prefix(from).expect("it is below it");
                    let to =
                        if rest.as_os_str().is_empty() { path.clone() } else { path.join(rest) };
                    self.0.insert(to, kind);
                }
                self.0.insert(path.clone(), *kind);
            }
            What::MovedOut | What::Removed => {
                assert!(!self.remove(path).is_empty(), "{change:?} is not known");
            }
            // Another kind of file may have replaced it.
            _ => assert!(self.0.insert(path.clone(), *kind).is_some(), "{change:?} is not known"),
        }
    }

    /// Removes a name and what is below it.
    fn remove(&mut self, path: &Path) -> Vec<(PathBuf, FileKind)> {
        let below = self.0.range(path.to_owned()..).take_while(|(it, _)| it.starts_with(path));
        let names: Vec<PathBuf> = below.map(|(path, _)| path.clone()).collect();
        names.into_iter().filter_map(|name| self.0.remove_entry(&name)).collect()
    }
}

/// Returns the names that exist, as `find` does.
pub(super) fn find(path: &Path) -> BTreeMap<PathBuf, FileKind> {
    let (mut names, mut left) = (BTreeMap::new(), vec![path.to_owned()]);
    while let Some(path) = left.pop() {
        let kind = FileKind::of(&fs::symlink_metadata(&path).expect("it exists"));
        if kind == FileKind::Directory {
            let entries = fs::read_dir(&path).expect("it is readable");
            left.extend(entries.map(|entry| entry.expect("it is readable").path()));
        }
        names.insert(path, kind);
    }
    names
}

/// Exchanges two names. It fails if one lies in the other.
pub(super) fn exchange(first: &Path, second: &Path) -> io::Result<()> {
    renameat2(AT_FDCWD, first, AT_FDCWD, second, RenameFlags::RENAME_EXCHANGE)?;
    Ok(())
}

/// The state of a watch, and an application behind it, without a loop.
pub(super) struct Watched {
    pub(super) tree: Tree,
    fd: OwnedFd,
    root: PathBuf,
    pub(super) mirror: Mirror,
    /// Another one, which is told what differs in the end.
    settled: Mirror,
    digest: Digest,
    pub(super) overruns: usize,
}

impl Watched {
    pub(super) fn new(root: &Path) -> Self {
        let options = TreeOptions { existing: true, ..TreeOptions::DEFAULT };
        let tree = Tree::new(options, &[root.to_owned()], None).expect("it can be watched");
        let fd = tree.duplicate().expect("a descriptor is left");
        let mut watched = Self {
            tree,
            fd,
            root: root.to_owned(),
            mirror: Mirror::default(),
            settled: Mirror::default(),
            digest: Digest::default(),
            overruns: 0,
        };
        watched.settle();
        watched
    }

    /// Returns the events that the kernel has.
    pub(super) fn read(&self) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), vec![0; 65_536]);
        while let Ok(length) = sys::read(self.fd.as_fd(), &mut buffer) {
            all.extend_from_slice(&buffer[..length]);
        }
        all
    }

    /// Applies events.
    pub(super) fn apply<'a>(&mut self, events: impl Iterator<Item = Event<'a>>) {
        for event in events {
            self.tree.apply(&event, Instant::now()).expect("no limit is reached");
        }
        self.take_steps();
    }

    /// Applies what the kernel has, but at most `count` events. If some are left out, it is told that
    /// events were lost, as the kernel does.
    pub(super) fn apply_some(&mut self, count: usize) {
        let bytes = self.read();
        let events: Vec<Event<'_>> = Events::new(&bytes).map(|it| it.expect("it is one")).collect();
        let overflow = (events.len() > count).then_some(LOST);
        self.apply(events.into_iter().take(count).chain(overflow));
    }

    /// Reads some names of directories.
    pub(super) fn scan(&mut self, budget: usize) {
        self.tree.scan(budget).expect("no limit is reached");
        self.take_steps();
    }

    /// Goes on until nothing is left to do, and compares the state with the file system. Returns what differs
    /// in the end.
    pub(super) fn settle(&mut self) -> Vec<Change> {
        loop {
            let bytes = self.read();
            if bytes.is_empty() && !self.tree.is_scanning() {
                break;
            }
            self.apply(Events::new(&bytes).map(|it| it.expect("it is one")));
            self.scan(1000);
        }
        self.tree.expire(Instant::now() + Duration::from_secs(1));
        self.take_steps();
        assert!(self.tree.steps.is_empty(), "{:?}", self.tree.steps);
        let found = find(&self.root);
        compare(&self.mirror, &found, "each change");
        assert_eq!(self.tree.entries(), found.len());
        let report = self.digest.take(&self.tree);
        let mut told = BTreeMap::new();
        for change in &report {
            let Change { path, what, .. } = change;
            let before = told.insert(path, what);
            let is_known = self.settled.0.contains_key(path);
            let is_needed = match (before, what) {
                (_, What::Created | What::Moved { .. }) if is_known => false,
                (None, _) | (Some(What::Removed), What::Created) => true,
                (Some(What::Moved { .. }), what) => *what == What::Modified,
                _ => false,
            };
            assert!(is_needed, "{change:?} is told without need: {report:?}");
            self.settled.apply(change);
        }
        compare(&self.settled, &found, "what differs in the end");
        report
    }

    fn take_steps(&mut self) {
        while let Some(step) = self.tree.next_step() {
            match step {
                Step::Changed(changed) => {
                    let (path, kind, what) =
                        (changed.path.clone(), changed.kind(), changed.what.clone());
                    self.mirror.apply(&Change { path, kind, what });
                    self.digest.add(changed);
                }
                Step::Overrun => self.overruns += 1,
                Step::Leaving(_) => unreachable!("it is not decided"),
                Step::Ready | Step::Skipped(..) => {}
            }
        }
    }
}

fn compare(mirror: &Mirror, found: &BTreeMap<PathBuf, FileKind>, what: &str) {
    let names = |map: &BTreeMap<PathBuf, FileKind>| -> Vec<String> {
        map.iter().map(|(path, kind)| format!("{} {kind:?}", path.display())).collect()
    };
    let (known, found) = (names(&mirror.0), names(found));
    let wrong: Vec<&String> = known.iter().filter(|it| !found.contains(it)).collect();
    let missing: Vec<&String> = found.iter().filter(|it| !known.contains(it)).collect();
    assert!(wrong.is_empty() && missing.is_empty(), "{what}: wrong {wrong:?}, missing {missing:?}");
}
