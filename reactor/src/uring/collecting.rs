//! How many completions a wait collects before it returns.

use std::time::Duration;

use crate::Event;
use crate::reactor::crowd::Crowd;
use crate::sys::WaitFor;

/// How many completions a wait collects at most before it returns.
const BATCH_MAX: usize = 32;

/// How long a wait collects completions, in microseconds, if the last one had several: the price in
/// latency of this backend.
const COLLECT_FOR: u32 = 50;

/// How many waits are left as they are at most after some that have found fewer completions than they
/// collected.
const PASSED_MAX: u32 = 1023;

/// How many busy sources are too few to collect completions. With 4 connections, waiting for two of them
/// is too much: the loop sleeps, and a message costs half as much again.
const FEW: usize = 8;

/// Returns how many completions are collected at most if so many sources are busy.
fn batch_max(busy: usize) -> usize {
    (2 * busy.saturating_sub(FEW) / 3).clamp(1, BATCH_MAX)
}

/// The batch that the next wait collects. It follows the number of completions that come together, and
/// is doubled now and then to see whether more come in time. It is at most a part of the busy sources:
/// if all of them waited for this loop, it would sleep until the time is over.
#[derive(Debug, Default)]
pub(super) struct Collecting {
    /// How many completions the next wait collects. With 1, it returns with the first.
    batch: usize,
    /// How many the last wait collected, if it was a try with more than before.
    before: Option<usize>,
    /// How many waits are left before the next try, and how many were left after the last one.
    left: u32,
    passed: u32,
    crowd: Crowd,
}

impl Collecting {
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

    /// Takes note of how many completions a wait has found, and which events they were.
    #[inline]
    pub(super) fn found(&mut self, count: usize, events: &[Event]) {
        self.crowd.hear(events);
        let max = batch_max(self.crowd.size());
        match self.before.take() {
            // All that collecting longer brings is latency, if no more clients are busy.
            Some(before) if 2 * count < 3 * before => {
                self.batch = count.clamp(1, before);
                self.pass();
            }
            Some(_) => (self.batch, self.passed) = (count, self.passed / 2),
            None if count < self.batch => {
                self.batch = count.max(1);
                self.pass();
            }
            None => self.batch = count.max(1),
        }
        self.batch = self.batch.min(max);
        if self.batch == 1 || self.batch == max {
            return;
        }
        if self.left > 0 {
            self.left -= 1;
            return;
        }
        self.before = Some(self.batch);
        self.batch = (2 * self.batch).min(max);
    }

    fn pass(&mut self) {
        self.passed = (2 * self.passed + 1).min(PASSED_MAX);
        self.left = self.passed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Readiness, Tag};

    /// Waits `count` times. `sources` take turns, and `arrives` returns how many completions come if so many
    /// are collected. Returns the sum of the completions, and how many waits have found fewer than they
    /// collected.
    fn waits(count: usize, sources: u32, arrives: impl Fn(usize) -> usize) -> (usize, usize) {
        let (mut collecting, mut sum, mut in_vain) = (Collecting::default(), 0, 0);
        let mut turn = (0..sources).cycle();
        for _ in 0..count {
            let WaitFor { wanted, .. } = collecting.patience(None);
            let found = arrives(wanted as usize);
            assert!(found > 0, "a wait without a limit returns with something");
            sum += found;
            in_vain += usize::from(found < wanted as usize);
            let event = |slot| Event { tag: Tag::new(slot, 0), readiness: Readiness::READABLE };
            let events: Vec<_> = turn.by_ref().take(found).map(event).collect();
            collecting.found(found, &events);
        }
        (sum, in_vain)
    }

    #[test]
    fn a_client_that_waits_for_each_reply_never_waits_for_others() {
        assert_eq!(waits(1000, 1, |_| 1), (1000, 0));
    }

    #[test]
    fn clients_that_all_wait_for_the_loop_do_not_wait_for_each_other() {
        // Whatever is collected, the others wait until it is served.
        let (sum, in_vain) = waits(10_000, 4, |wanted| {
            assert_eq!(wanted, 1, "the others would have to come");
            2
        });
        assert_eq!((sum, in_vain), (20_000, 0));
    }

    #[test]
    fn what_is_tried_in_vain_is_tried_ever_more_rarely() {
        let (sum, in_vain) = waits(10_000, 50, |_| 4);
        assert_eq!(sum, 40_000);
        assert!((5..25).contains(&in_vain), "{in_vain}");
    }

    #[test]
    fn a_crowd_that_comes_one_by_one_is_collected() {
        // Two come together at first, and as many as are collected later.
        let (sum, in_vain) = waits(1000, 100, |wanted| wanted.max(2));
        assert!(sum > 25_000 && in_vain == 0, "{sum}, {in_vain}");
    }

    #[test]
    fn no_more_are_collected_than_come_in_time() {
        let (sum, in_vain) = waits(10_000, 100, |wanted| wanted.clamp(2, 6));
        assert!(sum > 57_000, "{sum}");
        assert!(in_vain < 100, "{in_vain}");
    }

    #[test]
    fn a_timeout_that_is_short_is_not_spent_with_collecting() {
        let collecting = Collecting { batch: 8, ..Collecting::default() };
        let short = Some(Duration::from_micros(80));
        assert_eq!(collecting.patience(short).wait_min, 0);
        assert_eq!(collecting.patience(Some(Duration::from_secs(1))).wait_min, COLLECT_FOR);
    }
}
