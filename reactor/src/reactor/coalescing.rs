//! Decides whether coalescing events pays ([`LoopLimits::coalesce_for`]).
//!
//! [`LoopLimits::coalesce_for`]: crate::LoopLimits::coalesce_for

use std::time::Duration;

use crate::{Event, Tag};

/// How many events have to coalesce to make that better than a wake-up by the first.
const EVENTS_MIN: usize = 2;

/// The most usual waits before the loop tries again.
const PASSED_MAX: u32 = 1023;

/// How many events to wait for a source. If it does not come, this number of sources counts as
/// busy.
const ROUND_MAX: usize = 1024;

/// The results of recent tries.
#[derive(Debug, Default)]
pub(crate) struct Coalescing {
    /// Whether the last wait found an event.
    is_busy: bool,
    /// How many usual waits are left before the next try.
    left: u32,
    /// How many usual waits followed the last try.
    passed: u32,
    /// The last try, until its events have been handled.
    tried: Option<Tried>,
    crowd: Crowd,
}

/// One try: a sleep in which events coalesced.
#[derive(Debug)]
struct Tried {
    events: usize,
    slept: Duration,
    /// How long the loop has worked since then.
    worked: Duration,
}

impl Coalescing {
    /// Records how long the loop has worked since its last wait.
    pub(crate) fn worked(&mut self, time: Duration) {
        if let Some(tried) = &mut self.tried {
            tried.worked = tried.worked.saturating_add(time);
        }
    }

    /// Records the result of a wait.
    pub(crate) fn found(&mut self, events: &[Event]) {
        self.is_busy = !events.is_empty();
        self.crowd.hear(events);
    }

    /// Returns whether the loop is to coalesce events before it sleeps. The loop asks once for each sleep.
    pub(crate) fn is_due(&mut self) -> bool {
        if let Some(tried) = self.tried.take() {
            // After each try that did not pay, the next one is further away.
            let passed = (2 * self.passed + 1).min(PASSED_MAX);
            self.passed = if self.has_paid(&tried) { 0 } else { passed };
            self.left = self.passed;
        }
        if !self.is_busy {
            return false;
        }
        let is_due = self.left == 0;
        self.left = self.left.saturating_sub(1);
        is_due
    }

    /// A try pays if several events coalesced; if at least as many sources were still busy
    /// elsewhere, since otherwise all of them may have waited for this loop; and if the events kept
    /// the loop busy for long enough, so that a wake-up for each would have cost a large share of
    /// its time.
    fn has_paid(&self, tried: &Tried) -> bool {
        tried.events >= EVENTS_MIN
            && 2 * tried.events <= self.crowd.size()
            && 2 * tried.worked >= tried.slept
    }

    /// Records how many events coalesced in what time.
    pub(crate) fn tried(&mut self, events: usize, slept: Duration) {
        self.tried = Some(Tried { events, slept, worked: Duration::ZERO });
    }
}

/// Estimates how many sources are busy: the number of events between two events of the same source.
/// Each estimate uses another source, so that neither a rare source nor a very active one
/// dominates.
#[derive(Debug, Default)]
struct Crowd {
    one: Option<Tag>,
    /// The number of events since the last event of that source.
    since: usize,
    /// The last estimates.
    rounds: [usize; 3],
}

impl Crowd {
    fn hear(&mut self, events: &[Event]) {
        for event in events {
            let Some(one) = self.one else {
                (self.one, self.since) = (Some(event.tag), 0);
                continue;
            };
            self.since += 1;
            if event.tag == one || self.since == ROUND_MAX {
                let [_, second, third] = self.rounds;
                (self.rounds, self.one) = ([second, third, self.since], None);
            }
        }
    }

    /// Returns the median of the last estimates.
    fn size(&self) -> usize {
        let mut rounds = self.rounds;
        rounds.sort_unstable();
        rounds[1]
    }
}
