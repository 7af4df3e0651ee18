//! Notifying a loop from other threads: the part of a mailbox that does not depend on the
//! application.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::planted::{self, Planted};
use crate::reactor::remote::PostError;
use crate::reactor::trim::Table;
use crate::reactor::waker::Target;
use crate::sync::{AtomicBool, EventFd, Mutex, MutexGuard, this_thread};
use crate::sys::Owner;

/// Wakes that wait for the loop to take them, one a waker at most.
pub(crate) type Wakes = Vec<Arc<Target>>;

/// Notifies a loop from any thread, and has the wakes of its sources.
pub(crate) struct Notifier {
    /// Whether the loop was notified, or is about to be.
    signalled: AtomicBool,
    /// Whether the loop has work from outside that it has not finished.
    pending: AtomicBool,
    /// Whether a turn runs. It is written on the thread of the loop alone.
    is_turning: AtomicBool,
    event: EventFd,
    /// The process of the loop.
    process: Owner,
    /// The thread of the loop.
    thread: usize,
    /// Whether the loop is gone.
    closed: AtomicBool,
    wakes: Mutex<Wakes>,
}

impl Notifier {
    /// Returns the notifier of a loop on this thread.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            signalled: AtomicBool::new(false),
            pending: AtomicBool::new(false),
            is_turning: AtomicBool::new(false),
            event: EventFd::new()?,
            process: Owner::this(),
            thread: this_thread(),
            closed: AtomicBool::new(false),
            wakes: Mutex::new(Wakes::new()),
        })
    }

    /// Returns a descriptor of the same event, for the loop to own.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.event.duplicate()
    }

    /// Returns the event, for a model that waits for it.
    #[cfg(all(loom, test))]
    pub(crate) fn event(&self) -> &EventFd {
        &self.event
    }

    /// Returns the wakes, also after a thread panicked: the list is consistent between operations.
    fn lock(&self) -> MutexGuard<'_, Wakes> {
        self.wakes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notifies the loop, unless a notification is pending. Any number of wakes costs one system
    /// call.
    pub(crate) fn signal(&self) {
        if !self.signalled.swap(true, Ordering::SeqCst) {
            self.event.notify();
        }
    }

    /// Records that the loop has seen the notification. A later post notifies again, so what the
    /// loop takes after this is complete, or a new notification is on its way: the last wake is
    /// never lost.
    pub(crate) fn acknowledge(&self) {
        if !(planted::is(Planted::NotificationStuck) && self.is_pending()) {
            self.signalled.store(false, Ordering::SeqCst);
        }
        self.pending.store(true, Ordering::Relaxed);
    }

    /// Returns whether the loop has work from outside, so it does not wait.
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Relaxed)
    }

    /// Makes the loop look for work from outside in this turn or the next. It is called on the
    /// thread of the loop.
    pub(crate) fn set_pending(&self) {
        self.pending.store(true, Ordering::Relaxed);
    }

    /// Records that no call waits. Wakes may still wait, of closures that the loop has just run.
    pub(crate) fn settle(&self) {
        let is_pending = !self.lock().is_empty();
        self.pending.store(is_pending, Ordering::Relaxed);
    }

    /// Records that a turn begins or has ended.
    #[inline]
    pub(crate) fn set_turning(&self, is_turning: bool) {
        self.is_turning.store(is_turning, Ordering::Relaxed);
    }

    /// Adds the wake of a source, which is not in the list.
    pub(super) fn add_wake(&self, target: &Arc<Target>) -> Result<(), PostError> {
        {
            let mut wakes = self.lock();
            if self.is_closed() {
                return Err(PostError::Gone);
            }
            wakes.push(Arc::clone(target));
        }
        if self.is_turning.load(Ordering::Relaxed) && self.is_on_own_thread() {
            // The turn that called this looks at the mark before it ends, or the next one does.
            self.pending.store(true, Ordering::Relaxed);
        } else {
            self.signal();
        }
        Ok(())
    }

    /// Returns whether the calling thread is that of the loop.
    pub(super) fn is_on_own_thread(&self) -> bool {
        self.thread == this_thread()
    }

    /// Takes the wakes, in exchange for an empty list whose memory is used next.
    pub(crate) fn take_wakes(&self, taken: &mut Wakes) {
        std::mem::swap(&mut *self.lock(), taken);
    }

    /// Returns an error in a forked process: the loop runs in the other one.
    pub(crate) fn refuse_copy(&self) -> Result<(), PostError> {
        if self.process.is_another() { Err(PostError::Forked) } else { Ok(()) }
    }

    /// Makes this the notifier of a loop of the calling process, which a fork has copied. The other
    /// process has its own.
    pub(crate) fn take_over(&self) -> io::Result<()> {
        self.event.renew()?;
        self.process.take_over();
        // What waited for the loop before is noticed.
        self.signalled.store(true, Ordering::SeqCst);
        self.event.notify();
        Ok(())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Closes the notifier when the loop is gone, and drops the wakes.
    pub(crate) fn close(&self) {
        let mut wakes = self.lock();
        // Under the lock, so that a thread that wakes at this moment leaves nothing behind.
        self.closed.store(true, Ordering::Release);
        wakes.clear();
    }

    /// Returns for how many wakes there is room.
    pub(crate) fn room(&self) -> usize {
        self.lock().room()
    }

    /// Frees memory that a burst of wakes has left.
    pub(crate) fn trim(&self) {
        self.lock().trim();
    }
}
