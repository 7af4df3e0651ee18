//! The timers of sources: their owners, and their removal when a source ends.

use std::time::Duration;

use crate::planted::{self, Planted};
use crate::reactor::clock::nanos;
use crate::reactor::core::Core;
use crate::source::table::{NEVER, Source};
use crate::time::wheel::{Due, Payload, TimerTag};
use crate::{Cx, Tag, Timeout, TimerId};

/// The number of steps in the wheel for each timer that an ended source may have left. So timers
/// that are left during one round of the wheel are at most half of its places.
const LOOKS_PER_TIMER: usize = 2;
/// The number of steps in the wheel in a turn: about a tenth of a millisecond.
const LOOKS_PER_TURN: usize = 4096;
/// A timer is prefetched while this many others fire: a fetch takes as long as a few of them.
const AHEAD: usize = 8;

impl<A> Cx<'_, A> {
    /// Arms a timer of this source. [`Handler::timer`](crate::Handler::timer) is called with `key`
    /// when `after` has passed, counted from [`now`](Self::now), and every `period` after that if
    /// there is one. It is never called early. Deadlines stay on their grid however late the loop
    /// is. A timer does not outlive its source. A period of zero counts as none, as for
    /// `timerfd_settime(2)`.
    ///
    /// For a point in time, pass `at.saturating_duration_since(cx.now())`.
    #[inline]
    pub fn set_timer(&mut self, after: Duration, period: Option<Duration>, key: u64) -> TimerId {
        let deadline = self.core.ticks_after(after);
        let period = period.map_or(0, nanos);
        let timer = self.core.set_timer(self.me, deadline, period, key);
        TimerId::new(timer, self.core.home)
    }
}

impl<A, P> Cx<'_, A, P> {
    /// Cancels a timer. It does not fire even if it is due. Returns whether it was armed, in this
    /// loop.
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        timer.timer_in(self.core.home).is_some_and(|timer| self.core.cancel_timer(timer))
    }

    /// Moves a timer, even if it is due. It fires when `after` has passed, counted from
    /// [`now`](Self::now). Returns whether it was armed, in this loop.
    pub fn move_timer(&mut self, timer: TimerId, after: Duration) -> bool {
        let deadline = self.core.ticks_after(after);
        timer.timer_in(self.core.home).is_some_and(|timer| self.core.wheel.rearm(timer, deadline))
    }
}

impl<A> Core<A> {
    /// Returns a time from now on, on the scale of the loop.
    pub(crate) fn ticks_after(&self, after: Duration) -> u64 {
        let early = if planted::is(Planted::TimerEarly) { self.ticks % 1_000_000 } else { 0 };
        (self.ticks - early).saturating_add(nanos(after))
    }

    /// Changes the deadline or the idle limit of a source.
    pub(crate) fn update_limits(&mut self, tag: Tag, change: impl FnOnce(&mut Source)) {
        let is_active = self.lent.is_active && tag == self.lent.tag;
        if let Some(source) = self.sources.get_mut(tag) {
            if is_active {
                source.last_active = self.charged.cast_signed();
            }
            change(source);
            self.arm(tag);
        }
    }

    /// Makes sure that the timer of the source itself fires no later than its deadline and idle
    /// limit. If it fires too early, it is armed again for the rest. So moving a limit further
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
                // A timer that is due fires with the next batch, or with this one if it was
                // collected. Moving it would remove it from that batch.
                if armed > expires_at && armed > self.ticks {
                    self.wheel.rearm_own(timer, expires_at);
                }
            }
        }
    }

    /// Returns which limit of time a source has passed. For a source with a descriptor, the
    /// complete reports of the kernel decide (law 8): its events may still wait in the kernel or in
    /// the queue.
    pub(crate) fn passed_limit(&mut self, tag: Tag) -> Option<Timeout> {
        let source = self.sources.get_mut(tag)?;
        if self.is_behind && source.queued && source.own.fd.is_some() {
            return None;
        }
        let unseen = match source.own.fd {
            Some(_) if planted::is(Planted::SilenceUnasked) => 0,
            Some(_) => self.ticks.saturating_sub(self.patience.looked_at()),
            None => 0,
        };
        if source.deadline <= self.ticks - unseen {
            source.deadline = NEVER;
            Some(Timeout::Deadline)
        } else if source.silent_at() <= self.charged.saturating_sub(unseen) {
            source.last_active = self.charged.cast_signed();
            Some(Timeout::Idle)
        } else {
            None
        }
    }

    /// Arms a timer for a source. A source that has ended gets the name of a cancelled timer.
    pub(crate) fn set_timer(&mut self, tag: Tag, deadline: u64, period: u64, key: u64) -> TimerTag {
        let timer = self.wheel.insert(deadline, period, Payload { owner: tag.to_bits(), key });
        match self.sources.get_mut(tag) {
            Some(source) => source.timers = source.timers.saturating_add(1),
            None => _ = self.wheel.cancel(timer),
        }
        timer
    }

    /// Cancels a timer of a source. Returns whether it was armed. The owner is not looked up, which
    /// would double the cost: see [`forget_timers`](Self::forget_timers). A timer of a source
    /// itself is not cancelled.
    pub(crate) fn cancel_timer(&mut self, timer: TimerTag) -> bool {
        self.wheel.cancel(timer)
    }

    /// Collects due timers, within the budget of a turn. Returns how many timers wait to fire.
    #[inline]
    pub(crate) fn collect_due(&mut self) -> usize {
        if self.due.is_empty() && self.wheel.next_deadline().is_none_or(|at| at > self.ticks) {
            return 0;
        }
        let left = self.due.len();
        self.wheel.expire(self.ticks, self.limits.calls_per_turn, &mut self.due);
        if !self.is_plain {
            self.arrange_due(left);
        }
        self.due.len()
    }

    /// Returns the next timer to fire, and its owner. Returns `None` when that timer was cancelled
    /// or moved, or its owner has ended.
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
                // A periodic timer would continue without an owner.
                self.wheel.cancel(due.id);
                return None;
            }
        }
        Some((owner, due))
    }

    /// Handles the timers of a source that has ended. Only a search of the whole wheel finds them,
    /// so each timer that the source armed pays for a few steps of [`weed`](Self::weed): ending
    /// costs no more than arming did. Timers that it cancelled pay too, since their owner was not
    /// looked up.
    pub(crate) fn forget_timers(&mut self, source: &Source) {
        if let Some(timer) = source.timer {
            self.wheel.cancel_own(timer);
        }
        let looks = (source.timers as usize).saturating_mul(LOOKS_PER_TIMER);
        // One round from here finds all of them.
        self.unweeded = self.unweeded.saturating_add(looks).min(self.wheel.round());
    }

    /// Removes timers of sources that have ended from the wheel, with a bounded number of steps in
    /// a turn.
    #[inline]
    pub(crate) fn weed(&mut self) {
        if self.unweeded > 0 {
            let looks = self.unweeded.min(LOOKS_PER_TURN);
            self.unweeded -= looks;
            let sources = &self.sources;
            self.wheel.weed(looks, |it| sources.get(Tag::from_bits(it.owner)).is_some());
        }
    }

    /// Continues to give back the memory of a burst of timers.
    #[inline]
    pub(crate) fn compact_timers(&mut self) {
        if self.wheel.is_compacting() {
            let sources = &mut self.sources;
            self.wheel.compact(|it, timer| {
                if let Some(source) = sources.get_mut(Tag::from_bits(it.owner)) {
                    source.timer = Some(timer);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::sim::Script;
    use crate::{Handler, LoopLimits, Reactor, Token, Trigger};

    const HOUR: Duration = Duration::from_secs(3600);

    /// Arms this many timers when it is woken, and cancels this many others.
    struct Owner {
        armed: u64,
        cancelled: u64,
    }

    impl Handler for Owner {
        fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
            for key in 0..self.armed {
                cx.set_timer(HOUR, None, key);
            }
            let cancelled: Vec<_> =
                (0..self.cancelled).map(|key| cx.set_timer(HOUR, None, key)).collect();
            assert!(cancelled.into_iter().all(|timer| cx.cancel_timer(timer)));
            Ok(())
        }
    }

    fn reactor() -> Reactor {
        // All end in one turn, so that only their timers take further turns.
        let limits = LoopLimits { ends_per_turn: usize::MAX, ..LoopLimits::DEFAULT };
        let backend = Script::new(Trigger::Edge).backend();
        Reactor::with_backend(backend, limits, ()).expect("the reactor opens")
    }

    /// Returns this many sources, each of which has armed and cancelled this many timers.
    fn owners(reactor: &mut Reactor, count: usize, armed: u64, cancelled: u64) -> Vec<Token> {
        let spawn = |_| {
            let token = reactor.cx().spawn(Owner { armed, cancelled }).expect("it registers");
            reactor.cx().wake(token);
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
            token
        };
        (0..count).map(spawn).collect()
    }

    /// Ends sources, and turns until there is no more work. Returns the most steps in a turn, and
    /// in all.
    fn end(reactor: &mut Reactor, tokens: &[Token]) -> (u64, u64) {
        tokens.iter().for_each(|token| reactor.cx().close(*token));
        let (before, mut most) = (reactor.core.wheel.touched, 0);
        while reactor.core.has_work() {
            let before = reactor.core.wheel.touched;
            reactor.run_once(None).expect("it turns");
            most = most.max(reactor.core.wheel.touched - before);
        }
        (most, reactor.core.wheel.touched - before)
    }

    /// A run of places counts as a whole.
    const TURN_MAX: u64 = LOOKS_PER_TURN as u64 + 64;

    #[test]
    fn a_source_that_armed_nothing_ends_without_a_look_at_the_timers_of_others() {
        let mut reactor = reactor();
        owners(&mut reactor, 1, 20_000, 0);
        let ended = owners(&mut reactor, 2000, 0, 0);
        assert_eq!(end(&mut reactor, &ended), (0, 0));
    }

    #[test]
    fn sources_that_end_after_a_burst_of_cancelled_timers_cost_what_they_armed() {
        let mut reactor = reactor();
        owners(&mut reactor, 1, 1, 200_000);
        let ended = owners(&mut reactor, 2000, 0, 2);
        let (most, all) = end(&mut reactor, &ended);
        assert!(most <= TURN_MAX && all <= 2000 * 2 * 2 + 64, "{most} looks, {all} in all");
    }

    #[test]
    fn sources_that_cancelled_many_timers_each_cost_one_way_round_in_all() {
        let mut reactor = reactor();
        let stays = 5000;
        owners(&mut reactor, 1, stays, 0);
        let ended = owners(&mut reactor, 200, 0, 2000);
        let (most, all) = end(&mut reactor, &ended);
        assert!(most <= TURN_MAX && all <= stays + stays / 64 + 200, "{most} looks, {all} in all");
        assert_eq!(reactor.timers() as u64, stays);
    }

    #[test]
    fn the_timers_of_a_crowd_that_ends_are_freed_in_portions_until_none_is_left() {
        let mut reactor = reactor();
        owners(&mut reactor, 1, 100, 0);
        let ended = owners(&mut reactor, 200, 100, 0);
        let (most, all) = end(&mut reactor, &ended);
        assert!(most <= TURN_MAX && all <= 2 * 20_000, "{most} looks, {all} in all");
        assert_eq!(reactor.timers(), 100);
    }

    #[test]
    fn timers_of_ended_sources_are_never_more_than_the_others_or_a_thousand() {
        for stays in [0, 3000] {
            let mut reactor = reactor();
            owners(&mut reactor, 1, stays, 0);
            for _ in 0..2000 {
                let ended = owners(&mut reactor, 1, 10, 3);
                end(&mut reactor, &ended);
                let left = reactor.timers() as u64 - stays;
                assert!(left <= stays.max(1000), "{left} beside {stays}");
            }
        }
    }
}
