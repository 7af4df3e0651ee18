//! Whether it pays to let events gather where a loop would sleep ([`LoopLimits::coalesce_for`]).
//!
//! [`LoopLimits::coalesce_for`]: crate::LoopLimits::coalesce_for

use std::time::Duration;

use crate::{Event, Tag};

/// How many events have to gather for that to be better than to be woken by the first.
const GATHERED_MIN: usize = 2;

/// How many times the loop sleeps as usual, at most, before it tries again whether events gather.
const PASSED_MAX: u32 = 1023;

/// How many events a source is waited for: as many are taken to be busy where that is in vain.
const ROUND_MAX: usize = 1024;

/// What came of letting events gather lately.
#[derive(Debug, Default)]
pub(crate) struct Coalescing {
    /// The last wait found something.
    is_busy: bool,
    /// How many times the loop is to sleep as usual before the next try.
    left: u32,
    /// How many times that was after the last one.
    passed: u32,
    /// The last try, until it is known how long what has gathered keeps the loop busy.
    tried: Option<Tried>,
    crowd: Crowd,
}

/// What came of sleeping whatever happens, once.
#[derive(Debug)]
struct Tried {
    gathered: usize,
    slept: Duration,
    /// How long the loop has worked since.
    worked: Duration,
}

impl Coalescing {
    /// Notes how long the loop has worked since its last wait.
    pub(crate) fn worked(&mut self, time: Duration) {
        if let Some(tried) = &mut self.tried {
            tried.worked = tried.worked.saturating_add(time);
        }
    }

    /// Notes what a wait has found.
    pub(crate) fn found(&mut self, events: &[Event]) {
        self.is_busy = !events.is_empty();
        self.crowd.hear(events);
    }

    /// Whether events may gather before the loop sleeps. It is asked once each time.
    pub(crate) fn is_due(&mut self) -> bool {
        if let Some(tried) = self.tried.take() {
            // Where it did not pay, the next tries are further and further apart.
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

    /// It pays if several events come of it; if no fewer sources are still at work on what they
    /// were told before, or all may have waited for this loop meanwhile; and if the loop has so
    /// much to do that being woken for each would have cost it much of its time.
    fn has_paid(&self, tried: &Tried) -> bool {
        tried.gathered >= GATHERED_MIN
            && 2 * tried.gathered <= self.crowd.size()
            && 2 * tried.worked >= tried.slept
    }

    /// Notes how many events have gathered in how long.
    pub(crate) fn tried(&mut self, gathered: usize, slept: Duration) {
        self.tried = Some(Tried { gathered, slept, worked: Duration::ZERO });
    }
}

/// About how many sources are busy: as many events come from one time that one of them is heard to the
/// next. It is another one each time, so that neither a source that is seldom heard nor one that says
/// more than all others stands for them for long.
#[derive(Debug, Default)]
struct Crowd {
    one: Option<Tag>,
    /// How many events came since it was heard.
    since: usize,
    /// How many there were the last times.
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

    /// The middle one of the last times.
    fn size(&self) -> usize {
        let mut rounds = self.rounds;
        rounds.sort_unstable();
        rounds[1]
    }
}
