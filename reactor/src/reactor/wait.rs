//! Phases 2 and 3 of a turn: waiting for events, and going to sleep no more often than it pays.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use log::warn;

use crate::reactor::core::nanos;
use crate::source::table::NEVER;
use crate::{Coverage, Reactor};

/// Whether a wait may succeed later although nothing is done about it (`epoll_wait(2)`, `poll(2)`,
/// `select(2)`): the kernel is short of memory.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOBUFS | libc::EAGAIN))
}

/// Why a loop cannot go on: its wait fails for good.
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

/// What to do about a wait that fails for good.
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

impl<A: 'static> Reactor<A> {
    /// Phases 2 and 3: waits, and reads the clock once.
    pub(crate) fn wait(&mut self, limit: Option<Duration>) -> io::Result<()> {
        self.core.wheel.settle();
        let sleeps = limit != Some(Duration::ZERO);
        let spins = !self.core.limits.spin_max.is_zero();
        let coalesced_waits = !self.core.limits.coalesce_for.is_zero();
        let has_deadline = self.core.next_deadline().is_some();
        if has_deadline || sleeps && (spins || coalesced_waits) {
            self.note_lag();
        }
        let timeout = self.core.timeout(limit);
        if timeout != Some(Duration::ZERO) && self.core.audit.is_some() {
            self.audit()?;
        }
        let start = self.core.ticks;
        // An audit may have found events, which are dealt with first.
        let left = if self.events.is_empty() { timeout } else { Some(Duration::ZERO) };
        let coverage = self.find(left)?;
        if coalesced_waits {
            self.coalescing.found(&self.events);
        }
        self.core.read_clock();
        if coverage == Coverage::Complete {
            self.core.patience.looked(start);
        }
        if has_deadline {
            let limit = timeout.map_or(NEVER, nanos);
            self.core.patience.waited(self.core.ticks - start, limit, coverage);
            self.core.charge();
        }
        self.core.retry_disputed();
        Ok(())
    }

    /// Notes how long the loop has worked since its last wait.
    fn note_lag(&mut self) {
        let woke = self.core.ticks;
        self.core.read_clock();
        let lag = self.core.ticks - woke;
        self.core.patience.worked(lag);
        self.core.charge();
        let lag = Duration::from_nanos(lag);
        self.coalescing.worked(lag);
        self.core.counters.lag_last = lag;
        self.core.counters.lag_max = self.core.counters.lag_max.max(lag);
    }

    /// Waits for events no longer than `left`, in the way that pays best.
    fn find(&mut self, mut left: Option<Duration>) -> io::Result<Coverage> {
        if !self.core.limits.spin_max.is_zero()
            && let Some(coverage) = self.spin(&mut left)?
        {
            return Ok(coverage);
        }
        if !self.core.limits.coalesce_for.is_zero()
            && let Some(coverage) = self.gather(&mut left)?
        {
            return Ok(coverage);
        }
        self.look(left)
    }

    /// Waits, once. A failure that may pass counts as a wait without events, after a pause.
    ///
    /// # Errors
    /// A failure that does not pass: it names the system call.
    pub(crate) fn look(&mut self, timeout: Option<Duration>) -> io::Result<Coverage> {
        self.core.counters.waits += 1;
        match self.core.backend.wait(&mut self.events, timeout) {
            Ok(coverage) => {
                self.wait_backoff.reset();
                Ok(coverage)
            }
            Err(error) if is_passing(&error) => {
                let pause = self.wait_backoff.next_pause();
                let call = self.core.backend.wait_call();
                if let Some(folded) = self.wait_backoff.log.admit(self.core.backend.now()) {
                    warn!("{call} failed: {error}; trying again in {pause:?}{folded}");
                }
                let left = timeout.filter(|left| !left.is_zero());
                self.core.backend.sleep(pause.min(left.unwrap_or(pause)));
                Ok(Coverage::Partial)
            }
            Err(error) => {
                let call = self.core.backend.wait_call();
                Err(io::Error::new(error.kind(), WaitError { call, error }))
            }
        }
    }

    /// Looks for events for a while without sleeping ([`LoopLimits::spin_max`]), and takes the time
    /// from what is left of the wait. Returns nothing when there are none.
    ///
    /// [`LoopLimits::spin_max`]: crate::LoopLimits::spin_max
    fn spin(&mut self, left: &mut Option<Duration>) -> io::Result<Option<Coverage>> {
        let spin = self.core.limits.spin_max.min(left.unwrap_or(Duration::MAX));
        let (start, mut spent) = (self.core.now, Duration::ZERO);
        while spent < spin {
            let coverage = self.look(Some(Duration::ZERO))?;
            if !self.events.is_empty() {
                return Ok(Some(coverage));
            }
            let before = spent;
            spent = self.core.backend.now().saturating_duration_since(start);
            if spent == before {
                // A clock that stands still is a test's.
                break;
            }
        }
        *left = left.map(|left| left.saturating_sub(spent));
        Ok(None)
    }

    /// Lets events gather where that has paid lately ([`LoopLimits::coalesce_for`]), and takes the
    /// time from what is left of the wait. Returns nothing when there are none.
    ///
    /// [`LoopLimits::coalesce_for`]: crate::LoopLimits::coalesce_for
    fn gather(&mut self, left: &mut Option<Duration>) -> io::Result<Option<Coverage>> {
        let time = self.core.limits.coalesce_for;
        let has_time = left.is_none_or(|left| left > time);
        if !has_time || !self.coalescing.is_due() {
            return Ok(None);
        }
        self.core.counters.coalesced_waits += 1;
        let start = self.core.backend.now();
        self.core.backend.sleep(time);
        let slept = self.core.backend.now().saturating_duration_since(start);
        let coverage = self.look(Some(Duration::ZERO))?;
        self.coalescing.tried(self.events.len(), slept);
        *left = left.map(|left| left.saturating_sub(slept));
        Ok((!self.events.is_empty()).then_some(coverage))
    }
}
