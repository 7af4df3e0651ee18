//! The source that watches files by their names.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::{debug, warn};
use protocol::inotify::{Event, Events, Mask as Bits};

use super::names::Way;
use super::{explain, open_instance};
use crate::{Cx, Handler, Interest, LoopCx, Reason, Registration, Timeout, Token, kernel, sys};

/// The room for the events of one call of `read(2)`.
const BUFFER_SIZE: usize = 4096;
/// How often events are read in one call, before other sources have their turn.
const READS_MAX: usize = 8;
/// How often a way is followed again because it has changed meanwhile.
const TRIES_MAX: usize = 8;

/// When changes of files are reported, and the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// How long nothing must have happened to the files.
    pub quiet: Duration,
    /// How long after the first event a report is made at the latest.
    pub delay_max: Duration,
    /// The most files. Each takes a watch of the kernel for each directory on the way to it, which files
    /// in the same directories share.
    pub files_max: usize,
}

impl FileOptions {
    /// A tenth of a second of quiet, a report after a second at the latest, and 1,000 files.
    pub const DEFAULT: Self = Self {
        quiet: Duration::from_millis(100),
        delay_max: Duration::from_secs(1),
        files_max: 1000,
    };
}

impl Default for FileOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Watches files by their names, such as those of a configuration.
///
/// A program that reads files again when they change registers the watch first and reads the files then,
/// so it misses nothing. What a name leads to counts:
///
/// - A file that is replaced by another one has changed, as by an editor or by `rename(2)`.
/// - A link is followed. A change of any name on the way is noticed, of the links and directories too.
/// - A name that leads nowhere is watched too. Its file has changed when it appears, and when it is
///   removed.
///
/// Events that the kernel has lost are answered by a look at all files (P30).
///
/// ```
/// use reactor::watch::{FileOptions, FileWatch};
/// use reactor::Reactor;
///
/// let folder = std::env::temp_dir().join(format!("file-watch-{}", std::process::id()));
/// std::fs::create_dir_all(&folder)?;
/// let hosts = folder.join("hosts");
/// let mut reactor = Reactor::new(Vec::new())?;
/// FileWatch::register(&[hosts.clone()], FileOptions::DEFAULT, &mut reactor.cx(), |changed, cx| {
///     cx.app.extend(changed);
/// })?;
/// std::fs::write(folder.join("new"), "127.0.0.1 here")?;
/// std::fs::rename(folder.join("new"), &hosts)?;
/// reactor.run_until(|changed| !changed.is_empty())?;
/// assert_eq!(reactor.app, [hosts]);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct FileWatch {
    fd: OwnedFd,
    files: Vec<File>,
    /// The directories that are watched.
    watches: HashMap<PathBuf, i32>,
    /// For each watch, the names of interest and their files.
    names: HashMap<i32, BTreeMap<OsString, BTreeSet<usize>>>,
}

/// A file that is watched.
#[derive(Debug)]
struct File {
    /// As it was given.
    path: PathBuf,
    absolute: PathBuf,
    way: Way,
    state: Look,
}

/// What has to be done about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    /// Nothing.
    Idle,
    /// It may have changed.
    Needed,
    /// It has changed.
    Changed,
}

impl FileWatch {
    /// Registers a watch of `paths` with a loop, which calls `call` with the files that have changed, as
    /// their paths were given. Closing the token ends the watch.
    ///
    /// # Errors
    /// When there are more files than [`FileOptions::files_max`]; when a directory on the way to a file
    /// cannot be watched, as for lack of permission or because a limit is reached
    /// (`fs.inotify.max_user_watches`, `fs.inotify.max_user_instances`). A simulated host has no
    /// inotify. An error of this kind that comes later is logged, and ends the watch.
    pub fn register<A: 'static, P>(
        paths: &[PathBuf],
        options: FileOptions,
        cx: &mut Cx<'_, A, P>,
        call: impl FnMut(Vec<PathBuf>, &mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<Token> {
        if kernel::is_simulated() {
            return Err(kernel::no_such("inotify"));
        }
        let (count, most) = (paths.len(), options.files_max);
        if count > most {
            let text = format!("{count} files are too many to watch: at most {most} (files_max)");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let watch = Self::new(paths)?;
        let fd = watch.fd.try_clone()?;
        let registration = Registration::new(Interest::READ).known_nonblocking();
        cx.register(fd, registration, Source { watch, options, times: None, call })
    }

    fn new(paths: &[PathBuf]) -> io::Result<Self> {
        let mut watch = Self {
            fd: open_instance()?,
            files: Vec::new(),
            watches: HashMap::new(),
            names: HashMap::new(),
        };
        for path in paths {
            let absolute = std::path::absolute(path)?;
            let (path, way) = (path.clone(), Way::default());
            watch.files.push(File { path, absolute, way, state: Look::Needed });
        }
        watch.look()?;
        Ok(watch)
    }

    /// Begins anew with another instance of inotify: that of this process after a fork.
    fn reopen(&mut self) -> io::Result<OwnedFd> {
        self.fd = open_instance()?;
        self.watches.clear();
        self.names.clear();
        self.look_at_all();
        self.fd.try_clone()
    }

    /// Applies an event. Returns whether it concerns a file.
    fn apply(&mut self, event: &Event<'_>) -> bool {
        let ends = Bits::OVERFLOW | Bits::IGNORED | Bits::MOVE_SELF | Bits::DELETE_SELF;
        if event.mask.intersects(ends) {
            if event.mask.contains(Bits::IGNORED) {
                // Unless it was ended here, a directory on the way is gone.
                if self.names.remove(&event.watch).is_none() {
                    return false;
                }
            }
            // Other directories may have the same paths now, also below one that was moved.
            self.watches.clear();
            self.look_at_all();
            return true;
        }
        let names = self.names.get(&event.watch);
        let Some(files) = names.and_then(|names| names.get(OsStr::from_bytes(event.name))) else {
            return false;
        };
        let found = match event.mask.contains(Bits::MODIFY) {
            true => Look::Changed,
            false => Look::Needed,
        };
        for at in files {
            // A directory on the way is never modified, so this is the file itself.
            self.files[*at].state = self.files[*at].state.max(found);
        }
        true
    }

    fn look_at_all(&mut self) {
        self.files.iter_mut().for_each(|file| file.state = file.state.max(Look::Needed));
    }

    /// Looks at the files to which something may have happened. Returns those that have changed.
    fn look(&mut self) -> io::Result<Vec<PathBuf>> {
        let mut changed = Vec::new();
        for at in 0..self.files.len() {
            let state = std::mem::replace(&mut self.files[at].state, Look::Idle);
            if state == Look::Idle {
                continue;
            }
            let mut way = Way::follow(&self.files[at].absolute);
            for _ in 0..TRIES_MAX {
                // The watches come first: what happens after the second look is an event.
                self.watch_names(&way, at)?;
                let again = Way::follow(&self.files[at].absolute);
                if again.names == way.names {
                    way = again;
                    break;
                }
                way = again;
            }
            let before = std::mem::replace(&mut self.files[at].way, way);
            let has_changed = before.mark != self.files[at].way.mark;
            if has_changed || state == Look::Changed {
                changed.push(self.files[at].path.clone());
            }
        }
        self.forget_names();
        Ok(changed)
    }

    /// Watches the names on the way to a file.
    fn watch_names(&mut self, way: &Way, file: usize) -> io::Result<()> {
        for (at, (directory, name)) in way.names.iter().enumerate() {
            let is_last = at + 1 == way.names.len();
            let watch = match self.watches.get(directory) {
                // The kernel may have more to report about a directory that was only on the way.
                Some(watch) if !is_last => *watch,
                _ => match self.add_watch(directory, is_last)? {
                    Some(watch) => watch,
                    None => continue,
                },
            };
            self.watches.insert(directory.clone(), watch);
            let files = self.names.entry(watch).or_default().entry(name.clone()).or_default();
            files.insert(file);
        }
        Ok(())
    }

    fn add_watch(&self, directory: &Path, is_last: bool) -> io::Result<Option<i32>> {
        let mut mask = Bits::CREATE | Bits::DELETE | Bits::MOVED_FROM | Bits::MOVED_TO;
        mask |= Bits::DELETE_SELF | Bits::MOVE_SELF | Bits::ONLY_DIRECTORY | Bits::ADD;
        if is_last {
            mask |= Bits::MODIFY | Bits::ATTRIB | Bits::CLOSE_WRITE;
        }
        match sys::add_watch(self.fd.as_fd(), directory, mask.0) {
            Ok(watch) => Ok(Some(watch)),
            Err(error) => match error.kind() {
                // It has just been removed, which is seen at the second look.
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
                // Directories on the way seldom change.
                io::ErrorKind::PermissionDenied if !is_last => {
                    debug!("cannot watch {}: {error}", directory.display());
                    Ok(None)
                }
                _ => Err(explain(directory, self.watches.len(), error)),
            },
        }
    }

    /// Ends the watches of directories that are no longer on the way to a file.
    fn forget_names(&mut self) {
        let mut used: HashMap<i32, BTreeMap<OsString, BTreeSet<usize>>> = HashMap::new();
        let mut directories = BTreeSet::new();
        for (at, file) in self.files.iter().enumerate() {
            for (directory, name) in &file.way.names {
                if let Some(watch) = self.watches.get(directory) {
                    directories.insert(directory);
                    used.entry(*watch).or_default().entry(name.clone()).or_default().insert(at);
                }
            }
        }
        self.watches.retain(|directory, _| directories.contains(directory));
        for watch in self.names.keys().filter(|watch| !used.contains_key(*watch)) {
            // It fails if the kernel has ended the watch by itself.
            let _ = sys::remove_watch(self.fd.as_fd(), *watch);
        }
        self.names = used;
    }
}

/// The source of a watch.
struct Source<F> {
    watch: FileWatch,
    options: FileOptions,
    /// When the first and the last event came that are not reported.
    times: Option<(Instant, Instant)>,
    call: F,
}

impl<F> Source<F> {
    fn wait<A>(&mut self, cx: &mut Cx<'_, A>) {
        let FileOptions { quiet, delay_max, .. } = self.options;
        let due = self.times.map(|(first, last)| (last + quiet).min(first + delay_max));
        cx.set_timeout(due.map(|due| due.saturating_duration_since(cx.now())));
    }
}

impl<A, F: FnMut(Vec<PathBuf>, &mut LoopCx<'_, A>)> Handler<A> for Source<F> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let mut buffer = [0; BUFFER_SIZE];
        for _ in 0..READS_MAX {
            let Some(length) = cx.read(&mut buffer)? else { break };
            for event in Events::new(&buffer[..length]) {
                if self.watch.apply(&event.map_err(io::Error::other)?) {
                    let now = cx.now();
                    self.times = Some((self.times.map_or(now, |(first, _)| first), now));
                }
            }
        }
        self.wait(cx);
        Ok(())
    }

    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.times = None;
        let changed = self.watch.look()?;
        if !changed.is_empty() {
            (self.call)(changed, &mut cx.outside());
        }
        Ok(())
    }

    fn rebuilt(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        // The other process reads the old one too.
        let fd = self.watch.reopen()?;
        cx.replace_fd(fd)?;
        self.times = Some((cx.now(), cx.now()));
        self.wait(cx);
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, _cx: &mut LoopCx<'_, A>) {
        match &reason {
            Reason::Failed { .. } => warn!("files are watched no longer: {reason}"),
            _ => debug!("files are watched no longer: {reason}"),
        }
    }

    fn name(&self) -> &'static str {
        "reactor::watch::FileWatch"
    }
}
