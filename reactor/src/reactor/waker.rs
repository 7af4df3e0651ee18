//! Waking one source from other threads.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::reactor::core::Core;
use crate::reactor::notifier::Notifier;
use crate::reactor::remote::PostError;
use crate::sync::AtomicBool;
use crate::{Cx, Tag, Token};

/// The source that a waker wakes.
pub(crate) struct Target {
    notifier: Arc<Notifier>,
    tag: Tag,
    /// Whether its wake waits for the loop.
    is_waiting: AtomicBool,
}

/// Wakes one source of a loop from any thread ([`Cx::waker_of`]): its handler is called soon, and
/// [`Cx::was_woken`] returns true then.
///
/// Wakes coalesce. The last one is never lost: what a thread has written before
/// [`wake`](Self::wake) is visible to a call of the handler that begins after it. A wake needs no
/// room in a queue, and allocates nothing while another one of this waker waits. All clones of a
/// waker count as one.
///
/// ```
/// use reactor::{Cx, Handler, Reactor};
/// use std::io;
/// use std::sync::mpsc::{Receiver, channel};
///
/// /// Adds up numbers of another thread.
/// struct Sums(Receiver<u32>);
///
/// impl Handler<u32> for Sums {
///     fn ready(&mut self, cx: &mut Cx<'_, u32>) -> io::Result<()> {
///         *cx.app += self.0.try_iter().sum::<u32>();
///         Ok(())
///     }
/// }
///
/// let mut reactor = Reactor::new(0)?;
/// let (sender, receiver) = channel();
/// let sums = reactor.cx().spawn(Sums(receiver))?;
/// let waker = reactor.cx().waker_of(sums);
/// let worker = std::thread::spawn(move || {
///     for number in 1..=10 {
///         sender.send(number).expect("the source is there");
///         waker.wake().expect("the loop is there");
///     }
/// });
/// reactor.run_until(|sum| *sum == 55)?;
/// worker.join().expect("it does not panic");
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Clone)]
pub struct Waker {
    target: Arc<Target>,
}

impl Waker {
    /// Returns a waker of a source of the loop that `notifier` notifies.
    pub(crate) fn new(notifier: Arc<Notifier>, tag: Tag) -> Self {
        Self { target: Arc::new(Target { notifier, tag, is_waiting: AtomicBool::new(false) }) }
    }

    /// Wakes the source. It has no effect if the source has ended.
    ///
    /// It costs a system call only if the loop was not notified yet, and none in a call that the
    /// loop itself has made.
    ///
    /// # Errors
    /// When the loop is gone, or belongs to another process ([`PostError::Gone`],
    /// [`PostError::Forked`]).
    pub fn wake(&self) -> Result<(), PostError> {
        let notifier = &self.target.notifier;
        notifier.refuse_copy()?;
        if notifier.is_closed() {
            return Err(PostError::Gone);
        }
        // It is an exchange even if it changes nothing: so the loop, which exchanges the mark too,
        // sees what this thread has written before.
        if self.target.is_waiting.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        notifier.add_wake(&self.target)
    }

    /// Returns whether the calling thread is that of the loop.
    pub(crate) fn is_on_own_thread(&self) -> bool {
        self.target.notifier.is_on_own_thread()
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker")
            .field("source", &self.target.tag)
            .field("gone", &self.target.notifier.is_closed())
            .finish()
    }
}

impl<A> Core<A> {
    /// Wakes the sources that wakers have woken since the last call.
    pub(crate) fn take_wakes(&mut self) {
        let mut taken = std::mem::take(&mut self.wakes_taken);
        self.notifier.take_wakes(&mut taken);
        for target in taken.drain(..) {
            // First the mark: a wake that comes now waits for the next turn.
            target.is_waiting.swap(false, Ordering::AcqRel);
            self.wake(target.tag);
        }
        self.wakes_taken = taken;
    }
}

impl<A, P> Cx<'_, A, P> {
    /// Returns a waker of a source, for other threads. That of a source that has ended, or of
    /// another loop, has no effect.
    pub fn waker_of(&self, source: impl Into<Token>) -> Waker {
        let tag = source.into().tag_in(self.core.home);
        Waker::new(Arc::clone(&self.core.notifier), tag)
    }
}
