//! Phases 2 and 3 of a turn: waiting for events, and going to sleep no more often than it pays.

use std::io;
use std::time::Duration;

use crate::{Event, Reactor, Token};

/// How many events have to gather for that to be better than to be woken by the first.
const GATHERED_MIN: usize = 2;

/// How many times the loop sleeps as usual, at most, before it tries again whether events gather.
const PASSED_MAX: u32 = 1023;

/// How many events a source is waited for: as many are taken to be busy where that is in vain.
const ROUND_MAX: usize = 1024;

/// Whether it pays to let events gather: what came of it lately.
#[derive(Debug)]
pub(crate) struct Gathering {
    /// The last wait found something.
    is_busy: bool,
    /// How many times the loop is to sleep as usual before the next try.
    left: u32,
    /// How many times that was after the last one.
    passed: u32,
    /// One of the sources that are heard.
    one: Token,
    /// How many events came since it was heard.
    since: usize,
    /// About how many sources are busy: as many events came from one time that one of them was
    /// heard to the next.
    busy: usize,
}

impl Default for Gathering {
    fn default() -> Self {
        Self { is_busy: false, left: 0, passed: 0, one: Token::NONE, since: 0, busy: 0 }
    }
}

impl Gathering {
    /// Counts who is busy.
    fn count(&mut self, events: &[Event]) {
        self.is_busy = !events.is_empty();
        for event in events {
            self.since += 1;
            if event.token == self.one || self.since == ROUND_MAX {
                (self.busy, self.since, self.one) = (self.since, 0, event.token);
            }
        }
    }

    /// Whether events may gather before the loop sleeps. It is asked once each time.
    fn is_due(&mut self) -> bool {
        if !self.is_busy {
            return false;
        }
        let is_due = self.left == 0;
        self.left = self.left.saturating_sub(1);
        is_due
    }

    /// Notes how many events have gathered. It pays if they are several, and if no less sources
    /// are still at work on what they were told before: else they may all have waited for this
    /// loop meanwhile. Where it did not pay, the next tries are further and further apart.
    fn note(&mut self, gathered: usize) {
        let pays = gathered >= GATHERED_MIN && 2 * gathered <= self.busy;
        self.passed = if pays { 0 } else { (2 * self.passed + 1).min(PASSED_MAX) };
        self.left = self.passed;
    }
}

impl<A: 'static> Reactor<A> {
    /// Phases 2 and 3: waits, and reads the clock once.
    pub(crate) fn wait(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let woke = self.core.ticks;
        self.core.wheel.settle();
        let spins = !self.core.limits.spin_max.is_zero();
        if limit != Some(Duration::ZERO) && (spins || self.core.next_deadline().is_some()) {
            self.core.read_clock();
            let lag = Duration::from_nanos(self.core.ticks.saturating_sub(woke));
            self.core.counters.lag_last = lag;
            self.core.counters.lag_max = self.core.counters.lag_max.max(lag);
        }
        let timeout = self.core.timeout(limit);
        if timeout != Some(Duration::ZERO) && self.core.audited.is_some() {
            self.audit()?;
        }
        // An audit may have found events, which are dealt with first.
        let timeout = if self.events.is_empty() { timeout } else { Some(Duration::ZERO) };
        let mut left = timeout;
        let has_found = spins && self.spin(&mut left)?;
        if !(has_found || self.gather(left)?) {
            self.look(left)?;
        }
        if !self.core.limits.coalesce_for.is_zero() {
            self.gathering.count(&self.events);
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

    /// Lets events gather where they came to several lately ([`LoopLimits::coalesce_for`]). Returns
    /// whether there are any.
    ///
    /// [`LoopLimits::coalesce_for`]: crate::LoopLimits::coalesce_for
    fn gather(&mut self, left: Option<Duration>) -> io::Result<bool> {
        let time = self.core.limits.coalesce_for;
        let has_time = !time.is_zero() && left.is_none_or(|left| left > time);
        if !has_time || !self.gathering.is_due() {
            return Ok(false);
        }
        self.core.counters.gathers += 1;
        self.core.backend.sleep(time);
        let found = self.look(Some(Duration::ZERO))?;
        self.gathering.note(self.events.len());
        Ok(found)
    }
}
