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

/// How many busy sources are too few to collect completions. With 4 connections, waiting for two of them
/// is too much: the loop sleeps, and a message costs half as much again.
const FEW: usize = 8;

/// Returns how many completions are collected at most if so many sources are busy.
fn batch_max(busy: usize) -> usize {
    (2 * busy.saturating_sub(FEW) / 3).clamp(1, BATCH_MAX)
}

/// How many completions the next wait collects: a part of the busy sources if several came together
/// last, or else one. If it were all of them, and each waited for this loop, it would sleep until the time
/// is over. What comes too late for a wait is collected by the next one, so a wait that finds fewer than
/// it has collected changes nothing: with 1,000 connections, following the number that came made messages
/// cost an eighth more.
#[derive(Debug)]
pub(super) struct Collecting {
    /// How many completions the next wait collects. With 1, it returns with the first.
    batch: usize,
    crowd: Crowd,
}

impl Default for Collecting {
    fn default() -> Self {
        Self { batch: 1, crowd: Crowd::default() }
    }
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
        self.batch = if count > 1 { batch_max(self.crowd.size()) } else { 1 };
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
    fn many_clients_that_come_one_by_one_do_not_wait_for_each_other() {
        assert_eq!(waits(10_000, 100, |wanted| wanted), (10_000, 0));
    }

    #[test]
    fn a_crowd_that_comes_together_is_collected() {
        // Two come together at first, and as many as are collected later.
        let (sum, in_vain) = waits(1000, 100, |wanted| wanted.max(2));
        assert!(sum > 25_000 && in_vain == 0, "{sum}, {in_vain}");
    }

    #[test]
    fn waits_that_find_fewer_than_they_have_collected_do_not_end_that() {
        // Every other wait finds a fourth of what it collects.
        let short = std::cell::Cell::new(false);
        let (sum, _) = waits(1000, 100, |wanted| {
            short.set(!short.get());
            if short.get() { (wanted / 4).max(2) } else { wanted.max(2) }
        });
        assert!(sum > 15_000, "{sum}");
    }

    #[test]
    fn a_timeout_that_is_short_is_not_spent_with_collecting() {
        let collecting = Collecting { batch: 8, ..Collecting::default() };
        let short = Some(Duration::from_micros(80));
        assert_eq!(collecting.patience(short).wait_min, 0);
        assert_eq!(collecting.patience(Some(Duration::from_secs(1))).wait_min, COLLECT_FOR);
    }
}
