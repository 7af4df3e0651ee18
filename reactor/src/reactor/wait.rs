//! Phases 2 and 3 of a turn: waiting for events, and reading the clock.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use log::warn;

use crate::planted::{self, Planted};
use crate::reactor::backoff::Backoff;
use crate::reactor::strategy::Strategy;
use crate::source::table::NEVER;
use crate::{Backend, Counters, Coverage, Event, Reactor};

/// Returns whether a failed wait may succeed later (`epoll_wait(2)`, `poll(2)`, `select(2)`): the
/// kernel is short of memory.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOBUFS | libc::EAGAIN))
}

/// Returns the error of a loop whose wait fails for good.
#[derive(Debug)]
struct WaitError {
    call: &'static str,
    error: io::Error,
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}{}", self.call, self.error, hint(&self.error))
    }
}

impl Error for WaitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// Returns what to do about a wait that fails for good.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EINVAL) => {
            ": more descriptors are watched than this process may open now; raise the limit \
             (ulimit -n, prlimit --nofile)"
        }
        Some(libc::EBADF) => {
            ": a descriptor that the loop owns was closed by other code of this process"
        }
        _ => "",
    }
}

/// The state that a wait for events needs, once or several times.
pub(crate) struct Lookout<'a> {
    pub(crate) backend: &'a mut dyn Backend,
    pub(crate) events: &'a mut Vec<Event>,
    pub(crate) counters: &'a mut Counters,
    backoff: &'a mut Backoff,
    /// When the clock was read last, in nanoseconds of the backend.
    pub(crate) now: u64,
}

impl Lookout<'_> {
    /// Waits once. A failure that may pass counts as a wait without events, after a pause.
    ///
    /// # Errors
    /// When the wait fails for good. The error names the system call.
    #[inline]
    pub(crate) fn look(&mut self, timeout: Option<Duration>) -> io::Result<Coverage> {
        self.counters.waits += 1;
        match self.backend.wait(self.events, timeout) {
            Ok(coverage) => {
                self.backoff.reset();
                Ok(coverage)
            }
            Err(error) => self.fail(error, timeout),
        }
    }

    #[cold]
    fn fail(&mut self, error: io::Error, timeout: Option<Duration>) -> io::Result<Coverage> {
        let call = self.backend.wait_call();
        if !is_passing(&error) {
            return Err(io::Error::new(error.kind(), WaitError { call, error }));
        }
        let pause = self.backoff.next_pause();
        if let Some(folded) = self.backoff.log.admit(self.backend.now()) {
            warn!("{call} failed: {error}; trying again in {pause:?}{folded}");
        }
        let left = timeout.filter(|left| !left.is_zero());
        self.backend.sleep(pause.min(left.unwrap_or(pause)));
        Ok(Coverage::Partial)
    }
}

impl<A: 'static> Reactor<A> {
    /// Phases 2 and 3: waits, and reads the clock once.
    #[inline]
    pub(crate) fn wait(&mut self, limit: Option<Duration>) -> io::Result<()> {
        self.core.wheel.settle();
        let deadline = self.core.next_deadline();
        let is_measured =
            deadline != NEVER || limit != Some(Duration::ZERO) && !self.strategy.is_plain();
        let worked = if is_measured { self.note_lag() } else { 0 };
        let timeout = self.core.timeout(limit, deadline);
        if timeout != 0 && self.core.audit.is_some() {
            self.audit()?;
        }
        let start = self.core.ticks;
        // An audit may have found events, which are handled first.
        let left = if self.events.is_empty() { timeout } else { 0 };
        let left = (left != NEVER).then(|| Duration::from_nanos(left));
        let (strategy, mut lookout) = self.lookout();
        let coverage = strategy.wait(left, worked, &mut lookout)?;
        self.core.read_clock();
        if coverage == Coverage::Partial && planted::is(Planted::LastEventDropped) {
            self.events.pop();
        }
        if coverage == Coverage::Complete || planted::is(Planted::PartialIsComplete) {
            self.core.patience.looked(start);
        }
        if deadline != NEVER {
            self.core.waited(self.core.ticks - start, timeout, coverage);
        }
        self.core.retry_disputed();
        Ok(())
    }

    /// Records how long the loop has worked since its last wait, and returns it in nanoseconds.
    #[inline]
    fn note_lag(&mut self) -> u64 {
        let woke = self.core.ticks;
        self.core.read_ticks();
        let lag = self.core.ticks - woke;
        self.core.patience.worked(lag);
        self.core.charge();
        let counters = &mut self.core.counters;
        counters.lag_last = Duration::from_nanos(lag);
        if counters.lag_last > counters.lag_max {
            counters.lag_max = counters.lag_last;
        }
        lag
    }

    /// Waits once, as [`Lookout::look`] does.
    pub(crate) fn look(&mut self, timeout: Option<Duration>) -> io::Result<Coverage> {
        self.lookout().1.look(timeout)
    }

    /// Returns the strategy and the state of the wait.
    #[inline]
    fn lookout(&mut self) -> (&mut Strategy, Lookout<'_>) {
        let now = self.core.nanoseconds();
        let lookout = Lookout {
            backend: self.core.backend.as_mut(),
            events: &mut self.events,
            counters: &mut self.core.counters,
            backoff: &mut self.wait_backoff,
            now,
        };
        (&mut self.strategy, lookout)
    }
}
