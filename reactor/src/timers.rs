//! The timers of sources: whose they are, and what becomes of them when their source ends.

use std::time::{Duration, Instant};

use crate::core::{Core, nanos};
use crate::sources::{NEVER, Source};
use crate::wheel::{Due, Payload, TimerTag};
use crate::{Cx, Tag, Timeout, TimerId};

/// So many timers of sources that have ended are not worth looking for.
const ORPHANS_KEPT: usize = 1024;
/// A timer is fetched while so many others fire: a fetch takes as long as a few of them.
const AHEAD: usize = 8;

impl<A> Cx<'_, A> {
    /// Arms a timer of this source: [`Handler::timer`](crate::Handler::timer) is called with `key`
    /// once `at` has passed, never early, and every `period` after that when there is one. Due times
    /// stay on their grid however late the loop is. A timer does not outlive its source; one that is
    /// armed outside of a source's own calls, or by its `closed`, never fires.
    pub fn set_timer(&mut self, at: Instant, period: Option<Duration>, key: u64) -> TimerId {
        let deadline = self.core.to_ticks(at);
        // A period of zero would be due for ever within one turn.
        let period = period.map_or(0, |period| nanos(period).max(1));
        let timer = self.core.set_timer(self.me, deadline, period, key);
        TimerId::new(timer, self.core.home)
    }

    /// [`set_timer`](Self::set_timer), counted from now, and once. It costs less: an [`Instant`] is
    /// seconds and a rest, and adding to it and taking it apart again takes longer than the wheel.
    pub fn set_timer_after(&mut self, after: Duration, key: u64) -> TimerId {
        let deadline = self.core.ticks_after(after);
        let timer = self.core.set_timer(self.me, deadline, 0, key);
        TimerId::new(timer, self.core.home)
    }

    /// Takes a timer away, which does not fire any more even if it is due. Returns whether it was
    /// still armed, and this loop's.
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        timer.timer_in(self.core.home).is_some_and(|timer| self.core.cancel_timer(timer))
    }

    /// Moves a timer to another time, even if it is due. Returns whether it was still armed, and
    /// this loop's.
    pub fn move_timer(&mut self, timer: TimerId, at: Instant) -> bool {
        let deadline = self.core.to_ticks(at);
        timer.timer_in(self.core.home).is_some_and(|timer| self.core.wheel.rearm(timer, deadline))
    }

    /// [`move_timer`](Self::move_timer), counted from now; as
    /// [`set_timer_after`](Self::set_timer_after), it costs less.
    pub fn move_timer_after(&mut self, timer: TimerId, after: Duration) -> bool {
        let deadline = self.core.ticks_after(after);
        timer.timer_in(self.core.home).is_some_and(|timer| self.core.wheel.rearm(timer, deadline))
    }
}

impl<A> Core<A> {
    /// A time from now on, on the loop's own scale.
    pub(crate) fn ticks_after(&self, after: Duration) -> u64 {
        self.ticks.saturating_add(nanos(after))
    }

    /// Sees to it that the source's own timer fires no later than its deadline and idle limit ask.
    /// One that fires too early is armed again for what is left, so that moving a limit further
    /// away, as every event does, costs one store.
    pub(crate) fn arm(&mut self, tag: Tag) {
        let Some(source) = self.sources.get_mut(tag) else { return };
        let expires_at = source.expires_at(self.patience.lost());
        if expires_at == NEVER {
            return;
        }
        match source.timer {
            None => {
                let payload = Payload { owner: tag.to_bits(), key: 0 };
                source.timer = Some(self.wheel.insert_own(expires_at, payload));
            }
            Some(timer) => {
                let armed = self.wheel.deadline(timer).unwrap_or(NEVER);
                // One that is due already fires with the next batch, or with this one if it has
                // been collected: moving it would take it out of that.
                if armed > expires_at && armed > self.ticks {
                    self.wheel.rearm_own(timer, expires_at);
                }
            }
        }
    }

    /// Which of its own limits of time a source has passed. Of one that has a descriptor, that is
    /// judged by what the kernel has reported in full (law 8): what it did in time may still wait
    /// there.
    pub(crate) fn passed_limit(&mut self, tag: Tag) -> Option<Timeout> {
        let source = self.sources.get_mut(tag)?;
        let unseen = match source.fd {
            Some(_) => self.ticks.saturating_sub(self.patience.looked_at()),
            None => 0,
        };
        if source.deadline <= self.ticks - unseen {
            source.deadline = NEVER;
            Some(Timeout::Deadline)
        } else if source.silent_at() <= self.charged.saturating_sub(unseen) {
            source.last_active = self.charged;
            Some(Timeout::Idle)
        } else {
            None
        }
    }

    /// Arms a timer that a source asked for. One that has ended gets the name of a cancelled one.
    pub(crate) fn set_timer(&mut self, tag: Tag, deadline: u64, period: u64, key: u64) -> TimerTag {
        let timer = self.wheel.insert(deadline, period, Payload { owner: tag.to_bits(), key });
        match self.sources.get_mut(tag) {
            Some(source) => source.timers = source.timers.saturating_add(1),
            None => _ = self.wheel.cancel(timer),
        }
        timer
    }

    /// Takes a timer away that a source asked for. Returns whether it was armed. Whose it was is not
    /// looked up, which would cost as much again: see [`forget_timers`](Self::forget_timers). A
    /// source's own timer is left alone.
    pub(crate) fn cancel_timer(&mut self, timer: TimerTag) -> bool {
        self.wheel.cancel(timer)
    }

    /// Collects what is due. Returns how many timers wait to be fired.
    pub(crate) fn collect_due(&mut self) -> usize {
        self.wheel.expire(self.ticks, &mut self.due);
        self.due.len()
    }

    /// The next timer that is to be fired, and whose it is. `None` when the one that was next has
    /// been cancelled or moved, or its owner has ended.
    pub(crate) fn next_due(&mut self) -> Option<(Tag, Due)> {
        let timer = self.due.pop_front()?;
        if let Some(later) = self.due.get(AHEAD) {
            self.wheel.prefetch(*later);
        }
        let due = self.wheel.take(timer, self.ticks)?;
        let owner = Tag::from_bits(due.payload.owner);
        match self.sources.get_mut(owner) {
            Some(source) if source.timer == Some(due.id) => {}
            Some(source) if self.wheel.deadline(due.id).is_none() => {
                source.timers = source.timers.saturating_sub(1);
            }
            Some(_) => {}
            None => {
                self.orphans = self.orphans.saturating_sub(1);
                // A periodic one would go on for nobody.
                self.wheel.cancel(due.id);
                return None;
            }
        }
        Some((owner, due))
    }

    /// A source has ended, and its timers with it. Nothing tells which they are but looking at all,
    /// so that is done only once they may be half of all: each end costs no more than what its source
    /// has armed. Those that it cancelled count too, since nobody looked whose they were.
    pub(crate) fn forget_timers(&mut self, source: &Source) {
        if let Some(timer) = source.timer {
            self.wheel.cancel_own(timer);
        }
        self.orphans += source.timers as usize;
        if self.orphans > ORPHANS_KEPT.max(self.wheel.len() / 2) {
            self.orphans = 0;
            let sources = &self.sources;
            self.wheel.retain(|payload| sources.get(Tag::from_bits(payload.owner)).is_some());
        }
    }
}
