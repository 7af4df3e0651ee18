//! Talking to a loop from other threads.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError};

use crate::reactor::notifier::Notifier;
use crate::reactor::trim::Table;
use crate::sync::{Mutex, MutexGuard};
use crate::{Cx, Forked, Handler, Interest, LoopCx};

type Call<A> = Box<dyn FnOnce(&mut LoopCx<'_, A>) + Send>;

/// The queue of closures from other threads.
pub(crate) struct Mailbox<A> {
    calls: Mutex<Calls<A>>,
    notifier: Arc<Notifier>,
}

struct Calls<A> {
    waiting: VecDeque<Call<A>>,
    calls_max: usize,
}

/// Whether calls are refused because too many wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bound {
    Heeded,
    Ignored,
}

impl<A> Mailbox<A> {
    pub(crate) fn new(calls_max: usize, notifier: Arc<Notifier>) -> Self {
        let calls = Calls { waiting: VecDeque::new(), calls_max };
        Self { calls: Mutex::new(calls), notifier }
    }

    /// Returns the calls, also after a thread panicked: the queue is consistent between operations.
    fn lock(&self) -> MutexGuard<'_, Calls<A>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds calls and notifies the loop, if there is room for all of them.
    fn add(
        &self,
        added: impl IntoIterator<Item = Call<A>, IntoIter: ExactSizeIterator>,
        bound: Bound,
    ) -> Result<(), PostError> {
        self.notifier.refuse_copy()?;
        let added = added.into_iter();
        {
            let mut calls = self.lock();
            if self.notifier.is_closed() {
                return Err(PostError::Gone);
            }
            let room = calls.calls_max.saturating_sub(calls.waiting.len());
            if added.len() > room && bound == Bound::Heeded {
                return Err(PostError::Full { calls_max: calls.calls_max });
            }
            calls.waiting.extend(added);
        }
        self.notifier.signal();
        Ok(())
    }

    /// Takes the next call. If there is none, only wakes may be pending.
    pub(crate) fn next_call(&self) -> Option<Call<A>> {
        let call = self.lock().waiting.pop_front();
        if call.is_none() {
            self.notifier.settle();
        }
        call
    }

    /// Returns for how many calls there is room.
    pub(crate) fn room(&self) -> usize {
        self.lock().waiting.room()
    }

    /// Frees memory that a burst of calls has left.
    pub(crate) fn trim(&self) {
        self.lock().waiting.trim();
    }

    /// Closes the queue when the loop is gone: later posts are refused, and waiting calls are
    /// dropped.
    pub(crate) fn close(&self) {
        {
            // Under the lock, so that a thread that posts at this moment leaves no call behind.
            let _calls = self.lock();
            self.notifier.close();
        }
        // They are dropped one by one, outside of the lock: the drop of a closure may post or
        // panic.
        while let Some(call) = self.next_call() {
            drop(call);
        }
    }
}

/// The source of the mailbox on the loop.
pub(crate) struct MailboxSource;

impl<A: 'static> Handler<A> for MailboxSource {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let mut count = [0; 8];
        while cx.read(&mut count)?.is_some() {}
        cx.core.notifier.acknowledge();
        Ok(())
    }

    fn rebuilt(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let fd = cx.core.notifier.descriptor()?;
        cx.replace_fd(fd)
    }

    fn name(&self) -> &'static str {
        "reactor::Remote"
    }
}

/// A handle to a loop for other threads: it posts closures, and wakes the loop. To wake one source, use
/// a [`Waker`](crate::Waker), which never refuses.
///
/// ```
/// use reactor::Reactor;
///
/// let mut reactor = Reactor::new(0)?;
/// let remote = reactor.cx().remote();
/// let worker = std::thread::spawn(move || {
///     remote.post(|cx| {
///         *cx.app += 1;
///         cx.stop();
///     })
/// });
/// reactor.run()?;
/// worker.join().expect("the worker does not panic")?;
/// assert_eq!(reactor.app, 1);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Remote<A = ()> {
    mailbox: Arc<Mailbox<A>>,
}

impl<A> Remote<A> {
    pub(crate) fn new(mailbox: &Arc<Mailbox<A>>) -> Self {
        Self { mailbox: Arc::clone(mailbox) }
    }

    /// Runs `call` on the loop, in the order of posting, a bounded number in a turn.
    ///
    /// # Errors
    /// When the loop is gone, has
    /// [`LoopLimits::remote_calls_max`](crate::LoopLimits::remote_calls_max) calls waiting, or
    /// belongs to another process. The closure is dropped without being run.
    pub fn post(
        &self,
        call: impl FnOnce(&mut LoopCx<'_, A>) + Send + 'static,
    ) -> Result<(), PostError> {
        self.mailbox.add([Box::new(call) as Call<A>], Bound::Heeded)
    }

    /// Runs `calls` on the loop, in their order, as [`post`](Self::post) does with one. The queue is
    /// locked once and the loop woken once, so many messages cost little more than one.
    ///
    /// # Errors
    /// As for [`post`](Self::post), if there is no room for all of them. None is run then.
    pub fn post_all<C>(&self, calls: impl IntoIterator<Item = C>) -> Result<(), PostError>
    where
        C: FnOnce(&mut LoopCx<'_, A>) + Send + 'static,
    {
        let calls: Vec<Call<A>> = calls.into_iter().map(|call| Box::new(call) as Call<A>).collect();
        self.mailbox.add(calls, Bound::Heeded)
    }

    /// Runs an order of the owner of the loop, also if too many calls are waiting.
    pub(crate) fn order(
        &self,
        call: impl FnOnce(&mut LoopCx<'_, A>) + Send + 'static,
    ) -> Result<(), PostError> {
        self.mailbox.add([Box::new(call) as Call<A>], Bound::Ignored)
    }

    /// Wakes the loop. Wakes coalesce: the last one is never lost.
    ///
    /// # Errors
    /// When the loop is gone, or belongs to another process.
    pub fn wake(&self) -> Result<(), PostError> {
        self.mailbox.notifier.refuse_copy()?;
        if self.mailbox.notifier.is_closed() {
            return Err(PostError::Gone);
        }
        self.mailbox.notifier.signal();
        Ok(())
    }
}

impl<A> Clone for Remote<A> {
    fn clone(&self) -> Self {
        Self { mailbox: Arc::clone(&self.mailbox) }
    }
}

impl<A> fmt::Debug for Remote<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("gone", &self.mailbox.notifier.is_closed()).finish()
    }
}

/// Why a closure was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostError {
    /// The loop is gone.
    Gone,
    /// The loop is in the process that this one was forked from.
    Forked,
    /// Too many calls are waiting.
    Full {
        /// The limit of waiting calls.
        calls_max: usize,
    },
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the loop is gone"),
            Self::Forked => Forked.fmt(f),
            Self::Full { calls_max } => {
                write!(f, "the loop has {calls_max} calls waiting already, its limit")
            }
        }
    }
}

impl std::error::Error for PostError {}

impl From<PostError> for io::Error {
    fn from(error: PostError) -> Self {
        let kind = match error {
            PostError::Gone => io::ErrorKind::BrokenPipe,
            PostError::Forked => return Forked.into(),
            PostError::Full { .. } => io::ErrorKind::QuotaExceeded,
        };
        Self::new(kind, error)
    }
}

/// Returns the registration of the mailbox.
pub(crate) fn registration() -> crate::Registration {
    crate::Registration::new(Interest::READ).known_nonblocking()
}
