//! Waiting for signals of descriptors.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use crate::sys::{IoSignal, block_io_signals, signal_when_ready, wait_for_io_signal};
use crate::{Readiness, kernel};

/// Signals that descriptors send to this thread when they become ready: the signal-driven I/O of the
/// textbooks (`fcntl(2)`, "Managing signals"; `sigtimedwait(2)`).
///
/// A loop has no use for it: epoll tells the same with fewer calls. It is for programs whose thread waits
/// for signals anyway, and to be compared: see the page "Readiness and completion" of the book.
///
/// - **A descriptor signals once for each change**, as an edge-triggered backend reports. So the program
///   reads until a read would block, also after [`watch`](Self::watch): what came before sent no signal.
/// - **The signals are the first real-time signal and `SIGIO`.** They are blocked in this thread from then
///   on, and stay so: unblocked, the next one would end the process. Nothing else in the process may use
///   them.
/// - **They are sent to this thread alone**, so it stays where it was made.
/// - **The queue has a limit**, `RLIMIT_SIGPENDING` of the user. When it is full, signals are lost, and one
///   tells so ([`IoReport::Overflow`]).
///
/// ```
/// use reactor::Readiness;
/// use reactor::blocking::{IoReport, IoSignals};
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use std::time::Duration;
///
/// let (mut near, mut far) = UnixStream::pair()?;
/// let signals = IoSignals::new()?;
/// signals.watch(&near)?;
/// far.write_all(b"hello")?;
/// let report = signals.wait(Some(Duration::from_secs(10)))?.expect("a signal comes");
/// assert!(report.concerns(&near));
/// assert!(matches!(report, IoReport::Ready(_, ready) if ready.contains(Readiness::READABLE)));
/// assert_eq!(near.read(&mut [0; 10])?, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct IoSignals {
    set: libc::sigset_t,
    /// The signals are sent to one thread.
    stays: PhantomData<*const ()>,
}

/// What one of the [`IoSignals`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoReport {
    /// The descriptor with a number has become ready. It may have been closed since, and another may have its
    /// number: then the next read would block.
    Ready(RawFd, Readiness),
    /// Signals were lost. Every descriptor may be ready.
    Overflow,
}

impl IoSignals {
    /// Blocks the signals in this thread. Threads that it starts later inherit that.
    ///
    /// # Errors
    /// On a simulated host ([`sim`](crate::sim)), which has no such signals.
    pub fn new() -> io::Result<Self> {
        if kernel::is_simulated() {
            return Err(kernel::no_such("signals of descriptors"));
        }
        Ok(Self { set: block_io_signals()?, stays: PhantomData })
    }

    /// Makes a descriptor non-blocking, and makes it signal this thread whenever it becomes ready, until
    /// all of its copies are closed.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) for kinds of descriptors that cannot signal: sockets, pipes
    /// and terminals can (`open(2)`, `O_ASYNC`).
    pub fn watch(&self, fd: &impl AsFd) -> io::Result<()> {
        signal_when_ready(fd.as_fd())
    }

    /// Waits for the next signal, until `timeout` has passed, or for ever if that is `None`. Returns
    /// `None` when the time has passed, and sometimes before: when another signal was handled.
    ///
    /// # Errors
    /// The error of `sigtimedwait(2)`.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<IoReport>> {
        Ok(wait_for_io_signal(&self.set, timeout)?.map(|signal| match signal {
            IoSignal::Ready(fd, readiness) => IoReport::Ready(fd, readiness),
            IoSignal::Overflow => IoReport::Overflow,
        }))
    }
}

impl fmt::Debug for IoSignals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoSignals").finish_non_exhaustive()
    }
}

impl IoReport {
    /// Returns whether a descriptor may be ready.
    pub fn concerns(self, fd: &impl AsFd) -> bool {
        let own = |fd: BorrowedFd<'_>| fd.as_raw_fd();
        match self {
            Self::Ready(number, _) => number == own(fd.as_fd()),
            Self::Overflow => true,
        }
    }
}
