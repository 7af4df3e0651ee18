//! The source that watches directories.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use log::{debug, warn};
use protocol::inotify::{EVENT_SIZE_MAX, Events};

use super::change::{Change, FileKind, Notice, What};
use super::digest::Digest;
use super::limits::{Delivery, TreeOptions};
use super::tree::{Changed, Filter, Step, Tree};
use crate::{Cx, Handler, Interest, LoopCx, Reason, Registration, Timeout, Token, kernel};

/// The room for the events of one call of `read(2)`.
const BUFFER_SIZE: usize = 16 * 1024;
const _: () = assert!(BUFFER_SIZE >= EVENT_SIZE_MAX);
/// How often events are read in one call, before other sources have their turn.
const READS_MAX: usize = 8;
/// How many names of directories are read in one call.
const NAMES_MAX: usize = 512;

/// Watches directories and what is in them, or files.
///
/// It knows every name in them. So it also reports what has happened in a directory before that was
/// watched, and while the kernel lost events; the names that it has reported are those that exist in the
/// end (P30). A directory that is moved stays watched, and its new path is reported. A path that was
/// given is followed by its name: a file or a directory that is removed and created again is watched
/// again.
///
/// ```
/// use reactor::watch::{Notice, TreeOptions, TreeWatch, What};
/// use reactor::Reactor;
///
/// let folder = std::env::temp_dir().join(format!("tree-watch-{}", std::process::id()));
/// std::fs::create_dir_all(&folder)?;
/// let mut reactor = Reactor::new(Vec::new())?;
/// let file = folder.join("notes.txt");
/// let new = file.clone();
/// TreeWatch::new(TreeOptions::DEFAULT).path(&folder).register(
///     &mut reactor.cx(),
///     move |notice, cx| match notice {
///         Notice::Ready { .. } => std::fs::write(&new, "hello").expect("it is writable"),
///         Notice::Changes(changes) => cx.app.extend(changes),
///         other => println!("{other:?}"),
///     },
/// )?;
/// reactor.run_until(|changes| changes.len() >= 3)?;
/// assert!(reactor.app.iter().all(|change| change.path == file));
/// let what: Vec<What> = reactor.app.drain(..).map(|change| change.what).collect();
/// assert_eq!(what, [What::Created, What::Modified, What::Written]);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TreeWatch {
    options: TreeOptions,
    paths: Vec<PathBuf>,
    filter: Option<Filter>,
}

impl TreeWatch {
    /// Returns a watch of nothing. [`path`](Self::path) adds to it.
    pub fn new(options: TreeOptions) -> Self {
        Self { options, paths: Vec::new(), filter: None }
    }

    /// Adds a directory, or a file. It has to exist when the watch is registered. A path that lies in
    /// another one is watched with that. A link that is given is followed; of a file, only the name is
    /// watched, and [`FileWatch`](super::FileWatch) looks behind it.
    #[must_use]
    pub fn path(mut self, path: impl Into<PathBuf>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// Watches only names for which `wants` returns true. What is in a directory that is not wanted is not
    /// watched either.
    #[must_use]
    pub fn filter(mut self, wants: impl Fn(&Path, FileKind) -> bool + 'static) -> Self {
        self.filter = Some(Box::new(wants));
        self
    }

    /// Registers the watch with a loop, which calls `call` with each notice. First everything is read,
    /// in portions, until [`Notice::Ready`]. Closing the token ends the watch.
    ///
    /// A limit that is reached ends it with an error ([`Notice::Ended`]): a watch of a part would be
    /// taken for one of the whole.
    ///
    /// # Errors
    /// When no path was given, or one does not exist; when a limit is reached: those of [`TreeOptions`],
    /// `fs.inotify.max_user_watches`, and `fs.inotify.max_user_instances`. A simulated host has no
    /// inotify.
    pub fn register<A: 'static, P>(
        self,
        cx: &mut Cx<'_, A, P>,
        call: impl FnMut(Notice, &mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<Token> {
        if kernel::is_simulated() {
            return Err(kernel::no_such("inotify"));
        }
        if self.paths.is_empty() {
            let text = "no path was given that is to be watched";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let tree = Tree::new(self.options, &self.paths, self.filter)?;
        let fd = tree.duplicate()?;
        let source =
            Source { tree, options: self.options, digest: Digest::default(), times: None, call };
        let registration = Registration::new(Interest::READ).known_nonblocking();
        let token = cx.register(fd, registration, source)?;
        // The first scan.
        cx.wake(token);
        Ok(token)
    }
}

/// The source of a watch.
struct Source<F> {
    tree: Tree,
    options: TreeOptions,
    digest: Digest,
    /// When the first and the last step came that are in the digest.
    times: Option<(Instant, Instant)>,
    call: F,
}

impl<F> Source<F> {
    /// Reads events, and applies them.
    fn read<A>(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let mut buffer = [0; BUFFER_SIZE];
        for _ in 0..READS_MAX {
            if self.tree.steps.len() >= self.options.changes_max {
                // What waits for a second half must not hold up that much.
                self.tree.give_up_moves();
                break;
            }
            let Some(length) = cx.read(&mut buffer)? else { break };
            let now = cx.now();
            for event in Events::new(&buffer[..length]) {
                self.tree.apply(&event.map_err(io::Error::other)?, now)?;
            }
        }
        Ok(())
    }

    /// Tells what is decided.
    fn deliver<A>(&mut self, cx: &mut Cx<'_, A>)
    where
        F: FnMut(Notice, &mut LoopCx<'_, A>),
    {
        let mut changes = Vec::new();
        while let Some(step) = self.tree.next_step() {
            let notice = match step {
                Step::Leaving(_) => break,
                Step::Changed(changed) => {
                    match self.options.delivery {
                        Delivery::Each => changes.push(change(changed)),
                        Delivery::Settled { .. } => self.collect(changed, cx.now()),
                    }
                    if changes.len() >= self.options.changes_max {
                        let changes = std::mem::take(&mut changes);
                        (self.call)(Notice::Changes(changes), &mut cx.outside());
                    }
                    continue;
                }
                Step::Ready => {
                    let is_settled = matches!(self.options.delivery, Delivery::Settled { .. });
                    if is_settled && !self.options.existing {
                        self.digest.begin(&self.tree);
                        self.times = None;
                    }
                    let (watches, entries) = (self.tree.watches(), self.tree.entries());
                    Notice::Ready { watches, entries }
                }
                Step::Overrun => Notice::Overrun,
                Step::Skipped(path, error) => Notice::Skipped { path, error },
            };
            if !changes.is_empty() {
                let changes = std::mem::take(&mut changes);
                (self.call)(Notice::Changes(changes), &mut cx.outside());
            }
            (self.call)(notice, &mut cx.outside());
        }
        if let Some((first, last)) = self.times
            && self.is_due(first, last, cx.now())
        {
            self.times = None;
            changes = self.digest.take(&self.tree);
        }
        if !changes.is_empty() {
            (self.call)(Notice::Changes(changes), &mut cx.outside());
        }
    }

    fn collect(&mut self, changed: Changed, now: Instant) {
        if matches!(changed.what, What::Opened | What::Read | What::Closed) {
            return;
        }
        self.digest.add(changed);
        let first = self.times.map_or(now, |(first, _)| first);
        self.times = Some((first, now));
    }

    /// Returns whether the digest is to be reported.
    fn is_due(&self, first: Instant, last: Instant, now: Instant) -> bool {
        let Delivery::Settled { quiet, delay_max } = self.options.delivery else { return true };
        self.is_settled() && now >= last + quiet
            || now >= first + delay_max
            || self.digest.len() >= self.options.changes_max
    }

    /// Returns whether the state is complete. A name that was moved away belongs to what follows.
    fn is_settled(&self) -> bool {
        !self.tree.is_scanning() && self.tree.steps.is_empty()
    }

    /// Goes on until nothing is left to do but to wait.
    fn advance<A>(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        F: FnMut(Notice, &mut LoopCx<'_, A>),
    {
        self.read(cx)?;
        self.tree.scan(NAMES_MAX)?;
        self.tree.expire(cx.now());
        self.deliver(cx);
        if self.tree.is_scanning() {
            let me = cx.me();
            cx.wake(me);
        } else if self.tree.is_over() && self.tree.steps.is_empty() && self.times.is_none() {
            cx.end(Reason::Finished);
        }
        cx.set_timeout(self.next_deadline().map(|at| at.saturating_duration_since(cx.now())));
        Ok(())
    }

    fn next_deadline(&self) -> Option<Instant> {
        let due = match (self.times, self.options.delivery) {
            (Some((first, last)), Delivery::Settled { quiet, delay_max }) => {
                let latest = first + delay_max;
                Some(if self.is_settled() { latest.min(last + quiet) } else { latest })
            }
            _ => None,
        };
        [due, self.tree.waits_until()].into_iter().flatten().min()
    }
}

fn change(changed: Changed) -> Change {
    let kind = changed.kind();
    Change { path: changed.path, kind, what: changed.what }
}

impl<A, F: FnMut(Notice, &mut LoopCx<'_, A>)> Handler<A> for Source<F> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.advance(cx)
    }

    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.advance(cx)
    }

    fn rebuilt(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        // The other process reads the old one too.
        let fd = self.tree.reopen()?;
        cx.replace_fd(fd)?;
        self.advance(cx)
    }

    fn closed(mut self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, A>) {
        match &reason {
            Reason::Failed { .. } => warn!("a watch of directories has ended: {reason}"),
            _ => debug!("a watch of directories has ended: {reason}"),
        }
        (self.call)(Notice::Ended(reason), cx);
    }

    fn name(&self) -> &'static str {
        "reactor::watch::TreeWatch"
    }
}
