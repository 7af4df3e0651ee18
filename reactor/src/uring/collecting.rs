//! How many completions a wait collects before it returns.

use std::time::Duration;

use crate::sys::WaitFor;

/// How many completions a wait collects at most before it returns.
const BATCH_MAX: usize = 32;

/// How long a wait collects completions, in microseconds, if the last one had several: the price in
/// latency of this backend.
const COLLECT_FOR: u32 = 50;

/// How many waits are left as they are at most after some that have found fewer completions than they
/// collected.
const PASSED_MAX: u32 = 1023;

/// The batch that the next wait collects. It follows the number of completions that come together, and
/// is doubled now and then to see whether more come in time.
#[derive(Debug)]
pub(super) struct Collecting {
    /// How many completions the next wait collects. With 1, it returns with the first.
    batch: usize,
    /// How many the last wait collected, if it was a try with more than before.
    before: Option<usize>,
    /// How many waits are left before the next try, and how many were left after the last one.
    left: u32,
    passed: u32,
}

impl Collecting {
    pub(super) const NEW: Self = Self { batch: 1, before: None, left: 0, passed: 0 };

    /// Returns how the next wait collects, which takes no longer than `timeout`.
    #[inline]
    pub(super) fn patience(&self, timeout: Option<Duration>) -> WaitFor {
        let collect_for = Duration::from_micros(u64::from(COLLECT_FOR));
        if self.batch > 1 && timeout.is_none_or(|timeout| timeout > 2 * collect_for) {
            WaitFor { wanted: self.batch as u32, wait_min: COLLECT_FOR, timeout }
        } else {
            WaitFor { wanted: 1, wait_min: 0, timeout }
        }
    }

    /// Takes note of how many completions a wait has found.
    #[inline]
    pub(super) fn found(&mut self, count: usize) {
        match self.before.take() {
            // All that collecting longer brings is latency, if all clients wait for this loop.
            Some(before) if 2 * count < 3 * before => {
                self.batch = before.min(count.max(1));
                self.pass();
            }
            Some(_) => (self.batch, self.passed) = (count.min(BATCH_MAX), self.passed / 2),
            None if count < self.batch => {
                self.batch = count.max(1);
                self.pass();
            }
            None => self.batch = count.clamp(1, BATCH_MAX),
        }
        if self.batch == 1 || self.batch == BATCH_MAX {
            return;
        }
        if self.left > 0 {
            self.left -= 1;
            return;
        }
        self.before = Some(self.batch);
        self.batch = (2 * self.batch).min(BATCH_MAX);
    }

    fn pass(&mut self) {
        self.passed = (2 * self.passed + 1).min(PASSED_MAX);
        self.left = self.passed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits `count` times. `arrives` returns how many completions come if so many are collected.
    /// Returns the sum of the completions, and how many waits have found fewer than they collected.
    fn waits(count: usize, arrives: impl Fn(usize) -> usize) -> (usize, usize) {
        let (mut collecting, mut sum, mut in_vain) = (Collecting::NEW, 0, 0);
        for _ in 0..count {
            let WaitFor { wanted, .. } = collecting.patience(None);
            let found = arrives(wanted as usize);
            assert!(found > 0, "a wait without a limit returns with something");
            sum += found;
            in_vain += usize::from(found < wanted as usize);
            collecting.found(found);
        }
        (sum, in_vain)
    }

    #[test]
    fn a_client_that_waits_for_each_reply_never_waits_for_others() {
        assert_eq!(waits(1000, |_| 1), (1000, 0));
    }

    #[test]
    fn clients_that_all_wait_for_the_loop_are_tried_ever_more_rarely() {
        let (sum, in_vain) = waits(10_000, |_| 4);
        assert_eq!(sum, 40_000);
        assert!((10..25).contains(&in_vain), "{in_vain}");
    }

    #[test]
    fn a_crowd_that_comes_one_by_one_is_collected() {
        // Two come together at first, and as many as are collected later.
        let (sum, in_vain) = waits(1000, |wanted| wanted.max(2));
        assert!(sum > 30_000 && in_vain == 0, "{sum}, {in_vain}");
    }

    #[test]
    fn no_more_are_collected_than_come_in_time() {
        let (sum, in_vain) = waits(10_000, |wanted| wanted.clamp(2, 6));
        assert!(sum > 58_000, "{sum}");
        assert!(in_vain < 100, "{in_vain}");
    }

    #[test]
    fn a_timeout_that_is_short_is_not_spent_with_collecting() {
        let mut collecting = Collecting::NEW;
        collecting.found(8);
        let short = Some(Duration::from_micros(80));
        assert_eq!(collecting.patience(short).wait_min, 0);
        assert_eq!(collecting.patience(Some(Duration::from_secs(1))).wait_min, COLLECT_FOR);
    }
}
