//! Decides whether coalescing events pays ([`LoopLimits::coalesce_for`]).
//!
//! [`LoopLimits::coalesce_for`]: crate::LoopLimits::coalesce_for

use std::time::Duration;

use crate::Event;
use crate::reactor::crowd::Crowd;

/// How many events have to coalesce to make that better than a wake-up by the first.
const EVENTS_MIN: usize = 2;

/// How many datagrams have to coalesce, as they are a single event of their socket.
const DATAGRAMS_MIN: u64 = 8;

/// How many tries may pay in a row for datagrams before a usual wait. It shows how many that finds.
const PAID_MAX: u32 = 63;

/// The most usual waits before the loop tries again.
const PASSED_MAX: u32 = 1023;

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
    /// How many tries have paid in a row for datagrams.
    paid: u32,
    /// How many datagrams the loop had received when it asked last, and how many usual waits have found
    /// lately.
    received: u64,
    usual: u64,
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

/// What a try was worth, so that the next one follows or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    Events,
    Datagrams,
    Nothing,
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
    /// It has received `received` datagrams so far.
    pub(crate) fn is_due(&mut self, received: u64) -> bool {
        let datagrams = received - std::mem::replace(&mut self.received, received);
        match self.tried.take().map(|tried| self.worth(&tried, datagrams)) {
            // After each try that did not pay, the next one is further away.
            Some(Worth::Nothing) => {
                (self.passed, self.paid) = ((2 * self.passed + 1).min(PASSED_MAX), 0);
                self.left = self.passed;
            }
            Some(Worth::Events) => (self.passed, self.left) = (0, 0),
            Some(Worth::Datagrams) => {
                (self.passed, self.paid) = (0, (self.paid + 1) % (PAID_MAX + 1));
                self.left = u32::from(self.paid == 0);
            }
            None if self.usual == 0 => self.usual = datagrams,
            None => self.usual = (self.usual + datagrams).div_ceil(2),
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
    /// its time. Datagrams may come from any number of peers to one source, so instead of the events
    /// they may be more than usual by half: if all peers waited for this loop, there would not be more.
    fn worth(&self, tried: &Tried, datagrams: u64) -> Worth {
        if 2 * tried.worked < tried.slept {
            Worth::Nothing
        } else if tried.events >= EVENTS_MIN && 2 * tried.events <= self.crowd.size() {
            Worth::Events
        } else if datagrams >= DATAGRAMS_MIN && 2 * datagrams >= 3 * self.usual {
            Worth::Datagrams
        } else {
            Worth::Nothing
        }
    }

    /// Records how many events coalesced in what time.
    pub(crate) fn tried(&mut self, events: usize, slept: Duration) {
        self.tried = Some(Tried { events, slept, worked: Duration::ZERO });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Readiness, Tag};

    const SLEPT: Duration = Duration::from_micros(60);

    /// Waits `count` times on one socket. `arrived` returns how many datagrams a wait finds that
    /// coalesces events, or a usual one. Each takes 3 us. Returns how many waits coalesced.
    fn coalesced(count: usize, arrived: impl Fn(bool) -> u64) -> usize {
        let (mut coalescing, mut received, mut coalesced) = (Coalescing::default(), 0, 0);
        let event = Event { tag: Tag::new(1, 0), readiness: Readiness::READABLE };
        for _ in 0..count {
            let is_due = coalescing.is_due(received);
            if is_due {
                coalescing.tried(1, SLEPT);
                coalesced += 1;
            }
            let datagrams = arrived(is_due);
            received += datagrams;
            coalescing.found(&[event]);
            coalescing.worked(Duration::from_micros(3 * datagrams));
        }
        coalesced
    }

    #[test]
    fn datagrams_of_one_socket_coalesce_while_that_brings_more_of_them() {
        let waits = coalesced(6400, |is_due| if is_due { 40 } else { 7 });
        assert!((6290..6310).contains(&waits), "all but one of 64: {waits}");
    }

    #[test]
    fn peers_that_wait_for_their_answers_are_rarely_delayed() {
        for in_flight in [1, 8, 40, 100] {
            let waits = coalesced(6400, |_| in_flight);
            assert!(waits < 20, "{in_flight} in flight: {waits}");
        }
    }

    #[test]
    fn a_few_datagrams_do_not_coalesce() {
        let waits = coalesced(6400, |is_due| if is_due { 7 } else { 1 });
        assert!(waits < 20, "{waits}");
    }
}
