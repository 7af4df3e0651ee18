//! How a loop waits, to avoid sleep where it costs more: [`LoopLimits::spin_max`] and
//! [`LoopLimits::coalesce_for`].

use std::io;
use std::time::Duration;

use crate::reactor::coalescing::Coalescing;
use crate::reactor::wait::Lookout;
use crate::{Coverage, LoopLimits};

/// How a loop waits, and which way has paid.
#[derive(Debug)]
pub(crate) struct Strategy {
    spin_max: Duration,
    coalesce_for: Duration,
    coalescing: Coalescing,
    /// It sleeps at once, until the first event.
    is_plain: bool,
}

impl Strategy {
    /// Returns the strategy for `limits`. A backend that coalesces events itself would see less of them if
    /// the loop polled.
    pub(crate) fn new(limits: &LoopLimits, backend_coalesces: bool) -> Self {
        let (spin_max, coalesce_for) = match backend_coalesces {
            true => (Duration::ZERO, Duration::ZERO),
            false => (limits.spin_max, limits.coalesce_for),
        };
        let is_plain = spin_max.is_zero() && coalesce_for.is_zero();
        Self { spin_max, coalesce_for, coalescing: Coalescing::default(), is_plain }
    }

    /// Returns whether it sleeps at once, until the first event. Then the time that the loop has
    /// worked does not matter.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Waits for events no longer than `left`: polls, coalesces events, or sleeps. `worked` is
    /// how many nanoseconds the loop has worked since its last wait.
    ///
    /// # Errors
    /// When the wait fails for good. The error names the system call.
    #[inline(always)] // Servers have several types of loops: 27 instructions in a turn.
    pub(crate) fn wait(
        &mut self,
        left: Option<Duration>,
        worked: u64,
        lookout: &mut Lookout<'_>,
    ) -> io::Result<Coverage> {
        if self.is_plain() {
            return lookout.look(left);
        }
        self.wait_otherwise(left, worked, lookout)
    }

    /// [`wait`](Self::wait), unless the loop sleeps at once.
    #[inline(never)]
    fn wait_otherwise(
        &mut self,
        left: Option<Duration>,
        worked: u64,
        lookout: &mut Lookout<'_>,
    ) -> io::Result<Coverage> {
        self.coalescing.worked(Duration::from_nanos(worked));
        let coverage = self.find(left, lookout);
        if coverage.is_ok() && !self.coalesce_for.is_zero() {
            self.coalescing.found(lookout.events);
        }
        coverage
    }

    fn find(
        &mut self,
        mut left: Option<Duration>,
        lookout: &mut Lookout<'_>,
    ) -> io::Result<Coverage> {
        if !self.spin_max.is_zero()
            && let Some(coverage) = self.spin(&mut left, lookout)?
        {
            return Ok(coverage);
        }
        if !self.coalesce_for.is_zero()
            && let Some(coverage) = self.coalesce(&mut left, lookout)?
        {
            return Ok(coverage);
        }
        lookout.look(left)
    }

    /// Polls for events for a while ([`LoopLimits::spin_max`]), and subtracts that time from the
    /// rest of the wait. Returns `None` when there are no events.
    fn spin(
        &self,
        left: &mut Option<Duration>,
        lookout: &mut Lookout<'_>,
    ) -> io::Result<Option<Coverage>> {
        let spin = self.spin_max.min(left.unwrap_or(Duration::MAX));
        let mut spent = Duration::ZERO;
        while spent < spin {
            let coverage = lookout.look(Some(Duration::ZERO))?;
            if !lookout.events.is_empty() {
                return Ok(Some(coverage));
            }
            let before = spent;
            spent = since(lookout.now, lookout);
            if spent == before {
                // Only the clock of a test stands still.
                break;
            }
        }
        *left = left.map(|left| left.saturating_sub(spent));
        Ok(None)
    }

    /// Coalesces events if that has paid recently ([`LoopLimits::coalesce_for`]), and subtracts
    /// that time from the rest of the wait. Returns `None` when there are no events.
    fn coalesce(
        &mut self,
        left: &mut Option<Duration>,
        lookout: &mut Lookout<'_>,
    ) -> io::Result<Option<Coverage>> {
        let time = self.coalesce_for;
        let has_time = left.is_none_or(|left| left > time);
        if !has_time || !self.coalescing.is_due(lookout.counters.datagrams_received) {
            return Ok(None);
        }
        lookout.counters.coalesced_waits += 1;
        let start = lookout.backend.nanoseconds();
        lookout.backend.sleep(time);
        let slept = since(start, lookout);
        let coverage = lookout.look(Some(Duration::ZERO))?;
        self.coalescing.tried(lookout.events.len(), slept);
        *left = left.map(|left| left.saturating_sub(slept));
        Ok((!lookout.events.is_empty()).then_some(coverage))
    }
}

/// Returns the time that has passed since a time of the backend's clock.
fn since(start: u64, lookout: &Lookout<'_>) -> Duration {
    Duration::from_nanos(lookout.backend.nanoseconds().saturating_sub(start))
}
