//! Expiry: due timers are collected first, and then taken one by one.

use std::collections::VecDeque;

use super::chunks::{Chain, Reference};
use super::entry::{Entry, Place};
use super::{
    BUCKETS, Collected, Due, LEVEL_BITS, TICK_BITS, TimerTag, Wheel, digit, level_of, tick_of,
};
use crate::planted::{self, Planted};

impl Wheel {
    /// Collects the timers that are due at `now`, the earliest first. Timers with the same deadline
    /// come in the order in which they were armed, unless one was moved. The caller
    /// [takes](Self::take) each. Once there are `most` of them, no further bucket is visited.
    pub(crate) fn expire(&mut self, now: u64, most: usize, due: &mut VecDeque<Collected>) {
        while due.len() < most {
            if self.buckets.soonest().is_none_or(|soonest| soonest > now) {
                return;
            }
            self.settle();
            let until = if self.len <= most { now } else { now.min(self.first_end()) };
            self.expire_until(until, due);
        }
    }

    fn expire_until(&mut self, now: u64, due: &mut VecDeque<Collected>) {
        let first = due.len();
        // All reached buckets are emptied before any timer is put elsewhere, so none is visited
        // twice.
        let mut reached = self.take_reached(tick_of(now).max(self.tick));
        while let Some(chunk) = self.buckets.next(&mut reached) {
            for reference in chunk.references() {
                self.collect(*reference, now, due);
            }
        }
        due.make_contiguous()[first..].sort_by_key(|timer| timer.deadline);
    }

    /// Returns the last nanosecond of the first bucket that holds timers.
    fn first_end(&self) -> u64 {
        let first = self.buckets.first().unwrap_or(0);
        let next = self.start_of(first) + (1 << ((first / BUCKETS) as u32 * LEVEL_BITS));
        // Nothing comes after the last bucket.
        (next << TICK_BITS).wrapping_sub(1)
    }

    /// Fires a collected timer, unless it was cancelled or moved since. A one-shot timer is
    /// removed; a periodic timer is armed again on its grid.
    pub(crate) fn take(&mut self, timer: Collected, now: u64) -> Option<Due> {
        let index = timer.tag.index;
        let Entry { deadline, place, .. } = *self.at(timer.tag)?;
        let payload = self.payloads[index as usize];
        if place.bucket() != Place::COLLECTED {
            return None;
        }
        let name = if place.is_moved() { self.moved.name(index) } else { None };
        let id = name.unwrap_or(timer.tag);
        if !place.is_periodic() {
            self.remove(index, place);
            return Some(Due { id, payload, deadline, ticks: 1 });
        }
        let period = self.periods[index as usize];
        let ticks = (now.saturating_sub(deadline) / period).saturating_add(1);
        // At the end of time, the last period is cut short.
        let on_grid = deadline.saturating_add(ticks.saturating_mul(period));
        let drifts = planted::is(Planted::PeriodDrifts);
        let next = if drifts { now.saturating_add(period) } else { on_grid };
        self.entries[index as usize].deadline = next;
        self.link(index, next);
        Some(Due { id, payload, deadline, ticks })
    }

    /// Advances the wheel to a tick, and empties the buckets that it reaches.
    fn take_reached(&mut self, until: u64) -> Chain {
        let mut chain = Chain::EMPTY;
        let top = level_of(self.tick ^ until);
        for level in 0..=top {
            // All buckets of levels below the highest digit that changes are past.
            let last = if level == top { digit(until, level) } else { BUCKETS - 1 };
            self.buckets.detach(level, u64::MAX >> (BUCKETS - 1 - last), &mut chain);
        }
        self.tick = until;
        chain
    }

    /// Handles a timer whose bucket was reached: collects it if it is due, or puts it where it
    /// belongs.
    #[inline]
    fn collect(&mut self, reference: Reference, now: u64, due: &mut VecDeque<Collected>) {
        #[cfg(test)]
        {
            self.touched += 1;
        }
        let Reference { index, place } = reference;
        let entry = &mut self.entries[index as usize];
        let Entry { deadline, generation, .. } = *entry;
        if entry.place.0 != place {
            return;
        }
        if deadline <= now {
            entry.place = entry.place.with_bucket(Place::COLLECTED);
            due.push_back(Collected { deadline, tag: TimerTag { index, generation } });
        } else {
            self.link(index, deadline);
        }
    }

    /// Returns the first tick of a bucket, for the current tick of the wheel.
    pub(super) fn start_of(&self, bucket: usize) -> u64 {
        let shift = (bucket / BUCKETS) as u32 * LEVEL_BITS;
        let above = self.tick >> shift >> LEVEL_BITS << LEVEL_BITS;
        (above | (bucket % BUCKETS) as u64) << shift
    }
}
