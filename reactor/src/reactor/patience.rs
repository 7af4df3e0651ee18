//! What time counts against peers: neither what the loop itself has lost (P33), nor what it has not
//! asked the kernel about (P37).

/// A turn, or a wait that ends too late, counts as lost from this many nanoseconds on. Shorter
/// delays are a busy loop's usual ones: if they did not count, no peer of such a loop would ever
/// have been silent for too long.
const STALL_MIN: u64 = 100_000_000;

/// How many nanoseconds of interrupted waits count as lost at most, until as many have counted
/// against peers.
const CREDIT_MAX: u64 = 60_000_000_000;

/// How much of what the kernel held a wait has reported.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Everything that had happened when the wait began.
    Complete,
    /// Perhaps not everything: the wait was interrupted, or had no room for more events.
    Partial,
}

/// The clock that silence is measured on. It stands still while the loop is held up: by a handler
/// that takes long, a stop signal, a debugger, a frozen machine.
#[derive(Debug)]
pub(crate) struct Patience {
    /// How many nanoseconds have been lost so far.
    lost: u64,
    /// How many nanoseconds of interrupted waits may still count as lost.
    credit: u64,
    /// A time, in nanoseconds of loop time, up to which the kernel has reported everything.
    looked_at: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { lost: 0, credit: CREDIT_MAX, looked_at: 0 }
    }
}

impl Patience {
    /// How many nanoseconds have been lost so far.
    #[inline]
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// A time, in nanoseconds of loop time, up to which the kernel has reported everything.
    #[inline]
    pub(crate) fn looked_at(&self) -> u64 {
        self.looked_at
    }

    /// Notes that a wait which began at `start` has reported everything.
    #[inline]
    pub(crate) fn looked(&mut self, start: u64) {
        self.looked_at = start;
    }

    /// Notes that the loop's own work took `time`.
    #[inline]
    pub(crate) fn worked(&mut self, time: u64) {
        if time >= STALL_MIN {
            self.lost += time;
        }
    }

    /// Notes that a wait took `time` and was to take no longer than `limit`.
    ///
    /// One that took longer was held up, for how long is not known: all of it is lost. One that was
    /// interrupted may have been held up or not. A process that was stopped and continued cannot be
    /// told from one that handled a signal, so it counts as lost within a credit. That way at least
    /// half of the time counts, however often signals come.
    #[inline]
    pub(crate) fn waited(&mut self, time: u64, limit: u64, coverage: Coverage) {
        if time >= limit.saturating_add(STALL_MIN) {
            self.lost += time;
            return;
        }
        let is_doubtful = coverage == Coverage::Partial && time >= STALL_MIN;
        let forgiven = if is_doubtful { time.min(self.credit) } else { 0 };
        self.lost += forgiven;
        self.credit = (self.credit - forgiven).saturating_add(time - forgiven).min(CREDIT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_wait_that_ends_in_time_counts() {
        let mut patience = Patience::default();
        patience.waited(SECOND, SECOND, Coverage::Complete);
        patience.waited(SECOND + STALL_MIN - 1, SECOND, Coverage::Complete);
        assert_eq!(patience.lost(), 0);
    }

    #[test]
    fn a_wait_that_ends_too_late_is_lost_however_it_ends() {
        for coverage in [Coverage::Complete, Coverage::Partial] {
            let mut patience = Patience::default();
            patience.waited(3600 * SECOND, SECOND, coverage);
            assert_eq!(patience.lost(), 3600 * SECOND);
        }
    }

    #[test]
    fn long_work_is_lost_and_the_usual_work_is_not() {
        let mut patience = Patience::default();
        (0..1000).for_each(|_| patience.worked(STALL_MIN - 1));
        assert_eq!(patience.lost(), 0);
        patience.worked(2 * SECOND);
        assert_eq!(patience.lost(), 2 * SECOND);
    }

    #[test]
    fn interruptions_are_forgiven_for_half_of_the_time_at_most() {
        let mut patience = Patience::default();
        patience.waited(5 * SECOND, 9 * SECOND, Coverage::Partial);
        assert_eq!(patience.lost(), 5 * SECOND, "one stop is forgiven");
        for _ in 0..10_000 {
            patience.waited(SECOND, 9 * SECOND, Coverage::Partial);
        }
        let counted = 10_005 * SECOND - patience.lost();
        assert!(counted + CREDIT_MAX >= patience.lost(), "{counted} ns counted");
    }

    #[test]
    fn short_interruptions_count() {
        let mut patience = Patience::default();
        for _ in 0..1000 {
            patience.waited(STALL_MIN - 1, SECOND, Coverage::Partial);
        }
        assert_eq!(patience.lost(), 0);
    }
}
