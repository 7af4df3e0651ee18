//! Phases 2 and 3 of a turn: waiting for events, and going to sleep no more often than it pays.

use std::io;
use std::time::Duration;

use crate::Reactor;

impl<A: 'static> Reactor<A> {
    /// Phases 2 and 3: waits, and reads the clock once.
    pub(crate) fn wait(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let woke = self.core.ticks;
        self.core.wheel.settle();
        let spins = !self.core.limits.spin_max.is_zero();
        let gathers = !self.core.limits.coalesce_for.is_zero();
        if limit != Some(Duration::ZERO)
            && (spins || gathers || self.core.next_deadline().is_some())
        {
            self.core.read_clock();
            let lag = Duration::from_nanos(self.core.ticks.saturating_sub(woke));
            self.gathering.worked(lag);
            self.core.counters.lag_last = lag;
            self.core.counters.lag_max = self.core.counters.lag_max.max(lag);
        }
        let timeout = self.core.timeout(limit);
        if timeout != Some(Duration::ZERO) && self.core.audited.is_some() {
            self.audit()?;
        }
        // An audit may have found events, which are dealt with first.
        let mut left = if self.events.is_empty() { timeout } else { Some(Duration::ZERO) };
        let has_found = spins && self.spin(&mut left)?;
        if !(has_found || gathers && self.gather(&mut left)?) {
            self.look(left)?;
        }
        if gathers {
            self.gathering.found(&self.events);
        }
        self.core.read_clock();
        self.core.retry_doubted();
        Ok(())
    }

    /// Waits, once. Returns whether there are events.
    fn look(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        self.core.counters.waits += 1;
        self.core.backend.wait(&mut self.events, timeout)?;
        Ok(!self.events.is_empty())
    }

    /// Looks for events for a while without sleeping ([`LoopLimits::spin_max`]), and takes the time
    /// from what is left of the wait. Returns whether there are any.
    ///
    /// [`LoopLimits::spin_max`]: crate::LoopLimits::spin_max
    fn spin(&mut self, left: &mut Option<Duration>) -> io::Result<bool> {
        let spin = self.core.limits.spin_max.min(left.unwrap_or(Duration::MAX));
        let (start, mut spent) = (self.core.now, Duration::ZERO);
        while spent < spin {
            if self.look(Some(Duration::ZERO))? {
                return Ok(true);
            }
            let before = spent;
            spent = self.core.backend.now().saturating_duration_since(start);
            if spent == before {
                // A clock that stands still is a test's.
                break;
            }
        }
        *left = left.map(|left| left.saturating_sub(spent));
        Ok(false)
    }

    /// Lets events gather where that has paid lately ([`LoopLimits::coalesce_for`]), and takes the
    /// time from what is left of the wait. Returns whether there are any.
    ///
    /// [`LoopLimits::coalesce_for`]: crate::LoopLimits::coalesce_for
    fn gather(&mut self, left: &mut Option<Duration>) -> io::Result<bool> {
        let time = self.core.limits.coalesce_for;
        let has_time = left.is_none_or(|left| left > time);
        if !has_time || !self.gathering.is_due() {
            return Ok(false);
        }
        self.core.counters.gathers += 1;
        let start = self.core.backend.now();
        self.core.backend.sleep(time);
        let slept = self.core.backend.now().saturating_duration_since(start);
        let found = self.look(Some(Duration::ZERO))?;
        self.gathering.tried(self.events.len(), slept);
        *left = left.map(|left| left.saturating_sub(slept));
        Ok(found)
    }
}
