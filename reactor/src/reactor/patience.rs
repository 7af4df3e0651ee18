//! The time that counts against peers: without the time that the loop itself lost (P33), and only
//! up to the last complete report of the kernel (P37).

use std::time::Duration;

use crate::planted::{self, Planted};

/// A turn of this many nanoseconds counts as lost, and so does a wait that ends this late. Shorter
/// delays are usual in a busy loop: if they were lost too, no peer of such a loop would ever be
/// silent for too long.
const STALL_MIN: u64 = 100_000_000;

/// The most nanoseconds of interrupted waits that count as lost, until as many have counted against
/// peers.
const CREDIT_MAX: u64 = 60_000_000_000;

/// Whether a wait has reported everything.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Everything that had happened when the wait began.
    Complete,
    /// Possibly not everything: the wait was interrupted, or its array of events was full.
    Partial,
}

/// The clock on which silence is measured. It stops while the loop is delayed by a long handler, a
/// stop signal, a debugger or a frozen machine.
#[derive(Debug)]
pub(crate) struct Patience {
    /// The nanoseconds lost so far.
    lost: u64,
    /// The same, converted once for all that ask.
    lost_time: Duration,
    /// The nanoseconds of interrupted waits that may still count as lost.
    credit: u64,
    /// The time up to which the kernel has reported everything, in nanoseconds of loop time.
    looked_at: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { lost: 0, lost_time: Duration::ZERO, credit: CREDIT_MAX, looked_at: 0 }
    }
}

impl Patience {
    /// The nanoseconds lost so far.
    #[inline]
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// The time lost so far.
    #[inline]
    pub(crate) fn lost_time(&self) -> Duration {
        self.lost_time
    }

    fn lose(&mut self, time: u64) {
        if planted::is(Planted::LostTimeCharged) {
            return;
        }
        self.lost += time;
        self.lost_time = Duration::from_nanos(self.lost);
    }

    /// The time up to which the kernel has reported everything, in nanoseconds of loop time.
    #[inline]
    pub(crate) fn looked_at(&self) -> u64 {
        self.looked_at
    }

    /// Records that a wait that began at `start` has reported everything.
    #[inline]
    pub(crate) fn looked(&mut self, start: u64) {
        self.looked_at = start;
    }

    /// Records that the work of the loop took `time`.
    #[inline]
    pub(crate) fn worked(&mut self, time: u64) {
        if time >= STALL_MIN {
            self.lose(time);
        }
    }

    /// Records that a wait with the timeout `limit` took `time`.
    ///
    /// A wait that took longer was delayed for an unknown time: all of it is lost. An interrupted
    /// wait may have been delayed or not, since a process that was stopped and continued cannot be
    /// told from one that handled a signal. Its time counts as lost within a credit. So at least
    /// half of the time counts, however often signals arrive.
    #[inline]
    pub(crate) fn waited(&mut self, time: u64, limit: u64, coverage: Coverage) {
        if time >= limit.saturating_add(STALL_MIN) {
            self.lose(time);
            return;
        }
        let is_doubtful = coverage == Coverage::Partial && time >= STALL_MIN;
        let forgiven = if is_doubtful { time.min(self.credit) } else { 0 };
        if forgiven > 0 {
            self.lose(forgiven);
        }
        if forgiven > 0 || self.credit < CREDIT_MAX {
            self.credit = (self.credit - forgiven).saturating_add(time - forgiven).min(CREDIT_MAX);
        }
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
